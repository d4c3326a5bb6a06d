"""Model FLOP utilisation (MFU) as it was measured: what a plan assumes where a study states no speed.

MFU is the achieved FLOP/s over the GPU's dense bfloat16 peak, with the FLOPs of attention (`Shape.training_flops`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from sweep.study import numbers
from sweep.study.sizes.known import GPUS

ALIKE = 2  # a size or a length within this factor counts as the measured one
SMALL = 10**9  # parameters: below, kernels are too short to fill a GPU, and MFU falls far


class Setting(NamedTuple):
    """What MFU depends on. `dense_mask`: documents are masked by a matrix of sequence length squared, for which torch
    has no flash kernel.
    """

    parameters: int
    gpu: str
    gpus: int
    sequence_length: int
    compile: bool
    dense_mask: bool = False
    bfloat16: bool = True


class Measured(NamedTuple):
    """A published figure. `tokens_per_second`: of one GPU."""

    model: str
    setting: Setting
    tokens_per_second: int
    mfu: float
    source: str

    def __str__(self) -> str:
        """The model and its setting: Llama 3.1 8B on 8 H100, sequences of 8,192 tokens, compiled."""
        setting = self.setting
        compiled = "compiled" if setting.compile else "not compiled"
        where = f"{setting.gpus} {_kind(setting.gpu)}, sequences of {setting.sequence_length:,} tokens, {compiled}"
        return f"{self.model} on {where}"


_8B_ON_8_H100 = Setting(8_030_261_248, "H100-80GB", 8, 8192, compile=False)
# FSDP2 in bfloat16, selective activation checkpointing, causal attention. The trainer: Liang et al., arXiv 2410.06511.
_TORCHTITAN = "torchtitan, benchmarks/llama3_h100_202412_torchtitan.md"

MEASURED = (
    Measured("Llama 3.1 8B", _8B_ON_8_H100, 5_762, 0.33, _TORCHTITAN),
    Measured("Llama 3.1 8B", _8B_ON_8_H100._replace(compile=True), 6_667, 0.39, _TORCHTITAN),
)


@dataclass(frozen=True)
class AssumedMfu:
    """The nearest measured figure. `differs`: in what the study's setting is not the measured one; `at_most`: and is
    known to reach less, so that its hours are at least those at this MFU.
    """

    measured: Measured
    differs: tuple[str, ...]
    at_most: bool

    @property
    def mfu(self) -> float:
        return self.measured.mfu


def assumed(setting: Setting) -> AssumedMfu:
    """The measured figure of the nearest size among those that were compiled as `setting` is."""
    alike = [one for one in MEASURED if one.setting.compile == setting.compile]
    nearest = min(alike, key=lambda one: _times(one.setting.parameters, setting.parameters))
    at_most = not setting.bfloat16 or setting.parameters < min(SMALL, nearest.setting.parameters / ALIKE)
    return AssumedMfu(nearest, tuple(_differences(setting, nearest.setting)), at_most)


def _differences(setting: Setting, measured: Setting) -> list[str]:
    found = {
        f"a model of {numbers.tokens(setting.parameters)} parameters": not _alike(
            setting.parameters, measured.parameters
        ),
        _kind(setting.gpu): _kind(setting.gpu) != _kind(measured.gpu),
        f"{setting.gpus} GPUs": setting.gpus > measured.gpus,
        f"sequences of {setting.sequence_length:,} tokens": not _alike(
            setting.sequence_length, measured.sequence_length
        ),
        "a dense mask of documents": setting.dense_mask,
        "float32": not setting.bfloat16,
    }
    return [what for what, differs in found.items() if differs]


def _alike(one: float, other: float) -> bool:
    return _times(one, other) <= ALIKE


def _times(one: float, other: float) -> float:
    return max(one, other) / min(one, other)


def _kind(gpu: str) -> str:
    """The GPU without its memory: H100."""
    assert gpu in GPUS
    return gpu.split("-")[0]
