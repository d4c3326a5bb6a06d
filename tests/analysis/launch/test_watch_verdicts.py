"""What is said of a running launch, since which step, and what to do then."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
import watched_launch as made

from analysis.launch.watching import bundles, result
from analysis.launch.watching.predicted_path import PredictedPath
from sweep.study import InputError


def looked(tmp_path: Path, *lines: str, path: bool = True, trainer: str = "native") -> result.WatchResult:
    launch = tmp_path / "launch" / trainer
    if not launch.is_dir():
        made.bundle(tmp_path, trainer, path)
    log = tmp_path / made.output(trainer) / "trials" / "one" / "metrics.jsonl"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("".join(f"{line}\n" for line in lines))
    return result.look(bundles.find(launch))


def checkpoint(tmp_path: Path, step: int) -> Path:
    path = tmp_path / made.output("native") / "trials" / "one" / "checkpoint" / f"step-{step}"
    path.mkdir(parents=True)
    return path


def test_a_run_inside_its_band_goes_on(tmp_path):
    found = looked(tmp_path, *made.native(60))
    assert (found.verdict.text, found.advice.text) == ("as predicted up to step 60", "continue")


def test_a_run_outside_its_band_is_branched_from_the_newest_sound_checkpoint(tmp_path):
    for step in (10, 35, 50):
        checkpoint(tmp_path, step)
    found = looked(tmp_path, *made.native(80, more=lambda step: 0.05 if step >= 60 else 0.0))
    assert found.verdict.text == "outside its band since step 60 (English, 0.03 above; Chinese, 0.03 above at step 80)"
    assert found.advice.action == "branch"
    assert found.advice.text.endswith("branch at half the LR from the checkpoint of step 35")
    assert found.advice.command.startswith("almr branch ")
    assert found.advice.command.endswith("step-35 --lr-factor 0.5")


def test_a_run_that_came_back_is_as_predicted(tmp_path):
    found = looked(tmp_path, *made.native(80, more=lambda step: 0.05 if step == 40 else 0.0))
    assert found.verdict.text == "as predicted at the end"
    assert [check.step for check in found.checks if check.excess] == [40, 40]


@pytest.mark.parametrize("inside", made.BASE)
def test_a_language_whose_line_is_still_to_come_does_not_end_an_alarm(tmp_path, inside):
    """torchtitan and Megatron-LM write a line for each language."""
    lines = [json.loads(line) for line in made.native(60)]
    for line in lines:
        if line["step"] >= 40 and "held_out" in line:
            line["held_out"] = {n: loss + 0.05 * (n != inside) for n, loss in line["held_out"].items()}
    lines[-1]["held_out"] = {inside: lines[-1]["held_out"][inside]}
    found = looked(tmp_path, *(json.dumps(line) for line in lines))
    assert found.verdict.text.startswith("outside its band since step 40 (")
    assert found.verdict.text.endswith(", 0.03 above)")


def test_a_loss_under_its_band_is_outside_too(tmp_path):
    found = looked(tmp_path, *made.native(40, more=lambda step: -0.1))
    assert "0.08 below" in found.verdict.text
    assert found.advice.action == "continue"


def test_without_a_checkpoint_from_before_it_is_stopped(tmp_path):
    checkpoint(tmp_path, 55)
    found = looked(tmp_path, *made.native(60, more=lambda step: 0.05))
    assert found.advice.action == "stop"
    assert "no checkpoint is from before step 20 (the oldest is of step 55)" in found.advice.text


def test_a_loss_over_the_margin_is_divergence_without_a_prediction(tmp_path):
    found = looked(tmp_path, *made.native(40, more=lambda step: 2.0 if step == 40 else 0.0), path=False)
    assert found.verdict.text.startswith("diverging since step 40 (held-out loss 1.8")


def test_a_run_that_came_back_from_over_the_margin_diverges_no_more(tmp_path):
    found = looked(tmp_path, *made.native(60, more=lambda step: 2.0 if step == 20 else 0.05))
    assert found.verdict.text.startswith("outside its band since step 20")


def test_a_training_loss_that_drifts_up_is_divergence(tmp_path):
    lines = made.native(80, loss=lambda step: 4.0)
    drift = [f'{{"step": {s}, "tokens": {2048 * s}, "loss": {4 + max(0, s - 30) * 0.01}}}' for s in range(1, 80)]
    found = looked(tmp_path, lines[0], *drift)
    assert found.verdict.word == "diverging"
    assert 44 <= found.verdict.since <= 55
    calm = [f'{{"step": {s}, "tokens": {2048 * s}, "loss": {4 + 0.1 * (s % 3)}}}' for s in range(1, 80)]
    assert looked(tmp_path, lines[0], *calm).verdict.word == "not predicted"


def test_without_a_path_only_the_end_is_predicted(tmp_path):
    found = looked(tmp_path, *made.native(60), path=False)
    assert "only the end is predicted" in found.verdict.text
    assert looked(tmp_path, *made.native(80), path=False).verdict.text == "as predicted at the end"


def test_without_the_base_loss_nothing_is_compared(tmp_path):
    found = looked(tmp_path, *made.native(60)[1:])
    assert "the held-out losses before step 1 are not in the log" in found.verdict.text


def test_a_silent_log_has_stalled_unless_it_has_ended(tmp_path):
    found = looked(tmp_path, *made.native(40))
    past = time.time() - 3600
    os.utime(found.log.files[0], (past, past))
    again = result.look(found.launch)
    assert again.verdict.text.startswith("stalled: no line for 1 h 0 min")
    assert again.advice.command.startswith("bash ")
    looked(tmp_path, *made.native(80))
    os.utime(found.log.files[0], (past, past))
    assert result.look(found.launch).verdict.word == "as predicted"


@pytest.mark.parametrize(
    ("hours", "stalled"), [({40: 1}, False), ({20: 4, 40: 1}, False), ({20: 4, 40: 2}, False), ({20: 8, 40: 6}, True)]
)
def test_a_log_that_comes_with_the_checkpoints_is_silent_between_them(tmp_path, hours, stalled):
    """TRL and axolotl write trainer_state.json, and no line between two checkpoints."""
    launch = bundles.find(made.bundle(tmp_path, "trl"))
    for step, ago in hours.items():
        state = launch.output / f"checkpoint-{step}" / "trainer_state.json"
        state.parent.mkdir(parents=True)
        state.write_text(json.dumps({"max_steps": made.STEPS, "log_history": made.transformers(step)}))
        os.utime(state, (time.time() - 3600 * ago,) * 2)
    found = result.look(launch)
    assert found.verdict.word == ("stalled" if stalled else "as predicted")
    assert any("the log comes with the checkpoints alone" in note for note in found.notes)


def test_a_run_of_our_own_trainer_has_ended_with_its_record(tmp_path):
    found = looked(tmp_path, *made.native(40))
    record = found.log.files[0].with_name("record.json")
    for status, ended in (("failed", False), ("diverged", True)):
        record.write_text(f'{{"status": "{status}"}}')
        assert result.look(found.launch).progress.ended is ended


def test_spikes_and_another_lr_are_told(tmp_path):
    lines = [f'{{"step": {s}, "tokens": {2048 * s}, "loss": {9 if s == 40 else 4.0}, "lr": 2e-3, "grad_norm": '
             f'{30 if s == 40 else 1.0}}}' for s in range(1, 60)]  # fmt: skip
    found = looked(tmp_path, made.native()[0], *lines)
    assert [spike.step for spike in found.progress.loss_spikes] == [40]
    assert [spike.step for spike in found.progress.norm_spikes] == [40]
    assert any("the planned one" in note for note in found.notes)


def test_a_path_is_read_between_its_measurements():
    path = made.predicted_path()
    assert path.change("additional", 0.625).low == pytest.approx(-0.3125 - 0.02)
    assert path.change("additional", 0.2) is None
    assert path.change("other", 0.5) is None
    with pytest.raises(ValueError, match="not as many"):
        PredictedPath.model_validate(path.model_dump() | {"shares": [0.5, 1.0]})


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: folder / "nothing", "no such folder"),
        (lambda folder: folder, "no launch bundle"),
        (lambda folder: made.bundle(folder), "has not started here"),
    ],
)
def test_what_cannot_be_watched_is_one_line(tmp_path, make, words):
    with pytest.raises(InputError, match=words) as error:
        result.look(bundles.find(make(tmp_path)))
    assert len(str(error.value).splitlines()) == 1
