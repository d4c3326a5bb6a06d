"""`almr fit`: a run, or a table of the user's own, to its fit and the files that keep it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from analysis.figures import drawing as plots
from analysis.fit.fit import Fit, fit_study, fit_table
from analysis.fit_file.inputs import FitInputs
from analysis.report import page as pages
from analysis.scores import files as score_files
from analysis.scores.read import read as read_scores
from analysis.table import table as tables
from sweep.store.run import Run
from sweep.study import Objective
from sweep.study.files.atomic import sha256, write_atomically
from sweep.study.files.layout import RunFiles
from sweep.verbs.tables.table_fit import NamedTable


def fit(run: Run) -> Fit:
    """Fit the run's records and write `trials.csv`, also where no fit can be made, `figures/`, `fit.json` and, where
    trials were scored, `scores.csv` and `scores.md`."""
    study = run.study()
    inputs = FitInputs.of_run(study, run.folder)  # before the records are read: one that changes meanwhile is seen
    table = tables.mark_foreign(tables.read_run(run.folder), study)
    write_atomically(run.files.table, table.to_csv(index=False))
    run.share()  # also where no fit can be made of it
    fitted = _written(fit_study(study, table, scored=read_scores(run.folder, table)), run.folder, inputs)
    run.share()
    return fitted


def _written(fitted: Fit, folder: Path, inputs: FitInputs | None = None) -> Fit:
    """`fit.json` comes last, and names what it was made from and what was drawn from it."""
    fitted = keep_figures(fitted, folder)
    for name, text in score_files.texts(fitted.file.scores, fitted.label).items():
        write_atomically(folder / name, text)
    fitted = replace(fitted, file=fitted.file.model_copy(update={"inputs": inputs}))
    write_atomically(RunFiles(folder).fit, fitted.file.model_dump_json(indent=2))
    return fitted


def keep_figures(fitted: Fit, folder: Path) -> Fit:
    """Write `figures/`; returns the fit with their hashes in its file, by which a report knows them."""
    figures = {path.stem: sha256(path) for path in plots.write_figures(fitted, folder)}
    return replace(fitted, file=fitted.file.model_copy(update={"figures": figures}))


def fit_any(named: NamedTable, objective: Objective, folder: Path | None) -> Fit:
    """Fit a user's own table; with a folder, the same files as for a run, and its report, are written there."""
    made = fit_table(named.table, objective, named.name)
    if folder:
        write_atomically(RunFiles(folder).table, named.table.to_csv(index=False))
        made = _written(made, folder)
        pages.write_report(made, folder)
    return made
