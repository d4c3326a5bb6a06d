"""A server in a process of its own: started, awaited until it answers /health, and ended with all that it started."""

from __future__ import annotations

import contextlib
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from sweep.study import InputError, numbers
from sweep.study.errors import printable
from sweep.worker.group.node import SupervisedProcesses

POLL_SECONDS, ASK_SECONDS = 0.2, 5.0
OWN = "almr: "
STRAIGHT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # http_proxy does not lead to this machine
Progress = Callable[[str], None]


class ServerProcess(SupervisedProcesses):
    """`health`: the address that answers 200 when it serves. `log`: where its output goes."""

    def __init__(self, words: Sequence[str], environment: Mapping[str, str], health: str, log: Path) -> None:
        super().__init__(words, log, environment, [])
        self.health, self.log = health, log

    def wait_until_healthy(self, progress: Progress) -> None:
        """Raises InputError, with its last line, where it ends before."""
        began = time.monotonic()
        while not self._is_healthy():
            self._refuse_ended()
            progress(f"starting the server: {numbers.clock(time.monotonic() - began)}; log: {self.log}")
            time.sleep(POLL_SECONDS)

    def wait(self) -> None:
        """Until it ends, which it does not by itself. Raises InputError with its last line."""
        while True:
            self._refuse_ended()
            time.sleep(POLL_SECONDS)

    def _refuse_ended(self) -> None:
        if outcome := self.poll():
            last = _last_line(self.log).removeprefix(OWN)
            status = outcome.failures[0].exit_status if outcome.failures else 0
            raise InputError(last or f"the server ended with status {status} and said nothing")

    def _is_healthy(self) -> bool:
        try:
            with STRAIGHT.open(self.health, timeout=ASK_SECONDS) as answer:
                return bool(answer.status == 200)
        except (OSError, ValueError):
            return False


@contextlib.contextmanager
def running(words: Sequence[str], environment: Mapping[str, str], health: str, log: Path) -> Iterator[ServerProcess]:
    """No process of it is left afterwards, nor where this process is killed."""
    server = ServerProcess(words, environment, health, log)
    try:
        yield server
    finally:
        server.stop()


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    return next((printable(line) for line in reversed(lines) if line.strip()), "")
