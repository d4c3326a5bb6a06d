"""What `almr plan` prints: text for a person, and the same as JSON for a script."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sweep.planning import scoring
from sweep.planning.plan import StudyPlan, concurrency
from sweep.study import Study, Trial, numbers
from sweep.study.numbers import clock, count, percent, quantity
from sweep.study.sections.recipe.training import Training
from sweep.trials.budget import amount, spent
from sweep.verbs.plan import corpora
from sweep.verbs.plan.launch import launch_json, launch_lines
from sweep.verbs.plan.size import size_json, size_lines
from sweep.verbs.plan.speed import speed_json, speed_lines

ESTIMATED = "~ is estimated from the size of the files; almr prepare counts the tokens"


def plan(study: Study, planned: StudyPlan) -> RenderableType:
    total, left = planned.progress.total, planned.progress.to_run
    most = "at most " if study.training.stage == "dpo" else ""
    axes = (study.grid.almr, "ALMR"), (study.grid.lrs, "LR"), (study.grid.seeds, "seed")
    points = " x ".join(count(len(values), name) for values, name in axes)
    head = (
        f"{study.name}: {_about(planned)}{count(total, 'trial')}{_how(study, planned)} ({points}), "
        f"{total - left} done, {left} left\n"
        f"each trial: {_steps(study.training)} x {_batch(study.training)} = {most}{planned.tokens_per_trial:,} tokens; "
        f"all trials: {planned.tokens:,} tokens\n"
        f"{_cost(study, planned)}{_budget(planned)}{_growth(study)}"
    )
    about_text = [] if study.replay else corpora.lines(study, planned.corpora)
    size = [Text(line) for line in [*planned.trainer, *size_lines(planned), *about_text]]
    after = [Text(line) for line in launch_lines(study, planned.launch)]
    warnings = [Text(f"warning: {warning}", style="yellow") for warning in planned.warnings]
    about_epochs = [Text(ESTIMATED)] if planned.estimated else []
    about_epochs += [Text(line) for line in _parts(study, planned)]
    about_points: list[RenderableType] = [grid(study, planned), *_also(study, planned), *about_epochs]
    return Group(Text(head), *size, *about_points, benchmark_table(study), *after, *warnings)


def _how(study: Study, planned: StudyPlan) -> str:
    """The strategy of a search, and the cells that it chooses from."""
    if not study.search.proposes:
        return ""
    share = percent(planned.progress.total / len(study.grid.points))
    where = f"{len(study.grid.points)} cells" if study.search.space == "cells" else "any point of the range"
    return f" by search ({study.search.strategy}) out of {where}, {share} of the grid's tokens"


def _about(planned: StudyPlan) -> str:
    """Before the number of trials, where GPU-hours decide it."""
    budget = planned.progress.budget
    if budget is None or budget.unit != "gpu_hours":
        return ""
    return "up to " if budget.more is None else "about "


def _budget(planned: StudyPlan) -> str:
    """A budget of tokens or GPU-hours: what is spent, and what it pays for."""
    budget = planned.progress.budget
    if budget is None or budget.unit == "trials":
        return ""
    each = f": {count(budget.more or 0, 'more trial')} of {amount(budget.each, budget.unit)}" if budget.each else ""
    unknown = "" if budget.each else ": a trial's are not known before one has ended"
    return f"\nbudget: {spent(budget)[0]}{each}{unknown}"


def _growth(study: Study) -> str:
    reach = growth(study)
    if not reach:
        return ""
    (a0, a1), (r0, r1) = reach["almr"], reach["lr"]
    ends = f"ALMR {numbers.almr(a0)} to {numbers.almr(a1)}, LR {numbers.lr(r0)} to {numbers.lr(r1)}"
    reason = "if the optimum is at the edge of the grid, the trials may extend to"
    return f"\n{reason} {ends}" + (f" ({reach['trials']} trials in all)" if reach["trials"] else "")


def growth(study: Study) -> dict[str, Any] | None:
    """How far a study with bounds may extend: [lowest, highest] `almr` and `lr`, and `trials` in all."""
    if not study.search.bounds:
        return None
    reach = {name: list(ends) for name, ends in study.search.reach(study.grid).items()}
    return reach | {"trials": study.search.trials}


def _steps(training: Training) -> str:
    if not training.branch_steps:
        return f"{training.steps:,} steps"
    return f"({training.steps:,} steps + {training.branch_steps:,} in branches to its horizons)"


def _batch(training: Training) -> str:
    """The tokens of an optimizer step; in stage dpo the most that its pairs can have, each of which takes two rows."""
    tokens = f"{training.global_batch_tokens:,} tokens"
    if training.stage != "dpo":
        return tokens
    return f"{count(training.batch_sequences // 2, 'pair')} (of two rows; at most {tokens})"


def _cost(study: Study, planned: StudyPlan) -> str:
    if planned.trial_seconds is None:
        return "time: not known"
    at_least = "at least " if planned.speed and planned.speed.at_least else ""
    cost = f"time: {at_least}{clock(planned.trial_seconds)} per trial"
    if not planned.progress.to_run:
        return f"{cost}; nothing left to run"
    if planned.seconds is not None:
        left = count(planned.progress.to_run, "trial")
        cost += f"; {clock(planned.seconds)} for {left}, {concurrency(study)} in parallel (start-up not counted)"
    cost += f"; {quantity(planned.gpu_hours)} GPU-hours" if study.resources.gpus else ""
    return "\n".join([cost, *speed_lines(planned.speed)])


def plan_json(study: Study, planned: StudyPlan) -> dict[str, Any]:
    left = {trial.id for trial in planned.progress.left}
    return {
        "study": study.name,
        "fingerprint": study.fingerprint,
        "trials": [t.model_dump() | {"trial_id": t.id, "done": t.id not in left} for t in planned.progress.trials],
        "also": [trial.id for trial in planned.progress.also],
        "strategy": study.search.strategy,
        "total": planned.progress.total,
        "left": planned.progress.to_run,
        "budget": planned.progress.budget and planned.progress.budget.as_json(),
        "may_grow_to": growth(study),
        "steps": study.training.steps,
        "branch_steps": study.training.branch_steps,
        "tokens_per_trial": planned.tokens_per_trial,
        "tokens": planned.tokens,
        "almr": list(study.grid.almr),
        "epochs": planned.epochs,
        "epochs_estimated": planned.estimated,
        "trial_text_tokens": planned.trial_tokens,
        "trial_seconds": planned.trial_seconds,
        "speed": speed_json(planned.speed),
        "seconds": planned.seconds,
        "gpu_hours": planned.gpu_hours,
        **size_json(planned),
        **corpora.as_json(study, planned.corpora),
        "launch": launch_json(planned.launch),
        "benchmarks": [vars(task) for task in scoring.planned(study)],
        "trainer": {"name": study.trainer.name, "lines": list(planned.trainer)},
        "warnings": planned.warnings,
    }


def grid(study: Study, planned: StudyPlan) -> Table:
    """One column per ALMR, one row per LR; below, the epochs over each source."""
    table = Table("LR / ALMR", box=None, padding=(0, 1, 0, 0))
    for almr in study.grid.almr:
        table.add_column(numbers.almr(almr), justify="right", no_wrap=True)
    left = {trial.id for trial in planned.progress.left}
    known = {trial.id for trial in planned.progress.trials}
    for lr in study.grid.lrs:
        table.add_row(numbers.lr(lr), *(_cell(study, almr, lr, known, left) for almr in study.grid.almr))
    for name, epochs in planned.epochs.items():
        mark = "~" if name in planned.estimated else ""
        shown = [f"{mark}{n:.2g}" for n in epochs] if epochs else ["?"] * len(study.grid.almr)
        table.add_row(f"{study.source_label(name)} epochs", *shown)
    return table


def _parts(study: Study, planned: StudyPlan) -> list[str]:
    """What trials draw from, of the sources that they do not read whole."""
    why = ", to read it as often as the launch will" if study.training.simulate_epochs else ""
    return [
        f"{study.source_label(name)}: trials draw from {numbers.tokens(tokens)} tokens of it{why}"
        for name, tokens in planned.trial_tokens.items()
    ]


def _also(study: Study, planned: StudyPlan) -> list[Text]:
    """The trials that the user named beside the study's own: one line, where there are any."""
    left, alone = {*planned.progress.left}, study.grid.seeds
    named = [
        f"{numbers.point(t.almr, t.lr)}{'' if (t.seed,) == alone else f', seed {t.seed}'} "
        f"{'to do' if t in left else 'done'}"
        for t in planned.progress.also
    ]
    return [Text(f"named with --also: {'; '.join(named)}")] if named else []


def _cell(study: Study, almr: float, lr: float, known: set[str], left: set[str]) -> str:
    here = [Trial(almr=almr, lr=lr, seed=seed).id for seed in study.grid.seeds]
    done = sum(trial in known and trial not in left for trial in here)
    if not done:
        return "open" if study.search.proposes and not known & set(here) else "to do"
    return "done" if len(here) == 1 else f"{done}/{len(here)}"


def benchmark_table(study: Study) -> RenderableType:
    """One row per task, then the tasks without data; empty where the study has no benchmarks."""
    tasks = scoring.planned(study)
    if not tasks:
        return Group()
    table = Table("benchmark", "group", "questions", "time per model, about", box=None, padding=(0, 2, 0, 0))
    for task in tasks:
        time = "?" if task.seconds is None else clock(task.seconds)
        table.add_row(task.name, task.group or "", "?" if task.questions is None else f"{task.questions:,}", time)
    missing = [f"no data yet: {task.name}: {task.missing}" for task in tasks if task.missing]
    if missing:
        missing.append("the run downloads missing data when it starts; a task without data gets no score")
    return Group(Text(_head(study, tasks)), table, *(Text(line, style="yellow") for line in missing))


def _head(study: Study, tasks: list[scoring.PlannedTask]) -> str:
    assert study.benchmarks
    which = f"the best {study.benchmarks.finalists} trials" if study.benchmarks.when == "finalists" else "every trial"
    known = [task.seconds for task in tasks if task.seconds is not None]
    total = f", about {clock(sum(known))} per model" if len(known) == len(tasks) else ""
    return f"benchmarks: {len(tasks)} tasks for {which} and the base model{total}"
