"""Chooses how the launch is laid out on its GPUs, for each format: the fastest layout whose memory fits.

Tensor parallelism stays in a node, stages of a pipeline are spread over nodes, copies take what is left. Speed:
step_time.py. Where the kind of GPU is not known, the fewest GPUs per copy that fit.

State: 16 bytes per parameter (weight, gradient, master copy and two moments, of which bfloat16 or float32 differ by
trainer), sharded over all GPUs by FSDP and ZeRO-3 (Rajbhandari et al., arXiv 1910.02054). Megatron keeps bfloat16
weights and float32 gradients unsharded in each copy and shards the other 12 bytes over the copies. Activations:
sweep/study/sizes/shape.py. Tensor parallelism also splits them by sequence (Korthikanti et al., arXiv 2205.05198). The
first stage of a pipeline holds one micro-batch for each stage, so the activations of all layers for one micro-batch.
Our own trainer: sweep/study/sizes/step.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from analysis.launch.plan import step_time
from analysis.launch.plan.layout import Checkpointing, MemoryPart, ParallelLayout, plain
from sweep.study import Study
from sweep.study.sections.launch import Format, Launch
from sweep.study.sizes.shape import BFLOAT16, FLOAT32, LOSS, MOMENTS, USABLE, Shape, activation_bytes
from sweep.study.sizes.step import Step

STATE = 16
DEGREES = (1, 2, 4, 8)
PREFERENCE: tuple[Checkpointing, ...] = ("none", "selective", "full")
MEASURED_TOKENS = (
    8192  # of a GPU in one forward pass, at which the published MFU was measured (sweep/study/sizes/mfu.py)
)
NO_GPU = "state launch.gpu or launch.gpu_gigabytes"
EAGER = "execution.attention: eager keeps all scores, which are not planned"


def choose(name: Format, study: Study, shape: Shape | None, why_not: str | None = None) -> ParallelLayout:
    """The fastest layout that fits, else the one that takes least memory. Without a shape, and then `why_not` says why,
    the layout that the launch states.
    """
    launch = study.launch
    assert launch
    if not launch.gpus_per_node:
        return _stated(name, launch)
    if name == "native" and study.execution.attention == "eager":
        shape, why_not = None, EAGER
    if shape is None:
        return replace(_stated(name, launch), why_not=why_not)
    usable = launch.gpu_bytes * USABLE if launch.gpu_bytes else None
    tried = [
        replace(
            layout,
            parts=_memory_parts(name, study, shape, layout),
            times=step_time.parts(name, study, shape, layout),
            usable=usable,
        )
        for layout in _candidates(name, study, shape)
    ]
    if not tried:
        return replace(_stated(name, launch), why_not="no degrees of parallelism divide its heads, layers and batch")
    if usable is None:
        return replace(tried[0], why_not=NO_GPU)
    best = [_best(alike, launch) for alike in _by_copy(tried)]
    best.sort(key=lambda layout: _preference(layout, launch))
    return replace(best[0], candidates=tuple(best))


def _by_copy(tried: list[ParallelLayout]) -> list[list[ParallelLayout]]:
    """The layouts with the same degrees of parallelism, which differ in micro-batch and recomputation."""
    found: dict[tuple[int, int], list[ParallelLayout]] = {}
    for layout in tried:
        found.setdefault((layout.tensor, layout.pipeline), []).append(layout)
    return list(found.values())


def _best(alike: list[ParallelLayout], launch: Launch) -> ParallelLayout:
    return min(alike, key=lambda layout: _preference(layout, launch))


def _preference(layout: ParallelLayout, launch: Launch) -> tuple[float, ...]:
    """Smallest for the best: one that fits, then the fastest, to a hundredth; of these the fewest GPUs a copy, then the
    least recomputation, then most tokens at once. Of layouts that do not fit, the smallest.
    """
    if not layout.fits:
        return 1, layout.memory or 0
    seconds = float(f"{layout.step_seconds:.2e}") if layout.step_seconds else 0
    copy = layout.gpus / layout.data
    return 0, seconds, copy, PREFERENCE.index(layout.checkpointing), -_tokens_at_once(layout, launch)


def _tokens_at_once(layout: ParallelLayout, launch: Launch) -> float:
    """Of one GPU."""
    return layout.micro_batch * launch.sequence_length / (layout.tensor * layout.context)


def _stated(name: Format, launch: Launch) -> ParallelLayout:
    if name not in ("torchtitan", "megatron"):
        return plain(launch)
    return _split(launch, launch.tensor_parallel or 1, launch.pipeline_parallel or 1 if name == "megatron" else 1)


def _split(launch: Launch, tensor: int, pipeline: int) -> ParallelLayout:
    """As many copies as the GPUs hold; 0 where one needs more."""
    context = launch.context_parallel or 1
    return ParallelLayout(
        data=launch.processes // (tensor * pipeline * context),
        tensor=tensor,
        pipeline=pipeline,
        context=context,
        micro_batch=launch.micro_batch_sequences or 1,
    )


def _candidates(name: Format, study: Study, shape: Shape) -> Iterator[ParallelLayout]:
    """Every layout that divides GPUs, heads, layers and batch, with every micro-batch and kind of recomputation."""
    launch = study.launch
    assert launch
    for layout in _copies(name, launch, shape):
        if layout.gpus != launch.processes:
            continue
        for micro_batch in _micro_batches(layout, launch):
            for checkpointing in _checkpointings(name, study):
                yield replace(layout, micro_batch=micro_batch, checkpointing=checkpointing)


def _copies(name: Format, launch: Launch, shape: Shape) -> list[ParallelLayout]:
    if name in ("llamafactory", "axolotl", "trl", "native"):
        return [plain(launch)]
    return [_split(launch, tensor, pipeline) for tensor, pipeline in _degrees(name, launch, shape)]


def _checkpointings(name: Format, study: Study) -> tuple[Checkpointing, ...]:
    """What the format's trainer can do. Our own recomputes as the study says, and more only where that does not fit."""
    if name in ("llamafactory", "axolotl", "trl"):
        return ("full",)
    stated = study.execution.activation_checkpointing
    return tuple(dict.fromkeys((stated, "full"))) if name == "native" else ("selective", "full")


def _micro_batches(layout: ParallelLayout, launch: Launch) -> list[int]:
    """As stated, else powers of two up to the tokens a GPU at which speed was measured."""
    if launch.batch_sequences % layout.data:
        return []
    copy = launch.batch_sequences // layout.data
    stated = launch.micro_batch_sequences
    powers = [stated] if stated else [2**power for power in range(10)]
    return [
        count
        for count in powers
        if copy % count == 0
        and (stated or count == 1 or _tokens_at_once(replace(layout, micro_batch=count), launch) <= MEASURED_TOKENS)
    ]


def _degrees(name: Format, launch: Launch, shape: Shape) -> list[tuple[int, int]]:
    """(tensor, pipeline): tensor parallelism stays in a node and divides the key heads; stages have equal layers."""
    keys = shape.num_key_value_heads or shape.num_attention_heads
    tensors = [launch.tensor_parallel] if launch.tensor_parallel else _dividing(launch.processes_per_node, keys)
    stages = [launch.pipeline_parallel] if launch.pipeline_parallel else [1]
    if name == "megatron" and not launch.tensor_parallel:
        tensors = [n for n in tensors if shape.vocab_size % n == 0]  # it pads the vocabulary of others
    if name == "megatron" and not launch.pipeline_parallel:
        stages = [n for n in range(1, 17) if shape.num_hidden_layers % n == 0]
    if name == "torchtitan":
        stages = [1]
    return sorted(((t, p) for t in tensors for p in stages), key=lambda pair: (pair[0] * pair[1], pair[1]))


def _dividing(gpus: int, heads: int) -> list[int]:
    return [n for n in DEGREES if gpus % n == 0 and heads % n == 0]


def _memory_parts(name: Format, study: Study, shape: Shape, layout: ParallelLayout) -> tuple[MemoryPart, ...]:
    launch = study.launch
    assert launch
    if name == "native":
        return _native_parts(study, launch, shape, layout)
    tokens = layout.micro_batch * launch.sequence_length / (layout.tensor * layout.context)
    state = _megatron_state(shape, layout) if name == "megatron" else _sharded_state(shape, layout)
    logits = f"{LOSS} bytes x {shape.vocab_size:,} words x {tokens:,.0f}"
    return (
        *state,
        _activations(tokens, shape, layout),
        MemoryPart("logits", LOSS * shape.vocab_size * tokens, logits),
    )


def _native_parts(study: Study, launch: Launch, shape: Shape, layout: ParallelLayout) -> tuple[MemoryPart, ...]:
    """Our own trainer's, as the trials': at the moment of most memory."""
    several = layout.accumulation(launch) > 1
    step = Step.of(study, shape, layout.micro_batch, launch.sequence_length, layout.data, several)
    moment = replace(step, checkpointing=layout.checkpointing).peak
    state = FLOAT32 + MOMENTS[study.training.optimizer.state]
    parts = {name: size for name, size in moment._asdict().items() if name != "name" and size}
    return (
        MemoryPart(
            "weights, optimizer",
            state * shape.parameters / layout.data,
            f"{state:.3g} bytes x {shape.parameters:,} parameters / {layout.data} GPUs",
        ),
        *(MemoryPart(name, size, f"in {moment.name}") for name, size in parts.items()),
    )


def _sharded_state(shape: Shape, layout: ParallelLayout) -> list[MemoryPart]:
    gpus = layout.data * layout.tensor * layout.context
    gathered = BFLOAT16 * (2 * shape.outer_parameters + 3 * shape.layer_parameters)
    return [
        MemoryPart(
            "weights, gradients, optimizer",
            STATE * shape.parameters / gpus,
            f"{STATE} bytes x {shape.parameters:,} parameters / {gpus} GPUs",
        ),
        MemoryPart(
            "gathered",
            gathered / layout.tensor,
            f"{BFLOAT16} bytes x (2 x embeddings + 3 x a layer of {shape.layer_parameters:,}) / {layout.tensor}",
        ),
    ]


def _megatron_state(shape: Shape, layout: ParallelLayout) -> list[MemoryPart]:
    """Of the largest stage of the pipeline: the one with the embeddings, or with the output layer."""
    layers = shape.num_hidden_layers / layout.pipeline * shape.layer_parameters
    outer = shape.outer_parameters / (1 if layout.pipeline == 1 else 2)
    own, copies = (layers + outer) / layout.tensor, layout.data * layout.context
    weight, moments = BFLOAT16 + FLOAT32, 3 * FLOAT32
    return [
        MemoryPart("weights and gradients", weight * own, f"{weight} bytes x {own:,.0f} parameters of a stage"),
        MemoryPart("optimizer", moments * own / copies, f"{moments} bytes x {own:,.0f} / {copies} copies"),
    ]


def _activations(tokens: float, shape: Shape, layout: ParallelLayout) -> MemoryPart:
    kept, again = activation_bytes(shape, layout.checkpointing, BFLOAT16)
    return MemoryPart(
        "activations",
        tokens * (shape.num_hidden_layers * kept + again),
        f"{tokens:,.0f} tokens x ({shape.num_hidden_layers} layers x {kept:,.0f} bytes + {again:,.0f})",
    )
