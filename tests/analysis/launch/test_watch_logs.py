"""Logs of a running launch: what each trainer writes is read without its environment, wherever it is cut off."""

from __future__ import annotations

import json
import math
import os
import time
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
import watched_launch as made
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.launch.watching import bundles, result
from analysis.launch.watching.logs import find, text, wandb_files
from sweep.study import InputError
from sweep.study.numbers import json_text

LINES = {
    "native": made.native,
    "llamafactory": lambda until: made.llamafactory(until, (made.LENGTH - 1) / made.LENGTH),
    "torchtitan": made.torchtitan,
    "megatron": made.megatron,
}
NO_CHECKS = ("llamafactory",)  # its log has no held-out losses of several sets


def write(path: Path, lines: list[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def looked(tmp_path: Path, trainer: str, *logs: Path) -> result.WatchResult:
    return result.look(bundles.find(made.bundle(tmp_path, trainer)), logs)


@pytest.mark.parametrize("trainer", LINES)
def test_the_lines_of_each_trainer_are_read(tmp_path, trainer):
    found = looked(tmp_path, trainer, write(tmp_path / "run.log", LINES[trainer](60)))
    assert found.progress.step == 60
    assert found.progress.loss == pytest.approx(4.6 - 0.004 * 60, abs=1e-4)
    assert found.progress.tokens == {"original": 15 * made.TOKENS, "additional": 45 * made.TOKENS}
    assert found.progress.speed.seconds == pytest.approx(0.5, abs=0.01)
    assert found.progress.left.seconds == pytest.approx(10, abs=0.2)
    wanted = [] if trainer in NO_CHECKS else [20, 20, 40, 40, 60, 60]
    assert [check.step for check in found.checks] == wanted
    assert all(check.excess == 0 and check.band for check in found.checks)
    assert found.verdict.word == ("not predicted" if trainer in NO_CHECKS else "as predicted")


@pytest.mark.parametrize(("stage", "scale"), [("cpt", made.LENGTH / (made.LENGTH - 1)), ("sft", 1.0), ("dpo", 1.0)])
def test_only_losses_of_plain_text_are_less_than_ours_in_llamafactory(tmp_path, stage, scale):
    launch = bundles.find(made.bundle(tmp_path, "llamafactory"))
    training = launch.study.training.model_copy(update={"stage": stage})
    staged = replace(launch, study=launch.study.model_copy(update={"training": training}))
    assert staged.loss_scale == scale


@pytest.mark.parametrize("trainer", ["llamafactory", "axolotl", "trl"])
def test_the_state_of_the_newest_checkpoint_is_read_beside_the_log(tmp_path, trainer):
    scale = (made.LENGTH - 1) / made.LENGTH if trainer == "llamafactory" else 1.0
    launch, out = made.bundle(tmp_path, trainer), tmp_path / made.output(trainer)
    for step in (20, 40):
        content = {"global_step": step, "max_steps": made.STEPS, "log_history": made.transformers(step, scale)}
        write(out / f"checkpoint-{step}" / "trainer_state.json", [json.dumps(content)])
        os.utime(out / f"checkpoint-{step}" / "trainer_state.json", (step, step))
    write(out / "checkpoint-60" / "trainer_state.json", ['{"log_his'])  # it is being written
    if trainer == "llamafactory":
        write(out / "trainer_log.jsonl", made.llamafactory(60, scale))
    found = result.look(bundles.find(launch.parent), stalled_minutes=1e9)
    assert found.progress.step == (60 if trainer == "llamafactory" else 40)
    assert found.log.held_out[40]["additional"] == pytest.approx(made.losses(40)["additional"])
    assert found.verdict.text == "as predicted up to step 40"


NAMES = {
    "native": ("train/loss", "train/lr", "train/grad_norm", "held_out/{}"),
    "llamafactory": ("train/loss", "train/learning_rate", "train/grad_norm", "eval/{}_loss"),
    "torchtitan": ("loss_metrics/global_avg_loss", "lr/0", "grad_norm", "held_out/{}"),
    "megatron": ("lm loss", "learning-rate", "grad-norm", "lm loss validation-#"),
}


@pytest.mark.parametrize("trainer", NAMES)
def test_event_files_of_each_trainer_are_read_and_a_restart_counts(tmp_path, trainer):
    loss, lr, norm, held_out = NAMES[trainer]
    names = {name: held_out.format(name).replace("#", str(i)) for i, name in enumerate(made.BASE)}
    scale = (made.LENGTH - 1) / made.LENGTH if trainer == "llamafactory" else 1.0

    def of(step: int, more: float = 0.0) -> tuple[int, dict[str, float]]:
        measured = (
            {names[name]: scale * value for name, value in made.losses(step, more).items()} if step % 20 == 0 else {}
        )
        return step, {loss: 4.0 * scale, lr: 1e-3, norm: 0.5, "lm loss vs samples": 9.0} | measured

    made.event_file(tmp_path / "tb" / "run", [of(0), *(of(step, 0.3) for step in range(10, 61, 10))], ".1")
    made.event_file(tmp_path / "tb" / "run", [of(step) for step in (30, 40)], ".2")
    first = min((tmp_path / "tb" / "run").iterdir(), key=lambda path: path.name[-1])
    os.utime(first, (1, 1))
    found = looked(tmp_path, trainer, tmp_path / "tb")
    assert found.progress.step == 40
    assert found.progress.restarts == ((60, 30),)
    assert found.log.held_out[20]["original"] == pytest.approx(made.losses(20, 0.3)["original"], abs=1e-5)
    assert found.log.held_out[40]["original"] == pytest.approx(made.losses(40)["original"], abs=1e-5)
    assert 60 not in found.log.held_out


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(sorted(LINES)), st.integers(0, 10**6))
def test_a_log_that_is_cut_anywhere_has_only_true_values(tmp_path_factory, trainer, cut):
    whole = "".join(f"{line}\n" for line in LINES[trainer](80)).encode()
    path = tmp_path_factory.mktemp("cut") / "run.log"
    path.write_bytes(whole)
    right = text.read(path)
    again = whole.index(b"\n", len(whole) // 2) + 1
    path.write_bytes(whole[: cut % (len(whole) + 1)] + whole[again:])  # the crash, and the next start
    found = text.read(path)
    for mine, theirs in ((found.steps, right.steps), (found.held_out, right.held_out)):
        for step, values in mine.items():
            assert values.items() <= theirs[step].items()


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6), st.binary(max_size=20))
def test_an_event_file_that_is_cut_or_damaged_has_only_true_values(tmp_path_factory, cut, noise):
    folder = tmp_path_factory.mktemp("cut")
    made.event_file(folder, [(step, {"train/loss": float(step)}) for step in range(1, 9)])
    [path] = folder.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[: cut % (len(whole) + 1)] + noise)
    assert all(values["loss"] == step for step, values in find.read([path]).steps.items())


def test_steps_that_go_back_are_a_restart_whose_lines_count(tmp_path):
    lines = made.native(60) + [line.replace("4.4", "4.9") for line in made.native(40) if '"step": 40' in line]
    found = looked(tmp_path, "native", write(tmp_path / "metrics.jsonl", lines))
    assert (found.progress.step, found.progress.restarts) == (40, ((60, 40),))
    assert found.progress.loss == pytest.approx(4.94)


def test_what_is_not_finite_is_null_in_a_log(tmp_path):
    lines = [*made.native(20), '{"step": 30, "tokens": 61440, "loss": null, "lr": 1e-3, "grad_norm": null}']
    found = looked(tmp_path, "native", write(tmp_path / "metrics.jsonl", lines))
    assert math.isnan(found.progress.loss)
    assert found.verdict.text == "diverging since step 30 (the training loss is not finite)"


@pytest.mark.parametrize(
    ("trainer", "lines", "words"),
    [
        ("native", [made.native()[1].replace('"tokens": 2048', '"tokens": 4096')], "4,096 tokens after step 1"),
        ("native", ['{"step": 90, "tokens": 184320, "loss": 4.0}'], "it has step 90, the launch ends at 80"),
        (
            "llamafactory",
            ['{"current_steps": 1, "total_steps": 500, "loss": 4}'],
            "a run of 500 steps, the launch has 80",
        ),
        ("megatron", [made.megatron()[2].replace("   16", "   64")], "a batch of 64 sequences, the launch has 16"),
        ("axolotl", ["{'loss': 3.2, 'grad_norm': 1.0, 'epoch': 0.1}"], "its lines name no step"),
    ],
)
def test_a_log_of_another_run_is_refused_in_one_line(tmp_path, trainer, lines, words):
    with pytest.raises(InputError, match=words) as error:
        looked(tmp_path, trainer, write(tmp_path / "run.log", lines))
    assert len(str(error.value).splitlines()) == 1


def test_logs_of_several_trials_are_refused(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / "trials" / name / "metrics.jsonl", made.native(20))
    with pytest.raises(InputError, match="the logs of 2 trials"):
        looked(tmp_path, "native", tmp_path / "trials")


def test_a_wandb_file_is_read_by_parts_or_needs_wandb(tmp_path):
    path = tmp_path / "run-1.wandb"
    path.write_bytes(wandb_files.MAGIC)
    try:
        from wandb.proto.wandb_internal_pb2 import HistoryItem, HistoryRecord, Record
    except ImportError:
        with pytest.raises(InputError, match="W&B is not installed"):
            looked(tmp_path, "native", path)
        return
    with path.open("ab") as file:
        for step in range(1, 900):
            logged = {"trial_step": step, "train/loss": float(step), "note": "x" * step}
            items = [HistoryItem(nested_key=[name], value_json=json.dumps(value)) for name, value in logged.items()]
            put(file, Record(history=HistoryRecord(item=items)).SerializeToString())
    whole = path.read_bytes()
    assert find.read([path]).series("loss") == {step: float(step) for step in range(1, 900)}
    path.write_bytes(whole[: len(whole) // 2])
    half = find.read([path]).series("loss")
    assert 300 < len(half) < 899
    assert all(step == loss for step, loss in half.items())


def put(file, data: bytes) -> None:
    """A record as LevelDB's log has it: in blocks, whose last bytes may be too few for a part."""
    first = True
    while data or first:
        left = wandb_files.BLOCK - file.tell() % wandb_files.BLOCK
        if left < wandb_files.PART.size:
            file.write(bytes(left))
            continue
        part, data = data[: left - wandb_files.PART.size], data[left - wandb_files.PART.size :]
        kind = {(True, False): 1, (True, True): 2, (False, True): 3, (False, False): 4}[first, bool(data)]
        check = zlib.crc32(part, zlib.crc32(bytes([kind])))
        file.write(wandb_files.PART.pack(check, len(part), kind) + part)
        first = False


@pytest.mark.parametrize(
    "line",
    [
        '{"step": ' + "9" * 400 + ', "loss": 3}',
        '{"step": ' + "9" * 5000 + ', "loss": 3}',
        '{"step": 30, "loss": {"a": 1}, "grad_norm": [1], "held_out": {"original": [1]}}',
        '{"current_steps": 21, "total_steps": ' + "9" * 400 + ', "elapsed_time": "' + "9" * 5000 + ':00:00"}',
        "step: " + "9" * 5000 + "  loss: 1.0  grad_norm: 1.0  memory",
        " iteration " + "9" * 5000 + "/ 80 | lm loss: 1 |",
        " iteration 21/ 80 | global batch size: " + "9" * 5000 + " | grad norm: 0.5 |",
        " validation-" + "9" * 5000 + " loss at iteration 21 | lm loss value: 1.0 |",
    ],
)
def test_numbers_beyond_all_measure_are_no_fault(tmp_path, line):
    log = write(tmp_path / "metrics.jsonl", [*made.native(20), line])
    assert looked(tmp_path, "native", log).verdict.word == "as predicted"


def test_a_loss_beyond_all_measure_is_not_finite(tmp_path):
    log = write(tmp_path / "metrics.jsonl", [*made.native(20), '{"step": 30, "loss": 1e308, "seconds": 1e308}'])
    found = looked(tmp_path, "native", log)
    assert found.verdict.text == "diverging since step 30 (the training loss is not finite)"
    assert json.loads(json_text(found.as_json()))


def test_a_log_that_is_named_twice_is_read_once(tmp_path):
    log = write(tmp_path / "logs" / "metrics.jsonl", made.native(20))
    assert looked(tmp_path, "native", log, log.parent, log).log.restarts == []


def test_event_files_that_were_copied_follow_each_other_as_they_were_written(tmp_path):
    """A copy has the time of the copying: the newer half of a run that was started again may have been copied first."""
    for name, steps, loss in (("z", (10, 20, 30, 40), 4.0), ("a", (30, 40, 50, 60), 3.0)):
        made.event_file(tmp_path / "logs" / name, [(step, {"train/loss": loss}) for step in steps])
    for name, age in (("z", 0), ("a", 3600)):
        [file] = (tmp_path / "logs" / name).iterdir()
        os.utime(file, (time.time() - age,) * 2)
    found = looked(tmp_path, "trl", tmp_path / "logs")
    assert found.log.series("loss") == {10: 4.0, 20: 4.0, 30: 3.0, 40: 3.0, 50: 3.0, 60: 3.0}
    assert found.log.restarts == [(40, 30)]
