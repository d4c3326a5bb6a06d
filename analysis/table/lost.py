"""What became of trials that gave no loss, said first where they are most of all: one cause may be behind them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from sweep.study import Status, numbers

VARIES = re.compile(r"\b[0-9a-f]{8,}\b|\d+(?:\.\d+)?(?:e[+-]?\d+)?")  # ids and numbers: they differ, the cause may not
SHOWN = 140  # letters of a cause
FIXES = {Status.DIVERGED.value: "lower the LRs", Status.FAILED.value: "mend that, then run them again"}


class TrialEnd(NamedTuple):
    """How a trial ended: a status, its reason, and the LR that it had."""

    status: str
    reason: str
    lr: float


def cause(reason: str) -> str:
    """A reason without what differs between trials."""
    return VARIES.sub("#", reason)


def shortened(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def summary(ends: Sequence[TrialEnd]) -> str | None:
    """What became of most trials and what to do; None where more than half of them completed, or none has ended."""
    of = {status: [end for end in ends if end.status == status] for status in FIXES}
    lost = sum(map(len, of.values()))
    if not lost or 2 * lost < len(ends):
        return None
    parts = [part for status, some in of.items() if some and (part := _part(status, some))]
    worst = max(FIXES, key=lambda status: len(of[status]))
    if len(parts) > 1:
        return f"{_share(lost, len(ends))} gave no loss: {'; '.join(parts)}: {FIXES[worst]}"
    return f"{_share(lost, len(ends))} {parts[0].partition(' ')[2]}: {FIXES[worst]}"


def _share(some: int, every: int) -> str:
    if some < every:
        return f"{some} of {every} trials"
    return f"all {every} trials" if every > 1 else "the only trial"


def _part(status: str, ends: list[TrialEnd]) -> str:
    if status == Status.DIVERGED:
        return f"{len(ends)} diverged, from LR {numbers.lr(min(end.lr for end in ends))} on"
    [(most, count)] = Counter(cause(end.reason) for end in ends).most_common(1)
    reason = shortened(next(end.reason for end in ends if cause(end.reason) == most))
    alike = "" if count == len(ends) else f", {count if count > 1 else 'one'} of them of this cause"
    return f"{len(ends)} failed{alike}: {reason}"
