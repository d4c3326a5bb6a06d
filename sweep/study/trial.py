"""A trial (one point of a study) and its record (what came of it). A leaf: standard library and pydantic only."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

import pydantic

from sweep.study.fields import Schema
from sweep.study.files import reader

REQUEST_VERSION = 1


class Status(StrEnum):
    COMPLETE = "complete"
    DIVERGED = "diverged"  # data: it bounds the surface
    FAILED = "failed"  # infrastructure: it is retried


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
    """Why a search asked for a trial: its number in the search, from 0, and what it was to do ("start", "winner",
    "curve", the name of another strategy, or "grown" for a cell beyond the grid).

    `improvement`: by how much (nats per token) the best single trial was then expected to lower the surface's best
    loss; None before there was a surface.
    """

    index: int
    why: str
    improvement: float | None = None


class TrialRequest(Schema):
    """`trial.json`: a trial that was asked for. `attempt` counts how often it was begun, `proposed` is of a search."""

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
    remedy = "delete it to have the trial requested again"
    try:
        return reader.read(path, TrialRequest, "trial request", REQUEST_VERSION, remedy)
    except FileNotFoundError:
        return None
