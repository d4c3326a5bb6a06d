"""Megatron-LM's arguments: on a CPU, with document masks, and of a model whose config.json is here."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from analysis.launch.bundle import write
from analysis.launch.formats import megatron
from sweep.study import InputError

MODEL = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 8,
    "vocab_size": 1000,
    "rope_parameters": {"rope_theta": 500000.0, "rope_type": "default"},
}


@pytest.fixture
def folder(tmp_path):
    """A local model."""
    path = tmp_path / "model"
    path.mkdir()
    (path / "config.json").write_text(json.dumps(MODEL))
    return path


@pytest.fixture
def given(make_plan, make_study):
    """The arguments of a launch by name. `masked`: whether documents are kept apart."""

    def made(masked: bool = False, **launch: Any):
        training = make_study().training.model_dump() | {"document_masking": masked}
        plan = make_plan("megatron", make_study(training=training, launch=launch))
        return {name: values for name, *values in megatron.arguments(plan)}

    return made


CPU = {"nodes": 1, "gpus_per_node": 0, "global_batch_tokens": 8192 * 16, "tokens": 8192 * 160}


def test_on_gpus_gradients_are_summed_in_float32_and_nothing_comes_from_a_checkpoint(given):
    found = given()
    assert {"--bf16", "--accumulate-allreduce-grads-in-fp32", "--use-distributed-optimizer"} <= found.keys()
    assert found["--transformer-impl"] == ["transformer_engine"]
    assert found["--attention-dropout"] == found["--hidden-dropout"] == ["0.0"]
    assert "--use-checkpoint-args" not in found
    assert int(found["--eval-interval"][0]) > 0
    assert found["--valid-data-path"] == ["data/held_out_original", "data/held_out_additional"]


def test_on_a_cpu_it_needs_neither_cuda_nor_a_compiler(given):
    found = given(**CPU)
    assert not {"--bf16", "--use-distributed-optimizer", "--overlap-grad-reduce", "--sequence-parallel"} & found.keys()
    assert found["--transformer-impl"] == ["local"]
    assert found["--distributed-backend"] == ["gloo"]
    assert {"--use-cpu-initialization", "--no-gradient-accumulation-fusion", "--no-rope-fusion"} <= found.keys()


MASK = {"--reset-attention-mask", "--eod-mask-loss", "--calculate-per-token-loss", "--reset-position-ids"}


def test_documents_are_kept_apart_by_megatrons_own_attention_alone(given):
    found = given(masked=True, sequence_length=4096)
    assert found.keys() >= MASK
    assert found["--transformer-impl"] == ["local"]
    assert "--sequence-parallel" not in found
    assert not {*MASK, "--create-attention-mask-in-dataloader"} & given().keys()


def test_what_would_change_the_loss_is_refused(make_plan, make_study, make_facts, tmp_path):
    training = make_study().training.model_dump() | {"document_masking": True}
    long = make_plan("megatron", make_study(training=training))
    with pytest.raises(InputError, match="must hold scores of 8,192 x 8,192 tokens"):
        write(long, "megatron", tmp_path / "long")
    short = make_study(training=training, launch={"sequence_length": 4096})
    counted = {name: make_facts(files=("/data/x.jsonl",), eos=False) for name in ("original", "additional")}
    with pytest.raises(InputError, match=r"documents\.eos: false leaves out"):
        write(make_plan("megatron", short, counted=counted), "megatron", tmp_path / "short")


def test_a_vocabulary_is_never_padded(make_plan, make_study, tmp_path):
    shape = {name: MODEL[name] for name in list(MODEL)[1:-1]} | {"num_key_value_heads": 8, "vocab_size": 1001}
    study = make_study(launch={"shape": shape, "tensor_parallel": 8, "gpu": "H100-80GB"})
    with pytest.raises(InputError, match=r"launch\.tensor_parallel: 8 GPUs cannot share a vocabulary of 1,001"):
        write(make_plan("megatron", study), "megatron", tmp_path / "x")
    chosen = make_plan("megatron", make_study(launch={"shape": shape, "gpu": "H100-80GB"})).layout("megatron")
    assert chosen.tensor == 1


def test_the_architecture_stands_beside_the_arguments_where_the_model_is_here(
    write_format, make_plan, make_study, folder, tmp_path
):
    made = write_format("megatron", make_study(launch={"model": str(folder)}))
    lines = (made / megatron.MODEL).read_text().splitlines()
    assert lines[lines.index("--rotary-base") + 1] == "500000"
    assert f"cmp -s {megatron.MODEL} data/{megatron.MODEL}" in (made / "start.sh").read_text()
    (folder / "config.json").write_text(json.dumps(MODEL | {"model_type": "gemma2"}))
    with pytest.raises(InputError, match="the architecture 'gemma2'"):
        write(make_plan("megatron", make_study(launch={"model": str(folder)})), "megatron", tmp_path / "refused")


def test_a_confirmation_run_reads_the_launchs_text(make_plan):
    plan = replace(make_plan("megatron"), data="../megatron/data")
    found = {name: values for name, *values in megatron.arguments(plan)}
    assert found["--pretrained-checkpoint"] == ["../megatron/data/base"]
    assert found["--train-data-path"][1] == "../megatron/data/train_original"
