"""Scaling of trials for a Gaussian process: inputs to [-1, 1], losses to mean 0 and sd 1, and predictions to nats."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from analysis.fit_file.forms import LINEAR, Form
from analysis.surfaces.kernels import Array
from analysis.table.table import fewest
from sweep.study import InputError

WIDTH = 2.0  # scale of the compression, in units of knee - lowest loss
LARGEST = 20.0  # compressed widths over the knee, where a prediction is cut off: exp(20) widths are as good as infinite
Ranges = tuple[tuple[float, float], tuple[float, float]]


@dataclass(frozen=True)
class Scale:
    """The scaling of n complete trials: arrays (n,), `loss` in nats. Inputs are linear in `form` of ALMR and in ln LR.

    Losses over the knee are compressed logarithmically: towards divergence they rise exponentially and jump, and a
    smooth surface that followed them would be distorted at its minimum. `span`: the ranges of ALMR and LR to scale by,
    None for those of the trials.
    """

    almr: Array
    lr: Array
    loss: Array
    form: Form = LINEAR
    span: Ranges | None = None

    @classmethod
    def of(cls, almr: ArrayLike, lr: ArrayLike, loss: ArrayLike, form: Form = LINEAR) -> Self:
        """Raises InputError for fewer trials than a fit needs (analysis.table.table.fewest)."""
        a, r, y = (np.asarray(values, dtype=float) for values in (almr, lr, loss))
        if len(y) < (needed := fewest(a, r)):
            raise InputError(f"{len(y)} usable trials: a surface needs {needed} or more; add trials")
        return cls(a, r, y, form)

    @property
    def ranges(self) -> Ranges:
        """(lowest, highest) ALMR and (lowest, highest) LR, which the inputs map to (-1, 1)."""
        return self.span or ((self.almr.min(), self.almr.max()), (self.lr.min(), self.lr.max()))

    def inputs(self, almr: ArrayLike, lr: ArrayLike) -> Array:
        """Scaled inputs of n points: (n, 2)."""
        almrs, lrs = self.ranges
        columns = (
            _to_unit(self.form.of(np.asarray(almr, float)), *self.form.of(np.array(almrs))),
            _to_unit(np.log(np.asarray(lr, float)), *np.log(lrs)),
        )
        return np.stack(columns, axis=1)

    @cached_property
    def knee(self) -> float:
        """The loss in nats above which losses are compressed: the third quartile, well above any candidate optimum."""
        return float(np.quantile(self.loss, 0.75))

    @cached_property
    def _width(self) -> float:
        return WIDTH * (self.knee - float(self.loss.min())) or 1.0

    @cached_property
    def _compressed(self) -> Array:
        return self.compress(self.loss)

    def compress(self, loss: Array) -> Array:
        """Losses in nats, compressed above the knee."""
        over = np.maximum(loss - self.knee, 0)
        return np.asarray(np.minimum(loss, self.knee) + self._width * np.log1p(over / self._width))

    @cached_property
    def spread(self) -> float:
        """Standard deviation of the compressed losses; 1 where all are equal."""
        return float(self._compressed.std()) or 1.0

    @property
    def targets(self) -> Array:
        """Compressed losses of mean 0 and sd 1: (n,)."""
        return np.asarray((self._compressed - self._compressed.mean()) / self.spread)

    def nats(self, scaled: Array) -> Array:
        """Losses in nats of scaled values, the inverse of `targets`."""
        compressed = self._compressed.mean() + self.spread * scaled
        over = np.maximum(compressed - self.knee, 0) / self._width
        return np.asarray(np.minimum(compressed, self.knee) + self._width * np.expm1(np.minimum(over, LARGEST)))

    def nats_of_sd(self, scaled_sd: Array, scaled: Array) -> Array:
        """Standard deviations in nats of scaled ones about the scaled values `scaled` (linearised)."""
        over = (self._compressed.mean() + self.spread * scaled - self.knee) / self._width
        return np.asarray(self.spread * scaled_sd * np.exp(np.clip(over, 0, LARGEST)))


def _to_unit(values: Array, low: float, high: float) -> Array:
    return np.asarray(2 * (values - low) / (high - low or 1.0) - 1)
