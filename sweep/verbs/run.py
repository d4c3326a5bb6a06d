"""`almr run`: the whole way from a study to its report and launch bundle, resuming wherever it was left."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from sweep.planning import scoring
from sweep.preflight import checks
from sweep.store.run import Run
from sweep.study.errors import InputError
from sweep.study.numbers import clock
from sweep.study.record import SCORING
from sweep.study.sections.search import Search
from sweep.study.study import MINIMUM_TRIALS, Study
from sweep.study.trial import Status
from sweep.trials import progress as design
from sweep.trials.queue import GridQueue, Queue, SearchQueue, Turn
from sweep.verbs.display import Display
from sweep.verbs.verdict import verdict
from trainers.tracking import tracking

if TYPE_CHECKING:
    from analysis.fit.fit import Fit


@dataclass(frozen=True)
class Finished:
    """What a run came to. `bundle` is empty where the study names no launch, or where `refusal` says why."""

    fit: Fit
    run: Run
    report: Path
    bundle: list[Path]
    refusal: str | None
    failed: int
    seconds: float
    trial_seconds: float
    gpu_hours: float

    def text(self) -> str:
        cost = f"cost: {clock(self.seconds)} now; all trials {clock(self.trial_seconds)} of worker time"
        lines = ["", verdict(self.fit), cost, f"report: {self.report}"]
        if self.gpu_hours:
            lines[2] += f", {self.gpu_hours:,.1f} GPU-hours"
        if self.bundle:
            lines.append(f"launch bundle: {self.run.files.launch}")
        if self.refusal:
            lines.append(f"no launch bundle: {self.refusal}")
        return "\n".join(lines)

    @property
    def status(self) -> int:
        """The command's exit status: 1 trials failed, 3 the fit refuses its winner, 2 no bundle for another reason."""
        if self.failed:
            return 1
        return 3 if self.fit.file.refusals else 2 if self.refusal else 0

    def as_json(self) -> dict[str, Any]:
        return {
            "run": self.run.address,
            "winner": self.fit.file.winner.model_dump(mode="json"),
            "refusals": [finding.model_dump(mode="json") for finding in self.fit.file.refusals],
            "warnings": [finding.model_dump(mode="json") for finding in self.fit.file.warnings],
            "trials": self.fit.file.trials.model_dump(),
            "seconds": self.seconds,
            "trial_seconds": self.trial_seconds,
            "gpu_hours": self.gpu_hours,
            "report": str(self.report),
            "launch": [str(path) for path in self.bundle],
            "launch_refusal": self.refusal,
        }


def run(study: Study, run: Run, console: Console, address: str | None) -> Finished:
    """Raises InputError for a study that this run cannot take, and where too few trials finished to fit a surface."""
    began = time.monotonic()
    _refuse_too_small(study)
    _refuse_what_needs_a_folder(study, run)
    run.refuse_other_recipe(study)
    with run.locked():
        progress = design.progress(study, run)
        console.print(f"{study.name}: {progress.text}, in {run.address}", soft_wrap=True)
        if (progress.to_run or _may_grow(study, progress)) and not _over(study, run, progress):
            progress = design.progress(study, run)  # to ask whether it is over may have added a trial
            _train(study, run, progress, console, address)
        run.freeze(study)
        _score_finished(study, run, console, address)
        run.refresh()  # what workers put on an object store beside their records
        progress = design.progress(study, run)
        records = progress.records
        if progress.ended:
            tried = f"{len(progress.trials)} of {study.search.trials} trials"
            console.print(f"search ended after {tried}: {progress.ended}", soft_wrap=True)
        failures = [record for record in records if record.status is Status.FAILED]
        for record in failures:
            log = run.shown(run.log(record.trial))
            console.print(f"failed: {record.trial_id}: {record.reason} ({log})", markup=False, soft_wrap=True)
        fitted, page, bundle, refusal = _conclude(study, run, console)
    return Finished(
        fit=fitted,
        run=run,
        report=page,
        bundle=bundle,
        refusal=refusal,
        failed=len(failures),
        seconds=time.monotonic() - began,
        trial_seconds=sum(record.seconds or 0 for record in records),
        gpu_hours=sum(record.gpu_hours or 0 for record in records),
    )


def _may_grow(study: Study, progress: design.RunProgress) -> bool:
    """Whether a grid that was run may have cells beyond its ends; only the records say whether it should."""
    return study.search.bounds is not None and len(progress.trials) < (study.search.trials or 0)


def _over(study: Study, run: Run, progress: design.RunProgress) -> bool:
    """Whether the records alone say that nothing is to run, so that Ray need not start to hear it."""
    state = run.search_state()
    if progress.left or (study.search.proposes and not (progress.ended and state)):
        return False
    at_once = state.at_once if state and study.search.proposes else 1
    return _queue(study, run, progress)(at_once).next() is Turn.DONE


def _refuse_too_small(study: Study) -> None:
    points = len(study.grid.points)
    if points < MINIMUM_TRIALS and not (study.search.proposes and study.search.space == "range"):
        what = "cells to search" if study.search.proposes else "trials"
        advice = "add ALMRs or LRs" + (", or set search.space: range" if study.search.proposes else "")
        raise InputError(
            f"study {study.name}: its grid has {points} {what}, a surface needs {MINIMUM_TRIALS}: {advice}"
        )
    if study.search.proposes and (study.search.trials or 0) < MINIMUM_TRIALS:
        raise InputError(
            f"study {study.name}: search.trials {study.search.trials} is less than the {MINIMUM_TRIALS} that a surface "
            f"needs: raise it"
        )


def _refuse_what_needs_a_folder(study: Study, run: Run) -> None:
    if faults := checks.needs_a_folder(study, run.mirror is not None):
        raise InputError("\n".join(f"{run.address}: {fault}" for fault in faults))


def _conclude(study: Study, run: Run, console: Console) -> tuple[Fit, Path, list[Path], str | None]:
    """The fit, the report, the bundle's files, and why there is no bundle where the study asked for one."""
    with console.status("fitting the surface"):
        from sweep.verbs import fitting, outputs

        fitted = fitting.fit(run)
        page = outputs.report(run, fitted)
        if study.launch is None or study.replay:
            return fitted, page, [], None
        if fitted.file.refusals:
            return fitted, page, [], _how_to_insist(run)
        try:
            made = outputs.export(run, fitted)
        except InputError as error:
            return fitted, page, [], str(error)
    for line in made.notes:
        console.print(line, markup=False, soft_wrap=True)
    return fitted, page, made.files, None


def _how_to_insist(run: Run) -> str:
    stale = f"; {run.files.launch} is of an earlier fit" if run.files.launch.exists() else ""
    return f'the fit is refused; if the risk is taken: almr export {run.address} --accept-risk "reason"{stale}'


def _train(study: Study, run: Run, progress: design.RunProgress, console: Console, address: str | None) -> None:
    if not study.replay:
        tracking.refuse_missing(study)
        _prepare(study, run, console)
    run.keep_provenance(run.stage_code())
    from sweep import controller  # first: it sets what ray reads when it is imported
    from sweep.preflight import preflight

    if address:
        with console.status("checking the cluster"):
            preflight.refuse_unready(study, run, address)
    run.freeze(study)
    display = Display(console, study, run, progress.total, progress.settled)

    def watch(event: controller.TrialEvent) -> None:
        if event.record:
            display.ended(event.record)
        else:
            display.started(event.trial)

    with display.live():
        controller.run_trials(study, run, _queue(study, run, progress), watch, address)


def _score_finished(study: Study, run: Run, console: Console, address: str | None) -> None:
    """Finalists, and trials that finished before a benchmark was asked for, go through the cluster once more: a trial
    that has its record is scored, and keeps its losses.
    """
    trials = scoring.unscored(study, run, design.progress(study, run).trials)
    if not trials:
        return
    console.print(f"scoring {len(trials)} finished trials, from kept models or by training again", soft_wrap=True)
    _prepare(study, run, console)
    run.keep_provenance(run.stage_code())
    from sweep import controller

    def watch(event: controller.TrialEvent) -> None:
        if event.record:
            lost = event.record.score_failures.get(SCORING)
            said = f"not scored: {event.trial.id}: {lost}" if lost else f"scored: {event.trial.id}"
            console.print(said, markup=False, soft_wrap=True)

    plain = study.model_copy(update={"search": Search()})
    controller.run_trials(study, run, lambda at_once: GridQueue(plain, run, trials, at_once), watch, address)


def _queue(study: Study, run: Run, progress: design.RunProgress) -> Callable[[int], Queue]:
    if study.search.proposes:
        return lambda at_once: SearchQueue(study, run, at_once)
    return lambda at_once: GridQueue(study, run, progress.left, at_once)


def _prepare(study: Study, run: Run, console: Console) -> None:
    told: list[str] = []
    with console.status("loading torch") as status:
        from trainers import prepare

        def progress(phase: str, share: float | None) -> None:
            status.update(phase if share is None else f"{phase}: {share:.0%}")
            if not console.is_terminal and phase not in told:  # a log keeps each phase once
                told.append(phase)
                console.print(phase)

        run.keep_ingredients(prepare.prepare(study, progress))
    for task in scoring.asked(study):
        if task.missing:
            console.print(f"not scored: {task.name}: {task.missing}", markup=False, soft_wrap=True)
