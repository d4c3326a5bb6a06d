"""The launch's layout on its GPUs: degrees of parallelism, micro-batch, activation checkpointing and memory.

A layout is chosen where the model's memory is counted; every format writes it in its trainer's own fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from sweep.study.sections.launch import Launch
from sweep.study.sizes.shape import Shape

Checkpointing = Literal["none", "selective", "full"]
GIGA = 1e9


@dataclass(frozen=True)
class MemoryPart:
    """Bytes of one GPU for one purpose, and the arithmetic in words."""

    what: str
    bytes: float
    arithmetic: str


@dataclass(frozen=True)
class ParallelLayout:
    """`data` copies of the model, each on `tensor` x `pipeline` x `context` GPUs. `parts`: memory, empty where it was
    not counted; then `why_not` says why. `usable`: bytes of one GPU that may be filled; None where it is not stated.
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

    @property
    def memory(self) -> float | None:
        """Bytes of one GPU."""
        return sum(part.bytes for part in self.parts) if self.parts else None

    @property
    def fits(self) -> bool | None:
        """None where it cannot be told."""
        return None if self.memory is None or self.usable is None else self.memory <= self.usable

    def accumulation(self, launch: Launch) -> int:
        """Micro-batches of one copy in an optimizer step."""
        return launch.batch_sequences // (self.data * self.micro_batch)

    def warnings(self, name: str) -> list[str]:
        if self.fits is False:
            assert self.memory is not None
            assert self.usable is not None
            return [
                f"{name}: no layout that was tried fits: the least takes {self.memory / GIGA:,.0f} GB of "
                f"{self.usable / GIGA:,.0f} GB usable: take more or larger GPUs"
            ]
        return [f"{name}: whether it fits into memory was not checked: {self.why_not}"] if self.why_not else []

    def lines(self, launch: Launch) -> list[str]:
        """The arithmetic, for a person."""
        shape = f"{self.data} data x {self.tensor} tensor x {self.pipeline} pipeline x {self.context} context"
        lines = [
            f"GPUs: {shape} = {self.data * self.tensor * self.pipeline * self.context} "
            f"({launch.nodes} nodes x {launch.processes_per_node})",
            f"Batch: {self.data} copies x {self.micro_batch} sequences x {self.accumulation(launch)} accumulated x "
            f"{launch.sequence_length:,} tokens = {launch.global_batch_tokens:,} tokens",
            f"Activation checkpointing: {self.checkpointing}",
        ]
        return lines + self._memory_lines()

    def _memory_lines(self) -> list[str]:
        if self.memory is None:
            return [f"Memory: not counted: {self.why_not}"]
        lines = [f"Memory, {part.what}: {part.arithmetic} = {part.bytes / GIGA:.1f} GB" for part in self.parts]
        of = f" of {self.usable / GIGA:.1f} GB usable" if self.usable else f"; not compared: {self.why_not}"
        return [*lines, f"Memory of one GPU, together: {self.memory / GIGA:.1f} GB{of}"]


def plain(launch: Launch, why_not: str | None = None) -> ParallelLayout:
    """Every GPU has a part of one copy's state and a batch of its own: FSDP or ZeRO over all of them."""
    return ParallelLayout(data=launch.processes, micro_batch=launch.micro_batch_sequences, why_not=why_not)


@dataclass(frozen=True)
class LaunchHardware:
    """The launch's model and GPUs: its shape where that is known, and a layout for each format that was planned."""

    shape: Shape | None = None
    layouts: Mapping[str, ParallelLayout] = field(default_factory=dict)
