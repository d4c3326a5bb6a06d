"""The process that watches a worker from outside: what it kills, when, and what it says of the end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import bucket
import pytest
from processes import alive

from sweep.store.run import Run
from sweep.study import Trial
from sweep.trials import failure
from sweep.worker import push_log
from sweep.worker.watch import ending, log_size
from sweep.worker.watch.silence import LONGEST_LOOK, Silence

MINUTES = 0.01
WORKER = """
import ctypes, faulthandler, os, signal, subprocess, sys, time
from pathlib import Path
from sweep.worker.watch import watched
folder, how = Path(sys.argv[1]), sys.argv[2]
log = (folder / "train.log").open("a")
log.write("--- attempt 1\\n")
log.flush()
faulthandler.enable(log)
watched.start(float(sys.argv[3]))
with watched.scratch(str(folder / "scratch")), watched.trial(folder / "train.log", folder / "heartbeat"):
    exec(how)
"""
LOCK_HELD = "ctypes.PyDLL(None).sleep(60)"  # unlike CDLL, it keeps the interpreter's lock
BEATS = "[((folder / 'heartbeat').touch(), time.sleep(0.05)) for _ in range(24)]"
CHILD = "(folder / 'child').write_text(str(subprocess.Popen(['sleep', '60']).pid))"


def end(folder: Path, how: str, minutes: float = MINUTES) -> tuple[int, str, float]:
    """The status of a worker that does `how` in a trial, why it ended by its log, and the seconds that it took."""
    (folder / "scratch").mkdir()
    began, command = time.monotonic(), [sys.executable, "-c", WORKER, str(folder), how, str(minutes)]
    done = subprocess.run(command, timeout=30, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    seconds = time.monotonic() - began
    while done.returncode and (folder / "scratch").exists() and time.monotonic() - began < 20:
        time.sleep(0.02)  # the last that the watcher does
    return done.returncode, ending.told(ending.tail(folder / "train.log")) or "", seconds


@pytest.mark.parametrize(
    ("how", "more"),
    [
        ("time.sleep(60)", ""),
        ("os.kill(os.getpid(), signal.SIGSTOP)", ", and its process was stopped"),
        (LOCK_HELD, ""),
        (f"{CHILD}; os.closerange(0, 3); time.sleep(60)", ""),
    ],
)
def test_a_worker_that_hangs_or_was_stopped_or_holds_the_lock_is_killed_in_time(
    tmp_path: Path, how: str, more: str
) -> None:
    status, reason, seconds = end(tmp_path, how)
    assert status == -signal.SIGKILL
    assert reason == f"the trial hung: no heartbeat for {MINUTES:g} minutes (resources.hang_minutes){more}"
    assert seconds < 60 * MINUTES + 10
    assert not (tmp_path / "scratch").exists()
    assert not alive(tmp_path / "child")


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("ctypes.string_at(0)", "crashed in native code: Segmentation fault"),
        ("os.abort()", "crashed in native code: Aborted"),
        ("ctypes.CDLL(None)._exit(3)", "killed by SIGKILL, or native code ended it"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "killed by SIGKILL, or native code ended it"),
    ],
)
def test_a_sudden_end_has_its_cause_in_words(tmp_path: Path, how: str, words: str) -> None:
    assert words in end(tmp_path, how, minutes=1)[1]


def test_what_takes_the_log_to_the_driver_runs_before_the_worker_is_killed(tmp_path: Path) -> None:
    program = f"import os, sys; os.kill(int(sys.argv[1]), 0); open('{tmp_path}/pushed', 'w')"
    end(tmp_path, f"watched.tell(push=[sys.executable, '-c', {program!r}, str(os.getpid())]); time.sleep(60)")
    assert (tmp_path / "pushed").exists()


def test_after_a_sudden_end_the_log_with_its_cause_is_taken_to_the_driver_before_the_scratch_folder_goes(
    tmp_path: Path,
) -> None:
    program = f"import shutil; shutil.copy('{tmp_path}/train.log', '{tmp_path}/scratch/../pushed')"
    end(tmp_path, f"watched.tell(push=[sys.executable, '-c', {program!r}]); os.kill(os.getpid(), signal.SIGKILL)", 1)
    assert "it was killed by SIGKILL" in str(ending.told(ending.tail(tmp_path / "pushed")))


def test_a_trial_that_goes_on_or_has_ended_is_left_alone(tmp_path: Path) -> None:
    assert end(tmp_path, BEATS)[:2] == (0, "")


def test_memory_that_was_full_is_told_from_other_ends(tmp_path: Path) -> None:
    found = ending.sudden(tmp_path / "none.log", out_of_memory=True, memory=3 * 10**9)
    assert found == "killed by the kernel, for the memory of the machine or of its cgroup was full (it held 3.0 GB)"


def test_only_the_last_attempt_of_a_log_counts_however_large_it_is(tmp_path: Path) -> None:
    log = tmp_path / "train.log"
    log.write_text(f"--- attempt 1\n{ending.ENDED}old\n--- attempt 2\n")
    assert ending.told(ending.tail(log)) is None
    with log.open("a") as opened:
        opened.truncate(10**11)  # a hole: no bytes on the disk
        opened.seek(0, os.SEEK_END)
        opened.write(f"\n{ending.ENDED}new\n")
    assert ending.told(ending.tail(log)) == "new"


def test_of_a_log_of_gigabytes_the_end_is_kept_while_it_is_written(tmp_path: Path) -> None:
    grow = f"os.truncate(folder / 'train.log', {log_size.LARGEST})"  # a hole: no bytes on the disk
    beat = "(folder / 'heartbeat').touch(), time.sleep(0.05)"
    until_cut = f"[({beat}) for _ in range(400) if (folder / 'train.log').stat().st_size > {log_size.LARGEST}]"
    how = f"{grow}; log.write('\\nbefore\\n'); log.flush(); {until_cut}; log.write('after\\n')"
    assert end(tmp_path, how)[:2] == (0, "")
    text = (tmp_path / "train.log").read_bytes()
    assert len(text) < 2 * log_size.KEPT
    assert text.startswith(b"--- all but the end of this log was removed, as it had more than 1024 MB\n")
    assert text.endswith(b"before\nafter\n")


def test_clocks_that_are_wrong_or_set_and_a_machine_that_slept_are_no_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heartbeat, now = tmp_path / "heartbeat", [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    heartbeat.touch()
    os.utime(heartbeat, (1, 1))
    silence = Silence(heartbeat)
    for second in range(1, 6):
        now[0] += 2
        assert silence.seconds == 2 * second
    os.utime(heartbeat, (4e9, 4e9))  # far in the future
    assert silence.seconds == 0
    now[0] += 2
    os.utime(heartbeat, (1, 1))
    assert silence.seconds == 0, "set back"
    now[0] += 3600
    assert silence.seconds == LONGEST_LOOK, "the process that watches did not run either"


def test_the_log_of_a_trial_on_an_object_store_is_put_there_before_its_worker_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.register()
    run, trial = Run(f"bucket://{tmp_path / 'store'}", tmp_path / "mirror"), Trial(almr=0.5, lr=1e-3, seed=0)
    run.trial_folder(trial).mkdir(parents=True)
    run.log(trial).write_text(f"--- attempt 1\n{ending.ENDED}the trial hung\n")
    monkeypatch.setattr(sys, "argv", ["push_log", run.address, str(run.folder), trial.id])
    push_log.main()
    driver = Run(run.address, tmp_path / "elsewhere")
    assert failure.TrialLog(driver, trial).told == "the trial hung"
    assert failure.TrialLog(driver, Trial(almr=0.7, lr=1e-3, seed=0)).told is None, "it has no log"
    assert ending.told(ending.tail(tmp_path / "store" / run.files.name(run.log(trial)))) == "the trial hung"
