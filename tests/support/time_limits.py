"""A limit on the time that a block of a test may take."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from typing import Any

SIGNALS = {signal.ITIMER_REAL: signal.SIGALRM, signal.ITIMER_VIRTUAL: signal.SIGVTALRM}


@contextlib.contextmanager
def limited(timer: int, seconds: float, error: BaseException) -> Iterator[None]:
    """Raise `error` in the block once it took so many seconds of `timer`: of the clock, or of processor time."""

    def stop(*_: Any) -> None:
        raise error

    before = signal.signal(SIGNALS[timer], stop)
    signal.setitimer(timer, seconds)
    try:
        yield
    finally:
        signal.setitimer(timer, 0)
        signal.signal(SIGNALS[timer], before)
