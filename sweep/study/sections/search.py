"""`search`: whether the whole grid is run, or a few trials that a search proposes."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from sweep.study.fields import Count, Finite, Positive, Section, Share
from sweep.study.sections.grid import Grid


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
                raise ValueError(f"bounds.{name}: the lowest comes first: write [{ends[1]:g}, {ends[0]:g}]")
        return self


class Search(Section):
    """How trials are chosen from the grid."""

    strategy: Literal["grid", "surface", "tpe", "gp", "random"] = "grid"
    """`grid` runs every point; `surface` proposes trials on the fitted surface; the others are Optuna's samplers."""
    trials: Count | None = None
    """Most trials of a search, or of a grid with `bounds`. Required there; a plain grid takes none."""
    space: Literal["cells", "range"] = "cells"
    """Where a search may propose: the grid's cells, or any point between its lowest and highest values."""
    curve: Annotated[Share, Field(lt=1)] = 0.25
    """`surface`: the share of trials that sharpens the curve of best LR; the others improve the winner."""
    tolerance: Annotated[Finite, Field(ge=0)] = 0.0
    """`surface`: stop once the next trial is expected to improve the best loss by less, in nats per token."""
    bounds: Bounds | None = None
    """Where the optimum is at the edge of the grid, add cells beyond it, within these bounds. Default: none."""

    @property
    def proposes(self) -> bool:
        return self.strategy != "grid"

    @model_validator(mode="after")
    def _budget(self) -> Self:
        if self.proposes and self.trials is None:
            raise ValueError(f"strategy {self.strategy} needs a budget: add trials, as in trials: 24")
        if not self.proposes and self.trials is not None and self.bounds is None:
            raise ValueError("trials: the grid is run whole; leave trials out, or name a strategy that searches")
        if self.strategy != "surface" and self.tolerance:
            raise ValueError(
                f"tolerance: only strategy surface expects an improvement: leave it out of {self.strategy}"
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
                raise ValueError(f"search.bounds.{name} {list(ends)} do not hold the grid's own {name}: widen them")
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
