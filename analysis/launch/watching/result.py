"""A look at a running launch: verdict, advice and numbers, as the terminal, `--json` and the page have them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from analysis.launch.watching import advice as advices
from analysis.launch.watching import match, verdict
from analysis.launch.watching import progress as progresses
from analysis.launch.watching.advice import Advice
from analysis.launch.watching.bundles import WatchedLaunch
from analysis.launch.watching.logs import find
from analysis.launch.watching.logs.events import RunLog
from analysis.launch.watching.progress import LaunchProgress
from analysis.launch.watching.verdict import LossCheck, WatchVerdict
from sweep.study import InputError

STALLED_MINUTES = 15.0


@dataclass(frozen=True)
class WatchResult:
    """`notes`: what to know beside the verdict. `checks`: every held-out loss beside its band."""

    launch: WatchedLaunch
    log: RunLog
    verdict: WatchVerdict
    advice: Advice
    progress: LaunchProgress
    checks: tuple[LossCheck, ...]
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        progress = asdict(self.progress)
        return {
            "bundle": str(self.launch.folder),
            "format": self.launch.format,
            "loss_unit": self.launch.study.loss_unit,
            "logs": [str(file) for file in self.log.files],
            "verdict": asdict(self.verdict),
            "advice": asdict(self.advice),
            "progress": progress,
            "held_out": [_check_json(check) for check in self.checks],
            "notes": list(self.notes),
        }


def _check_json(check: LossCheck) -> dict[str, Any]:
    band = {"low": check.band.low, "high": check.band.high} if check.band else None
    return asdict(check) | {"band": band}


def look(launch: WatchedLaunch, logs: tuple[Path, ...] = (), stalled_minutes: float = STALLED_MINUTES) -> WatchResult:
    """Read the logs, by default those where the bundle's start script writes, and compare them with the plan.

    Raises InputError for logs of another run, and where there is none.
    """
    log = match.matched(launch, find.read(_places(launch, logs)))
    if log.last < 0 and log.without_step:
        raise InputError(
            f"{log.files[0]}: its lines name no step: name trainer_state.json, trainer_log.jsonl or "
            f"TensorBoard's files instead"
        )
    minutes = max(0.0, time.time() - log.written) / 60 if log.files else 0.0
    found = verdict.verdict(launch, log, minutes, stalled_minutes)
    return WatchResult(
        launch=launch,
        log=log,
        verdict=found,
        advice=advices.advise(launch, found, advices.checkpoints(launch, _folders(logs)), log.ended),
        progress=progresses.progress(launch, log),
        checks=tuple(verdict.loss_checks(launch, log)),
        notes=tuple(_notes(launch, log)),
    )


def _places(launch: WatchedLaunch, logs: tuple[Path, ...]) -> tuple[Path, ...]:
    if logs:
        return logs
    if launch.output is None:
        raise InputError(f"{launch.folder}: its start script names no folder of logs: name them with --log")
    if not launch.output.is_dir():
        raise InputError(
            f"{launch.output}: not there, so the launch has not started here: name its logs with --log, or set "
            f"ALMR_CHECKPOINTS as it was started"
        )
    return (launch.output,)


def _folders(logs: tuple[Path, ...]) -> tuple[Path, ...]:
    """Where checkpoints of a run are whose logs were named: in a named folder, or beside a named file."""
    return tuple(path if path.is_dir() else path.parent for path in logs)


def _notes(launch: WatchedLaunch, log: RunLog) -> Iterator[str]:
    if launch.predicted and launch.why_not:
        yield launch.why_not
    if log.last >= 0 and not log.held_out.get(0) and launch.predicted:
        yield "the held-out losses before step 1 are not in the log, so no change can be compared with the prediction"
    if differs := match.lr_differs(launch, log):
        yield differs
    if log.between and not log.ended:
        yield "the log comes with the checkpoints alone, so a stall is seen when two of them are late"
    if log.left_out:
        lines = "one line" if log.left_out == 1 else f"{log.left_out:,} lines"
        yield f"{lines} cannot be read, as of a run that was killed"
    text = launch.path.assumption if launch.path else launch.predicted and launch.predicted.assumption
    if text:
        yield f"the band holds {text}" if text.startswith("if") else f"the band assumes that {text}"
