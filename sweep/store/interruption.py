"""What Ctrl-C, SIGTERM, a closed terminal and our own threads do to the main thread: KeyboardInterrupt, once."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
OURS = signal.SIGUSR2  # from a thread: a command that a script runs in its background ignores SIGINT
UNWINDING_SECONDS = 10.0  # in which an impatient second Ctrl-C does not end what the first one tidies up
# What is raised in there may be lost, with a lock of all imports held: each later import would wait for ever.
IMPORTS = "<frozen importlib"
AGAIN_SECONDS = 0.05


class _Handler:
    def __init__(self) -> None:
        self.raised = -UNWINDING_SECONDS

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if frame and frame.f_code.co_filename.startswith(IMPORTS):
            again = threading.Timer(AGAIN_SECONDS, _signal_main_thread, [number])
            again.daemon = True
            return again.start()
        if (now := time.monotonic()) - self.raised >= UNWINDING_SECONDS:
            self.raised = now
            raise KeyboardInterrupt


def handle_signals() -> None:
    """Handle them in this process, except those that it was started to ignore, as nohup has it."""
    handler = _Handler()
    for number in (*ENDING, OURS):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


@contextlib.contextmanager
def kept_handlers() -> Iterator[None]:
    """Put back the handlers that a library replaces within the block: that of Ray would end this process at SIGTERM
    with a stack of native code, and after Ray's shutdown SIGTERM kills.
    """
    before = {number: signal.getsignal(number) for number in ENDING}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                signal.signal(number, handler)


def interrupt_main_thread() -> None:
    """From another thread; ends a wait too."""
    _signal_main_thread(OURS if callable(signal.getsignal(OURS)) else signal.SIGINT)


def _signal_main_thread(number: int) -> None:
    signal.pthread_kill(threading.main_thread().ident or 0, number)
