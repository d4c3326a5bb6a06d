"""predicted_path.json: how the held-out losses of a launch will change on the way, with a band for all of it."""

from __future__ import annotations

from bisect import bisect_left
from pathlib import Path

from pydantic import Field, model_validator

from analysis.fit_file.winner import Interval
from sweep.study import Schema
from sweep.study.files import reader

NAME = "predicted_path.json"
SCHEMA_VERSION = 1
AGAIN = "export again: almr export RUN"
SAME_PLACE = 1e-9


class PathPoint(Schema):
    """The held-out loss minus that of the base model, in nats per token, and the ends of the band."""

    change: float
    low: float
    high: float


class LeftOut(Schema):
    """How the band did on trials that were left out of the surfaces: of `trials`, `inside` had every measurement of
    every language inside it. They are those that it was set by.
    """

    trials: int
    inside: int


class PredictedPath(Schema):
    """The prediction for a launch with this ALMR, LR and number of tokens. `shares`: of the steps, ascending, where the
    trials measured; `points`: of each language, one for each share. `level`: the share of runs whose measurements are
    all inside. `factor`: half the band over the trials' error when they are left out.
    """

    schema_version: int = SCHEMA_VERSION
    model: str
    almr: float
    lr: float
    tokens: int
    level: float
    shares: tuple[float, ...] = Field(min_length=1)
    points: dict[str, tuple[PathPoint, ...]]
    factor: float
    left_out: LeftOut
    assumption: str

    @model_validator(mode="after")
    def _whole(self) -> PredictedPath:
        if any(len(points) != len(self.shares) for points in self.points.values()):
            raise ValueError("points: a language has not as many as there are shares")
        if list(self.shares) != sorted(set(self.shares)):
            raise ValueError("shares: they do not ascend")
        return self

    def change(self, language: str, share: float) -> Interval | None:
        """The band of the change at a share of the steps, on a straight line between two measurements; None before the
        first, where the trials say nothing.
        """
        points = self.points.get(language)
        if points is None or share < self.shares[0] - SAME_PLACE or share > 1 + SAME_PLACE:
            return None
        right = min(bisect_left(self.shares, share - SAME_PLACE), len(self.shares) - 1)
        left = max(0, right - 1)
        width = self.shares[right] - self.shares[left]
        at = min(1.0, max(0.0, (share - self.shares[left]) / width)) if width else 1.0
        low, high = (
            (1 - at) * getattr(points[left], end) + at * getattr(points[right], end) for end in ("low", "high")
        )
        return Interval(low=low, high=high)


def read(folder: Path) -> PredictedPath | None:
    """The prediction in a bundle; None where there is none. Raises InputError for a file that is broken."""
    try:
        return reader.read(folder / NAME, PredictedPath, "predicted path", SCHEMA_VERSION, AGAIN)
    except FileNotFoundError:
        return None
