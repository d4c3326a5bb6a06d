"""What searches find on measured-like tables: the regret of each strategy, one trial at a time and several at once.

    python tests/benchmarks/search.py --at-once 1,8 [--tables wide,narrow] [--draws 2] [TABLE ...]

A table is a family of the zoo (tests/support/zoo.py) on a grid, with random settings: `wide` has 7 ALMRs and 17
LRs over three decades, so that losses differ by nats between the ends; `narrow` has 4 and 11 over one decade. TABLE is
any that `almr simulate` reads; then no table is drawn. The families that are held out are in rows of their own.
With --spread, trials have unequal durations, and the wall-clock to a mean regret of 0.03 % is printed too.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from zoo import EVERY, HELD_OUT
from zoo_trials import Trials, grid

from analysis.search.measured import MeasuredTable
from analysis.search.replay import ReplayedSearch
from sweep.study import InputError, Objective
from sweep.verbs.options import TableOptions
from sweep.verbs.results import fitting

SHAPES = {"wide": ((7, 17), (3.2, 3.9)), "narrow": ((4, 11), (1.0, 1.8))}  # cells; half of the range of ln LR
NOISE = (0.0005, 0.002)  # nats
COUNTS = {1: (8, 12, 16, 24), 8: (8, 16, 24), 16: (16, 24, 32)}
GOAL = 0.03  # % of the best loss


class Job(NamedTuple):
    """One search. `kind`: the row of the report."""

    kind: str
    measured: MeasuredTable
    search: ReplayedSearch
    counts: tuple[int, ...]

    def run(self) -> tuple[list[float], float]:
        """The regrets after each of `counts` trials, and the time to a regret of GOAL; infinite where never."""
        [found] = self.search.trials(self.measured, self.counts[-1:])
        regrets = [self.measured.regret_percent(found.rows[:count]) for count in self.counts]
        order = found.ended.argsort()
        good = [
            self.measured.regret_percent([found.rows[i] for i in order[: k + 1]]) <= GOAL for k in range(len(order))
        ]
        return regrets, float(found.ended[order][good.index(True)]) if any(good) else np.inf


def drawn_tables(shape: str, draws: int) -> Iterator[tuple[str, MeasuredTable]]:
    cells, half = SHAPES[shape]
    for name, family in EVERY.items():
        for number in range(draws):
            drawn = replace(family, half=half, noise=NOISE).draw(f"{shape} {name}", number)
            table = Trials(drawn, True, number).measure(grid(drawn, *cells))
            try:
                yield f"{shape}{', held out' if name in HELD_OUT else ''}", MeasuredTable.of(table, Objective())
            except InputError:
                continue  # nearly all diverged


def of_files(paths: list[Path]) -> Iterator[tuple[str, MeasuredTable]]:
    for path in paths:
        yield path.name, MeasuredTable.of(fitting.read(path, TableOptions()).table, Objective())


def report(jobs: list[Job], found: list[tuple[list[float], float]]) -> None:
    """One line per kind of table, strategy and number of trials at once."""
    groups: dict[tuple[str, str, int], list[int]] = {}
    for i, job in enumerate(jobs):
        groups.setdefault((job.kind, job.search.strategy, job.search.at_once), []).append(i)
    print(
        "| tables | at once | strategy | searches | mean regret, % | time to 0.03 %: median, in trials |\n"
        + "|---" * 6
        + "|"
    )
    for (kind, strategy, at_once), rows in groups.items():
        means = np.mean([found[i][0] for i in rows], axis=0)
        regrets = ", ".join(f"{mean:.3f} ({n})" for mean, n in zip(means, jobs[rows[0]].counts, strict=True))
        time = np.median([found[i][1] for i in rows])
        print(f"| {kind} | {at_once} | {strategy} | {len(rows)} | {regrets} | {time:.1f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", metavar="TABLE", type=Path, nargs="*")
    parser.add_argument("--tables", default="wide,narrow")
    parser.add_argument("--strategies", default="surface,tpe")
    parser.add_argument("--at-once", default="1")
    parser.add_argument("--spread", type=float, default=0.0)
    parser.add_argument("--draws", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    asked = parser.parse_args()
    shapes = (one for shape in asked.tables.split(",") for one in drawn_tables(shape, asked.draws))
    jobs = [
        Job(kind, measured, ReplayedSearch(strategy, 0.25, seed, at_once, asked.spread), COUNTS[at_once])
        for kind, measured in (of_files(asked.files) if asked.files else shapes)
        for at_once in map(int, asked.at_once.split(","))
        for strategy in asked.strategies.split(",")
        for seed in range(asked.repeats)
    ]
    with ProcessPoolExecutor(asked.workers, get_context("spawn")) as pool:
        report(jobs, list(pool.map(Job.run, jobs)))


if __name__ == "__main__":
    main()
