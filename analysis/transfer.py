"""Winner -> the large model's setting. The rule is named, and what it assumes is written beside the numbers."""

from __future__ import annotations

from typing import Literal

from analysis.decision.winner import Interval, Winner
from sweep.launch import Launch
from sweep.study import Study
from sweep.trial import Schema

DIRECT = (
    "The large run uses the small model's ALMR and peak LR unchanged (Xi et al., arXiv 2409.06624). That the optimum "
    "carries over from the small model is an assumption: this sweep did not test it."
)


class Transfer(Schema):
    """The setting for the launch; intervals are the small model's own and hold no allowance for the change of size."""

    rule: Literal["direct"]
    assumption: str
    almr: float
    almr_interval: Interval
    lr: float
    lr_interval: Interval
    warnings: tuple[str, ...]


def direct(winner: Winner, study: Study) -> Transfer:
    return Transfer(
        rule="direct",
        assumption=DIRECT,
        almr=winner.almr,
        almr_interval=winner.almr_interval,
        lr=winner.lr,
        lr_interval=winner.lr_interval,
        warnings=tuple(_differences(study, study.launch)) if study.launch else (),
    )


def _differences(study: Study, launch: Launch) -> list[str]:
    """What differs between a trial and the launch and is known to move the best LR."""
    pairs = [
        ("training tokens", study.training.tokens, launch.tokens),
        ("global batch in tokens", study.training.global_batch_tokens, launch.global_batch_tokens),
        ("sequence length", study.training.sequence_length, launch.sequence_length),
    ]
    return [
        f"{name}: {small:,} in a trial, {large:,} in the launch ({large / small:.3g} x)"
        for name, small, large in pairs
        if small != large
    ]
