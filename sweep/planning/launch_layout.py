"""How the launch lies on its GPUs, for each format: the fewest GPUs a copy whose memory fits.

State: 16 bytes a parameter (weight, gradient, master copy and two moments, of which bfloat16 or float32 differ by
trainer), sharded over all GPUs by FSDP and ZeRO-3 (Rajbhandari et al., arXiv 1910.02054). Megatron keeps the bfloat16
weight and the float32 gradient whole in a copy and shards the other 12 bytes over the copies. Activations:
sweep/planning/memory.py. With tensor parallelism they are parted by sequence too (Korthikanti et al., arXiv
2205.05198), and the first stage of a pipeline holds a micro-batch for each stage, so all layers' worth of one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from analysis.launch.plan.layout import Checkpointing, LaunchHardware, MemoryPart, ParallelLayout, plain
from sweep.planning import model_shape
from sweep.planning.memory import LOSS, MASTER, MOMENTS, USABLE, layer_bytes, logit_bytes, selective_bytes
from sweep.study.sections.corpora import BaseModelSource
from sweep.study.sections.launch import Format, Launch
from sweep.study.sizes.shape import Shape
from sweep.study.study import Study

STATE = 16
HALF = 2  # bytes of bfloat16
WHOLE = 4
DEGREES = (1, 2, 4, 8)
NO_GPU = "state launch.gpu or launch.gpu_gigabytes"


def target(study: Study, formats: tuple[Format, ...]) -> LaunchHardware:
    """Of a study with a launch."""
    found = _shape(study)
    return LaunchHardware(found.shape, {name: choose(name, study, found.shape, found.why_not) for name in formats})


def choose(name: Format, study: Study, shape: Shape | None, why_not: str | None = None) -> ParallelLayout:
    """The first that fits, else the one that takes least; where it cannot be counted, what the launch states."""
    launch = study.launch
    assert launch
    if shape is None:
        return replace(_stated(name, launch), why_not=why_not)
    usable = launch.gpu_bytes * USABLE if launch.gpu_bytes else None
    tried = [_counted(name, study, shape, layout, usable) for layout in _candidates(name, study, shape)]
    if not tried:
        return replace(_stated(name, launch), why_not="no degrees of parallelism divide its heads, layers and batch")
    if usable is None:
        return replace(tried[0], why_not=NO_GPU)
    return next((layout for layout in tried if layout.fits), min(tried, key=lambda layout: layout.memory or 0))


def _shape(study: Study) -> model_shape.ShapeLookup:
    launch = study.launch
    assert launch
    if launch.shape:
        return model_shape.ShapeLookup(launch.shape)
    if launch.model == study.base_model.embedded:
        return model_shape.ShapeLookup(None, "the embedded model is not planned for")
    found = model_shape.find(BaseModelSource(pretrained=launch.model))
    return (
        found
        if found.shape
        else model_shape.ShapeLookup(None, f"the shape of {launch.model} is not known: launch.shape")
    )


def _stated(name: Format, launch: Launch) -> ParallelLayout:
    if name not in ("torchtitan", "megatron"):
        return plain(launch)
    tensor, context = launch.tensor_parallel or 1, launch.context_parallel or 1
    pipeline = launch.pipeline_parallel or 1 if name == "megatron" else 1
    data = launch.processes // (tensor * pipeline * context)
    return ParallelLayout(data, tensor, pipeline, context, launch.micro_batch_sequences)


def _candidates(name: Format, study: Study, shape: Shape) -> Iterator[ParallelLayout]:
    launch = study.launch
    assert launch
    if name in ("llamafactory", "axolotl", "native"):
        kept = study.execution.activation_checkpointing if name == "native" else "full"
        yield replace(plain(launch), checkpointing=kept)
        return
    for tensor, pipeline in _degrees(name, launch, shape):
        context = launch.context_parallel or 1
        data, rest = divmod(launch.processes, tensor * pipeline * context)
        if rest or not data or launch.batch_sequences % (data * launch.micro_batch_sequences):
            continue
        for kept in _PREFERRED:
            yield ParallelLayout(data, tensor, pipeline, context, launch.micro_batch_sequences, kept)


_PREFERRED: tuple[Checkpointing, ...] = ("selective", "full")


def _degrees(name: Format, launch: Launch, shape: Shape) -> list[tuple[int, int]]:
    """(tensor, pipeline): tensor parallelism stays in a node and divides the key heads, stages have as many layers."""
    keys = shape.num_key_value_heads or shape.num_attention_heads
    tensors = [launch.tensor_parallel] if launch.tensor_parallel else _dividing(launch.processes_per_node, keys)
    stages = [launch.pipeline_parallel] if launch.pipeline_parallel else [1]
    if name == "megatron" and not launch.pipeline_parallel:
        stages = [n for n in range(1, 17) if shape.num_hidden_layers % n == 0]
    if name == "torchtitan":
        stages = [1]
    return sorted(((t, p) for t in tensors for p in stages), key=lambda pair: (pair[0] * pair[1], pair[1]))


def _dividing(gpus: int, heads: int) -> list[int]:
    return [n for n in DEGREES if gpus % n == 0 and heads % n == 0]


def _counted(name: Format, study: Study, shape: Shape, layout: ParallelLayout, usable: float | None) -> ParallelLayout:
    launch, size = study.launch, _sizes(name, study)
    assert launch
    tokens = layout.micro_batch * launch.sequence_length / (layout.tensor * layout.context)
    state = _megatron_state(shape, layout) if name == "megatron" else _sharded_state(shape, layout, size)
    logits = _logits(name, study, tokens, shape, size.element)
    return replace(layout, parts=(*state, _activations(tokens, shape, layout, size.element), logits), usable=usable)


class _Sizes(NamedTuple):
    """Bytes of an element that is computed with, and of a parameter's whole state."""

    element: int
    state: float


def _sizes(name: Format, study: Study) -> _Sizes:
    """Our own trainer computes as the trials did; the others' configurations say bfloat16 and moments in float32."""
    of = study.training
    if name != "native":
        return _Sizes(HALF, STATE)
    return _Sizes(HALF if of.precision == "bfloat16" else WHOLE, 2 * MASTER + MOMENTS[of.optimizer.state])


def _sharded_state(shape: Shape, layout: ParallelLayout, size: _Sizes) -> list[MemoryPart]:
    gpus = layout.data * layout.tensor * layout.context
    gathered = size.element * (2 * shape.outer_parameters + 3 * shape.layer_parameters)
    return [
        MemoryPart(
            "weights, gradients, optimizer",
            size.state * shape.parameters / gpus,
            f"{size.state:.3g} bytes x {shape.parameters:,} parameters / {gpus} GPUs",
        ),
        MemoryPart(
            "gathered",
            gathered / layout.tensor,
            f"{size.element} bytes x (2 x embeddings + 3 x a layer of {shape.layer_parameters:,}) / {layout.tensor}",
        ),
    ]


@dataclass(frozen=True)
class _Stage:
    """The largest stage of a pipeline: the one with the embeddings, or with the output layer."""

    shape: Shape
    layout: ParallelLayout

    @property
    def parameters(self) -> float:
        layers = self.shape.num_hidden_layers / self.layout.pipeline * self.shape.layer_parameters
        outer = self.shape.outer_parameters / (1 if self.layout.pipeline == 1 else 2)
        return (layers + outer) / self.layout.tensor


def _megatron_state(shape: Shape, layout: ParallelLayout) -> list[MemoryPart]:
    own, copies = _Stage(shape, layout).parameters, layout.data * layout.context
    return [
        MemoryPart(
            "weights and gradients", (HALF + WHOLE) * own, f"{HALF + WHOLE} bytes x {own:,.0f} parameters of a stage"
        ),
        MemoryPart("optimizer", 3 * WHOLE * own / copies, f"{3 * WHOLE} bytes x {own:,.0f} / {copies} copies"),
    ]


def _activations(tokens: float, shape: Shape, layout: ParallelLayout, size: int) -> MemoryPart:
    kept = {"none": layer_bytes, "selective": selective_bytes}.get(layout.checkpointing)
    a_layer = kept(shape, size) if kept else size * shape.hidden_size
    again = 0 if layout.checkpointing == "none" else layer_bytes(shape, size)
    return MemoryPart(
        "activations",
        tokens * (shape.num_hidden_layers * a_layer + again),
        f"{tokens:,.0f} tokens x ({shape.num_hidden_layers} layers x {a_layer:,.0f} bytes + {again:,.0f})",
    )


def _logits(name: Format, study: Study, tokens: float, shape: Shape, size: int) -> MemoryPart:
    """Our own trainer takes them in parts, others all at once."""
    kernel = study.execution.cross_entropy
    if name == "native" and (kernel == "liger" or shape.rows_at_once(tokens) < tokens):
        how = f"in parts, of {shape.vocab_size:,} words x {tokens:,.0f}, and their gradients"
        return MemoryPart("logits", logit_bytes(shape, tokens, size, kernel), how)
    whole = f"{LOSS} bytes x {shape.vocab_size:,} words x {tokens:,.0f}"
    return MemoryPart("logits", LOSS * shape.vocab_size * tokens, whole)
