"""The verbs that fit and replay: `fit`, `simulate`, `report`."""

from __future__ import annotations

from dataclasses import astuple
from pathlib import Path
from typing import Annotated

import typer

from sweep.store.run import Run
from sweep.verbs.commands.terminal import REFUSED, err, interruptible, say, show, tell
from sweep.verbs.options import RUNS, AsJson, ObjectiveOptions, ReplayOptions, RunName, Runs, TableOptions, grouped

Folder = Annotated[Path | None, typer.Option("--out", metavar="FOLDER", help="Write the files and the figures here.")]


@grouped
def fit(
    source: Annotated[str, typer.Argument(metavar="RUN|TABLE", help="A run, or a CSV or parquet file.")],
    table: TableOptions,
    aim: ObjectiveOptions,
    level: Annotated[
        float | None, typer.Option(metavar="SHARE", help="Level of the intervals.  [default: 0.9]")
    ] = None,
    folder: Folder = None,
    runs: Runs = RUNS,
    as_json: AsJson = False,
) -> None:
    """Fit the loss surface, the curve of best LR and the winner. Exit status 3: the fit is refused. Only a TABLE takes
    the options from --columns to --out.
    """
    from sweep.verbs import fitting, rerun, verdict
    from sweep.verbs.tables import table_fit

    again = None
    if Path(source).is_file():
        table_fit.refuse_unusable(folder)
        read = table_fit.read(Path(source), table)
        fitted = fitting.fit_any(read, table_fit.objective(aim, level), folder)
        tell(f"left out: {line}" for line in table_fit.left_out(fitted.table))
    else:
        table_fit.refuse_for_a_run(source, *astuple(table), *astuple(aim), level, folder)
        run = Run.find(source, runs)
        fitted, again = fitting.fit(run), rerun.of(run)
    text = "\n".join([verdict.verdict(fitted), *rerun.suggestion(fitted, again)])
    show(fitted.file.model_dump(mode="json") if as_json else text)
    raise typer.Exit(REFUSED if fitted.file.refusals else 0)


@grouped
def simulate(
    source: Annotated[Path, typer.Argument(metavar="TABLE", hidden=True)],
    replayed: ReplayOptions,
    table: TableOptions,
    aim: ObjectiveOptions,
    folder: Folder = None,
    as_json: AsJson = False,
) -> None:
    """Replay search strategies on a measured TABLE (CSV or parquet)."""
    from sweep.verbs.tables import simulate as replays
    from sweep.verbs.tables import table_fit

    comparison = replays.comparison(replayed)
    table_fit.refuse_unusable(folder)
    read = table_fit.read(source, table)
    with interruptible("a simulation keeps nothing"):
        found = replays.simulate(read, table_fit.objective(aim), comparison, err)
    if folder:
        found.write(folder)
    tell(found.notes)
    show(found.as_json() if as_json else found.text())


def report(run: RunName, runs: Runs = RUNS, as_json: AsJson = False) -> None:
    """Write report.html, one self-contained page."""
    from sweep.verbs import outputs

    found = Run.find(run, runs)
    path = outputs.report(found, outputs.fitted(found, say))
    show({"report": str(path)} if as_json else str(path))
