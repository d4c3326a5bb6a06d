from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from sweep.study import Status, Study, Trial
from sweep.study.sections.recipe.training import Schedule, Training
from trainers import prepare
from trainers.loop.divergence import DivergenceWatch
from trainers.loop.learner import StepMetrics, train
from trainers.trials import cpt

TIMINGS = {"seconds", "training_seconds", "tokens_per_second", "gpu_hours", "peak_memory_bytes"}


def run(study: Study, folder: Path, almr: float = 0.5, lr: float = 1e-2) -> cpt.Record:
    folder.mkdir(exist_ok=True)
    return cpt.run_trial(study, Trial(almr=almr, lr=lr, seed=0), prepare.prepare(study), folder)


def training(**changes: object) -> Training:
    return Training.model_validate({"sequence_length": 8, "tokens": 800, "global_batch_tokens": 64} | changes)


def test_record_says_what_was_asked_and_what_was_done(local_study: Study, tmp_path: Path) -> None:
    record = run(local_study, tmp_path / "trial", almr=0.3)
    assert record.status is Status.COMPLETE
    assert record.steps == 8
    assert record.tokens == 2048
    assert record.almr_achieved == round(64 * 0.3) / 64
    assert record.fingerprint == local_study.fingerprint
    assert record.loss.original < record.base_loss.original  # the random model learns
    assert record.loss.additional < record.base_loss.additional
    assert record.bits_per_byte.original / record.loss.original == pytest.approx(
        record.base_bits_per_byte.original / record.base_loss.original
    )
    facts = prepare.prepare(local_study).corpora
    assert record.epochs.additional == pytest.approx(19 / facts["additional"].blocks)


def test_bits_per_byte_of_a_uniform_guess(local_study: Study, tmp_path: Path) -> None:
    record = run(local_study, tmp_path / "trial")
    facts = prepare.prepare(local_study).corpora["original"]
    expected = record.loss.original / math.log(2) * facts.held_out_tokens / facts.held_out_bytes
    assert record.bits_per_byte.original == pytest.approx(expected)


def test_same_trial_gives_the_same_record(local_study: Study, tmp_path: Path) -> None:
    one, two = (run(local_study, tmp_path / name).model_dump(exclude=TIMINGS) for name in ("one", "two"))
    assert one == two


def test_metrics_are_the_training_curve(local_study: Study, tmp_path: Path) -> None:
    record = run(local_study, tmp_path / "trial")
    lines = [json.loads(line) for line in (tmp_path / "trial" / "metrics.jsonl").read_text().splitlines()]
    assert lines[0]["held_out"] == record.base_loss.model_dump()
    assert lines[-1]["held_out"] == record.loss.model_dump()
    assert [line["step"] for line in lines[1:-1]] == [1, 8]
    assert all(line["loss"] > 0 and line["grad_norm"] > 0 for line in lines[1:-1])


def test_evaluating_on_the_way_changes_no_number(local_study: Study, tmp_path: Path) -> None:
    watched = local_study.model_copy(update={"training": local_study.training.model_copy(update={"evaluate_every": 3})})
    one, other = run(local_study, tmp_path / "one"), run(watched, tmp_path / "other")
    assert other.model_dump(exclude=TIMINGS) == one.model_dump(exclude=TIMINGS)
    lines = [json.loads(line) for line in (tmp_path / "other" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "held_out" in line] == [0, 3, 6, 8]


@pytest.mark.parametrize("almr", [0.0, 1.0])
def test_one_language_alone(local_study: Study, tmp_path: Path, almr: float) -> None:
    record = run(local_study, tmp_path / "trial", almr=almr)
    assert record.almr_achieved == almr
    assert (record.epochs.additional == 0) == (almr == 0)


def test_divergence_is_caught_early_and_recorded(local_study: Study, tmp_path: Path) -> None:
    longer = local_study.model_copy(update={"training": local_study.training.model_copy(update={"tokens": 25600})})
    record = run(longer, tmp_path / "trial", lr=50.0)
    assert record.status is Status.DIVERGED
    assert record.steps < 100
    assert "above the base model" in record.reason or "not finite" in record.reason


def test_not_a_number_is_absent_from_the_record(
    local_study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = cpt.load_model

    def broken(*arguments: object) -> torch.nn.Module:
        model = load(*arguments)
        torch.nn.init.constant_(model.lm_head.weight, math.nan)
        return model

    run(local_study, tmp_path / "healthy")  # the base model's loss is measured once, before it breaks
    monkeypatch.setattr(cpt, "load_model", broken)
    record = run(local_study, tmp_path / "trial")
    assert record.status is Status.DIVERGED
    assert record.steps == 1
    assert record.loss.original is None
    assert "NaN" not in (tmp_path / "trial" / "metrics.jsonl").read_text()


def test_forgetting_is_not_divergence() -> None:
    base = {"original": 3.0, "additional": 5.0}
    watch = DivergenceWatch(almr=0.9, base=base, margin=1.0, measure=dict)
    assert watch.divergence({"original": 6.0, "additional": 4.0}, 10) is None
    assert "1.300 nats" in str(watch.divergence({"original": 7.0, "additional": 6.0}, 10))
    assert "not finite" in str(watch.divergence({"original": math.inf, "additional": 4.0}, 10))


def watched(losses: list[float], held_out: float) -> int:
    """The step at which the watch stops a trial with these training losses, 0 if it never does."""
    measured = {"original": held_out, "additional": held_out}
    watch = DivergenceWatch(0.5, {"original": 3.0, "additional": 3.0}, margin=1.0, measure=lambda: measured)
    steps = (StepMetrics(i + 1, i + 1, loss, 1e-3, 1.0, 0.0) for i, loss in enumerate(losses))
    return next((step.step for step in steps if watch(step)), 0)


def test_a_spike_that_heals_is_not_divergence() -> None:
    assert watched([3.0] * 5 + [9.0] * 6 + [3.0] * 40, held_out=5.0) == 0


def test_a_loss_that_stays_high_is_stopped_at_the_second_look() -> None:
    assert watched([9.0] * 60, held_out=5.0) == 20


def test_a_high_training_loss_alone_stops_nothing() -> None:
    assert watched([9.0] * 60, held_out=3.5) == 0


def test_what_is_not_finite_stops_at_once() -> None:
    assert watched([3.0, math.nan, 3.0], held_out=3.0) == 2


def test_gradient_does_not_depend_on_the_micro_batch() -> None:
    losses = []
    for micro in (None, 3, 1):
        torch.manual_seed(0)
        model = LlamaForCausalLM(
            LlamaConfig(hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, vocab_size=50)
        )
        data = [torch.arange(64).reshape(8, 8) % 50 for _ in range(4)]
        recipe = training(tokens=256, micro_batch_sequences=micro)
        losses.append([step.loss for step in train(model, data, recipe, 1e-2, lambda step: False)])
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    assert losses[2] == pytest.approx(losses[0], rel=1e-5)


def test_every_step_takes_the_lr_of_the_schedule() -> None:
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, vocab_size=50)
    )
    data = [torch.arange(64).reshape(8, 8) % 50 for _ in range(5)]
    recipe = training(tokens=320, schedule=Schedule(warmup=0.4, min_lr=0))
    steps = list(train(model, data, recipe, 0.03, lambda step: False))
    assert [step.lr for step in steps] == pytest.approx([0.01, 0.02, 0.03, 0.015, 0])
