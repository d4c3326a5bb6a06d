"""Losses and objective on a lattice over the tried range, and the optimum of their mean and of each posterior draw.

All intervals come from here: each draw is a surface with its own optimum, and the interval of the optimum is given by
the quantiles of these. Nothing is predicted outside the tried range.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from scipy.interpolate import make_interp_spline

from analysis.surfaces.kernels import Array
from analysis.surfaces.surface import Surface

DRAWS = 500
FARTHEST = 1.5  # lattice steps from the lowest point: the vertex of a slanting valley may lie as far off


class LatticeSize(NamedTuple):
    """Points on each axis, and posterior draws."""

    almr: int = 25
    lr: int = 41
    draws: int = DRAWS


SIZE = LatticeSize()


@dataclass(frozen=True)
class Lattice:
    """Each language's loss in nats at every (almr, lr): `mean` and `sd` (A, L), posterior `draws` (D, A, L).

    `times`: how many steps replace one of the lattice that this one was made finer from.
    """

    almr: Array
    lr: Array
    mean: dict[str, Array]
    sd: dict[str, Array]
    draws: dict[str, Array]
    times: int = 1

    @classmethod
    def of(
        cls,
        surfaces: dict[str, Surface],
        almr: Array,
        lr: Array,
        seed: int = 0,
        size: LatticeSize = SIZE,
    ) -> Self:
        """Evaluate the surfaces over the range of the measured values `almr` and `lr`."""
        a = np.linspace(almr.min(), almr.max(), size.almr if np.ptp(almr) else 1)
        r = np.geomspace(lr.min(), lr.max(), size.lr if np.ptp(lr) else 1)
        every_almr, every_lr = (axis.ravel() for axis in np.meshgrid(a, r, indexing="ij"))
        shape = (len(a), len(r))
        means, deviations, drawn = {}, {}, {}
        for i, (name, surface) in enumerate(surfaces.items()):
            mean, sd = surface.predict(every_almr, every_lr)
            means[name], deviations[name] = mean.reshape(shape), sd.reshape(shape)
            # A random stream per language: with a shared one their draws would be correlated.
            drawn[name] = surface.sample(every_almr, every_lr, size.draws, seed + 1000 * i).reshape(-1, *shape)
        return cls(a, r, means, deviations, drawn)

    @property
    def coarse(self) -> Self:
        """The lattice that a finer one was made from; of another, itself."""
        if self.times == 1:
            return self
        step = self.times
        mean, sd, draws = ({k: v[..., ::step, ::step] for k, v in part.items()} for part in self._parts)
        return type(self)(self.almr[::step], self.lr[::step], mean, sd, draws)

    @property
    def _parts(self) -> tuple[dict[str, Array], ...]:
        return self.mean, self.sd, self.draws

    def finer(self, times: int = 3) -> Self:
        """The lattice with `times` as many steps on each axis, by cubic splines."""
        almr = np.linspace(self.almr[0], self.almr[-1], (len(self.almr) - 1) * times + 1)
        lr = np.geomspace(self.lr[0], self.lr[-1], (len(self.lr) - 1) * times + 1)
        mean, sd, draws = ({k: _splined(v, times) for k, v in part.items()} for part in self._parts)
        return type(self)(almr, lr, mean, sd, draws, times)


def _splined(values: Array, times: int) -> Array:
    """Cubic splines through (..., A, L) at `times` as many even steps on the last two axes."""
    for axis in (-2, -1):
        last = values.shape[axis] - 1
        if last:
            spline = make_interp_spline(np.arange(last + 1), values, k=min(3, last), axis=axis)
            values = spline(np.linspace(0, last, last * times + 1))
    return values


@dataclass(frozen=True)
class Optima:
    """The objective on the lattice: `almr` (A,), `lr` (L,), `mean` and `sd` (A, L), `draws` (D, A, L), in nats.

    Infinite where a guard forbids a point. A draw in which every point is forbidden has no optimum and is left out.
    """

    almr: Array
    lr: Array
    mean: Array
    sd: Array
    draws: Array

    def almr_at(self, index: Array | float) -> Array:
        """ALMR at fractional lattice indices."""
        return np.asarray(np.interp(index, np.arange(len(self.almr)), self.almr))

    def lr_at(self, index: Array | float) -> Array:
        """LR at fractional lattice indices."""
        return np.asarray(np.exp(np.interp(index, np.arange(len(self.lr)), np.log(self.lr))))

    def best(self) -> tuple[float, float]:
        """(ALMR, LR) of the optimum of the mean."""
        [i], [j] = refined(self.mean[None])
        return float(self.almr_at(i)), float(self.lr_at(j))

    def at_best(self, values: Array) -> Array:
        """What values (..., A, L) on the lattice are at `best`: (...). On the paraboloid through the lattice's lowest
        point and its neighbours, since on the way from that point a language's loss may fall by more than its
        uncertainty. Where a guard forbids a neighbour, at the lowest point itself.
        """
        i, j = map(int, np.unravel_index(self.mean.argmin(), self.mean.shape))
        [row], [column] = refined(self.mean[None])
        if not np.isfinite(_neighbour(self.mean, i, j, *np.indices((3, 3)) - 1)).all():
            return np.asarray(values[..., i, j])
        by_i, by_j, ii, jj, ij = _paraboloid(lambda di, dj: _neighbour(values, i, j, di, dj))
        u, v = row - i, column - j
        return np.asarray(values[..., i, j] + by_i * u + by_j * v + ii * u**2 / 2 + jj * v**2 / 2 + ij * u * v)

    def drawn_best(self) -> tuple[Array, Array]:
        """ALMR and LR of each draw's optimum: two arrays, of the draws that have one."""
        i, j = refined(self.draws[np.isfinite(self.draws).any(axis=(1, 2))])
        return self.almr_at(i), self.lr_at(j)


def refined(losses: Array) -> tuple[Array, Array]:
    """Fractional indices of the minimum of each of (n, A, L): two arrays (n,).

    An interior minimum is the vertex of the paraboloid through its eight neighbours; a parabola per axis would leave
    that of a slanting valley on the lattice. Without such a vertex near by, a parabola per axis. A minimum at an edge
    stays there.
    """
    flat = losses.reshape(len(losses), np.prod(losses.shape[1:], dtype=int)).argmin(axis=1)
    i, j = np.unravel_index(flat, losses.shape[1:])
    each = np.arange(len(losses))
    along = np.stack([_vertex(losses[each, :, j], i), _vertex(losses[each, i, :], j)])
    near, joint = _joint_vertex(losses, i, j)
    di, dj = np.where(near, joint, along)
    return np.clip(i + di, 0, losses.shape[1] - 1), np.clip(j + dj, 0, losses.shape[2] - 1)


def _joint_vertex(losses: Array, i: Array, j: Array) -> tuple[Array, Array]:
    """Whether the paraboloid around (i, j) has a minimum within FARTHEST steps (n,), and its offset (2, n)."""
    each, last = np.arange(len(losses)), np.array(losses.shape[1:]) - 1

    def at(di: int, dj: int) -> Array:
        return np.asarray(losses[each, np.clip(i + di, 0, last[0]), np.clip(j + dj, 0, last[1])])

    with np.errstate(invalid="ignore", divide="ignore"):  # a forbidden neighbour is infinite
        by_i, by_j, ii, jj, ij = _paraboloid(at)
        offsets = np.stack([ij * by_j - jj * by_i, ij * by_i - ii * by_j]) / (ii * jj - ij**2)
    inside = (i > 0) & (i < last[0]) & (j > 0) & (j < last[1])
    bowl = (ii > 0) & (jj > 0) & (ii * jj > ij**2)
    return inside & bowl & (np.abs(offsets) <= FARTHEST).all(axis=0), offsets


def _neighbour(values: Array, i: int, j: int, di: int | Array, dj: int | Array) -> Array:
    """Values (..., A, L) so many steps from (i, j), or at the edge."""
    rows, columns = values.shape[-2:]
    return np.asarray(values[..., np.clip(i + di, 0, rows - 1), np.clip(j + dj, 0, columns - 1)])


def _paraboloid(at: Callable[[int, int], Array]) -> tuple[Array, Array, Array, Array, Array]:
    """Slopes in i and j and the derivatives ii, jj and ij, from the values `at` steps of -1 to 1 from a point."""
    return (
        (at(1, 0) - at(-1, 0)) / 2,
        (at(0, 1) - at(0, -1)) / 2,
        at(1, 0) - 2 * at(0, 0) + at(-1, 0),
        at(0, 1) - 2 * at(0, 0) + at(0, -1),
        (at(1, 1) - at(1, -1) - at(-1, 1) + at(-1, -1)) / 4,
    )


def refined_along(losses: Array) -> Array:
    """Fractional index of the minimum along the last axis: (..., L) -> (...)."""
    lines = losses.reshape(-1, losses.shape[-1])
    lowest = lines.argmin(axis=1)
    return np.asarray(lowest + _vertex(lines, lowest)).reshape(losses.shape[:-1])


def _vertex(lines: Array, lowest: Array) -> Array:
    """Offset in [-1/2, 1/2] of a parabola's vertex from the lowest point of each line: (n, L), (n,) -> (n,)."""
    each, last = np.arange(len(lines)), lines.shape[1] - 1
    inside = (lowest > 0) & (lowest < last)
    left, right = lines[each, np.maximum(lowest - 1, 0)], lines[each, np.minimum(lowest + 1, last)]
    with np.errstate(invalid="ignore"):  # a forbidden neighbour is infinite
        curvature = left - 2 * lines[each, lowest] + right
        offset = (left - right) / np.where(curvature > 0, 2 * curvature, np.inf)
    return np.where(inside & np.isfinite(left + right), offset, 0.0)
