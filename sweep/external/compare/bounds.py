"""How far the losses of two trainers that agree may be apart: by measured noise, as stated, or by default."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from analysis.surfaces.kernels import Array
from sweep.study import LANGUAGES

SAME = 1e-3  # nats: all trainers that train alike in float32 are within it (sweep.external.parity.judge)
CONFIDENCE = 0.95
ORDER = 4.0
IN_ORDER = {"native", "llamafactory", "axolotl", "torchtitan"}  # trainers that read a trial's rows in its order
DEFAULT = 0.05  # nats: of the two seeds of tests/data/dense.csv, the trials within 0.3 of the best are within it ...
GROWTH = 0.1  # ... and with this share of a trial's loss over the best also those near divergence, but for 3 of 146


def order(trainers: Iterable[str], seeds: int) -> float:
    """`order` of these trainers, for a noise over so many `seeds`."""
    return 0.0 if {*trainers} <= IN_ORDER else 1.0 if seeds > 1 else ORDER


class PairsOf(NamedTuple):
    """The compared trials: `almrs`, `lrs`, and the lower `losses` of each pair, (n,) each."""

    almrs: Array
    lrs: Array
    losses: Array


Bounds = Callable[[str, PairsOf], tuple[Array, float]]
"""Of a language's pairs: the bound of each difference (n,), and that of their mean, in nats."""


@dataclass(frozen=True)
class ByNoise:
    """Bounds by the noise of one trial, `sd(language, almrs, lrs)` in nats (n,).

    Where both trainers sample one surface, a difference has two parts: the noise of two trials, and, where one of the
    trainers orders the text by itself, what that order does to all of its trials alike. A fit to one seed does not see
    the second part. On the demo the sd over seeds is 0.0165 nats where its fit's noise is 0.0039, so that the order is
    taken to have ORDER times the sd of the noise: `order`, which is 0 for trainers that read one order, and 1 where the
    noise is over several seeds. All bounds hold together, over all languages, in CONFIDENCE of the comparisons of
    trainers that agree (Bonferroni).
    """

    sd: Callable[[str, Array, Array], Array]
    order: float = ORDER

    def __call__(self, language: str, pairs: PairsOf) -> tuple[Array, float]:
        count = len(pairs.almrs)
        noise = 2 * self.sd(language, pairs.almrs, pairs.lrs) ** 2  # variances, of both trainers together
        mean = float(np.mean(noise))
        order = self.order**2 * mean
        tail = (1 - CONFIDENCE) / (2 * 2 * len(LANGUAGES))  # two sides, two tests a language
        of_each, of_mean = (NormalDist().inv_cdf(1 - share) for share in (tail / count, tail))
        each, shift = of_each * np.sqrt(noise + order), of_mean * math.sqrt(mean / count + order)
        return np.maximum(each, SAME), max(shift, SAME)


def stated(nats: float) -> Bounds:
    """The user's own bound of every difference."""
    return lambda language, pairs: (np.full(len(pairs.almrs), nats), nats)


def by_default(language: str, pairs: PairsOf) -> tuple[Array, float]:
    """Where no noise is known: a trial that is far above the best may differ by more."""
    return DEFAULT + GROWTH * (pairs.losses - pairs.losses.min()), DEFAULT
