"""Signals end the main thread's work once, and not in the midst of an import."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

import pytest

from sweep.store import interruption


@pytest.fixture(autouse=True)
def handled() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (*interruption.ENDING, interruption.OURS)}
    interruption.handle_signals()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_what_the_first_signal_tidies_up_is_not_broken_off_by_more() -> None:
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGINT)
    signal.raise_signal(signal.SIGHUP)


def test_a_signal_waits_until_the_import_machinery_is_left() -> None:
    """It lost one in a callback of an import, kept the lock, and the next import waited for ever."""
    code = compile("signal.raise_signal(signal.SIGINT); left = True", "<frozen importlib._bootstrap>", "exec")
    names = {"signal": signal, "left": False}
    exec(code, names)
    with pytest.raises(KeyboardInterrupt):
        time.sleep(20)
    assert names["left"]


def test_a_handler_that_a_library_replaces_is_put_back() -> None:
    with interruption.kept_handlers():
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)
