"""`almr fit`: a run, or a table of the user's own, to its fit and the files that keep it."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import pydantic

from analysis.figures import drawing as plots
from analysis.fit.fit import Fit, fit_study, fit_table
from analysis.fit.grid import SurfaceGrid
from analysis.fit_file.inputs import FitInputs
from analysis.fit_file.result import FitResult
from analysis.report import page as pages
from analysis.scores import files as score_files
from analysis.scores.read import read as read_scores
from analysis.table import table as tables
from analysis.table.import_table import notes, read_table
from sweep.store.remote import refuse_remote
from sweep.store.run import Run
from sweep.study import LANGUAGES, InputError, Objective, Weights
from sweep.study.errors import explain, name_of, shown
from sweep.study.files import unfinished
from sweep.study.files.atomic import sha256, write_atomically
from sweep.study.files.layout import RunFiles
from sweep.study.sections.objective import Guard
from sweep.study.tables.cells import listing
from sweep.study.tables.written import csv
from sweep.verbs.options import ObjectiveOptions, TableOptions
from sweep.verbs.results import fit_folder

SAME = 1e-3  # relative difference of one winner's hyper-parameters on two machines, at most


@dataclass(frozen=True)
class NamedTable:
    """A user's table. `notes`: what to know of how it was read, a line each."""

    name: str
    table: pd.DataFrame
    notes: tuple[str, ...] = ()


def fit(run: Run) -> Fit:
    """Fit the run's records and write `trials.csv`, also where no fit can be made, `figures/`,
    `surfaces.json`, `fit.json` and, where trials were scored, `scores.csv` and `scores.md`."""
    unfinished.remove_abandoned(run.folder, run.files.figures)
    study = run.study()
    inputs = FitInputs.of_run(study, run.folder)  # before the records are read: one that changes meanwhile is seen
    table = tables.of_run(run.folder, study)
    write_atomically(run.files.table, csv(table))
    run.share()  # also where no fit can be made of it
    fitted = _written(fit_study(study, table, scored=read_scores(run.folder, table)), run.folder, inputs)
    run.share()
    return fitted


def _written(fitted: Fit, folder: Path, inputs: FitInputs | None = None) -> Fit:
    """`fit.json` comes last, and names what it was made from and what was drawn from it."""
    fitted = keep_surfaces(keep_figures(fitted, folder), folder)
    for name, text in score_files.texts(fitted.file.scores, fitted.label).items():
        write_atomically(folder / name, text)
    fit_folder.remove_earlier(folder, fitted)
    fitted = replace(fitted, file=fitted.file.model_copy(update={"inputs": inputs}).hashed())
    write_atomically(RunFiles(folder).fit, fitted.file.model_dump_json(indent=2))
    return fitted


def keep_figures(fitted: Fit, folder: Path) -> Fit:
    """Write `figures/`; returns the fit with their hashes in its file, by which the doctor knows them."""
    files = plots.write_figures(fitted, folder)
    figures = {path.stem if path.suffix == ".png" else path.name: sha256(path) for path in files}
    return replace(fitted, file=fitted.file.model_copy(update={"figures": figures}))


def keep_surfaces(fitted: Fit, folder: Path) -> Fit:
    """Write `surfaces.json`; returns the fit with its hash in its file, by which a report knows it."""
    path = write_atomically(RunFiles(folder).surfaces, SurfaceGrid.of(fitted).model_dump_json())
    return replace(fitted, file=fitted.file.model_copy(update={"surfaces": sha256(path)}))


def fitted_again(run: Run, fitted: FitResult) -> Fit:
    """A fit with its surfaces, which its file does not keep. Raises InputError where another winner comes out."""
    made = fit_study(run.study(), fitted.table, scored=read_scores(run.folder, fitted.table))
    of_now, of_file = ((one.winner.almr or 0.0, one.winner.lr) for one in (made, fitted))
    if not all(math.isclose(now, then, rel_tol=SAME) for now, then in zip(of_now, of_file, strict=True)):
        raise InputError(
            f"{run.address}: this version of almr-sweep, or of a library, finds another winner than fit.json has: fit "
            f"again, almr fit {run.address}"
        )
    return replace(made, file=fitted.file)


def fit_any(named: NamedTable, objective: Objective, folder: Path | None) -> Fit:
    """Fit a user's own table; with a folder, the same files as for a run, and its report, are written there."""
    made = fit_table(named.table, objective, named.name)
    if folder:
        unfinished.remove_abandoned(folder, RunFiles(folder).figures)
        write_atomically(RunFiles(folder).table, csv(named.table))
        made = _written(made, folder)
        pages.write_report(made, folder)
    return made


def read(path: Path, options: TableOptions) -> NamedTable:
    """Read a table, with the base model's losses as columns. Raises InputError as `import_table.read_table`."""
    table = read_table(path, options.columns, options.where or (), options.drop_bad_rows)
    tables.refuse_many(table, str(path))
    for name, loss in _by_name("--base", options.base).items():
        _refuse_unknown("--base", name, table)
        if not 0 < loss < math.inf:
            raise InputError(f"--base: {name}={loss:g} is not a loss in nats per token: write a number above 0")
        table[f"base_loss_{name}"] = loss
    return NamedTable(path.name.split(".")[0], table, tuple(notes(table)))


def objective(options: ObjectiveOptions, level: float | None = None) -> Objective:
    """The objective of a table's fit. Raises InputError naming the option that is wrong."""
    shares, (percent, guards) = _by_name("--weights", options.weights), _guards(options.guard)
    if shares and percent is not None:
        raise InputError("--weights and --guard PERCENT are two objectives: leave one out")
    try:
        return Objective(
            weights=Weights(**(dict.fromkeys(LANGUAGES, 0.0) | shares)) if shares else None,
            forgetting_guard_percent=percent,
            guards=guards,
            **({} if level is None else {"level": level}),
        )
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        names = {"forgetting_guard_percent": "--guard", "at_most_percent": "--guard", "level": "--level"}
        option = names.get(str(first["loc"][-1] if first["loc"] else ""), "--weights")
        raise InputError(f"{option}: {first['msg'].removeprefix('Value error, ')}") from None


def _guards(text: str | None) -> tuple[float | None, tuple[Guard, ...]]:
    """--guard 3, of the original language, or code=1,web=2, of sources or languages."""
    if text is None:
        return None, ()
    with suppress(ValueError):
        return float(text), ()
    if "=" not in text:
        raise InputError(
            f"--guard {name_of(text)}: write it as a number of percent, such as 3, or of sources, such as code=3"
        )
    percents = _by_name("--guard", text)
    if wrong := [name for name, percent in percents.items() if not 0 <= percent < math.inf]:
        raise InputError(f"--guard: {wrong[0]}={percents[wrong[0]]:g}: write a percentage, 0 or above")
    try:
        return None, tuple(Guard(source=name, at_most_percent=percent) for name, percent in percents.items())
    except pydantic.ValidationError as error:
        raise InputError(f"--guard {name_of(text)}: {explain(error, Guard)[0]}") from None


def _refuse_unknown(option: str, name: str, table: pd.DataFrame) -> None:
    """Raises InputError for the name of a source that the table has no loss of."""
    if name not in LANGUAGES and f"loss_{name}" not in table:
        known = [str(column).removeprefix("loss_") for column in table if str(column).startswith("loss_")]
        raise InputError(f"{option}: the table has no loss of {shown(name)}: its losses are {listing(known)}")


def _by_name(option: str, text: str | None) -> dict[str, float]:
    """original=X,additional=Y -> numbers, by language or source."""
    try:
        parts = dict(piece.split("=") for piece in text.split(",")) if text else {}
        numbers = {name.strip(): float(number) for name, number in parts.items()}
    except ValueError:
        raise InputError(f"{option} {name_of(text or '')}: write it as original=X,additional=Y") from None
    if text and len(numbers) < len(text.split(",")):
        raise InputError(f"{option} {name_of(text)}: a name is given twice; leave one out")
    return numbers


def refuse_unusable(folder: Path | None) -> None:
    """Raises InputError, before the fit, for an output folder that cannot be written."""
    if folder:
        refuse_remote(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"--out {folder}: {error.strerror}; name a folder that can be written") from None
