"""The driver's side of what writes the page of its run: a process beside it, which may fail and never fails the run."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from sweep.store.run import Run
from sweep.study.errors import one_line, without_secrets

CODE = Path(__file__).parents[3]  # the folder of our packages
DONE_SECONDS = 2.0
LAST_PAGE_SECONDS = 5.0
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class PageProcess:
    """Writes a run's page while the driver, this process, runs it."""

    def __init__(self, run: Run) -> None:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
        command = [sys.executable, "-m", "sweep.verbs.live.writer", run.address, os.getcwd(), str(os.getpid())]
        self.process = subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=CODE,
            env=environment | ONE_THREAD,
            start_new_session=True,  # Ctrl-C is ours to pass on
        )
        assert self.process.stdin
        os.set_blocking(self.process.stdin.fileno(), False)  # whatever it does, the run goes on
        self.cut = self.next = b""  # the rest of a line that was begun; the newest line that waits for it

    def tell(self, **what: object) -> None:
        """What the pipe has no room for is told with the next line, unless that replaces it."""
        assert self.process.stdin
        self.next = _line(what)
        with contextlib.suppress(OSError, ValueError):
            while self.cut or self.next:
                if not self.cut:
                    self.cut, self.next = self.next, b""
                self.cut = self.cut[os.write(self.process.stdin.fileno(), self.cut) :]

    def done(self) -> str:
        """The driver writes its own page now, and this process none any more; returns what went wrong, or nothing."""
        try:
            return self._last(DONE_SECONDS, done=True)
        finally:
            self.process.kill()
            self.process.wait()

    def stopped(self, why: str | None) -> str:
        """Wait a little for the last page, which on a busy machine follows after this process; returns as `done`."""
        return self._last(LAST_PAGE_SECONDS, stopped=why)

    def _last(self, seconds: float, **what: object) -> str:
        if ended := self.process.poll():  # nobody told it to, and it had no time to say why
            return (
                f"its process was ended by signal {-ended}" if ended < 0 else f"its process ended with status {ended}"
            )
        with contextlib.suppress(subprocess.TimeoutExpired):
            told = self.process.communicate(self.cut + _line(what), timeout=seconds)
            return told[0].decode(errors="replace").strip()
        return ""


def _line(what: dict[str, object]) -> bytes:
    return json.dumps(what).encode() + b"\n"


class PageTeller:
    """What a display tells the process of; nothing where there is none."""

    def __init__(self, process: PageProcess | None) -> None:
        self.process = process

    def tell(self, running: list[str]) -> None:
        if self.process:
            self.process.tell(running=running)


@contextlib.contextmanager
def writing(run: Run, console: Console) -> Iterator[PageTeller]:
    """Within the block, the run has a page that is written anew every few seconds. A block that raises leaves one that
    says so.
    """
    try:
        process = PageProcess(run)
    except OSError as error:
        _warn(console, one_line(error))
        yield PageTeller(None)
        return
    try:
        yield PageTeller(process)
    except BaseException as error:
        why = without_secrets(one_line(error)) if isinstance(error, Exception) else None
        _warn(console, process.stopped(why))
        raise
    _warn(console, process.done())


def _warn(console: Console, fault: str) -> None:
    if fault:
        line = f"warning: the page was not written while the trials ran: {fault}"
        console.print(line, markup=False, soft_wrap=True)
