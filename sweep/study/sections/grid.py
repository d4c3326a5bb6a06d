"""`grid` and `search`: the ALMRs, LRs and seeds of a study, and which of them are run."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self, get_args

import pydantic
from pydantic import Field, model_validator

from sweep.study.fields import Count, Finite, OneOrMore, Positive, Section, Seed, Share, listed

MOST_TRIALS = 5000  # of a grid that nobody asked for
MOST_LISTED = 6  # values in a message
FARTHEST = 1e30  # an LR above it, or below its inverse: no file of a trial with such a number could be read again


def _listed(values: Sequence[float]) -> str:
    """The values as one writes them in a study: [0.1, 1e-5]. Of many, the first."""
    more = ["..."] if len(values) > MOST_LISTED else []
    return f"[{', '.join([*(f'{value:g}' for value in values[:MOST_LISTED]), *more])}]".replace("e-0", "e-")


class LrRange(Section):
    """Log-spaced LRs, both ends included, rounded to four significant digits so that they can be written down."""

    model_config = pydantic.ConfigDict(populate_by_name=True)
    start: Annotated[Positive, Field(alias="from")]
    """The lowest LR."""
    to: Positive
    """The highest LR."""
    points: Annotated[Count, Field(ge=2, le=1000)]
    """Number of LRs."""

    @property
    def values(self) -> tuple[float, ...]:
        ratio = (self.to / self.start) ** (1 / (self.points - 1))
        return tuple(float(f"{self.start * ratio**i:.3e}") for i in range(self.points))


LR_LIST = pydantic.TypeAdapter(tuple[Positive, ...])


class Grid(Section):
    """Every combination of `almr`, `lr` and `seeds` is a point of the grid."""

    almr: OneOrMore[Share]
    """Additional language mixture ratios: the share of training tokens from the additional language, 0 to 1."""
    lr: LrRange | OneOrMore[Positive]
    """Peak learning rates: a list, or a log-spaced range {from: 1e-5, to: 1e-3, points: 5}."""
    seeds: OneOrMore[Seed] = (0,)
    """Seeds of the data order. Several repeat each (ALMR, LR), which measures the noise."""
    max_trials: Count = MOST_TRIALS
    """Most trials that the grid may have: more are refused as a slip. A fit takes at most 20,000."""

    @pydantic.field_validator("lr", mode="before")
    @classmethod
    def _range_or_list(cls, value: Any) -> Any:
        # To decide here keeps the errors of the union's other branch out of the user's message.
        return LrRange.model_validate(value) if isinstance(value, dict) else LR_LIST.validate_python(listed(value))

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        for name, values in (("almr", self.almr), ("lr", self.lrs), ("seeds", self.seeds)):
            if twice := [value for value, count in Counter(values).items() if count > 1]:
                raise ValueError(
                    f"{name} lists a value twice: {_listed(values if len(values) <= MOST_LISTED else twice)}"
                )
        return self

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if odd := [lr for lr in self.lrs if not 1 / FARTHEST <= lr <= FARTHEST]:
            raise ValueError(f"lr: {odd[0]:g} is beyond every LR: correct it")
        return self

    @model_validator(mode="after")
    def _few_enough(self) -> Self:
        counts = {"ALMR": len(self.almr), "LR": len(self.lrs), "seed": len(self.seeds)}
        trials = math.prod(counts.values())
        if trials > self.max_trials:
            parts = " x ".join(f"{count:,} {name}{'s' * (count != 1)}" for name, count in counts.items())
            raise ValueError(
                f"{parts} = {trials:,} trials, more than max_trials, {self.max_trials:,}: list fewer values, or write "
                f"max_trials: {trials} to insist"
            )
        return self

    @property
    def points(self) -> list[tuple[float, float, int]]:
        """Every (almr, lr, seed), seed by seed."""
        return [(almr, lr, seed) for seed in self.seeds for almr in self.almr for lr in self.lrs]

    @property
    def lrs(self) -> tuple[float, ...]:
        return self.lr.values if isinstance(self.lr, LrRange) else self.lr


class Bounds(Section):
    """How far trials may go beyond the grid where the optimum is at its edge."""

    almr: tuple[Share, Share] | None = None
    """[lowest, highest] ALMR. Default: the grid's."""
    lr: tuple[Positive, Positive] | None = None
    """[lowest, highest] LR. Default: the grid's."""

    @model_validator(mode="after")
    def _rising(self) -> Self:
        for name, ends in (("almr", self.almr), ("lr", self.lr)):
            if ends and ends[0] > ends[1]:
                raise ValueError(f"bounds.{name}: the lowest comes first: write {_listed(ends[::-1])}")
        return self


Unit = Literal["trials", "tokens", "gpu_hours"]
UNITS: tuple[Unit, ...] = get_args(Unit)


class Search(Section):
    """How trials are chosen from the grid. A search has one budget: `trials`, `tokens` or `gpu_hours`."""

    strategy: Literal["grid", "surface", "tpe", "gp", "random"] = "grid"
    """`grid` runs every point; `surface` proposes trials on the fitted surface; the others are Optuna's samplers."""
    trials: Count | None = None
    """Most trials of a search, or of a grid with `bounds`. A plain grid takes none."""
    tokens: Count | None = None
    """Most training tokens of a search, over all its trials."""
    gpu_hours: Positive | None = None
    """Most GPU-hours of a search. One more trial is expected to take the mean of its complete ones."""
    space: Literal["cells", "range"] = "cells"
    """Where a search may propose: the grid's cells, or any point between its lowest and highest values."""
    curve: Annotated[Share, Field(lt=1)] = 0.25
    """`surface`: the share of trials that sharpens the curve of best LR; the others improve the winner."""
    tolerance: Annotated[Finite, Field(ge=0)] = 0.0
    """`surface`: stop once a launch of the best trial is expected to lose less than this against the best cell, in nats
    per token."""
    bounds: Bounds | None = None
    """Where the optimum is at the edge of the grid, add cells beyond it, within these bounds. Default: none."""

    @property
    def proposes(self) -> bool:
        return self.strategy != "grid"

    @property
    def unit(self) -> Unit | None:
        """What the budget counts, which is also the name of its field; None where there is none."""
        return next((unit for unit in UNITS if getattr(self, unit) is not None), None)

    @property
    def limit(self) -> float:
        """The budget in its unit; 0 where there is none."""
        found: float = getattr(self, self.unit) if self.unit else 0
        return found

    @model_validator(mode="after")
    def _budget(self) -> Self:
        given = [unit for unit in UNITS if getattr(self, unit) is not None]
        if self.proposes and not given:
            raise ValueError(
                f"strategy {self.strategy} needs a budget: add trials, as in trials: 24, or tokens, or gpu_hours"
            )
        if self.proposes and len(given) > 1:
            raise ValueError(f"{' and '.join(given)} are {len(given)} budgets: give one of them")
        if not self.proposes and (other := [unit for unit in given if unit != "trials"]):
            raise ValueError(
                f"{other[0]}: only a search has such a budget: leave it out, or name a strategy that searches"
            )
        if not self.proposes and self.trials is not None and self.bounds is None:
            raise ValueError("trials: the grid is run whole; leave trials out, or name a strategy that searches")
        if self.strategy != "surface" and self.tolerance:
            raise ValueError(
                f"tolerance: only strategy surface expects a loss of a launch: leave it out of {self.strategy}"
            )
        if not self.proposes and self.space == "range":
            raise ValueError("space: a grid is run cell by cell; leave space out, or name a strategy that searches")
        if not self.proposes and self.bounds is not None and self.trials is None:
            raise ValueError("bounds: say up to how many trials the grid may grow: add trials")
        return self

    def refuse_bounds_inside(self, grid: Grid) -> None:
        """Raises ValueError where bounds exclude a part of the grid, or the budget of a growing grid does."""
        if not self.proposes and self.trials is not None and self.trials < len(grid.points):
            raise ValueError(f"search.trials {self.trials} is less than the grid's {len(grid.points)}: raise it")
        for name, ends, values in self._hyper_parameters(grid):
            if ends and not (ends[0] <= min(values) and max(values) <= ends[1]):
                raise ValueError(
                    f"search.bounds.{name} {_listed(ends)} do not contain the grid's own {name}: widen them"
                )
            if ends and len(values) == 1 and ends != (values[0], values[0]):
                raise ValueError(
                    f"search.bounds.{name}: the grid has one {name}, so there is no step to grow by: give grid.{name} "
                    f"two values or more, or leave bounds.{name} out"
                )

    def reach(self, grid: Grid) -> dict[str, tuple[float, float]]:
        """The lowest and highest value that may be proposed, by hyper-parameter."""
        return {name: ends or (min(values), max(values)) for name, ends, values in self._hyper_parameters(grid)}

    def may_propose(self, grid: Grid, almr: float, lr: float) -> bool:
        """Whether (almr, lr), not a cell of the grid, may be a trial of this search."""
        inside = all(low <= x <= high for x, (low, high) in zip((almr, lr), self.reach(grid).values(), strict=True))
        return inside and (self.bounds is not None or (self.proposes and self.space == "range"))

    def _hyper_parameters(self, grid: Grid) -> list[tuple[str, tuple[float, float] | None, tuple[float, ...]]]:
        bounds = self.bounds or Bounds()
        return [("almr", bounds.almr, grid.almr), ("lr", bounds.lr, grid.lrs)]
