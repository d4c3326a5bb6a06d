"""Whether a log is of the launch that is watched, and its numbers in our units."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from analysis.launch.watching.bundles import WatchedLaunch
from analysis.launch.watching.logs.events import RunLog, Values
from sweep.study import LANGUAGES, InputError, Status, numbers
from sweep.study.files import reader, trial_files
from sweep.study.files.layout import RECORD

METRICS = "metrics.jsonl"
ANOTHER = "this log is of another run: name the log of this launch, or the bundle of that run"
SAME = 1e-6  # relative
SAME_LR = 0.02  # relative: text shows two to seven digits


def matched(launch: WatchedLaunch, log: RunLog) -> RunLog:
    """The log, with losses in `Study.loss_unit`, by language. Raises InputError for a log of another run."""
    _refuse_other_run(launch, log)
    _refuse_other_trial(launch, log)
    scale = launch.loss_scale
    for values in log.steps.values():
        values |= {name: values[name] * scale for name in ("loss", "grad_norm") if name in values}
    log.ended = log.last >= launch.steps or any(_has_ended(file) for file in log.files)
    log.held_out = {step: _languages(launch, values, scale) for step, values in log.held_out.items()}
    return log


def _refuse_other_run(launch: WatchedLaunch, log: RunLog) -> None:
    where = log.files[0] if log.files else launch.folder
    if other := next((total for total in sorted(log.totals) if total != launch.steps), None):
        raise InputError(f"{where}: a run of {other:,} steps, the launch has {launch.steps:,}; {ANOTHER}")
    if log.last > launch.steps:
        raise InputError(f"{where}: it has step {log.last:,}, the launch ends at {launch.steps:,}; {ANOTHER}")
    batch = launch.study.training.batch_sequences
    if other := next((size for size in sorted(log.batches) if size != batch), None):
        raise InputError(f"{where}: a batch of {other:,} sequences, the launch has {batch:,}; {ANOTHER}")
    exact = launch.study.training.stage == "cpt"  # rows of other stages are of unequal length
    for step, tokens in log.series("tokens").items():
        if exact and step and abs(tokens - step * launch.step_tokens) > SAME * tokens:
            raise InputError(
                f"{where}: {tokens:,.0f} tokens after step {step:,}, the launch has "
                f"{step * launch.step_tokens:,} then; {ANOTHER}"
            )


def _refuse_other_trial(launch: WatchedLaunch, log: RunLog) -> None:
    """Our own trainer says beside its log which trial it is. Another LR is no other run: it may have been lowered."""
    for file in log.files:
        request = trial_files.read_request(file.with_name("trial.json")) if launch.format == "native" else None
        if request and (request.trial.almr, request.trial.seed) != (launch.almr, launch.study.grid.seeds[0]):
            theirs = f"ALMR {numbers.almr(request.trial.almr)}, seed {request.trial.seed}"
            ours = f"ALMR {numbers.almr(launch.almr)}, seed {launch.study.grid.seeds[0]}"
            raise InputError(f"{file}: the trial has {theirs}, the launch {ours}; {ANOTHER}")


def _has_ended(file: Path) -> bool:
    """Our own trainer ends a run that diverged before its last step, with a record beside the log."""
    record = reader.read_object(file.with_name(RECORD)) if file.name == METRICS else None
    return record is not None and record.get("status") in (Status.COMPLETE, Status.DIVERGED)


def _languages(launch: WatchedLaunch, values: Values, scale: float) -> Values:
    """Held-out losses of sources, and of each language whose sources are all there: their mean by share."""
    named = {_name(launch, name): loss * scale for name, loss in values.items()}
    for language in LANGUAGES:
        of = [source for source in launch.study.corpora.by_name.values() if source.language == language]
        if language not in named and of and all(source.name in named for source in of):
            named[language] = sum(float(Fraction(source.share)) * named[source.name] for source in of)
    return named


def _name(launch: WatchedLaunch, name: str) -> str:
    """A set of Megatron is known by its number."""
    number = name[1:] if name.startswith("#") else ""
    return launch.sets[int(number)] if number in map(str, range(len(launch.sets))) else name


def lr_differs(launch: WatchedLaunch, log: RunLog) -> str | None:
    """What to say of a log whose newest LR is not the plan's. Megatron logs that of the next step."""
    found = [(step, lr) for step, lr in log.series("lr").items() if step > 0]
    if not found:
        return None
    step, lr = found[-1]
    planned = [launch.lr * launch.schedule.share(at) for at in (step - 1, min(step, launch.steps - 1))]
    if any(abs(lr - one) <= SAME_LR * one for one in planned) or not planned[0]:
        return None
    return f"the LR of step {step:,} is {numbers.lr(lr)}, {numbers.times(lr / planned[0])} the planned one"
