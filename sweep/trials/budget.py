"""What a search may spend, what its trials have spent, and for how many more of them that is enough. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from sweep.study import Record, Status, Study
from sweep.study.numbers import quantity
from sweep.study.numbers import tokens as count
from sweep.study.record import ALSO
from sweep.study.sections.grid import Unit

NAMES: dict[Unit, str] = {"trials": "trials", "tokens": "tokens", "gpu_hours": "GPU-hours"}
SLACK = 1e-9  # of a trial: rounding


@dataclass(frozen=True)
class Budget:
    """`limit`: what may be spent. `spent`: what trials with a record took. `running`: those without one, which count as
    `each`: what one trial is expected to take, None before that is known. All three in `unit`.
    """

    unit: Unit
    limit: float
    spent: float
    running: int
    each: float | None

    @classmethod
    def of(cls, study: Study, records: Iterable[Record], running: int, expected: float | None = None) -> Self | None:
        """Of a study that searches, else None. Trials that the user named beside the search's do not count.

        `running`: the search's trials without a result. `expected`: GPU-hours of a trial, before one has ended.
        """
        search = study.search
        if not search.proposes or search.unit is None:
            return None
        own = [record for record in records if not (record.proposed and record.proposed.why == ALSO)]
        each = _each(study, own) or expected
        spent = sum(_cost(record, search.unit, each) for record in own)
        return cls(search.unit, search.limit, spent, running, each)

    @property
    def more(self) -> int | None:
        """The trials that may still start; None where nothing tells what one takes, until the limit is reached."""
        if not self.each:
            return 0 if self.spent >= self.limit else None
        return max(0, math.floor((self.limit - self.spent) / self.each + SLACK) - self.running)

    def expecting(self, each: float | None) -> Self:
        """With what a trial is expected to take, where none has been measured."""
        return replace(self, each=self.each or each)

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"more": self.more}


def spent(budget: Budget | None) -> list[str]:
    """What was spent of tokens or GPU-hours, as a part of a line: 12.3 of 500.0 GPU-hours spent."""
    if budget is None or budget.unit == "trials":
        return []
    return [f"{amount(budget.spent, budget.unit, False)} of {amount(budget.limit, budget.unit)} spent"]


def amount(value: float, unit: Unit, name: bool = True) -> str:
    """In the unit: 12.3 GPU-hours, 1.5B tokens."""
    shown = quantity(value) if unit == "gpu_hours" else count(value) if unit == "tokens" else f"{value:.0f}"
    return f"{shown} {NAMES[unit]}" if name else shown


def _each(study: Study, records: list[Record]) -> float | None:
    """What one trial takes: known of trials and tokens, of GPU-hours the mean of the complete trials."""
    if study.search.unit != "gpu_hours":
        return 1.0 if study.search.unit == "trials" else float(study.trained_tokens)
    known = [r.gpu_hours for r in records if r.status is Status.COMPLETE and r.gpu_hours]
    return sum(known) / len(known) if known else None


def _cost(record: Record, unit: Unit, each: float | None) -> float:
    """What a trial took by its record: of one that has no number, as much as any other, or nothing if it failed."""
    if unit == "trials":
        return 1.0
    measured = record.gpu_hours if unit == "gpu_hours" else record.trained_tokens or record.tokens
    unknown = 0.0 if record.status is Status.FAILED else each or 0.0
    return unknown if measured is None else float(measured)
