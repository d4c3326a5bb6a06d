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
# Where this process is killed itself, coreutils' timeout ends the program with its group. It is not on every system.
OUTLIVING = ("timeout", "-s", "KILL", str(SECONDS + 10))
PASSED = {"ALMR_EVENT": "event", "ALMR_STUDY": "study", "ALMR_RUN": "run", "ALMR_TEXT": "text"}


class ProgramError(Exception):
    """A program that was to be told failed."""


def fault(command: Sequence[str]) -> str | None:
    """What is wrong with a command, None where its program is found."""
    if shutil.which(command[0]) is None:
        return f"{command[0]}: no such program, or it may not be run: correct it, or remove this field"
    return None


class Program:
    """Starts the command anew for each event."""

    def __init__(self, command: Sequence[str]) -> None:
        self.command = command
        self.started: subprocess.Popen[bytes] | None = None
        self.left = False

    def tell(self, facts: dict[str, Any]) -> None:
        """Start it once, without a shell: no text of a run is a part of a command. Raises ProgramError."""
        if self.left:
            return
        name, own = self.command[0], {key: str(facts[of]).replace("\0", " ") for key, of in PASSED.items()}
        try:
            self.started = subprocess.Popen(  # noqa: S603 (the user's own words)
                [*(OUTLIVING if shutil.which(OUTLIVING[0]) else ()), *self.command],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=os.environ | own,
                start_new_session=True,
            )
        except OSError as error:
            raise ProgramError(f"{name}: {error.strerror}") from None
        try:
            text = json_text(facts, ensure_ascii=False).encode(errors="backslashreplace")  # of a path that is not UTF-8
            self.started.communicate(text, timeout=SECONDS)
        except subprocess.TimeoutExpired:
            self.end()
            raise ProgramError(f"{name}: killed after {SECONDS} s") from None
        if self.started.returncode:
            raise ProgramError(f"{name}: exit status {self.started.returncode}")

    def leave(self) -> None:
        """Kill it, and start it no more."""
        self.left = True
        self.end()

    def end(self) -> None:
        """Kill it, with what it started, where it still runs."""
        if self.started and self.started.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.started.pid, signal.SIGKILL)
            self.started.wait()
