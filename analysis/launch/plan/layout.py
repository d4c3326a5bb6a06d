"""The launch's layout on its GPUs: degrees of parallelism, micro-batch, activation checkpointing and memory.

A layout is chosen where the model's memory is counted; every format writes it in its trainer's own fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from sweep.study import numbers
from sweep.study.sections.launch import Launch
from sweep.study.sizes.shape import Shape

SHOWN = 6  # candidates in a table
Checkpointing = Literal["none", "selective", "full"]


@dataclass(frozen=True)
class MemoryPart:
    """Memory of one GPU for one purpose, with the arithmetic in words."""

    what: str
    bytes: float
    arithmetic: str


@dataclass(frozen=True)
class TimePart:
    """Seconds of an optimizer step for one cause, with the arithmetic in words."""

    what: str
    seconds: float
    arithmetic: str


@dataclass(frozen=True)
class ParallelLayout:
    """`data` copies of the model, each on `tensor` x `pipeline` x `context` GPUs. `parts`: its memory; empty where it
    was not counted, and `why_not` says why. `usable`: bytes of one GPU that may be filled; None where not stated.
    `times`: of an optimizer step; empty where the kind of GPU is not known. `candidates`: what it was chosen from, the
    best for each number of GPUs of a copy, fastest first.
    """

    data: int
    tensor: int = 1
    pipeline: int = 1
    context: int = 1
    micro_batch: int = 1
    checkpointing: Checkpointing = "full"
    parts: tuple[MemoryPart, ...] = ()
    usable: float | None = None
    why_not: str | None = None
    times: tuple[TimePart, ...] = ()
    candidates: tuple[ParallelLayout, ...] = ()

    @property
    def step_seconds(self) -> float | None:
        """Of an optimizer step, estimated."""
        return sum(part.seconds for part in self.times) if self.times else None

    @property
    def gpus(self) -> int:
        return self.data * self.tensor * self.pipeline * self.context

    @property
    def memory(self) -> float | None:
        """Bytes of one GPU."""
        return sum(part.bytes for part in self.parts) if self.parts else None

    @property
    def fits(self) -> bool | None:
        """None where it is not known."""
        return None if self.memory is None or self.usable is None else self.memory <= self.usable

    def accumulation(self, launch: Launch) -> int:
        """Micro-batches of one copy in an optimizer step."""
        return launch.batch_sequences // (self.data * self.micro_batch)

    def warnings(self, name: str) -> list[str]:
        if self.fits is False:
            assert self.memory is not None
            assert self.usable is not None
            return [
                f"{name}: does not fit into GPU memory: the smallest layout takes {numbers.size(self.memory)} of "
                f"{numbers.size(self.usable)} usable. Take more or larger GPUs"
            ]
        return [f"{name}: GPU memory was not checked: {self.why_not}"] if self.why_not else []

    def lines(self, launch: Launch) -> list[str]:
        """The arithmetic in words. Without GPUs there is nothing to divide."""
        batch = (
            f"Batch: {self.data} {'copies' if self.data > 1 else 'copy'} x {self.micro_batch} sequences x "
            f"{self.accumulation(launch)} accumulated x {launch.sequence_length:,} tokens = "
            f"{launch.global_batch_tokens:,} tokens"
        )
        if not launch.gpus_per_node:
            return [f"Processes: {launch.processes}, without GPUs", batch]
        shape = f"{self.data} data x {self.tensor} tensor x {self.pipeline} pipeline x {self.context} context"
        lines = [
            f"GPUs: {shape} = {self.gpus} ({launch.nodes} nodes x {launch.processes_per_node})",
            batch,
            f"Activation checkpointing: {self.checkpointing}",
        ]
        return [*lines, *self._time_lines(), *self._memory_lines()]

    def table(self) -> list[str]:
        """The best layouts that it was chosen from, in Markdown, with what a step and one GPU's memory take of each."""
        shown = [layout for layout in self.candidates[:SHOWN] if layout.step_seconds is not None]
        if len(shown) < 2:
            return []
        head = "| data | tensor | pipeline | micro-batch | recomputed | seconds a step | of which | memory of a GPU |"
        return [head, "|---|---|---|---|---|---|---|---|", *(layout._row() for layout in shown)]

    def _row(self) -> str:
        parts = ", ".join(f"{part.what} {part.seconds:.3g}" for part in self.times)
        memory = numbers.size(self.memory) + ("" if self.fits else ", does not fit")
        cells = (self.data, self.tensor, self.pipeline, self.micro_batch, self.checkpointing)
        return f"| {' | '.join(map(str, cells))} | {self.step_seconds:.3g} | {parts} | {memory} |"

    def _time_lines(self) -> list[str]:
        if self.step_seconds is None:
            return []
        parts = "; ".join(f"{part.what} {part.seconds:.3g} s ({part.arithmetic})" for part in self.times)
        return [f"Time of a step, estimated: {self.step_seconds:.3g} s: {parts}"]

    def _memory_lines(self) -> list[str]:
        if self.memory is None:
            return [f"Memory: not counted, {self.why_not}"]
        lines = [f"Memory, {part.what}: {part.arithmetic} = {numbers.size(part.bytes)}" for part in self.parts]
        of = f" of {numbers.size(self.usable)} usable" if self.usable else f"; not compared: {self.why_not}"
        return [*lines, f"Memory of one GPU, in all: {numbers.size(self.memory)}{of}"]


def plain(launch: Launch, why_not: str | None = None) -> ParallelLayout:
    """FSDP or ZeRO over all GPUs: each has a part of one copy's state and a batch of its own."""
    return ParallelLayout(data=launch.processes, micro_batch=launch.micro_batch_sequences or 1, why_not=why_not)


@dataclass(frozen=True)
class LaunchHardware:
    """The shape of the launch's model, None where it is not known, and the layout of each planned format."""

    shape: Shape | None = None
    layouts: Mapping[str, ParallelLayout] = field(default_factory=dict)

    @property
    def step_seconds(self) -> float | None:
        """Of an optimizer step in the slowest layout; None where no time was estimated."""
        return max((layout.step_seconds for layout in self.layouts.values() if layout.step_seconds), default=None)
