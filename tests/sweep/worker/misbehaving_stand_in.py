"""Replaces `trainers/trials/cpt.py` in staged code: a trial that does at once what its file `behaviour` says."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from sweep.study import PerLanguage, Record, Status
from trainers.workers.heartbeat import Heartbeat


def run_trial(study: Any, trial: Any, ingredients: Any, folder: Path, attempt: int = 1) -> Record:
    Heartbeat(folder).signal()
    loss = misbehave((folder / "behaviour").read_text(), folder, attempt)
    return Record(
        **trial.model_dump(),
        trial_id=trial.id,
        fingerprint=study.fingerprint,
        status=Status.COMPLETE,
        attempt=attempt,
        loss=PerLanguage(original=loss, additional=1.0),
    )


class OddError(Exception):
    """Neither Tune's copy nor pickle's can be made."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text}")


def misbehave(how: str, folder: Path, attempt: int) -> float:
    if how == "stopped once" and attempt == 1:
        child = subprocess.Popen(["sleep", "600"])
        (folder / "child").write_text(str(child.pid))
        os.kill(os.getpid(), signal.SIGSTOP)
        time.sleep(600)  # this thread may run on until the main one has taken the signal
    if how == "crashes":
        ctypes.string_at(0)
    if how == "has no package":
        import no_such_package  # type: ignore[import-not-found]  # noqa: F401
    if how == "exits":
        sys.exit("no GPU here")
    if how == "raises oddly":
        raise OddError(429, "slow down\nsee the documentation")
    if how == "closes its output":
        os.chdir("/")
        sys.stdout.close()
    return float("inf") if how == "is infinite" else 2.0
