"""Memory, FLOPs and disk space agree with published and measured values."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
from samples import make_study, study_content

from sweep.planning import model_shape
from sweep.planning.disk import disk
from sweep.planning.requirements import TrialMemory
from sweep.planning.warnings import out_of_memory
from sweep.study import Study, study_file
from sweep.study.sections.resources import Execution
from sweep.study.sections.text.corpora import BaseModelSource
from sweep.study.sizes import shape as shapes
from sweep.study.sizes.known import KNOWN
from sweep.study.sizes.shape import Shape, layer_bytes, logit_bytes

LLAMA = KNOWN["meta-llama/Meta-Llama-3-8B"].shape


def gpu_study(resources: dict[str, Any] | None = None, **training: Any) -> Study:
    recipe = study_content()["training"] | {"sequence_length": 8192, "global_batch_tokens": 8192 * 32}
    recipe |= {"tokens": 8192 * 320, "precision": "bfloat16", "micro_batch_sequences": 1} | training
    return make_study(
        base_model={"pretrained": "meta-llama/Meta-Llama-3-8B"},
        training=recipe,
        resources={"gpus_per_node": 8, "gpu": "H100-80GB"} | (resources or {}),
    )


@pytest.mark.parametrize(
    ("model", "parameters"),
    [  # as the model cards and safetensors headers count them
        ("meta-llama/Meta-Llama-3-8B", 8_030_261_248),
        ("meta-llama/Meta-Llama-3-70B", 70_553_706_496),
        ("meta-llama/Llama-3.2-1B", 1_235_814_400),
        ("HuggingFaceTB/SmolLM2-135M", 134_515_008),
    ],
)
def test_known_shapes_have_the_published_number_of_parameters(model: str, parameters: int) -> None:
    assert KNOWN[model].shape.parameters == parameters


def test_shape_is_read_from_a_model_directory(small_model: Path) -> None:
    found = model_shape.find(BaseModelSource(pretrained=str(small_model)))
    assert found.shape
    assert (found.shape.hidden_size, found.shape.num_hidden_layers, found.shape.vocab_size) == (32, 2, 300)


def test_a_stated_shape_comes_first_and_is_not_part_of_the_recipe(small_model: Path) -> None:
    stated = make_study(base_model={"pretrained": str(small_model), "shape": LLAMA.model_dump()})
    assert model_shape.find(stated.base_model).shape == LLAMA
    assert stated.fingerprint == make_study(base_model={"pretrained": str(small_model)}).fingerprint


@pytest.mark.parametrize(
    ("content", "why"), [({"hidden_size": 8}, "num_hidden_layers"), ({"num_experts": 4}, "experts")]
)
def test_a_model_of_another_kind_has_no_shape_and_one_line_says_why(tmp_path: Path, content: Any, why: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps(content))
    found = model_shape.find(BaseModelSource(pretrained=str(tmp_path)))
    assert found.shape is None
    assert found.why_not
    assert why in found.why_not
    assert "\n" not in found.why_not


def test_an_unreachable_hub_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda *a, **b: (_ for _ in ()).throw(OSError("no route")))
    found = model_shape.find(BaseModelSource(pretrained="nobody/nothing"))
    assert found.why_not
    assert "of nobody/nothing is not known, and the hub did not answer (OSError): state base_model" in found.why_not


def test_shards_of_weights_gradients_and_optimizer_add_up_to_the_model() -> None:
    for state, moments in (("float32", 8), ("bfloat16", 4)):
        memory = TrialMemory(LLAMA, gpu_study(optimizer={"state": state})).at(1)
        assert 8 * (memory.weights + memory.gradients + memory.optimizer) == (8 + moments) * LLAMA.parameters


def test_a_single_gpu_in_float32_gathers_nothing_and_in_bfloat16_what_is_in_use() -> None:
    plain = TrialMemory(LLAMA, gpu_study({"gpus_per_node": 1}, precision="float32"))
    mixed = TrialMemory(LLAMA, gpu_study({"gpus_per_node": 1}))
    assert not plain.step(1).sharded
    assert plain.at(1).gathered < 4 * LLAMA.layer_parameters < mixed.at(1).gathered < 16 * LLAMA.outer_parameters


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 4])
def test_activations_are_what_autograd_keeps_of_a_layer(size: int) -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    shape = Shape(
        hidden_size=64, intermediate_size=176, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        vocab_size=96,
    )  # fmt: skip
    torch.manual_seed(0)
    sizes = shape.model_dump(exclude={"head_dim", "model_type"})
    model = LlamaForCausalLM(LlamaConfig(**sizes, use_cache=False))
    layers = model.to({2: torch.bfloat16, 4: torch.float32}[size]).model.layers
    weights, kept = {p.data_ptr() for p in model.parameters()}, {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    hidden = torch.randn(2, 256, 64, dtype=next(model.parameters()).dtype, requires_grad=True)
    rotary = model.model.rotary_emb(hidden, torch.arange(256)[None])
    alive = []  # a storage whose address is used again would count once
    with torch.autograd.graph.saved_tensors_hooks(lambda t: alive.append(t) or keep(t), lambda t: t):
        for layer in layers:
            hidden = layer(hidden, position_embeddings=rotary)
    per_token = sum(kept.values()) / 512 / len(layers)
    assert per_token == pytest.approx(layer_bytes(shape, size), rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize("family", ["llama", "granite"])
def test_logits_are_what_the_loss_takes(size: int, family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The peak memory of the trainer's loss on a model without layers, computed in parts and at once."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from trainers.model import output_layer
    from trainers.model.token_loss import TokenLoss

    for module in (output_layer, shapes):
        monkeypatch.setattr(module, "LOGITS_BYTES", 4 * 8000 * 512)  # of 2,048 tokens
    shape = Shape(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=1, vocab_size=8000,
        model_type=family,
    )  # fmt: skip
    sizes = shape.model_dump(exclude={"head_dim", "model_type"}) | {"num_hidden_layers": 0}
    model = LlamaForCausalLM(LlamaConfig(**sizes)).to({2: torch.bfloat16, 4: torch.float32}[size])
    model.config.model_type = family
    output_layer.fuse(model, Execution(), torch.device("cpu"))
    peak = peak_bytes(lambda: TokenLoss(model).sum(torch.arange(2048)[None] % 8000).backward())
    below = 0.55 if (size, family) == (2, "llama") else 0.95  # a CPU casts the weight, CUDA two parts' gradients
    assert below < peak / max(logit_bytes(shape, 2048, size)) < 1.05


def peak_bytes(step: Callable[[], None]) -> int:
    """Peak of allocated bytes, from torch's profiler."""
    import torch

    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        step()
    assert profile.profiler
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    return max(accumulate(event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())))


def test_checkpointing_and_a_fused_loss_take_less() -> None:
    study = gpu_study()
    other = TrialMemory(LLAMA.model_copy(update={"model_type": "granite"}), study).at(1)  # scales its logits
    by_kind = [
        TrialMemory(LLAMA, study.model_copy(update={"execution": study.execution.model_copy(update=change)})).at(1)
        for change in (
            {"activation_checkpointing": "none"},
            {"activation_checkpointing": "selective"},
            {"activation_checkpointing": "full"},
            {"activation_checkpointing": "full", "cross_entropy": "liger"},
        )
    ]
    totals = [memory.total for memory in by_kind]
    assert totals == sorted(totals, reverse=True)
    assert by_kind[0].logits < 2e9 < 12 * 128256 * 8192 == other.logits


def test_the_largest_micro_batch_that_fits_is_found_and_the_next_does_not_fit() -> None:
    trial_memory = TrialMemory(LLAMA, gpu_study({"gpu_gigabytes": 400, "gpus_per_node": 4}))
    fits = trial_memory.largest_fitting(400e9)
    assert 1 < fits < 8  # a worker has 8 of the batch's 32 sequences
    assert trial_memory.at(fits).total <= 0.9 * 400e9 < trial_memory.at(fits + 1).total


def test_a_warning_about_memory_says_what_fits() -> None:
    too_many = TrialMemory(LLAMA, gpu_study({"gpu_gigabytes": 100}, micro_batch_sequences=4))
    assert "lower it to 1, the largest that fits" in (out_of_memory(too_many) or "")
    none = TrialMemory(LLAMA, gpu_study({"gpus_per_node": 1}))
    assert "one sequence needs" in (out_of_memory(none) or "")
    assert out_of_memory(TrialMemory(LLAMA, gpu_study({"gpu": "B200-180GB"}))) is None


def test_flops_follow_the_formula() -> None:
    assert LLAMA.training_flops(8192) == 6 * (8_030_261_248 - 128256 * 4096) + 12 * 32 * 4096 * 8192


@pytest.mark.parametrize(("keep", "models"), [("none", 0), ("best", 3), ("all", 11)])
def test_disk_is_bounded(keep: str, models: int) -> None:
    study = gpu_study().model_copy(update={"keep": keep})
    bounded = disk(study, LLAMA, 10, 4).parts
    assert bounded["models"] == models * 4 * LLAMA.parameters
    assert bounded["checkpoints"] == 0
    often = study.model_copy(update={"execution": study.execution.model_copy(update={"checkpoint_minutes": 30.0})})
    assert disk(often, LLAMA, 10, 4).parts["checkpoints"] == 4 * 2 * 12 * LLAMA.parameters
    assert disk(often, None, 10, 4).total is None
    assert disk(often, LLAMA, 10, None).total is None


def test_the_shipped_8b_study_fits_and_is_planned_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    from sweep.planning.plan import plan
    from sweep.store.run import Run
    from sweep.trials.progress import RunProgress

    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *a, **b: pytest.fail("asked the hub"))
    study = study_file.load("llama3-8b-zh")
    planned = plan(study, RunProgress.of(study, Run(Path("nowhere"))), {})
    assert planned.warnings == []
    assert planned.gpu_hours
    assert 500 < planned.gpu_hours < 2000
    assert planned.disk.total


@pytest.mark.parametrize(
    ("device", "peak"), [("NVIDIA H100 80GB HBM3", 989e12), ("NVIDIA L40S", 362e12), ("NVIDIA T4", None)]
)
def test_trials_report_mfu_by_the_published_peak_of_their_gpu(
    monkeypatch: pytest.MonkeyPatch, device: str, peak: float | None
) -> None:
    from trainers.workers import device as devices

    monkeypatch.setattr(devices, "device_name", lambda _: device)
    found = devices.mfu(6e9, 1e4, devices.torch.device("cpu"), workers=2)
    assert found == (None if peak is None else 6e9 * 1e4 / (peak * 2))


def test_a_shape_is_not_read_from_a_mixture_of_experts() -> None:
    assert Shape.of_config(LLAMA.model_dump() | {"num_experts": None}) == LLAMA
    with pytest.raises(ValueError, match="mixture of experts"):
        Shape.of_config(LLAMA.model_dump() | {"num_local_experts": 8})
