"""A branch of a launch: from a checkpoint on, the same rows with another LR, by a bundle that starts by itself."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import watched_launch as made
import yaml
from samples import local_content
from typer.testing import CliRunner

from analysis.launch.watching import bundles, result
from sweep import cli
from sweep.study import InputError
from sweep.worker import launch_run
from trainers.loop.checkpoint import Checkpoints
from trainers.loop.learner import Learner

Steps = dict[int, tuple[float, float, torch.Tensor]]  # LR, loss and rows of each step
STEPS, STOPPED = 8, 3


@pytest.fixture
def bundle(tmp_path, small_model, cache) -> Path:
    """A launch of eight steps that saves a checkpoint after each."""
    content = local_content(tmp_path, small_model) | {"name": "small-launch", "grid": {"almr": [0.5], "lr": [1e-2]}}
    content["training"] |= {"tokens": STEPS * content["training"]["global_batch_tokens"], "log_every": 1}
    content["execution"] = {"checkpoint_minutes": 1e-9}
    folder = tmp_path / "launch" / "native"
    folder.mkdir(parents=True)
    (folder / "study.yaml").write_text("# The launch.\n" + yaml.safe_dump(content))
    (folder / "start.sh").write_text(
        'readonly checkpoints="${ALMR_CHECKPOINTS:-../..}"/checkpoints-small-native-0123abcd\n'
    )
    (folder / "start.sh").chmod(0o755)
    (folder / "predicted_losses.json").write_text(made.predicted().model_dump_json())
    return folder


@pytest.fixture
def start(monkeypatch) -> Callable[..., Steps]:
    """Runs what a start script starts; `until`: it is killed after so many checkpoints."""

    def started(folder: Path, out: Path, until: int | None = None) -> Steps:
        seen: Steps = {}
        learn, save, saved = Learner._learn, Checkpoints.save, []

        def learning(self: Learner, batch: torch.Tensor, lr: float) -> tuple[float, float]:
            loss, norm = learn(self, batch, lr)
            seen[self.step + 1] = lr, loss, batch.clone()
            return loss, norm

        def saving(self: Checkpoints, *arguments: Any) -> None:
            save(self, *arguments)
            saved.append(self)
            if len(saved) == until:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(Learner, "_learn", learning)
            patch.setattr(Checkpoints, "save", saving)
            patch.setattr(sys, "argv", ["launch_run", str(folder / "study.yaml"), str(out)])
            with pytest.raises((SystemExit, KeyboardInterrupt)) as ended:
                launch_run.main()
        assert until or ended.value.args == (0,)
        return seen

    return started


def branch(*arguments: object) -> Any:
    return CliRunner().invoke(cli.app, ["branch", *map(str, arguments)])


def test_a_branch_trains_on_the_same_rows_with_half_the_lr(bundle, start, tmp_path):
    whole = start(bundle, tmp_path / "whole")
    out = bundles.find(bundle).output
    start(bundle, out, until=STOPPED)
    [checkpoint] = out.glob("trials/*/checkpoint/step-*")
    done = branch(bundle.parent, checkpoint)
    assert done.exit_code == 0
    assert done.stdout.splitlines()[1].startswith(f"from step {STOPPED + 1} on it trains with peak LR 5e-3")
    folder = tmp_path / "launch-branch-1" / "native"
    branched = bundles.find(folder.parent)
    assert branched.output != out
    assert not (folder / "predicted_losses.json").exists()
    assert (folder / "start.sh").stat().st_mode & 0o777 == 0o755
    taken = start(folder, branched.output)
    assert list(taken) == list(range(STOPPED + 1, STEPS + 1))
    for step, (lr, _, rows) in taken.items():
        assert lr == pytest.approx(whole[step][0] / 2, rel=1e-12)
        assert torch.equal(rows, whole[step][2])
    assert taken[STOPPED + 1][1] == pytest.approx(whole[STOPPED + 1][1], rel=1e-6)  # the same weights, before it learns
    assert taken[STEPS][1] != whole[STEPS][1]
    found = result.look(branched)
    assert found.progress.ended
    assert [step for step in found.log.steps if step] == list(range(1, STEPS + 1))  # the log up to the checkpoint, too
    assert found.log.held_out.keys() == {0, STEPS}
    assert checkpoint.is_dir()  # the other run's stays


def test_what_cannot_branch_is_one_line(bundle, start, tmp_path, monkeypatch):
    out = bundles.find(bundle).output
    start(bundle, out, until=STOPPED)
    [checkpoint] = out.glob("trials/*/checkpoint/step-*")
    other = tmp_path / "other" / "step-3"
    other.mkdir(parents=True)
    (other / "state.json").write_text(json.dumps({"identity": {"almr": 0.5, "seed": 0, "lr": 9.0}, "step": 3}))
    factory = made.bundle(tmp_path / "theirs", "llamafactory")
    (tmp_path / "there").mkdir()
    for arguments, words in (
        ((bundle, tmp_path), "no checkpoint of almr's own trainer"),
        ((bundle, other), "it is of a run with lr 9.0"),
        ((bundle, checkpoint, "--lr-factor", "0"), "give a number above 0"),
        ((bundle, checkpoint, "--lr-factor", "1e9"), "give a number above 0"),
        ((bundle, checkpoint, "--out", bundle / "inside"), "it is inside the bundle"),
        ((bundle, checkpoint, "--out", tmp_path / "there"), "it is there already"),
        ((factory, checkpoint), "llamafactory cannot go on with another LR"),
    ):
        error = branch(*arguments).exception
        assert isinstance(error, InputError)
        assert words in str(error)
        assert len(str(error).splitlines()) == 1
    (bundle / "figure.bin").write_bytes(b"\xff\xfe")  # a file that is no text is copied as it is
    branch(bundle, checkpoint)
    assert (tmp_path / "launch-branch-1" / "native" / "figure.bin").read_bytes() == b"\xff\xfe"
    (checkpoint / "state.json").unlink()
    study = tmp_path / "launch-branch-1" / "native" / "study.yaml"
    monkeypatch.setattr(sys, "argv", ["launch_run", str(study), str(tmp_path / "out")])
    with pytest.raises(SystemExit, match="the checkpoint of this branch is gone or broken"):
        launch_run.main()
