"""A program of the user's that is told what became of a run."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from typing import Any

from sweep.study.numbers import json_text

SECONDS = 60  # after which it is killed
PASSED = {"ALMR_EVENT": "event", "ALMR_STUDY": "study", "ALMR_RUN": "run", "ALMR_TEXT": "text"}


class ProgramError(Exception):
    """A program that was to be told failed."""


def fault(command: Sequence[str]) -> str | None:
    """What is wrong with a command, None where its program is found."""
    if shutil.which(command[0]) is None:
        return f"{command[0]}: no such program, or it may not be run: correct it, or remove this field"
    return None


def tell(command: Sequence[str], facts: dict[str, Any]) -> None:
    """Start it once, without a shell: no text of a run is a part of a command. Raises ProgramError."""
    own = {name: str(facts[key]).replace("\0", " ") for name, key in PASSED.items()}
    try:
        started = subprocess.Popen(  # noqa: S603 (the user's own words)
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=os.environ | own,
            start_new_session=True,
        )
    except OSError as error:
        raise ProgramError(f"{command[0]}: {error.strerror}") from None
    try:
        started.communicate(json_text(facts, ensure_ascii=False).encode(), timeout=SECONDS)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)  # with what it started
        started.wait()
        raise ProgramError(f"{command[0]}: killed after {SECONDS} s") from None
    if started.returncode:
        raise ProgramError(f"{command[0]}: exit status {started.returncode}")
