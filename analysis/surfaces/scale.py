"""Trials -> the numbers that a process sees: inputs in [-1, 1], losses of mean 0 and sd 1, and back to nats."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from analysis.surfaces.forms import LINEAR, Form
from analysis.surfaces.kernels import Array
from sweep.study.errors import InputError
from sweep.study.study import MINIMUM_TRIALS

WIDTH = 2.0  # of the losses under the knee
Span = tuple[tuple[float, float], tuple[float, float]]
LARGEST = 20.0  # in widths over the knee: beyond, a prediction is as good as infinite


@dataclass(frozen=True)
class Scale:
    """Arrays are those of the n complete trials; `loss` in nats. Inputs are linear in `form` of ALMR and in ln LR.

    Losses over the knee count by their logarithm: towards divergence they rise exponentially and jump, and no smooth
    surface follows that without bending at its minimum. `span`: the range to scale by, where it is not the trials' own.
    """

    almr: Array
    lr: Array
    loss: Array
    form: Form = LINEAR
    span: Span | None = None

    @classmethod
    def of(cls, almr: ArrayLike, lr: ArrayLike, loss: ArrayLike, form: Form = LINEAR) -> Self:
        """Raises InputError for fewer than MINIMUM_TRIALS trials."""
        a, r, y = (np.asarray(values, dtype=float) for values in (almr, lr, loss))
        if len(y) < MINIMUM_TRIALS:
            raise InputError(f"{len(y)} usable trials: a surface needs {MINIMUM_TRIALS} or more; run a larger grid")
        return cls(a, r, y, form)

    @property
    def ends(self) -> Span:
        """The lowest and the highest ALMR, and LR, that are -1 and 1 in the inputs."""
        return self.span or ((self.almr.min(), self.almr.max()), (self.lr.min(), self.lr.max()))

    def inputs(self, almr: ArrayLike, lr: ArrayLike) -> Array:
        almrs, lrs = self.ends
        columns = (
            _to_unit(self.form.of(np.asarray(almr, float)), *self.form.of(np.array(almrs))),
            _to_unit(np.log(np.asarray(lr, float)), *np.log(lrs)),
        )
        return np.stack(columns, axis=1)

    @cached_property
    def knee(self) -> float:
        """The loss in nats over which differences are compressed: the third quartile, below which a choice is made."""
        return float(np.quantile(self.loss, 0.75))

    @cached_property
    def _width(self) -> float:
        return WIDTH * (self.knee - float(self.loss.min())) or 1.0

    @cached_property
    def _compressed(self) -> Array:
        return self.compress(self.loss)

    def compress(self, loss: Array) -> Array:
        """Losses in nats, with what is over the knee logarithmic."""
        over = np.maximum(loss - self.knee, 0)
        return np.asarray(np.minimum(loss, self.knee) + self._width * np.log1p(over / self._width))

    @cached_property
    def spread(self) -> float:
        return float(self._compressed.std()) or 1.0

    @property
    def targets(self) -> Array:
        return np.asarray((self._compressed - self._compressed.mean()) / self.spread)

    def nats(self, scaled: Array) -> Array:
        """The losses that numbers of the process stand for."""
        compressed = self._compressed.mean() + self.spread * scaled
        over = np.maximum(compressed - self.knee, 0) / self._width
        return np.asarray(np.minimum(compressed, self.knee) + self._width * np.expm1(np.minimum(over, LARGEST)))

    def nats_of_sd(self, scaled_sd: Array, scaled: Array) -> Array:
        """Standard deviations in nats of the process's own about its numbers `scaled`."""
        over = (self._compressed.mean() + self.spread * scaled - self.knee) / self._width
        return np.asarray(self.spread * scaled_sd * np.exp(np.clip(over, 0, LARGEST)))


def _to_unit(values: Array, low: float, high: float) -> Array:
    return np.asarray(2 * (values - low) / (high - low or 1.0) - 1)
