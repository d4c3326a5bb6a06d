"""`almr simulate TABLE`: searches replayed on a measured table, side by side, and what they found."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from json import dumps
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console, Group, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from analysis.figures.data.simulation import simulation_info
from analysis.figures.drawing.files import KINDS, encoded
from analysis.figures.drawing.simulation import draw_simulation
from analysis.search.measured import MeasuredTable
from analysis.search.outcomes import ALL, StrategySummary, rows
from analysis.search.replay import everything
from analysis.table import table as tables
from sweep.study import InputError, Objective
from sweep.study.files.atomic import write_atomically
from sweep.study.files.layout import RunFiles
from sweep.study.numbers import MISSING, number, point, tokens
from sweep.study.tables.written import csv
from sweep.verbs.results.fitting import NamedTable
from sweep.verbs.simulation.requested import Comparison, clipped
from sweep.verbs.simulation.searches import Job, results

HEADS = (
    *("strategy", "trials", "regret %\nmean", "regret %\nmedian", "regret %\n90th pct."),
    *("curve\nerror", "excess\nloss %", "tokens", "time"),
)
FOOT = f"""regret: loss of the best trial found minus that of the best cell, in % of the latter
curve error: RMS of ln(LR), the fit's best LR at each ALMR against the best LR of that ALMR's own cells
excess loss: at the fit's best LR, above the lowest at that ALMR, by the fit of the whole table, in % of the best loss
time: wall-clock until all of these trials ended; a trial takes 1 on average
{ALL}: the fit of the whole table"""


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
        figure = draw_simulation(info)
        for kind in KINDS:
            write_atomically(RunFiles(folder).figure(f"simulate.{kind}"), encoded(figure, kind))


def simulate(named: NamedTable, objective: Objective, requested: Comparison, console: Console) -> Simulation:
    """Replay the searches, with a progress bar on a terminal. Raises InputError for a table that cannot be replayed."""
    try:
        measured = MeasuredTable.of(named.table, objective)
    except InputError as error:
        raise InputError(f"{named.name}: {error}") from None
    possible, notes = clipped(requested, len(measured.cells))
    job, searches, found = Job(measured, objective, possible), possible.searches(), {}
    with _progress(console) as progress:
        task = progress.add_task("searches", total=len(searches))
        for search, outcomes in results(job, searches):
            found[search] = outcomes
            progress.advance(task)
    ordered = [one for s in possible.strategies for r in range(possible.repeats) for one in found[s, r]]
    fits: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for outcome, fit in ordered:
        fits.setdefault((outcome.strategy, outcome.trials), []).extend([fit] if fit else [])
    notes = [*named.notes, *named.table.attrs.get("settings", ()), *notes]
    summaries = rows([*(outcome for outcome, _ in ordered), everything(measured, possible.seed)])
    return Simulation(named.name, measured, summaries, notes, fits)


def _progress(console: Console) -> Progress:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


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
