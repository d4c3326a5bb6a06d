"""What Ctrl-C, SIGTERM, a closed terminal and our own threads do to the main thread: KeyboardInterrupt, once."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from types import FrameType
from typing import Any, NoReturn

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
OURS = signal.SIGUSR2  # from a thread: a command that a script runs in its background ignores SIGINT
UNWINDING_SECONDS = 10.0  # in which an impatient second Ctrl-C does not end what the first one tidies up
# What is raised in an import may be lost, with a lock of all imports held, so that each later one would wait for ever;
# or it becomes another error, as in the body of a class.
IMPORTS = "<frozen importlib"
# It calls our functions from native code, which takes what is raised there for a value that does not fit, and goes on.
MODELS = ("pydantic/main.py", "pydantic/type_adapter.py")
AGAIN_SECONDS = 0.05
KEPT_SECONDS = 0.0005  # between two looks at what a library does to our handlers
INTERRUPTED = 130
SAID = b"almr: interrupted; run the same command again\n"


class _Handler:
    def __init__(self) -> None:
        self.raised = -UNWINDING_SECONDS

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if _may_lose_it(frame):
            again = threading.Timer(AGAIN_SECONDS, _signal_main_thread, [number])
            again.daemon = True
            return again.start()
        if (now := time.monotonic()) - self.raised >= UNWINDING_SECONDS:
            self.raised = now
            raise KeyboardInterrupt


def _may_lose_it(frame: FrameType | None) -> bool:
    while frame:
        file = frame.f_code.co_filename
        if file.startswith(IMPORTS) or file.endswith(MODELS):
            return True
        frame = frame.f_back
    return False


def handle_signals() -> None:
    """Handle them in this process, except those that it was started to ignore, as nohup has it."""
    handler = _Handler()
    for number in (*ENDING, OURS):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def end_at_once(told: bool = False) -> None:
    """Have them end this process in one line: while it imports what it needs and once it has done its work, nothing has
    to be tidied. `told`: it ends for such a signal, and has said so.
    """
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_IGN if told else lambda *_: end_now())


def end_now() -> NoReturn:
    """End this process as an interrupted one."""
    with contextlib.suppress(OSError):
        os.write(2, SAID)
    os._exit(INTERRUPTED)


@contextlib.contextmanager
def kept_handlers() -> Iterator[None]:
    """Put back the handlers that a library replaces within the block: that of Ray would end this process at SIGTERM
    with a stack of native code.
    """
    before = {number: signal.getsignal(number) for number in ENDING}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            _set(before)


def with_kept_handlers(act: Callable[[], object]) -> None:
    """Let a thread do what takes a while and replaces handlers in native code, and put ours back all the while: Ray's
    shutdown has SIGTERM kill this process, from its first moments to its end. A signal is raised when that is done.
    """
    if threading.current_thread() is not threading.main_thread():
        act()
        return
    before, interrupted = {number: signal.getsignal(number) for number in ENDING}, False
    pool = ThreadPoolExecutor(1, "almr-kept-handlers")
    done = pool.submit(act)
    while not done.done():
        try:
            _set(before)
            wait([done], KEPT_SECONDS)
        except KeyboardInterrupt:
            interrupted = True
    pool.shutdown(wait=False)
    _set(before)
    if interrupted:
        raise KeyboardInterrupt
    done.result()


def _set(handlers: dict[signal.Signals, Any]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)


def interrupt_main_thread() -> None:
    """From another thread; ends a wait too."""
    _signal_main_thread(OURS if callable(signal.getsignal(OURS)) else signal.SIGINT)


def _signal_main_thread(number: int) -> None:
    signal.pthread_kill(threading.main_thread().ident or 0, number)
