"""How long a trial takes: measured on finished trials, else as stated, else assumed from published figures."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from sweep.study import Record, Study
from sweep.study.sizes.mfu import AssumedMfu, Setting, assumed
from sweep.study.sizes.shape import Shape


@dataclass(frozen=True)
class Speed:
    """`seconds`: of a trial. `source`: where they come from. `mfu`: None where none was needed. `assumption`: the
    figure that is used where the study states none.
    """

    seconds: float
    source: str
    mfu: float | None = None
    assumption: AssumedMfu | None = None

    @property
    def at_least(self) -> bool:
        """Whether `seconds` are known to be too few."""
        return self.assumption is not None and self.assumption.at_most


def of(study: Study, tokens: int, records: Sequence[Record], shape: Shape | None) -> Speed | None:
    """The speed of a trial that trains on so many tokens, its branches' included; None where nothing tells it."""
    measured = [r.seconds for r in records if r.seconds and r.status == "complete"]
    if measured:
        count = "1 finished trial" if len(measured) == 1 else f"the median of {len(measured)} finished trials"
        return Speed(statistics.median(measured), count)
    resources = study.resources
    if stated := resources.tokens_per_second:
        return Speed(tokens / stated, f"resources.tokens_per_second: {stated:,g}")
    if shape is None or not (resources.known_gpu and resources.gpus):
        return None
    seconds_at_peak = trial_flops(study, tokens, shape) / (resources.known_gpu.flops * resources.gpus)
    if mfu := resources.mfu:
        return Speed(seconds_at_peak / mfu, f"resources.mfu: {mfu:g}", mfu)
    assumption = assumed(setting(study, shape))
    return Speed(seconds_at_peak / assumption.mfu, assumption.measured.source, assumption.mfu, assumption)


def trial_flops(study: Study, tokens: int, shape: Shape) -> float:
    return tokens * shape.training_flops(study.training.sequence_length)


def setting(study: Study, shape: Shape) -> Setting:
    """What the MFU of a study's trials depends on; the study names its GPU."""
    resources, execution = study.resources, study.execution
    assert resources.gpu
    return Setting(
        parameters=shape.parameters,
        gpu=resources.gpu,
        gpus=resources.gpus,
        sequence_length=study.training.sequence_length,
        compile=execution.compile,
        dense_mask=study.training.document_masking and execution.masks_densely,
        bfloat16=study.training.precision == "bfloat16",
    )
