"""`almr simulate TABLE`: searches replayed on a measured table, side by side, and what they found."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from json import dumps
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console, Group, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from analysis.figures import drawing as plots
from analysis.figures.data import simulation_info
from analysis.search.measured import MeasuredTable
from analysis.search.outcomes import ALL, SearchOutcome, StrategySummary, rows
from analysis.search.replay import STRATEGIES, everything, replay
from analysis.table import table as tables
from sweep.study.errors import InputError
from sweep.study.files.atomic import write_atomically
from sweep.study.files.layout import RunFiles
from sweep.study.sections.objective import Objective
from sweep.verbs.options import ReplayOptions
from sweep.verbs.table_fit import NamedTable, left_out

HEADS = ("strategy", "trials", "regret, %\nmean", "\nmedian", "\n90th pct.", "curve\nerror", "excess,\n%", "tokens")

FOOT = f"""regret: of the best trial found over the best cell, in % of the latter's loss
curve error: rms of ln(best LR by the surface / by a measured row alone)
excess: of the loss at that LR over the row's lowest, by the surface of the whole table, in % of the best loss
{ALL}: the surface of the whole table, against its own noisy rows"""


@dataclass(frozen=True)
class Comparison:
    """What is compared. `trials` rises; `curve` is the share of the trials of `surface` that sharpen the curve."""

    strategies: tuple[str, ...]
    trials: tuple[int, ...]
    repeats: int
    seed: int
    curve: float

    def searches(self) -> list[tuple[str, int]]:
        """(strategy, repeat), all strategies of a repeat together: so the time that is left can be told early."""
        return [(strategy, repeat) for repeat, strategy in itertools.product(range(self.repeats), self.strategies)]

    def seed_of(self, repeat: int) -> int:
        return int(np.random.SeedSequence([self.seed, repeat]).generate_state(1)[0])


def comparison(options: ReplayOptions) -> Comparison:
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
    return Comparison(
        strategies=names,
        trials=_counts(options.trials),
        repeats=options.repeats,
        seed=options.seed,
        curve=options.curve,
    )


def _counts(text: str) -> tuple[int, ...]:
    try:
        counts = sorted({int(piece) for piece in text.split(",")})
    except ValueError:
        counts = [0]
    if counts[0] < 1:
        raise InputError(f"--trials {text}: write whole numbers above 0, as in --trials 8,12,16")
    return tuple(counts)


@dataclass(frozen=True)
class Simulation:
    """`rows`: per strategy and number of trials, and last the surface of all cells. `notes`: what was left out."""

    name: str
    measured: MeasuredTable
    rows: list[StrategySummary]
    notes: list[str]

    def as_json(self) -> list[dict[str, Any]]:
        return [asdict(row) for row in self.rows]

    def text(self) -> RenderableType:
        return Group(Text(_head(self)), Text(), _table(self.rows), Text(), Text(FOOT))

    def write(self, folder: Path) -> None:
        write_atomically(folder / "simulate.json", dumps(self.as_json(), indent=2) + "\n")
        table = pd.DataFrame(self.as_json(), columns=[field.name for field in fields(StrategySummary)])
        write_atomically(folder / "simulate.csv", table.to_csv(index=False))
        info = simulation_info(self.rows, self.measured.noise_percent)
        write_atomically(RunFiles(folder).figures / "simulate.png", plots.png(plots.draw_simulation(info)))


def simulate(named: NamedTable, objective: Objective, asked: Comparison, console: Console) -> Simulation:
    """Raises InputError for a table that cannot be replayed. Progress is shown on the console if it is a terminal."""
    try:
        measured = MeasuredTable.of(named.table, objective)
    except InputError as error:
        raise InputError(f"{named.name}: {error}") from None
    possible, clipped = _clipped(asked, len(measured.cells))
    searches, outcomes = possible.searches(), {}
    with _progress(console) as progress:
        task = progress.add_task("searches", total=len(searches))
        for search, found in _outcomes(measured, possible, searches):
            outcomes[search] = found
            progress.advance(task)
    ordered = [o for s in possible.strategies for r in range(possible.repeats) for o in outcomes[s, r]]
    notes = [*(f"left out: {line}" for line in left_out(named.table)), *clipped]
    return Simulation(named.name, measured, rows([*ordered, everything(measured, asked.seed)]), notes)


def _clipped(asked: Comparison, cells: int) -> tuple[Comparison, list[str]]:
    over = [count for count in asked.trials if count > cells]
    if not over:
        return asked, []
    counts = sorted({min(count, cells) for count in asked.trials})
    note = f"--trials {','.join(map(str, over))}: the table has {cells} cells, so {cells} trials are all there can be"
    return replace(asked, trials=tuple(counts)), [note]


def _progress(console: Console) -> Progress:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


Found = tuple[tuple[str, int], list[SearchOutcome]]


def _outcomes(measured: MeasuredTable, asked: Comparison, searches: list[tuple[str, int]]) -> Iterator[Found]:
    """Each search with its outcomes, as they end; in this process where a second one would not help."""
    workers = min(_cores(), len(searches))
    if workers == 1:
        for search in searches:
            yield _search(measured, asked, search)
        return
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _begin)
    try:
        with _deaf():
            futures = [pool.submit(_search, measured, asked, search) for search in searches]
        for future in as_completed(futures):
            yield future.result()
    except BrokenProcessPool:
        raise InputError(f"one of {workers} processes was killed, as a full memory does: free some memory") from None
    except BaseException:
        for process in multiprocessing.active_children():
            process.terminate()  # or the rest of its search would be waited for
        raise
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


@contextmanager
def _deaf() -> Iterator[None]:
    """Processes that start within it leave Ctrl-C to their parent, which reacts to it afterwards."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before or signal.SIG_DFL)


def _begin() -> None:
    """Of a worker: one thread, also in the libraries that are still to load."""
    os.environ["OMP_NUM_THREADS"] = "1"


def _search(measured: MeasuredTable, asked: Comparison, search: tuple[str, int]) -> Found:
    strategy, repeat = search
    return search, replay(measured, strategy, asked.trials, asked.curve, asked.seed_of(repeat))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _head(found: Simulation) -> str:
    measured = found.measured
    complete, cells = len(tables.usable(measured.cells)), len(measured.cells)
    over = f", {measured.over_the_guard} of them over the guard" if measured.over_the_guard else ""
    best = measured.cells.iloc[int(np.nanargmin(measured.values))]
    lines = [
        f"{found.name}: {cells} cells, {complete} completed{over}, {cells - complete} diverged",
        f"best cell: ALMR {best['almr']:g}, LR {best['lr']:.3g}: {measured.best:.4f} nats per token",
    ]
    if measured.noise_percent is not None:
        noise = f"{measured.noise_percent:.2g} % of the best loss"
        lines.append(f"noise floor: a cell's mean near the best has an sd of {noise}")
    return "\n".join(lines)


def _table(rows: list[StrategySummary]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for head in HEADS:
        table.add_column(head, justify="left" if head == "strategy" else "right")
    for row in rows:
        regrets = row.regret_percent_mean, row.regret_percent_median, row.regret_percent_p90
        error = "" if row.curve_error is None else f"{row.curve_error:.3f}"
        excess = "" if row.curve_excess_percent is None else f"{row.curve_excess_percent:.3f}"
        spent = "" if row.tokens is None else f"{row.tokens:,.0f}"
        table.add_row(row.strategy, str(row.trials), *(f"{regret:.3f}" for regret in regrets), error, excess, spent)
    return table
