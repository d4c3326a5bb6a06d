"""Scripts of a launch: how they end, and that nothing of them is left."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest
from processes import alive

from sweep.external.runs import start
from sweep.external.runs.halfway import checkpoint
from sweep.external.runs.start import Ended, Script, TrainerEnvironment
from sweep.external.runs.trace import Trace
from sweep.external.runs.trainer_run import TrainerRun


def script(folder: Path, text: str, seconds: float = 60.0, **variables: str) -> Script:
    path = folder / "start.sh"
    path.write_text(text)
    return Script(path, variables, folder / "log", seconds)


def test_a_script_has_its_variables_and_its_log(tmp_path):
    made = script(tmp_path, 'echo "$WHERE is here"; pwd', WHERE="a b").run()
    assert made.fault is None
    assert (tmp_path / "log").read_text().startswith("a b is here\n")


def test_a_script_that_fails_is_told_with_its_last_line(tmp_path):
    made = script(tmp_path, "echo first; echo the reason >&2; exit 3").run()
    assert made.fault == f"start.sh ended with status 3: the reason (log: {tmp_path / 'log'})"


def test_a_script_that_takes_too_long_is_stopped(tmp_path):
    assert script(tmp_path, "sleep 100", seconds=0.3).run().fault == "start.sh took over 0 minutes"


@pytest.mark.parametrize("how", ["watch", "interrupt"])
def test_whatever_it_started_ends_with_it(tmp_path, how):
    text = f"setsid bash -c 'echo $$ > {tmp_path}/pid; exec sleep 300' & sleep 300"

    def watch(seconds):
        if not alive(tmp_path / "pid"):
            return False
        if how == "interrupt":
            raise KeyboardInterrupt
        return True

    made = script(tmp_path, text)
    if how == "interrupt":
        with pytest.raises(KeyboardInterrupt):
            made.run(watch)
    else:
        assert made.run(watch).stopped
    until = time.monotonic() + 20
    while alive(tmp_path / "pid") and time.monotonic() < until:
        time.sleep(0.05)
    assert not alive(tmp_path / "pid")


def test_the_trainers_programs_come_first_and_ours_last():
    path = TrainerEnvironment("/venvs/megatron/bin/python").all_variables["PATH"].split(os.pathsep)
    assert (path[0], path[-1]) == ("/venvs/megatron/bin", str(Path(sys.executable).parent))


def test_a_trainer_without_an_environment_is_not_run(monkeypatch):
    monkeypatch.delenv("ALMR_EXPORT_VENVS", raising=False)
    assert start.environment("axolotl").why_not == "no environment for axolotl: set ALMR_EXPORT_VENVS"
    assert start.environment("native").why_not is None


@pytest.mark.parametrize(
    ("name", "unfinished", "finished"),
    [
        ("native", "run/trials/t/checkpoint/.step-10/state.json", "run/trials/t/checkpoint/step-10/state.json"),
        ("llamafactory", "out/checkpoint-10/model.safetensors", "out/checkpoint-10/trainer_state.json"),
        ("axolotl", "out/checkpoint-9/trainer_state.json", "out/checkpoint-10/trainer_state.json"),
        ("torchtitan", "out/checkpoint/step-10/__0_0.distcp", "out/checkpoint/step-10/.metadata"),
        ("megatron", "out/iter_0000010/mp_rank_00/model.pt", "out/latest_checkpointed_iteration.txt"),
    ],
)
def test_a_checkpoint_counts_once_it_is_complete(tmp_path, name, unfinished, finished):
    for written, path in ((False, unfinished), (True, finished)):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("10")
        assert bool(checkpoint(name, tmp_path, 10)) == written
    found = checkpoint(name, tmp_path, 10)
    written = found.stat().st_mtime_ns
    if name == "megatron":  # the end of the run
        (tmp_path / finished).write_text("20")
    assert found.stat().st_mtime_ns == written


@pytest.mark.parametrize(
    ("name", "logged", "second", "resumed"),
    [
        ("native", 7, "gone", 7),
        ("native", None, "kept", None),
        ("native", None, "gone", None),
        ("megatron", 10, "kept", 10),
        ("megatron", None, "kept", None),
        ("axolotl", None, "kept", 10),
        ("axolotl", None, "again", None),
        ("axolotl", None, "gone", None),
    ],
)
def test_a_run_counts_as_resumed_only_where_its_files_show_it(tmp_path, monkeypatch, name, logged, second, resumed):
    mark, starts = tmp_path / "checkpoint", []

    def run(self, script, checkpoints, stop=None):
        starts.append(script)
        if len(starts) == 1 or second == "again":
            mark.write_text("10")
            os.utime(mark, ns=(len(starts), len(starts)))
        elif second == "gone":
            mark.unlink()
        return Ended(1.0, stopped=len(starts) == 1)

    monkeypatch.setattr(TrainerRun, "_run", run)
    monkeypatch.setattr(TrainerRun, "_half_way", lambda self, checkpoints: mark)
    monkeypatch.setattr(TrainerRun, "half", 10)
    monkeypatch.setattr(TrainerRun, "read", lambda self, checkpoints: Trace(steps=(), resumed_from=logged))
    launch = TrainerRun(name, None, tmp_path / "launch", TrainerEnvironment("python"), None, 1.0, print)
    assert launch.train_in_two()[1] == resumed
    assert starts == ["start.sh", "start.sh"]
