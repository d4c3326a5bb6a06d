"""The verb `compare`: fitted runs beside each other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sweep.store.remote import refuse_remote
from sweep.store.run import Run
from sweep.store.storage import named
from sweep.study import InputError
from sweep.study.files.layout import RunFiles
from sweep.study.files.patterns import what_it_is
from sweep.study.tables.table_file import is_table
from sweep.verbs.commands.terminal import err, out, say, show
from sweep.verbs.options import RUNS, AsJson, Runs

DEFAULT = Path("compare.html")


def compare(
    given: Annotated[
        list[str], typer.Argument(metavar="RUN", help="Two to nine runs, or folders of almr fit TABLE --out.")
    ],
    page: Annotated[Path, typer.Option("--out", metavar="FILE", help="The page.")] = DEFAULT,
    same_text: Annotated[
        str | None, typer.Option(metavar="REASON", help="Held-out texts are one, though no record says so.")
    ] = None,
    runs: Runs = RUNS,
    as_json: AsJson = False,
) -> None:
    """Set fitted runs beside each other, on a page of their own.

    Optima, what each winner costs on the others, losses, recipes and maps.
    """
    found = [_found(name, runs) for name in given]
    from analysis.compare.compare import compare_runs
    from analysis.compare.page import page as pages
    from analysis.compare.text import rows

    refuse_remote(page)
    pages.refuse_foreign(page)
    with err.status("comparing"):
        compared, fits = compare_runs([folder for folder, _ in found], same_text or "", [one for _, one in found])
        pages.write_page(compared, fits, page)
    if as_json:
        show(compared.model_dump(mode="json") | {"page": str(page)})
        return
    show("\n".join(rows.lines(compared, out.width)))
    say(f"page: {page}")


def _found(name: str, runs: str) -> tuple[Path, str]:
    """The folder of a run, or of a fitted table, and its address. Raises InputError."""
    path = Path(name)
    if path.is_file() or (path.suffix and not path.exists() and is_table(name)):
        fix = f"fit it first: almr fit {name} --out FOLDER, and compare FOLDER" if path.is_file() else what_it_is(path)
        raise InputError(f"{name}: {'a table: ' if path.is_file() else ''}{fix}")
    for folder in (path, Path(named(runs, name))):
        files = RunFiles(folder)
        if files.fit.is_file() and not files.study.exists() and not files.trials.exists():
            return folder, str(folder)
    run = Run.find(name, runs)
    return run.folder, run.address
