"""Progress of a preparation in a log: each phase once, then its share and the time that is left every minute."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest
from rich.console import Console

from sweep.verbs.plan import phases


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    return now


def printed(console: Console) -> list[str]:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_a_log_has_a_line_a_minute_with_the_share_and_the_time_left(clock: list[float]) -> None:
    console = Console(file=io.StringIO())
    with phases.shown(console) as progress:
        progress("reading", None)
        for second in range(0, 201, 10):
            clock[0] = 1000.0 + second
            progress("tokenising", second / 400)
    assert printed(console) == [
        "reading",
        "tokenising",
        "tokenising: 15 %, about 5 min 40 s left",
        "tokenising: 30 %, about 4 min 40 s left",
        "tokenising: 45 %, about 3 min 40 s left",
    ]


def test_what_was_done_before_does_not_count_for_the_time_left(clock: list[float]) -> None:
    """A download that goes on where it broke off."""
    console = Console(file=io.StringIO())
    with phases.shown(console) as progress:
        progress("downloading", 0.8)
        clock[0] += 60
        progress("downloading", 0.9)
    assert printed(console) == ["downloading", "downloading: 90 %, about 1 min 0 s left"]


def test_a_terminal_has_one_line_that_changes(clock: list[float]) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    with phases.shown(console) as progress:
        for share in (0.1, 0.2):
            progress("tokenising", share)
    assert not [line for line in printed(console) if line.startswith("tokenising")]


@pytest.mark.slow
def test_a_preparation_imports_no_ray() -> None:
    code = "import sys, trainers.prepare, sweep.verbs.plan.prepare, sweep.cli; sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
