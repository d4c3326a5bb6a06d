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
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console, Group, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from analysis.figures import drawing as plots
from analysis.figures.data.simulation import simulation_info
from analysis.figures.drawing.simulation import draw_simulation
from analysis.search.measured import MeasuredTable
from analysis.search.outcomes import ALL, SearchOutcome, StrategySummary, rows
from analysis.search.replay import STRATEGIES, ReplayedSearch, everything, found_by_fit
from analysis.table import table as tables
from sweep.study import InputError, Objective
from sweep.study.files.atomic import write_atomically
from sweep.study.files.layout import RunFiles
from sweep.study.numbers import MISSING, number, point, tokens
from sweep.study.tables.written import csv
from sweep.verbs.fitting import NamedTable
from sweep.verbs.options import ReplayOptions
from sweep.worker.group.supervisor import die_with_parent

HEADS = (
    *("strategy", "trials", "regret %\nmean", "regret %\nmedian", "regret %\n90th pct."),
    *("curve\nerror", "excess\nloss %", "tokens", "time"),
)
FOOT = f"""regret: loss of the best trial found minus that of the best cell, in % of the latter
curve error: RMS of ln(LR), the fit's best LR at each ALMR against the best LR of that ALMR's own cells
excess loss: at the fit's best LR, above the lowest at that ALMR, by the fit of the whole table, in % of the best loss
time: wall-clock until all of these trials ended; a trial takes 1 on average
{ALL}: the fit of the whole table"""
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


@dataclass(frozen=True)
class Simulation:
    """`rows`: one per strategy and number of trials, then the fit of all cells. `notes`: rows left out, options cut.

    `fits`: by strategy and number of trials, where they were fitted, each repeat's trials and the winner of their fit
    (analysis.search.replay.found_by_fit).
    """

    name: str
    measured: MeasuredTable
    rows: list[StrategySummary]
    notes: list[str]
    fits: dict[tuple[str, int], list[dict[str, Any]]]

    def as_json(self) -> list[dict[str, Any]]:
        found = [(asdict(row), self.fits.get((row.strategy, row.trials))) for row in self.rows]
        return [row | {"searches": fits} if fits else row for row, fits in found]

    def text(self) -> RenderableType:
        return Group(Text(_head(self)), Text(), _table(self.rows), Text(), Text(FOOT))

    def write(self, folder: Path) -> None:
        write_atomically(folder / "simulate.json", dumps(self.as_json(), indent=2) + "\n")
        columns = [field.name for field in fields(StrategySummary)]
        table = pd.DataFrame([asdict(row) for row in self.rows], columns=columns)
        write_atomically(folder / "simulate.csv", csv(table))
        info = simulation_info(self.rows, self.measured.noise_percent)
        write_atomically(RunFiles(folder).figures / "simulate.png", plots.png(draw_simulation(info)))


def simulate(named: NamedTable, objective: Objective, requested: Comparison, console: Console) -> Simulation:
    """Replay the searches, with a progress bar on a terminal. Raises InputError for a table that cannot be replayed."""
    try:
        measured = MeasuredTable.of(named.table, objective)
    except InputError as error:
        raise InputError(f"{named.name}: {error}") from None
    possible, clipped = _clipped(requested, len(measured.cells))
    job, searches, found = _Job(measured, objective, possible), possible.searches(), {}
    with _progress(console) as progress:
        task = progress.add_task("searches", total=len(searches))
        for search, results in _results(job, searches):
            found[search] = results
            progress.advance(task)
    ordered = [one for s in possible.strategies for r in range(possible.repeats) for one in found[s, r]]
    fits: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for outcome, fit in ordered:
        fits.setdefault((outcome.strategy, outcome.trials), []).extend([fit] if fit else [])
    notes = [*named.notes, *named.table.attrs.get("settings", ()), *clipped]
    summaries = rows([*(outcome for outcome, _ in ordered), everything(measured, possible.seed)])
    return Simulation(named.name, measured, summaries, notes, fits)


def _clipped(requested: Comparison, cells: int) -> tuple[Comparison, list[str]]:
    over = [count for count in requested.trials if count > cells]
    if not over:
        return requested, []
    counts = sorted({min(count, cells) for count in requested.trials})
    note = f"--trials {','.join(map(str, over))}: the table has {cells} cells; replayed with {cells} trials instead"
    return replace(requested, trials=tuple(counts)), [note]


def _progress(console: Console) -> Progress:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


Found = tuple[tuple[str, int], list[tuple[SearchOutcome, dict[str, Any] | None]]]


@dataclass(frozen=True)
class _Job:
    """What the processes that replay searches need."""

    measured: MeasuredTable
    objective: Objective
    compared: Comparison

    def run(self, search: tuple[str, int]) -> Found:
        """One search: its outcome after each number of trials, and the fit of these trials where it is wanted."""
        replayed, counts = self.compared.replayed(search), self.compared.trials
        found = []
        for count, trials in zip(counts, replayed.trials(self.measured, counts), strict=True):
            fit = found_by_fit(self.measured, trials, self.objective) if self.compared.fitted else None
            outcome = replayed.outcome(self.measured, count, trials)
            found.append((outcome, {"seed": replayed.seed} | fit if fit else None))
        return search, found


def _results(job: _Job, searches: list[tuple[str, int]]) -> Iterator[Found]:
    """Each search with its results, as they end; in this process where only one can run."""
    workers = min(_cores(), len(searches))
    if workers == 1:
        for search in searches:
            yield job.run(search)
        return
    with _held_interrupts():
        resource_tracker.ensure_running()  # it removes what a killed process left
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _begin, (os.getpid(),))
    try:
        with _held_interrupts():
            futures = [pool.submit(job.run, search) for search in searches]
        for future in as_completed(futures):
            yield future.result()
    except BrokenProcessPool:
        raise InputError(f"one of {workers} processes was killed, probably out of memory: free some memory") from None
    except BaseException:
        for process in multiprocessing.active_children():
            process.terminate()  # else the interpreter waits for the rest of its search
        raise
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


@contextmanager
def _held_interrupts() -> Iterator[None]:
    """Ctrl-C and a closed terminal wait until the block ends. To processes that start inside they never come: the
    parent ends those.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(parent: int) -> None:
    """Start a worker process: it ends with its parent; one thread, also for libraries that are loaded later."""
    die_with_parent()
    if os.getppid() != parent:
        os._exit(1)
    os.environ["OMP_NUM_THREADS"] = "1"


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _head(found: Simulation) -> str:
    measured = found.measured
    complete, cells = len(tables.usable(measured.cells)), len(measured.cells)
    over = f" ({measured.over_the_guard} of them over the guard)" if measured.over_the_guard else ""
    best = measured.cells.iloc[int(np.nanargmin(measured.values))]
    most = max(row.trials for row in found.rows[:-1])
    regrets = {row.strategy: row.regret_percent_mean for row in found.rows[:-1] if row.trials == most}
    lowest = min(regrets.values())
    first = ", ".join(strategy for strategy, regret in regrets.items() if regret == lowest)
    lines = [
        f"lowest mean regret with {most} trials: {lowest:.3f} % ({first})",
        f"{found.name}: {cells} cells, {complete} completed{over}, {cells - complete} diverged",
        f"best cell: {point(best['almr'], best['lr'])}: {number(measured.best, 4)} nats per token",
    ]
    if measured.noise_percent is not None:
        noise = f"{measured.noise_percent:.2g} % of the best loss"
        lines.append(f"noise floor: near the best, the mean of a cell has a standard deviation of {noise}")
    return "\n".join(lines)


def _table(rows: list[StrategySummary]) -> Table:
    """The time has a column where it is not that of one trial after another."""
    timed = any(row.time not in (None, row.trials) for row in rows)
    table = Table(box=None, padding=(0, 2, 0, 0))
    for head in HEADS if timed else HEADS[:-1]:
        table.add_column(head, justify="left" if head == "strategy" else "right", no_wrap=True)
    for row in rows:
        regrets = row.regret_percent_mean, row.regret_percent_median, row.regret_percent_p90
        values = map(number, (*regrets, row.curve_error, row.curve_excess_percent))
        time = [MISSING if row.time is None else number(row.time, 1)] if timed else []
        table.add_row(row.strategy, str(row.trials), *values, tokens(row.tokens), *time)
    return table
