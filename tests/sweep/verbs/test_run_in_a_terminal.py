"""`almr run` as a person sees it in 80 columns: it starts, is stopped by Ctrl-C, and goes on; another one watches."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pages
import pytest
from pseudo_terminal import Terminal, script
from replay_study import replayed

from sweep.store.run import Run

pytestmark = pytest.mark.slow
SHOWN = re.compile(r"\[#*-*\] (\d+) of 9 trials done, 1 running, (\d+) waiting")


def slow_in_the_end(table: str) -> str:
    """After three trials, a minute for each."""
    return re.sub(r"^(0\.[47],.*),0\.4$", r"\1,60.0", table, flags=re.MULTILINE)


def until(found: Callable[[], object]) -> None:
    deadline = time.monotonic() + 120
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_run_in_a_terminal_is_interrupted_and_resumed(tmp_path: Path) -> None:
    study = replayed(tmp_path, seconds=0.4, edit=slow_in_the_end)
    run = Run(tmp_path / "runs" / "replayed")
    began, first = time.monotonic(), Terminal(tmp_path, "run", str(study))
    until(run.driver)
    watching = Terminal(tmp_path, "status", "replayed", "--watch")
    for shown in (first, watching):
        until(lambda: [line for line in shown.lines if SHOWN.search(line) and "3 of 9" in line])  # noqa: B023
    seconds = time.monotonic() - began
    first.press(b"\x03")
    assert first.wait() == 130
    assert first.lines[-1] == "almr: interrupted; finished trials are kept; run the same command again to resume"
    view = first.lines[1:-1]  # between the run's address, which is as long as it is, and the advice
    assert max(map(len, view)) <= 80
    assert len([line for line in view if SHOWN.search(line)]) <= seconds + 2  # calm: at most once a second
    assert [line for line in view if re.fullmatch(r"about \d+ s left \(\d+ s to \d+ s\)", line)]
    assert first.written.count(b"\x1b[?25h") == first.written.count(b"\x1b[?25l") == 1  # the cursor is back

    # Another terminal saw the same, and that the run was stopped.
    assert watching.wait() == 0
    assert "is interrupted: " in " ".join(watching.lines)
    assert "to resume: almr run" in watching.lines[-1]
    assert {int(SHOWN.search(line)[1]) for line in watching.lines if SHOWN.search(line)} <= set(range(4))
    until(run.files.report.is_file)  # on a busy machine a moment later
    page = pages.Page(run.files.report.read_text(encoding="utf-8"))
    assert "INTERRUPTED" in page.text
    assert "almr run" in page.text

    # It goes on where there is no terminal: a dated line for each trial that ends.
    done = len(run.files.records())
    command = [sys.executable, "-c", script("run", str(replayed(tmp_path)))]
    resumed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert resumed.returncode in (0, 3), resumed.stderr
    assert f"9 trials, {9 - done} to run" in resumed.stdout
    dated = [line for line in resumed.stdout.splitlines() if re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ", line)]
    assert len(dated) == 9 - done
    assert re.fullmatch(r"\S+ \S+ \[4/9\] almr=0\.40_lr=1e-03_seed=0 complete: \d\.\d{4} nats per token.*", dated[0])
    assert "\x1b" not in resumed.stdout
    assert "RUNNING" not in run.files.report.read_text()
    assert not run.files.live.exists()
