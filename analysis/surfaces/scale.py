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

LARGEST = 20.0  # widths over the lowest loss, where a prediction is cut off: exp(20) widths are as good as infinite


@dataclass(frozen=True)
class Scale:
    """The scaling of n complete trials: arrays (n,), `loss` in nats. Inputs are linear in `form` of ALMR and in ln LR.

    Losses are compressed to width * ln(1 + over / width), where `over` is the loss minus the lowest, `width` in nats.
    Towards divergence losses rise exponentially, and a smooth surface that followed them would be distorted at its
    minimum. An infinite width compresses nothing.
    """

    almr: Array
    lr: Array
    loss: Array
    form: Form = LINEAR
    width: float = np.inf

    @classmethod
    def of(cls, almr: ArrayLike, lr: ArrayLike, loss: ArrayLike, form: Form = LINEAR) -> Self:
        """Raises InputError for fewer trials than a fit needs (analysis.table.table.fewest)."""
        a, r, y = (np.asarray(values, dtype=float) for values in (almr, lr, loss))
        if len(y) < (needed := fewest(a, r)):
            raise InputError(f"{len(y)} usable trials: a surface needs {needed} or more; add trials")
        return cls(a, r, y, form)

    def inputs(self, almr: ArrayLike, lr: ArrayLike) -> Array:
        """Inputs of n points (n, 2), scaled to [-1, 1] over the trials."""
        almrs, lrs = (np.array([values.min(), values.max()]) for values in (self.almr, self.lr))
        columns = (
            _to_unit(self.form.of(np.asarray(almr, float)), *self.form.of(almrs)),
            _to_unit(np.log(np.asarray(lr, float)), *np.log(lrs)),
        )
        return np.stack(columns, axis=1)

    @cached_property
    def lowest(self) -> float:
        return float(self.loss.min())

    @cached_property
    def range(self) -> float:
        """From the lowest loss to the third quartile, in nats; 1 where they are equal."""
        return float(np.quantile(self.loss, 0.75)) - self.lowest or 1.0

    @cached_property
    def _compressed(self) -> Array:
        over = self.loss - self.lowest
        return over if np.isinf(self.width) else self.width * np.log1p(over / self.width)

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
        compressed = self._of_scaled(scaled)
        return np.asarray(
            self.lowest + (compressed if np.isinf(self.width) else self.width * np.expm1(self._widths(compressed)))
        )

    def nats_of_sd(self, scaled_sd: Array, scaled: Array) -> Array:
        """Standard deviations in nats of scaled ones about the scaled values `scaled` (linearised)."""
        return np.asarray(self.spread * scaled_sd * np.exp(self._widths(self._of_scaled(scaled))))

    def log_slopes(self, scaled: Array) -> Array:
        """ln of the slope of scaled values over losses in nats, at the scaled values."""
        return np.asarray(-self._widths(self._of_scaled(scaled)) - np.log(self.spread))

    def _of_scaled(self, scaled: Array) -> Array:
        return np.asarray(self._compressed.mean() + self.spread * scaled)

    def _widths(self, compressed: Array) -> Array:
        return np.minimum(compressed / self.width, LARGEST)


def _to_unit(values: Array, low: float, high: float) -> Array:
    return np.asarray(2 * (values - low) / (high - low or 1.0) - 1)
