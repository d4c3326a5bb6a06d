"""The launch's layout: it fits, it is the fastest by the estimate, and hours, checkpoints and cost follow from it."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.launch.evidence import readme
from analysis.launch.formats import megatron, torchtitan
from analysis.launch.plan import layout_choice, step_time
from analysis.launch.plan.estimate import checkpoint_steps
from analysis.launch.plan.launch_study import launch_study
from analysis.launch.plan.layout import LaunchHardware, ParallelLayout, TimePart
from sweep.planning import model_shape
from sweep.study import Study, study_file
from sweep.study.numbers import tokens
from sweep.study.sections.launch import Format
from sweep.study.sizes.known import KNOWN
from sweep.study.study_file import SHIPPED, content_of, is_chain

FORMATS: tuple[Format, ...] = get_args(Format)
_70B = KNOWN["meta-llama/Meta-Llama-3-70B"].shape
_8B = KNOWN["meta-llama/Meta-Llama-3-8B"].shape
SHIPPED_STUDIES = sorted(path.stem for path in SHIPPED.glob("*.yaml") if not is_chain(content_of(path)))


def seconds(layout: ParallelLayout) -> dict[str, float]:
    return {part.what: part.seconds for part in layout.times}


@pytest.mark.parametrize("study", SHIPPED_STUDIES)
def test_every_shipped_launch_fits_its_gpus_in_every_format(study):
    loaded = study_file.load(study_file.find(study))
    if loaded.launch is None or not loaded.launch.gpus_per_node:
        return  # no launch on GPUs
    found = model_shape.launch_hardware(loaded, FORMATS)
    for name, layout in found.layouts.items():
        assert layout.fits, (name, layout.lines(loaded.launch))
        assert layout.step_seconds
        assert layout.gpus == loaded.launch.processes
        assert layout.accumulation(loaded.launch) * layout.data * layout.micro_batch == loaded.launch.batch_sequences


def test_the_step_time_is_that_of_the_published_speed_where_it_was_measured(make_study):
    """Llama 3.1 8B on 8 H100: 5,762 tokens/s of a GPU, torchtitan's own figure; gathers hide behind the compute."""
    changed = {"gpu": "H100-80GB", "nodes": 1, "gpus_per_node": 8, "model": "meta-llama/Meta-Llama-3-8B"}
    study = make_study(launch=changed | {"global_batch_tokens": 2**19})
    layout = layout_choice.choose("torchtitan", study, _8B)
    assert (layout.tensor, layout.micro_batch, layout.checkpointing) == (1, 1, "selective")
    assert 2**19 / 8 / layout.step_seconds == pytest.approx(5762, rel=0.05)


def test_a_70b_on_64_gpus_has_the_kind_of_layout_that_megatron_publishes(make_study):
    """NVIDIA's recipe for Llama 3 70B on 64 H100 in bfloat16: tensor 4, pipeline 4, context 2, global batch 256
    (Megatron Bridge, perf_recipes.llama.h100.llama3, llama3_70b_pretrain_64gpu_h100_bf16_config).
    """
    changed = {"gpu": "H100-80GB", "nodes": 8, "global_batch_tokens": 256 * 8192}
    layout = layout_choice.choose("megatron", make_study(launch=changed), _70B)
    assert (layout.tensor, layout.fits) == (4, True)
    assert layout.pipeline >= 4
    stated = make_study(launch=changed | {"tensor_parallel": 4, "pipeline_parallel": 4, "context_parallel": 2})
    recipe = layout_choice.choose("megatron", stated, _70B)
    assert recipe.fits
    assert recipe.checkpointing == "selective"
    assert layout.step_seconds == pytest.approx(recipe.step_seconds, rel=0.1)


def test_a_70b_on_256_gpus_is_not_one_shard_with_a_sequence_a_gpu(make_study):
    """torchtitan's layout for it: tensor parallelism in a node, FSDP over the nodes (arXiv 2410.06511, 2D)."""
    study = make_study(launch={"gpu": "H100-80GB", "nodes": 32, "global_batch_tokens": 256 * 8192})
    layout = layout_choice.choose("torchtitan", study, _70B)
    flat = next(one for one in layout.candidates if one.tensor == 1)
    assert layout.tensor in (4, 8)
    assert layout.step_seconds < flat.step_seconds
    assert flat.checkpointing == "full"  # one sequence a GPU leaves no memory to recompute less
    assert "| 64 | 4 | 1 | 1 | selective |" in "\n".join(layout.table())


def test_the_parts_of_a_step_follow_their_formulas(make_study):
    study = make_study(launch={"gpu": "H100-80GB", "nodes": 2, "global_batch_tokens": 64 * 8192})
    study = study.model_copy(update={"resources": study.resources.model_copy(update={"mfu": 0.5})})
    layout = ParallelLayout(data=2, tensor=4, pipeline=2, micro_batch=1, checkpointing="full")
    parts = {part.what: part.seconds for part in step_time.parts("megatron", study, _70B, layout)}
    flops = 64 * 8192 * _70B.training_flops(8192)
    assert parts["compute"] == pytest.approx(flops * 4 / 3 / (16 * 989e12 * 0.5))
    all_reduce = 2 * 3 / 4 * 2 * 8192 * 8192 / (0.8 * 450e9)
    assert parts["tensor"] == pytest.approx(32 * 40 * 6 * all_reduce)
    assert parts["pipeline"] == pytest.approx((parts["compute"] + parts["tensor"]) / 32)
    assert parts["optimizer"] == pytest.approx(6 * _70B.parameters / 8 / 2 / (0.8 * 450e9))  # 8 GPUs of a stage: a node
    slow = study.model_copy(update={"launch": study.launch.model_copy(update={"network_gigabits": 1.0, "nodes": 2})})
    gathers = step_time.parts("native", slow, _70B, ParallelLayout(data=16))[-1]
    once = 8 * _70B.parameters * 15 / 16 / (0.8 * 8 * 1e9 / 8)
    assert gathers.seconds == pytest.approx(4 * once - parts["compute"], rel=1e-6)  # what the compute does not hide


@given(nodes=st.sampled_from([1, 2, 4, 8, 16, 32]), times=st.sampled_from([1, 2, 4, 8]), name=st.sampled_from(FORMATS))
def test_a_layout_uses_all_gpus_and_the_whole_batch(nodes, times, name):
    content = {"model": "m", "tokens": 10**10, "global_batch_tokens": nodes * 8 * times * 8192, "sequence_length": 8192}
    content |= {"nodes": nodes, "gpu": "H100-80GB"}
    of = Study.model_validate(
        {
            "name": "s",
            "base_model": {"pretrained": "m"},
            "corpora": {"original": {"files": "a.txt"}, "additional": {"files": "b.txt"}},
            "training": {"sequence_length": 8192, "tokens": 10**9, "global_batch_tokens": 8192},
            "grid": {"almr": [0.5], "lr": [1e-4]},
            "launch": content,
        }
    )
    layout = layout_choice.choose(name, of, _8B)
    assert layout.gpus == nodes * 8
    assert layout.accumulation(of.launch) * layout.data * layout.micro_batch == of.launch.batch_sequences
    assert layout.tensor <= 8
    fitting = [one.step_seconds for one in layout.candidates if one.fits]
    assert not fitting or layout.step_seconds <= min(fitting) * 1.01


def test_our_own_trainer_recomputes_before_it_asks_for_larger_gpus(make_study, make_plan):
    """Its study says so too: here trials recompute nothing, which a 70B cannot afford."""
    study = make_study(
        launch={"gpu": "H100-80GB"}, training=make_study().training.model_dump() | {"precision": "bfloat16"}
    )
    layout = layout_choice.choose("native", study, _70B)
    assert study.execution.activation_checkpointing == "none"
    assert (layout.checkpointing, layout.fits) == ("full", True)
    assert launch_study(make_plan("native", study)).execution.activation_checkpointing == "full"
    small = make_study(launch={"gpu": "H100-80GB", "nodes": 1, "micro_batch_sequences": 1})
    assert "does not fit" in layout_choice.choose("native", small, _70B).warnings("native")[0]


def test_the_micro_batch_is_chosen_unless_it_is_stated(make_study):
    """Short sequences are taken together, up to the tokens at which speed was measured, where they fit."""
    changed = {"gpu": "H100-80GB", "nodes": 1, "sequence_length": 1024, "model": "HuggingFaceTB/SmolLM2-1.7B"}
    shape = KNOWN["HuggingFaceTB/SmolLM2-1.7B"].shape
    assert layout_choice.choose("torchtitan", make_study(launch=changed), shape).micro_batch == 8
    stated = make_study(launch=changed | {"micro_batch_sequences": 2})
    assert layout_choice.choose("torchtitan", stated, shape).micro_batch == 2


@given(steps=st.integers(1, 10**6), each=st.floats(1e-3, 1e5))
def test_checkpoints_are_at_least_hourly_and_at_least_twenty(steps, each):
    launch = study_file.load(study_file.find("llama3-8b-zh")).launch
    launch = launch.model_copy(update={"tokens": steps * launch.global_batch_tokens, "checkpoints": None})
    layout = ParallelLayout(data=1, times=(TimePart("compute", each, ""),))
    every = checkpoint_steps(launch, LaunchHardware(None, {"megatron": layout, "native": replace(layout, times=())}))
    assert every == 1 or every * each <= 3600
    assert every == 1 or steps / every >= 20


def test_hours_days_cost_and_disk_are_told(make_plan, make_study):
    study = make_study(launch={"gpu": "H100-80GB", "checkpoints": None, "price_per_gpu_hour": 2.5})
    plan = make_plan("megatron", study)
    takes, layout = plan.estimate("megatron"), plan.layout("megatron")
    assert takes.gpu_hours == pytest.approx(plan.steps * layout.step_seconds * 128 / 3600)
    assert takes.cost == pytest.approx(2.5 * takes.gpu_hours)
    assert takes.checkpoint_bytes == 14 * _70B.parameters
    assert takes.disk_bytes == 2 * takes.checkpoint_bytes  # the newest, and the next one
    assert make_plan("torchtitan", study).estimate("torchtitan").kept_checkpoints == 2
    arguments = {name: values for name, *values in megatron.arguments(plan)}
    [interval], [retained] = arguments["--save-interval"], arguments["--save-retain-interval"]
    assert int(retained) % int(interval) == 0
    assert int(retained) > plan.steps
    assert "--save-retain-interval" not in dict(one[:2] for one in megatron.arguments(make_plan("megatron")) if one[1:])
    assert plan.checkpoint_steps * layout.step_seconds <= 3600
    titan = make_plan("torchtitan", study)
    page = readme.text(titan, {"torchtitan": torchtitan}, [], "GO")
    assert "GPU-hours, estimated: 2,384 steps x" in page
    assert f"cost {titan.estimate('torchtitan').cost:,.0f}" in page
    assert "\n".join(titan.layout("torchtitan").table()) in page
    assert "33 % MFU), assumed: measured for Llama 3.1 8B on 8 H100" in page
    assert "5 confirmation runs x 100 steps" in page
    told = "\n".join(plan.forecast(["megatron"]))
    text = f"tokenising: {tokens(48e9)} tokens, "
    assert (text in told, text in page) == (True, True)
    assert f"{takes.gpu_hours:,.0f} GPU-hours" in told
    runs = 5 * 100 * layout.step_seconds * 128 / 3600
    assert f"5 confirmation runs x 100 steps, one after another: {runs:,.0f} GPU-hours" in told
    assert f"cost {2.5 * runs:,.0f}; checkpoints, only the newest of each" in told
    unknown = make_plan("megatron", make_study()).estimate("megatron")
    assert "not known: state launch.gpu" in unknown.time


def test_a_launch_of_unknown_shape_has_no_hours(make_study):
    found = LaunchHardware(None, {"native": layout_choice.choose("native", make_study(), None, "not known")})
    assert found.layouts["native"].step_seconds is None
