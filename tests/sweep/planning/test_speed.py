"""The time of a trial: where a plan takes it from, and what it says of a figure that it assumes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from samples import make_study, study_content
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

from sweep.planning import model_shape, speed
from sweep.study import Record, Study, study_file
from sweep.study.sections.text.corpora import BaseModelSource
from sweep.study.sizes.known import GPUS, KNOWN
from sweep.study.sizes.mfu import MEASURED, Setting, assumed
from sweep.verbs.plan.speed import speed_json, speed_lines
from trainers.loop import trial_record
from trainers.workers import device

LLAMA = KNOWN["meta-llama/Meta-Llama-3-8B"].shape
SMALL = KNOWN["HuggingFaceTB/SmolLM2-135M"].shape
PUBLISHED = Setting(LLAMA.parameters, "H100-80GB", 8, 8192, compile=True)


def gpu_study(resources: dict[str, Any] | None = None, compiled: bool = True, **training: Any) -> Study:
    recipe = study_content()["training"] | {"sequence_length": 8192, "global_batch_tokens": 8192 * 32}
    return make_study(
        training=recipe | {"tokens": 8192 * 320, "precision": "bfloat16", "micro_batch_sequences": 1} | training,
        resources={"gpus_per_node": 8, "gpu": "H100-80GB"} | (resources or {}),
        execution={"compile": compiled, "attention": "flex_attention"},
    )


@pytest.mark.parametrize("figure", MEASURED, ids=str)
def test_a_published_mfu_agrees_with_its_own_tokens_per_second(figure: Any) -> None:
    shape = next(known.shape for known in KNOWN.values() if known.shape.parameters == figure.setting.parameters)
    flops = figure.tokens_per_second * shape.training_flops(figure.setting.sequence_length)
    assert flops / GPUS[figure.setting.gpu].flops == pytest.approx(figure.mfu, abs=0.01)


@pytest.mark.parametrize(("compiled", "mfu", "tokens_per_second"), [(False, 0.33, 5762), (True, 0.39, 6667)])
def test_the_hours_of_the_published_setting_are_those_of_its_speed(
    compiled: bool, mfu: float, tokens_per_second: int
) -> None:
    found = speed.of(gpu_study(compiled=compiled), 10**9, [], LLAMA)
    assert found
    assert found.mfu == mfu
    assert found.seconds == pytest.approx(10**9 / (8 * tokens_per_second), rel=0.03)
    [line] = speed_lines(found)
    assert f"{mfu:.0%}".replace("%", " %") in line
    assert "torchtitan" in line
    assert "8 H100" in line


def test_what_is_known_of_the_study_itself_comes_first() -> None:
    stated = gpu_study({"mfu": 0.5})
    at_mfu = speed.of(stated, 10**6, [], LLAMA)
    assert at_mfu
    assert at_mfu.seconds == pytest.approx(10**6 * LLAMA.training_flops(8192) / (0.5 * 989e12 * 8))
    assert speed_lines(at_mfu) == ["  from resources.mfu: 0.5"]
    at_speed = speed.of(gpu_study({"mfu": 0.5, "tokens_per_second": 1e5}), 10**6, [], LLAMA)
    assert at_speed
    assert (at_speed.seconds, at_speed.source) == (10, "resources.tokens_per_second: 100,000")
    study = gpu_study({"tokens_per_second": 1e5})
    trial = study.grid_trials[0]
    facts = trial.model_dump() | {"trial_id": trial.id, "fingerprint": "x", "status": "complete", "attempt": 1}
    measured = speed.of(study, 10**6, [Record(**facts, seconds=seconds) for seconds in (5.0, 7.0, 90.0)], LLAMA)
    assert measured
    assert (measured.seconds, measured.source) == (7, "the median of 3 finished trials")
    assert measured.mfu is None


def test_a_trials_own_mfu_gives_its_own_time(monkeypatch: pytest.MonkeyPatch, small_model: Path) -> None:
    """The record's MFU and the plan's are one quantity: what a trial measured may be written into the study."""
    monkeypatch.setattr(device, "device_name", lambda _: "NVIDIA H100 80GB HBM3")
    model = AutoModelForCausalLM.from_pretrained(small_model)
    flops = trial_record.flops_per_token(model, 8192)
    assert flops
    mfu = device.mfu(flops, tokens_per_second=5e6, device=torch.device("cpu"), workers=8)
    assert mfu
    shape = model_shape.find(BaseModelSource(pretrained=str(small_model))).shape
    found = speed.of(gpu_study({"mfu": mfu}), 10**9, [], shape)
    assert found
    assert found.seconds == pytest.approx(10**9 / 5e6)


def test_a_model_of_another_kind_has_no_mfu() -> None:
    assert trial_record.flops_per_token(GPT2LMHeadModel(GPT2Config(n_embd=8, n_layer=1, n_head=2)), 8) is None


def test_without_a_gpu_or_a_shape_no_speed_is_assumed() -> None:
    assert speed.of(gpu_study(), 10**6, [], None) is None
    assert speed.of(make_study(), 10**6, [], LLAMA) is None


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({}, ()),
        ({"parameters": 70 * 10**9}, ("a model of 70B parameters",)),
        ({"gpu": "A100-80GB"}, ("A100",)),
        ({"gpus": 16}, ("16 GPUs",)),
        ({"gpus": 4}, ()),
        ({"sequence_length": 1024}, ("sequences of 1,024 tokens",)),
        ({"dense_mask": True}, ("a dense mask of documents",)),
        ({"bfloat16": False}, ("float32",)),
    ],
)
def test_each_difference_from_the_measured_setting_is_named(changed: dict[str, Any], named: tuple[str, ...]) -> None:
    assert assumed(PUBLISHED._replace(**changed)).differs == named


def test_a_small_models_time_is_a_lower_bound_and_says_so() -> None:
    found = speed.of(gpu_study(), 10**9, [], SMALL)
    assert found
    assert found.at_least
    [_, caution] = speed_lines(found)
    assert "a model of 135M parameters" in caution
    assert "lower bound" in caution
    assert "one finished trial measures it" in caution


def test_json_names_the_figure_and_what_differs() -> None:
    found = speed_json(speed.of(gpu_study({"gpu": "A100-80GB"}), 10**9, [], LLAMA))
    assert found
    assert found["mfu"] == 0.39
    assert not found["lower_bound"]
    assert found["assumed_from"]["tokens_per_second_per_gpu"] == 6667
    assert found["assumed_from"]["gpu"] == "H100-80GB"
    assert found["assumed_from"]["differs"] == ("A100",)
    assert speed_json(None) is None


def test_the_shipped_8b_study_is_planned_at_a_figure_of_its_own_setting() -> None:
    study = study_file.load("llama3-8b-zh")
    found = speed.of(study, study.training.tokens, [], LLAMA)
    assert found
    assert found.assumption
    assert found.assumption.differs == ()
    assert found.mfu == 0.39
