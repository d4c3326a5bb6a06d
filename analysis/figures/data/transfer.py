"""What each transfer rule says of the launch's LR, on one axis."""

from __future__ import annotations

from typing import Any, NamedTuple

import pandas as pd

from analysis.fit.fit import Fit
from analysis.fit_file.winner import Interval


class RuleLr(NamedTuple):
    """A rule's LR for the launch. `applies`: whether it may be used; `chosen`: it is the study's."""

    name: str
    lr: float
    interval: Interval
    applies: bool
    chosen: bool


class TransferInfo(NamedTuple):
    """`rules`, the study's first; `winner`: the small model's LR and interval; `agree`: the LRs within a factor of 2 of
    the study's, None where it has no setting.
    """

    rules: list[RuleLr]
    winner: tuple[float, Interval]
    agree: Interval | None
    level: float

    def table(self) -> pd.DataFrame:
        """Columns what, lr, low, high, applies, chosen; the small model first."""
        lr, interval = self.winner
        rows: list[tuple[Any, ...]] = [("small model", lr, interval.low, interval.high, None, None)]
        for one in self.rules:
            rows.append((one.name, one.lr, one.interval.low, one.interval.high, one.applies, one.chosen))
        return pd.DataFrame(rows, columns=["what", "lr", "low", "high", "applies", "chosen"])


def transfer_info(fit: Fit) -> TransferInfo | None:
    """None where no rule could be computed."""
    found = [
        RuleLr(one.rule, one.lr, one.lr_interval, one.applies, one.chosen)
        for one in fit.file.transfer_rules
        if one.lr is not None and one.lr_interval is not None
    ]
    if not found:
        return None
    winner, transfer = fit.file.winner, fit.file.transfer
    agree = Interval(low=transfer.lr / 2, high=transfer.lr * 2) if transfer else None
    rules = sorted(found, key=lambda rule: not rule.chosen)
    return TransferInfo(rules, (winner.lr, winner.lr_interval), agree, winner.level)
