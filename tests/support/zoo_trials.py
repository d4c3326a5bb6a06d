"""Trials of a surface of the zoo, chosen by a grid, at random or by the product's own search, with their noise."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
from zoo import Array, Drawn

from analysis.decision.objectives import Goal, WeightedGoal
from analysis.search.ask import ask
from analysis.search.propose import SearchContext
from analysis.search.space import Point, Space

GRIDS = {16: (4, 4), 20: (4, 5), 30: (5, 6), 81: (9, 9)}
COUNTS = tuple(GRIDS)
DESIGNS = ("grid", "random", "search")


def grid(drawn: Drawn, almrs: int, lrs: int) -> list[Point]:
    return list(itertools.product(np.linspace(*drawn.almrs, almrs).tolist(), np.geomspace(*drawn.lrs, lrs).tolist()))


class Trials:
    """All trials of one surface: the same point has the same noise in every design.

    `combined`: only the mean of the two losses is measured.
    """

    def __init__(self, drawn: Drawn, combined: bool, seed: int) -> None:
        self.drawn, self.combined, self.seed = drawn, combined, seed
        self.goal: Goal = WeightedGoal({"total": 1.0} if combined else {"original": 0.5, "additional": 0.5})

    def tables(self, design: str, counts: tuple[int, ...] = COUNTS) -> dict[int, pd.DataFrame]:
        """A table for each of `counts`, among COUNTS, that the design can have."""
        if design == "grid":
            return {count: self.measure(grid(self.drawn, *GRIDS[count])) for count in counts}
        points = self._random() if design == "random" else self._searched(max(counts))
        return {count: self.measure(points[:count]) for count in counts if count <= len(points)}

    def measure(self, points: list[Point]) -> pd.DataFrame:
        almr, lr = np.array(points, float).reshape(-1, 2).T
        losses = np.stack(self.drawn.losses(almr, lr))
        over = losses.mean(axis=0) > self.drawn.lowest + self.drawn.family.diverged
        losses = losses + self.drawn.sd(almr, lr) * np.array([self._noise(*point) for point in points]).reshape(-1, 2).T
        losses = np.where(over, np.nan, losses)
        named = {"total": losses.mean(axis=0)} if self.combined else dict(zip(self.goal.losses, losses, strict=True))
        status = np.where(over, "diverged", "complete")
        reason = pd.Series(["diverged: a loss over the limit" if one else None for one in over], dtype=object)
        columns = {"almr": almr, "lr": lr, "seed": 0, "status": status}
        return pd.DataFrame(columns | {f"loss_{n}": loss for n, loss in named.items()}).assign(excluded=reason)

    def _noise(self, almr: float, lr: float) -> Array:
        key = np.array([almr, lr]).view(np.uint64) & np.uint64(2**32 - 1)
        return np.random.default_rng([self.seed, *map(int, key)]).standard_normal(2)

    def _random(self) -> list[Point]:
        random = np.random.default_rng([self.seed, 1])
        almrs = random.uniform(*self.drawn.almrs, COUNTS[-1])
        lrs = np.exp(random.uniform(*np.log(self.drawn.lrs), COUNTS[-1]))
        return list(zip(almrs.tolist(), lrs.tolist(), strict=True))

    def _searched(self, most: int) -> list[Point]:
        space = Space.grid(*(sorted(set(axis)) for axis in zip(*grid(self.drawn, *self.drawn.cells), strict=True)))
        found: list[Point] = []
        for index in range(min(most, len(space.cells))):
            context = SearchContext(self.measure(found), self.goal, space, index=index, seed=self.seed)
            proposal = ask("surface", context)
            found.append((proposal.almr, proposal.lr))
        return found
