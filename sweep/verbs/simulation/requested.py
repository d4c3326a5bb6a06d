"""The searches that `almr simulate` is asked to replay."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import numpy as np

from analysis.search.replay import STRATEGIES, ReplayedSearch
from sweep.study import InputError
from sweep.verbs.options import ReplayOptions

MOST_SPREAD = 2.0


@dataclass(frozen=True)
class Comparison:
    """The searches to replay. `trials` is sorted; `curve`, `at_once` and `spread` are those of ReplayedSearch.

    `fitted`: fit each search's trials as well, as a script wants it.
    """

    strategies: tuple[str, ...]
    trials: tuple[int, ...]
    repeats: int
    seed: int
    curve: float
    at_once: int
    spread: float
    fitted: bool

    def searches(self) -> list[tuple[str, int]]:
        """(strategy, repeat), all strategies of a repeat together, so that the time left is known early."""
        return [(strategy, repeat) for repeat, strategy in itertools.product(range(self.repeats), self.strategies)]

    def replayed(self, search: tuple[str, int]) -> ReplayedSearch:
        strategy, repeat = search
        seed = int(np.random.SeedSequence([self.seed, repeat]).generate_state(1)[0])
        return ReplayedSearch(strategy, self.curve, seed, self.at_once, self.spread)


def comparison(options: ReplayOptions, fitted: bool = False) -> Comparison:
    """The options, checked. Raises InputError naming the one that is wrong."""
    names = tuple(dict.fromkeys(name.strip() for name in options.strategies.split(",")))
    if unknown := [name for name in names if name not in STRATEGIES]:
        raise InputError(f"--strategies: {unknown[0]!r} is not one of {', '.join(STRATEGIES)}")
    if options.repeats < 1:
        raise InputError(f"--repeats {options.repeats}: write a whole number above 0, as in --repeats 20")
    if options.seed < 0:
        raise InputError(f"--seed {options.seed}: write a whole number, 0 or above")
    if not 0 <= options.curve < 1:
        raise InputError(f"--curve {options.curve:g}: write a share from 0 to below 1, as in --curve 0.25")
    if options.at_once < 1:
        raise InputError(f"--at-once {options.at_once}: write a whole number above 0, as in --at-once 8")
    if not 0 <= options.spread <= MOST_SPREAD:
        raise InputError(f"--spread {options.spread:g}: write a number from 0 to {MOST_SPREAD:g}, as in --spread 0.5")
    return Comparison(
        strategies=names,
        trials=_counts(options.trials),
        repeats=options.repeats,
        seed=options.seed,
        curve=options.curve,
        at_once=options.at_once,
        spread=options.spread,
        fitted=fitted,
    )


def _counts(text: str) -> tuple[int, ...]:
    try:
        counts = sorted({int(piece) for piece in text.split(",")})
    except ValueError:
        counts = [0]
    if counts[0] < 1:
        raise InputError(f"--trials {text}: write whole numbers above 0, as in --trials 8,12,16")
    return tuple(counts)


def clipped(requested: Comparison, cells: int) -> tuple[Comparison, list[str]]:
    over = [count for count in requested.trials if count > cells]
    if not over:
        return requested, []
    counts = sorted({min(count, cells) for count in requested.trials})
    note = f"--trials {','.join(map(str, over))}: the table has {cells} cells; replayed with {cells} trials instead"
    return replace(requested, trials=tuple(counts)), [note]
