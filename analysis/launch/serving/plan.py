"""How a model is served on GPUs: degrees of parallelism, length, sequences at once, and whether its memory fits.

One copy of the model takes all GPUs that are named. Tensor parallelism takes as many of a node's as divide its heads,
pipeline stages the rest, as vLLM advises. The number of sequences is what the cache holds of the greatest length, so
that none has to be interrupted for another.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from analysis.launch.serving.memory import GpuMemory, gpu_memory
from sweep.study import InputError, numbers
from sweep.study.errors import shown
from sweep.study.sizes.shape import USABLE, Shape

LENGTH = 8192  # tokens of a sequence, prompt and answer, where none is asked for
MOST_SEQUENCES = 256  # at once: vLLM's own number on most GPUs; more wait longer for each token
BATCHED, BATCHED_LARGE, LARGE = 2048, 8192, 70e9  # tokens of a step, as vLLM 0.33 sets them by a GPU's memory in bytes
NODES = (1, 2, 4, 8, 16)
GPUS = (1, 2, 4, 8)


@dataclass(frozen=True)
class ServedModel:
    """A model by the `name` that clients give, and by its folder or its id on the hub. `positions`: the length that it
    was made for; None: not known.
    """

    name: str
    source: str
    shape: Shape
    positions: int | None = None
    local: bool = False


@dataclass(frozen=True)
class ServingGpus:
    """GPUs of one kind: `bytes` of memory of each, `gpus` in each of `nodes`."""

    kind: str
    bytes: float
    gpus: int = 1
    nodes: int = 1

    @property
    def text(self) -> str:
        nodes = f"{self.nodes} nodes x " if self.nodes > 1 else ""
        return f"{nodes}{self.gpus} x {self.kind}"


@dataclass(frozen=True)
class ServingPlan:
    """What vLLM is told. `length`: tokens of one sequence, `sequences`: at once, `batched`: tokens of one step,
    `utilization`: the share of a GPU's memory that vLLM takes.
    """

    model: ServedModel
    hardware: ServingGpus
    tensor: int
    pipeline: int
    length: int
    sequences: int
    batched: int
    utilization: float
    memory: GpuMemory
    most_sequences: int = MOST_SEQUENCES  # whose logits its memory holds

    def lines(self) -> list[str]:
        sizes = self.memory
        held = f"{sizes.tokens:,} tokens, {sizes.tokens // self.length} sequences of {self.length:,}"
        return [
            f"{self.model.name} on {self.hardware.text}: tensor parallel {self.tensor}, pipeline {self.pipeline}, "
            f"{self.length:,} tokens a sequence, {self.sequences} sequences at once",
            f"of a GPU's {numbers.size(self.hardware.bytes)}: weights {numbers.size(sizes.weights)}, work and rest "
            f"{numbers.size(sizes.work + sizes.rest)}, KV cache {numbers.size(sizes.cache)} ({held})",
        ]

    def as_json(self) -> dict[str, object]:
        sizes = self.memory
        return {
            "model": self.model.name,
            "source": self.model.source,
            "gpus": self.hardware.text,
            "tensor_parallel_size": self.tensor,
            "pipeline_parallel_size": self.pipeline,
            "max_model_len": self.length,
            "max_num_seqs": self.sequences,
            "max_num_batched_tokens": self.batched,
            "gpu_memory_utilization": self.utilization,
            "bytes_of_a_gpu": {"weights": sizes.weights, "work": sizes.work, "rest": sizes.rest, "cache": sizes.cache},
            "cached_tokens": sizes.tokens,
        }


def make(
    model: ServedModel,
    hardware: ServingGpus,
    length: int | None = None,
    sequences: int | None = None,
    utilization: float = USABLE,
) -> ServingPlan:
    """Raises InputError, with the fewest GPUs that would do, where the model does not fit."""
    wanted = _length(model, length)
    plan = _on(model, hardware, wanted, sequences, utilization)
    if plan is None:
        shape = model.shape
        raise InputError(
            f"{model.name}: {hardware.text} cannot part its {shape.num_attention_heads} heads and "
            f"{shape.num_hidden_layers} layers: give another number of GPUs (--gpus, --nodes)"
        )
    needed = wanted * (sequences or 1)
    if plan.memory.tokens < needed:
        raise InputError(_too_small(plan, sequences, utilization))
    return replace(plan, sequences=sequences or min(MOST_SEQUENCES, plan.memory.tokens // wanted))


def tensor_degree(shape: Shape, gpus: int) -> int:
    """The most of a node's GPUs among which heads and feed-forward width divide; key heads divide or are repeated."""
    keys = shape.key_heads

    def divides(degree: int) -> bool:
        even = shape.num_attention_heads % degree == 0 == shape.intermediate_size % degree
        return gpus % degree == 0 and even and (keys % degree == 0 or degree % keys == 0)

    return max(degree for degree in range(1, gpus + 1) if divides(degree))


def _length(model: ServedModel, asked: int | None) -> int:
    most = model.positions
    if asked and most and asked > most:
        raise InputError(f"--max-model-len {asked}: {model.name} was made for {most:,} tokens: give at most {most}")
    return asked or min(most or LENGTH, LENGTH)


def _on(
    model: ServedModel, hardware: ServingGpus, length: int, sequences: int | None, utilization: float
) -> ServingPlan | None:
    """With the greatest number of sequences, whose logits it holds; None where the GPUs cannot part the model."""
    tensor = tensor_degree(model.shape, hardware.gpus)
    pipeline = hardware.gpus * hardware.nodes // tensor
    if pipeline > model.shape.num_hidden_layers:
        return None
    most = sequences or MOST_SEQUENCES
    batched = max(BATCHED_LARGE if hardware.bytes >= LARGE else BATCHED, most)
    memory = gpu_memory(model.shape, tensor, pipeline, batched, most, hardware.bytes * utilization)
    return ServingPlan(model, hardware, tensor, pipeline, length, most, batched, utilization, memory, most)


def _too_small(plan: ServingPlan, sequences: int | None, utilization: float) -> str:
    model, memory, most = plan.model, plan.memory, sequences or 1
    parts = f"weights {numbers.size(memory.weights)}, work {numbers.size(memory.work + memory.rest)}"
    if memory.tokens:
        held = f"a cache of {memory.tokens:,} tokens, and {most:,} x {plan.length:,} were asked for"
        less = f"--max-model-len {memory.tokens // most // 256 * 256 or 256}, or "
    else:
        held, less = "nothing for the cache", ""
    fix = f"{less}{_enough(plan, sequences, utilization)}"
    return (
        f"{shown(model.name)} does not fit {plan.hardware.text}: of a GPU's usable {numbers.size(memory.usable)} take "
        f"{parts}, which leaves {held}: give {fix}"
    )


def _enough(plan: ServingPlan, sequences: int | None, utilization: float) -> str:
    """The fewest GPUs of this kind that do."""
    sizes = [(gpus, 1) for gpus in GPUS] + [(GPUS[-1], nodes) for nodes in NODES[1:]]
    for gpus, nodes in sizes:
        other = replace(plan.hardware, gpus=gpus, nodes=nodes)
        found = _on(plan.model, other, plan.length, sequences, utilization)
        if found and found.memory.tokens >= plan.length * (sequences or 1):
            return f"--gpus {gpus}" + (f" --nodes {nodes}" if nodes > 1 else "")
    return "GPUs with more memory (--gpu)"
