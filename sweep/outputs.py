"""The files that a finished run is turned into, each of which can be made again on its own."""

from __future__ import annotations

from pathlib import Path

from analysis import plots
from analysis import report as pages
from analysis import table as tables
from analysis.fit import Fit, fit_run, fit_study, fit_table
from analysis.launch import bundle, confirm_results, confirmed
from analysis.launch.confirm_plan import ConfirmPlan
from analysis.launch.confirmed import Confirmed
from analysis.scores import files as score_files
from analysis.scores.read import read as read_scores
from analysis.transfer import bracket
from sweep.store import Run, write_atomically
from sweep.study import InputError, Objective
from sweep.table_fit import NamedTable


def fit(run: Run) -> Fit:
    """Fit the run's records and write `trials.csv`, also where no fit can be made, `fit.json`, `figures/` and, where
    trials were scored, `scores.csv` and `scores.md`."""
    study = run.study()
    table = tables.mark_foreign(tables.read_run(run.folder), study)
    write_atomically(run.folder / "trials.csv", table.to_csv(index=False))
    run.share()  # also where no fit can be made of it
    fitted = _written(fit_study(study, table, scored=read_scores(run.folder, table)), run.folder)
    run.share()
    return fitted


def _written(fitted: Fit, folder: Path) -> Fit:
    write_atomically(folder / "fit.json", fitted.file.model_dump_json(indent=2))
    for name, text in score_files.texts(fitted.file.scores).items():
        write_atomically(folder / name, text)
    plots.write_figures(fitted, folder)
    return fitted


def fit_any(named: NamedTable, objective: Objective, folder: Path | None) -> Fit:
    """Fit a user's own table; with a folder, the same files as for a run, and its report, are written there."""
    fitted = fit_table(named.table, objective, named.name)
    if folder:
        write_atomically(folder / "trials.csv", named.table.to_csv(index=False))
        pages.write_report(_written(fitted, folder), folder)
    return fitted


def report(run: Run, fitted: Fit | None = None) -> Path:
    page = pages.write_report(fitted or fit_run(run.study(), run.folder), run.folder)
    run.share()
    return page


def export(
    run: Run, folder: Path | None = None, fitted: Fit | None = None, accept_risk: str | None = None
) -> list[Path]:
    """The launch bundle; of a fit with refusals only where `accept_risk` says why.

    Raises InputError for a refused fit, a run whose corpora were never read, or a study without a launch.
    """
    ingredients = run.ingredients()
    if ingredients is None:
        raise InputError(f"{run.ingredients_file}: not there, so document lengths are not known: run the study first")
    fitted = fitted or fit_run(run.study(), run.folder)
    paths = bundle.export(fitted, run.folder, ingredients.corpora, folder or run.launch, accept_risk=accept_risk)
    run.share()
    return paths


def confirm(run: Run, results: Path | None, accept_risk: str | None = None) -> tuple[ConfirmPlan, Confirmed | None]:
    """What would confirm the launch; with `results` what they say, kept with the run, and the bundle written anew.

    Raises InputError as `export`, and for results that cannot be read.
    """
    ingredients = run.ingredients()
    if ingredients is None:
        raise InputError(f"{run.ingredients_file}: not there: run the study first")
    fitted = fit_run(run.study(), run.folder)
    plan = bundle.confirmation(fitted, ingredients.corpora, accept_risk)
    if results is None:
        return plan, None
    rows = confirm_results.read(results, plan)
    judged = bracket.judge(rows, plan.lr, plan.noise, plan.tolerance, plan.level)
    found = confirmed.conclude(plan, judged, results)
    with run.locked():
        confirmed.keep(found, results, run.folder, run.launch)
        bundle.export(fitted, run.folder, ingredients.corpora, run.launch, accept_risk=accept_risk)
    run.share()
    return plan, found
