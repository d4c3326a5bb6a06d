"""Latency and throughput of a server, from the times of streamed answers."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sweep.study import numbers
from sweep.verbs.serving.check.asking import ServedAnswer


@dataclass(frozen=True)
class ServingFigures:
    """Of `clients` at once: seconds to the first text and to the end, and tokens a second of all together."""

    clients: int
    answers: int
    first_median: float | None
    first_p90: float | None
    whole_median: float
    whole_p90: float
    tokens: int
    tokens_per_second: float

    @property
    def line(self) -> str:
        first = f"first text {_pair(self.first_median, self.first_p90)}, " if self.first_median else ""
        who = "1 client" if self.clients == 1 else f"{self.clients} clients at once"
        return (
            f"{who}: {first}whole answer {_pair(self.whole_median, self.whole_p90)} (median, p90 of {self.answers}); "
            f"{numbers.quantity(self.tokens_per_second)} tokens/s"
        )

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def of_answers(answers: Sequence[ServedAnswer], clients: int, seconds: float) -> ServingFigures | None:
    """`seconds`: from the first question to the last answer. None where there is no answer."""
    if not answers:
        return None
    firsts = [answer.first_seconds for answer in answers if answer.first_seconds is not None]
    wholes, tokens = [answer.seconds for answer in answers], sum(answer.tokens for answer in answers)
    return ServingFigures(
        clients=clients,
        answers=len(answers),
        first_median=statistics.median(firsts) if firsts else None,
        first_p90=_p90(firsts) if firsts else None,
        whole_median=statistics.median(wholes),
        whole_p90=_p90(wholes),
        tokens=tokens,
        tokens_per_second=tokens / seconds if seconds else 0.0,
    )


def _p90(values: list[float]) -> float:
    return statistics.quantiles(values, n=10, method="inclusive")[-1] if values[1:] else values[0]


def _pair(median: float | None, p90: float | None) -> str:
    return f"{_seconds(median)}, {_seconds(p90)}"


def _seconds(value: float | None) -> str:
    return "not known" if value is None else f"{1000 * value:,.0f} ms" if value < 1 else f"{value:.2f} s"
