"""`almr run`: the whole way from a study to its report and launch bundle, resuming wherever it was left."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from sweep import design, summary
from sweep.display import Display, clock
from sweep.store import Run
from sweep.study import Study
from sweep.trial import Record, Status, Trial

if TYPE_CHECKING:
    from analysis.fit import Fit


@dataclass(frozen=True)
class Finished:
    """What a run came to. `bundle` is empty where the study names no launch."""

    fit: Fit
    run: Run
    report: Path
    bundle: list[Path]
    failed: int
    seconds: float
    trial_seconds: float
    gpu_hours: float

    def text(self) -> str:
        cost = f"cost: {clock(self.seconds)} now; all trials {clock(self.trial_seconds)} of worker time"
        lines = ["", summary.winner(self.fit), cost, f"report: {self.report}"]
        if self.gpu_hours:
            lines[2] += f", {self.gpu_hours:,.1f} GPU-hours"
        if self.bundle:
            lines.append(f"launch bundle: {self.run.launch}")
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        return {
            "run": str(self.run.folder),
            "winner": self.fit.file.winner.model_dump(mode="json"),
            "warnings": self.fit.file.warnings,
            "trials": self.fit.file.trials.model_dump(),
            "seconds": self.seconds,
            "trial_seconds": self.trial_seconds,
            "gpu_hours": self.gpu_hours,
            "report": str(self.report),
            "launch": [str(path) for path in self.bundle],
        }


def run(study: Study, run: Run, console: Console, address: str | None) -> Finished:
    began = time.monotonic()
    trials = design.trials(study)
    run.freeze(study)
    left = run.left(trials)
    console.print(f"{study.name}: {len(trials)} trials, {len(left)} to run, in {run.folder}", soft_wrap=True)
    if left:
        _train(study, run, trials, left, console, address)
    with console.status("fitting the surface"):
        from sweep import outputs

        fitted = outputs.fit(run)
        page = outputs.report(run, fitted)
        bundle = outputs.export(run, fitted=fitted) if study.launch and run.ingredients() else []
    records = [record for trial in trials if (record := run.record(trial))]
    return Finished(
        fit=fitted,
        run=run,
        report=page,
        bundle=bundle,
        failed=sum(record.status is Status.FAILED for record in records),
        seconds=time.monotonic() - began,
        trial_seconds=sum(record.seconds or 0 for record in records),
        gpu_hours=sum(record.gpu_hours or 0 for record in records),
    )


def _train(
    study: Study, run: Run, trials: list[Trial], left: list[Trial], console: Console, address: str | None
) -> None:
    if not study.replay:
        _prepare(study, run, console)
    run.keep_provenance(run.stage_code())
    from sweep import controller

    display = Display(console, study, run, trials, _finished(run, trials, left))

    def watch(progress: controller.Progress) -> None:
        if progress.record:
            display.ended(progress.record)
        else:
            display.started(progress.trial)

    with display.live():
        controller.run_trials(study, run, left, watch, address)


def _finished(run: Run, trials: list[Trial], left: list[Trial]) -> list[Record]:
    return [record for trial in trials if trial not in left and (record := run.record(trial))]


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
