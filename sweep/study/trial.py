"""A trial (one point of a study), its status, and its request by a driver."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

import pydantic

from sweep.study.fields import Schema
from sweep.study.files import reader

REQUEST_VERSION = 1


class Status(StrEnum):
    """How a trial ended."""

    COMPLETE = "complete"
    DIVERGED = "diverged"  # a result: such cells are bad
    FAILED = "failed"  # a fault of infrastructure: it is retried


class Trial(Schema):
    """One point (almr, lr, seed) of a study. `id` names its folder and is never parsed back."""

    almr: float = pydantic.Field(ge=0, le=1)
    lr: float = pydantic.Field(gt=0, allow_inf_nan=False)
    seed: int = pydantic.Field(ge=0)

    @property
    def id(self) -> str:
        almr = f"{self.almr:.2f}" if float(f"{self.almr:.2f}") == self.almr else repr(self.almr)
        return f"almr={almr}_lr={_shortest_scientific(self.lr)}_seed={self.seed}"


def _shortest_scientific(value: float) -> str:
    texts = (f"{value:.{digits}e}" for digits in range(17))
    return next(text for text in texts if float(text) == value)


class Proposed(Schema):
    """Why a search proposed a trial.

    `index` is its number in the search, from 0. `why` is its purpose: "start", "winner", "curve", the name of another
    strategy, or "grown" for a cell beyond the grid. `improvement` is the expected gain of the best single trial over
    the surface's best loss at that time, in nats per token; None before there was a surface.
    """

    index: int
    why: str
    improvement: float | None = None


class TrialRequest(Schema):
    """`trial.json`: a requested trial. `attempt` counts its attempts; `proposed` is None for a trial of the grid."""

    almr: float
    lr: float
    seed: int
    fingerprint: str
    attempt: int = 0
    proposed: Proposed | None = None

    @property
    def trial(self) -> Trial:
        return Trial(almr=self.almr, lr=self.lr, seed=self.seed)


def read_request(path: Path) -> TrialRequest | None:
    """A `trial.json`; None where the trial was never requested. Raises InputError where it cannot be read."""
    remedy = "delete it to request the trial again"
    try:
        return reader.read(path, TrialRequest, "trial request", REQUEST_VERSION, remedy)
    except FileNotFoundError:
        return None
