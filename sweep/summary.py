"""What the verbs print: text for a person, and the same as JSON for a script."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sweep import design, scoring
from sweep.display import clock, objective
from sweep.store import Run
from sweep.study import LANGUAGES, Study
from sweep.trial import Status, Trial


def plan(study: Study, planned: design.Plan) -> RenderableType:
    done = planned.total - planned.to_run
    head = (
        f"{study.name}: {planned.total} trials{_how(study, planned)} ({len(study.grid.almr)} ALMR x "
        f"{len(study.grid.lrs)} LR x {len(study.grid.seeds)} seeds), {done} done, {planned.to_run} left\n"
        f"each trial: {_steps(planned)} x {study.training.global_batch_tokens:,} tokens = "
        f"{planned.tokens_per_trial:,} tokens; all trials: {planned.tokens:,} tokens\n"
        f"{_cost(study, planned)}"
    )
    warnings = [Text(f"warning: {warning}", style="yellow") for warning in planned.warnings]
    return Group(Text(head), _grid(study, planned), scoring.plan(study), *warnings)


def _how(study: Study, planned: design.Plan) -> str:
    """What a search's trials are taken from."""
    if not study.search.proposes:
        return ""
    share = planned.total / len(study.grid.points)
    where = f"{len(study.grid.points)} cells" if study.search.space == "cells" else "any point of the range"
    return f" by search ({study.search.strategy}) out of {where}, {share:.0%} of the grid's tokens"


def _steps(planned: design.Plan) -> str:
    if not planned.branch_steps:
        return f"{planned.steps:,} steps"
    return f"({planned.steps:,} steps + {planned.branch_steps:,} on branches to its horizons)"


def _cost(study: Study, planned: design.Plan) -> str:
    if planned.trial_seconds is None:
        return "time: not known"
    cost = f"time: {clock(planned.trial_seconds)} a trial"
    if planned.seconds is not None:
        cost += f", {clock(planned.seconds)} for what is left with {design.concurrency(study)} at once, start-up apart"
    return cost + (f"; {planned.gpu_hours:,.1f} GPU-hours" if study.resources.gpus else "")


def _grid(study: Study, planned: design.Plan) -> Table:
    """One row per ALMR: epochs over each corpus, then a cell per LR with what is done of its seeds."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("ALMR", justify="right")
    for language in LANGUAGES:
        table.add_column(f"epochs over\n{language}", justify="right")
    for lr in study.grid.lrs:
        table.add_column(f"LR\n{lr:.2g}", justify="center")
    left = {trial.id for trial in planned.left}
    known = {trial.id for trial in planned.trials}
    for i, almr in enumerate(study.grid.almr):
        epochs = (planned.epochs[language] for language in LANGUAGES)
        cells = (_cell(study, almr, lr, known, left) for lr in study.grid.lrs)
        table.add_row(f"{almr:g}", *("?" if e is None else f"{e[i]:.3g}" for e in epochs), *cells)
    return table


def _cell(study: Study, almr: float, lr: float, known: set[str], left: set[str]) -> str:
    here = [Trial(almr=almr, lr=lr, seed=seed).id for seed in study.grid.seeds]
    done = sum(trial in known and trial not in left for trial in here)
    unknown = "open" if study.search.proposes and not known & set(here) else "to do"
    return f"{done}/{len(study.grid.seeds)} done" if done else unknown


def plan_json(study: Study, planned: design.Plan) -> dict[str, Any]:
    left = {trial.id for trial in planned.left}
    return {
        "study": study.name,
        "fingerprint": study.fingerprint,
        "trials": [t.model_dump() | {"trial_id": t.id, "done": t.id not in left} for t in planned.trials],
        "strategy": study.search.strategy,
        "total": planned.total,
        "left": planned.to_run,
        "steps": planned.steps,
        "branch_steps": planned.branch_steps,
        "tokens_per_trial": planned.tokens_per_trial,
        "tokens": planned.tokens,
        "almr": list(study.grid.almr),
        "epochs": planned.epochs,
        "trial_seconds": planned.trial_seconds,
        "seconds": planned.seconds,
        "gpu_hours": planned.gpu_hours,
        "benchmarks": scoring.plan_json(study),
        "warnings": planned.warnings,
    }


def status_json(run: Run) -> dict[str, Any]:
    """From the files alone. `begun`: trials that were started and have no record: running now, or interrupted."""
    study = run.study()
    progress = design.progress(study, run)
    records = progress.records
    done = {record.trial_id for record in records}
    begun = [t.id for t in progress.trials if t.id not in done and run.attempts(t)]
    measured = [(loss, r) for r in records if (loss := objective(study, r)) is not None]
    best = min(measured, key=lambda pair: pair[0], default=None)
    return {
        "run": str(run.folder),
        "strategy": study.search.strategy,
        "trials": progress.total,
        **{status.value: sum(record.status is status for record in records) for status in Status},
        "begun": begun,
        "left": len(progress.left) if progress.ended else progress.to_run,
        "ended": progress.ended,
        "failures": {r.trial_id: r.reason for r in records if r.status is Status.FAILED},
        "best": best and {"trial_id": best[1].trial_id, "almr": best[1].almr, "lr": best[1].lr, "objective": best[0]},
        "gpu_hours": sum(r.gpu_hours or 0 for r in records),
        "trial_seconds": sum(r.seconds or 0 for r in records),
    }


def status(run: Run) -> str:
    now = status_json(run)
    lines = [
        f"{now['run']}: {now['trials']} trials: {now['complete']} complete, {now['diverged']} diverged, "
        f"{now['failed']} failed, {now['left']} left",
        *([f"the search ended: {now['ended']}"] if now["ended"] else []),
        *(f"begun, without a record (running or interrupted): {trial}" for trial in now["begun"]),
        *(f"failed: {trial}: {reason}" for trial, reason in now["failures"].items()),
    ]
    if now["best"]:
        best = now["best"]
        lines.append(f"best trial: ALMR {best['almr']:g}, LR {best['lr']:g}: {best['objective']:.4f} nats per token")
    return "\n".join([*lines, f"cost so far: {clock(now['trial_seconds'])} of trials"])
