"""Warnings of a plan: the trials would not be as stated, or cannot be estimated."""

from __future__ import annotations

import json
from pathlib import Path

from sweep.planning import scoring
from sweep.planning.requirements import TrialMemory
from sweep.study import LANGUAGES, MINIMUM_TRIALS, CorpusFacts, Study, preparation
from sweep.study.files.layout import RunFiles
from sweep.study.numbers import almr, percent, size, times
from sweep.study.sections.transfer import TransferRule
from sweep.study.sizes.shape import USABLE
from sweep.trials.progress import RunProgress
from trainers.benchmarks import catalogue
from trainers.preference import requirements

LONG_EVALUATION = 0.5  # of a trial's training, from which a plan says so


def of(
    study: Study,
    tokens: int,
    epochs: dict[str, list[float] | None],
    trial_memory: TrialMemory | None,
    also: int = 0,
    timed: bool = False,
) -> list[str]:
    """`timed`: the time of a trial is known."""
    found = [*_lengths(study, tokens), *_repeats(study, epochs), *_evaluation(study), *_guards(study), *_rungs(study)]
    found += _horizon(study)
    if why := scoring.without_sandbox(study):
        found.append(f"{why}. This is said of this machine; almr plan --check --address asks a cluster's")
    faults = (requirements.fault(study), too_small(study, also))
    found += [f"almr run will refuse this study: {fault}" for fault in faults if fault]
    if study.launch and (fault := study.vocabulary_fault(study.launch.formats, _new_rows(study))):
        found.append(f"almr export will refuse this for {fault}")
    if not timed and (speed := _speed(study)):
        found.append(speed)
    if trial_memory and (memory := out_of_memory(trial_memory)):
        found.append(memory)
    if study.resources.gpus and study.execution.attention == "eager":
        found.append(
            "memory is not planned for execution.attention: eager, which keeps all scores: write sdpa to plan it"
        )
    return found


def _new_rows(study: Study) -> int | None:
    """How many of its tokenizer's tokens the base model was given rows for, or lacks; None where that is not known."""
    base = study.base_model
    if base.new_rows is None or base.pretrained is None:
        return 0
    record = preparation.read(study)
    if record and record.ingredients.base_check:
        return record.ingredients.base_check.new_rows
    try:
        rows = json.loads((Path(base.pretrained) / "config.json").read_bytes())["vocab_size"]
        tokenizer = json.loads((Path(base.pretrained) / "tokenizer.json").read_bytes())
        ids = {*tokenizer["model"]["vocab"].values(), *(token["id"] for token in tokenizer["added_tokens"])}
        return len([number for number in ids if number >= rows])
    except (OSError, ValueError, LookupError, TypeError, AttributeError):  # another format, or no directory
        return None


def too_small(study: Study, also: int = 0) -> str | None:
    """One line for a study that has fewer trials than a surface needs, with those that the user named beside its own,
    else None: also for one trial, which is run alone.
    """
    search, points, needed = study.search, len(study.grid.points) + also, f"a surface needs {MINIMUM_TRIALS}"
    if points == 1 and not search.proposes:
        return None
    if points < MINIMUM_TRIALS and not (search.proposes and search.space == "range"):
        what = "cells to search" if search.proposes else "trials"
        advice = "add ALMRs or LRs" + (", or set search.space: range" if search.proposes else "")
        return f"its grid has {points} {what}, {needed}: {advice}"
    paid = search.trials or (search.tokens or 0) // study.trained_tokens
    if search.proposes and not search.gpu_hours and paid + also < MINIMUM_TRIALS:
        each = "" if search.trials else f": {paid} trials of {study.trained_tokens:,} tokens"
        return f"search.{search.unit} is {search.limit:,}{each}, {needed}: raise it"
    return None


def few(progress: RunProgress) -> list[str]:
    """A budget of GPU-hours that is expected to pay for fewer trials than a surface needs."""
    budget = progress.budget
    if budget is None or budget.unit != "gpu_hours" or budget.more is None or progress.total >= MINIMUM_TRIALS:
        return []
    about = f"about {progress.total} trials" if progress.total != 1 else "about 1 trial"
    return [f"search.gpu_hours {budget.limit:g} pays for {about}, a surface needs {MINIMUM_TRIALS}: raise it"]


def _lengths(study: Study, tokens: int) -> list[str]:
    found = []
    if tokens != (stated := study.training.tokens):
        found.append(f"training.tokens {stated:,} is not a whole number of batches: trials train on {tokens:,}")
    for horizon in study.training.horizons:
        if horizon % study.training.global_batch_tokens:
            ends = study.training.steps_of(horizon) * study.training.global_batch_tokens
            found.append(f"training.horizons {horizon:,} is not a whole number of batches: its branch ends at {ends:,}")
    return found


def _repeats(study: Study, epochs: dict[str, list[float] | None]) -> list[str]:
    found = []
    wanted = study.training.simulate_epochs  # repetition as the launch's
    for name, passes in epochs.items():
        language = study.language_name(study.corpora.by_name[name].language)
        corpus = f"corpora.{name}" + (f" ({language})" if language != name else "")
        if passes is None:
            found.append(f"{corpus}: size unknown until it is read: state `tokens` to plan its epochs")
            continue
        repeats = {ratio: n for ratio, n in zip(study.grid.almr, passes, strict=True) if n > 1}
        if repeats and not (wanted or study.corpora.by_name[name].spec.trial_tokens):
            ratios, most = ", ".join(map(almr, repeats)), times(max(repeats.values()))
            found.append(
                f"{corpus} is read up to {most} at ALMR {ratios}, and repetition moves the best ALMR: add text, "
                f"or lower training.tokens"
            )
    return found


def held_out(study: Study, corpora: dict[str, CorpusFacts]) -> list[str]:
    """The packed corpora of which much more or less is held out than stated."""
    found = []
    for name, facts in corpora.items():
        source, share = study.corpora.by_name[name], facts.held_out_share
        wanted = source.spec.held_out
        if not wanted / 2 <= share <= 2 * wanted:
            found.append(
                f"{source.where}: {percent(share, 1)} of the tokens are held out, not {percent(wanted, 1)} as in "
                f"held_out: documents are never cut, and some are too large: split them into more documents"
            )
    return found


def _evaluation(study: Study) -> list[str]:
    """The held-out text of every source is measured: with many sources that may take longer than the training."""
    training, sources = study.training, len(study.corpora.by_name)
    on_the_way = training.steps // training.evaluate_every if training.evaluate_every else 0
    measured = 1 + len(training.horizons) + on_the_way
    trained = (training.steps + training.branch_steps) * training.global_batch_tokens
    share = measured * sources * training.evaluation_tokens / scoring.FORWARD / trained
    if share < LONG_EVALUATION:
        return []
    what = f"{times(measured)} {sources} sources of at most {training.evaluation_tokens:,} tokens"
    rarer = ", or raise evaluate_every" if on_the_way else ""
    return [
        f"a trial's held-out losses ({what}) take up to {percent(share)} of the time of its training, which is not in "
        f"the plan: lower training.evaluation_tokens{rarer}"
    ]


def _guards(study: Study) -> list[str]:
    """The score guards that no score can test: the fit will be refused."""
    guards, benchmarks = study.objective.score_guards, study.benchmarks
    if guards and (benchmarks is None or study.replay):
        return ["objective.guards: no trial is scored, so the fit will be refused: add benchmarks, or remove guards"]
    if not benchmarks:
        return []
    tasks = catalogue.all_tasks(benchmarks)
    groups = [*filter(None, map(scoring.group, tasks)), *LANGUAGES]
    return [
        f"objective.guards: the benchmarks have no {kind} {guard.name}, so the fit will be refused: name one of "
        f"{', '.join(dict.fromkeys(known))}"
        for guard in guards
        for kind, known in [("task", tasks) if guard.task else ("group", groups)]
        if guard.name not in known
    ]


def _rungs(study: Study) -> list[str]:
    transfer = study.launch.transfer if study.launch else None
    runs = [rung.run for rung in (transfer.rungs if transfer else ()) if rung.run]
    return [
        f"launch.transfer.rungs: {run} has no fit.json, so the fit will be refused: almr run its study first"
        for run in runs
        if not RunFiles(Path(run)).fit.is_file()
    ]


def _horizon(study: Study) -> list[str]:
    """The rule does not carry the LR to the launch's tokens: the fit will be refused."""
    if study.launch is None or (rule := study.launch.transfer or TransferRule(rule="direct")).rungs:
        return []  # rungs may measure the exponent
    fault = rule.horizon_fault(study.launch.tokens / study.training.tokens, bool(study.training.horizons))
    return [f"the fit will be refused: {fault}"] if fault else []


def _speed(study: Study) -> str | None:
    resources = study.resources
    if resources.tokens_per_second or (resources.gpus and resources.gpu):
        return None
    instead = ", or resources.gpu" if resources.gpus else ""
    return f"the time is not known until a trial has finished: state resources.tokens_per_second{instead}"


def out_of_memory(trial_memory: TrialMemory) -> str | None:
    """One line where the micro-batch does not fit in the stated memory of a GPU, else None."""
    have = trial_memory.study.resources.gpu_bytes
    if have is None or trial_memory.at(trial_memory.micro_batch).total <= USABLE * have:
        return None
    if fits := trial_memory.largest_fitting(have):
        fix = f"lower it to {fits}, the largest that fits"
    else:
        need = size(trial_memory.at(1).total)
        fix = f"one sequence needs {need}: take more gpus_per_node or nodes, or more activation_checkpointing"
    usable = f"{percent(USABLE)} of a GPU's {size(have)}"
    return f"training.micro_batch_sequences {trial_memory.micro_batch} does not fit in {usable}: {fix}"
