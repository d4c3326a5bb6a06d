"""The files that a finished run is turned into, each of which can be made again on its own."""

from __future__ import annotations

from pathlib import Path

from analysis import plots
from analysis import report as pages
from analysis import table as tables
from analysis.fit import Fit, fit_run, fit_table
from analysis.launch import bundle
from sweep.store import Run, write_atomically
from sweep.study import InputError


def fit(run: Run) -> Fit:
    """Fit the run's records and write `trials.csv`, also where no fit can be made, `fit.json` and `figures/`."""
    study = run.study()
    table = tables.mark_foreign(tables.read_run(run.folder), study)
    write_atomically(run.folder / "trials.csv", table.to_csv(index=False))
    fitted = fit_table(study, table)
    write_atomically(run.folder / "fit.json", fitted.file.model_dump_json(indent=2))
    plots.write_figures(fitted, run.folder)
    return fitted


def report(run: Run, fitted: Fit | None = None) -> Path:
    return pages.write_report(fitted or fit_run(run.study(), run.folder), run.folder)


def export(run: Run, folder: Path | None = None, fitted: Fit | None = None) -> list[Path]:
    """The launch bundle. Raises InputError for a run whose corpora were never read, or a study without a launch."""
    ingredients = run.ingredients()
    if ingredients is None:
        raise InputError(f"{run.ingredients_file}: not there, so document lengths are not known: run the study first")
    fitted = fitted or fit_run(run.study(), run.folder)
    return bundle.export(fitted, run.folder, ingredients.corpora, folder or run.launch)
