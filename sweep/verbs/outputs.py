"""The files that a finished run is turned into, each of which can be made again on its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast, get_args

from analysis.figures import drawing as plots
from analysis.fit.fit import Fit, fit_run, fit_study, fit_table
from analysis.launch import bundle
from analysis.launch.bundle import Exported
from analysis.launch.confirm import confirmed
from analysis.launch.confirm import results as confirm_results
from analysis.launch.confirm.confirmed import Confirmed
from analysis.launch.confirm.plan import ConfirmPlan
from analysis.launch.evidence import evidence, place
from analysis.launch.plan.layout import LaunchHardware
from analysis.report import page as pages
from analysis.scores import files as score_files
from analysis.scores.read import read as read_scores
from analysis.table import table as tables
from analysis.transfer import bracket
from sweep.planning import launch_layout
from sweep.readback import verify as readback
from sweep.store.run import Run
from sweep.study.errors import InputError
from sweep.study.files.atomic import write_atomically
from sweep.study.files.layout import RunFiles
from sweep.study.ingredients import CorpusFacts
from sweep.study.sections.launch import Format
from sweep.study.sections.objective import Objective
from sweep.study.study import Study
from sweep.verbs.table_fit import NamedTable


def fit(run: Run) -> Fit:
    """Fit the run's records and write `trials.csv`, also where no fit can be made, `fit.json`, `figures/` and, where
    trials were scored, `scores.csv` and `scores.md`."""
    study = run.study()
    table = tables.mark_foreign(tables.read_run(run.folder), study)
    write_atomically(run.files.table, table.to_csv(index=False))
    run.share()  # also where no fit can be made of it
    fitted = _written(fit_study(study, table, scored=read_scores(run.folder, table)), run.folder)
    run.share()
    return fitted


def _written(fitted: Fit, folder: Path) -> Fit:
    write_atomically(RunFiles(folder).fit, fitted.file.model_dump_json(indent=2))
    for name, text in score_files.texts(fitted.file.scores).items():
        write_atomically(folder / name, text)
    plots.write_figures(fitted, folder)
    return fitted


def fit_any(named: NamedTable, objective: Objective, folder: Path | None) -> Fit:
    """Fit a user's own table; with a folder, the same files as for a run, and its report, are written there."""
    fitted = fit_table(named.table, objective, named.name)
    if folder:
        write_atomically(RunFiles(folder).table, named.table.to_csv(index=False))
        pages.write_report(_written(fitted, folder), folder)
    return fitted


def report(run: Run, fitted: Fit | None = None) -> Path:
    page = pages.write_report(fitted or fit_run(run.study(), run.folder), run.folder)
    run.share()
    return page


def export(
    run: Run,
    folder: Path | None = None,
    fitted: Fit | None = None,
    accept_risk: str | None = None,
    formats: tuple[Format, ...] | None = None,
    verify: bool = False,
) -> Exported:
    """The launch bundle, by default of the formats that the study names; of a fit with refusals only where
    `accept_risk` says why. With `verify` it is read back by the trainers' own parsers, where they are installed.

    Raises InputError for a refused fit, a run whose corpora were never read, or a study without a launch.
    """
    fitted = fitted or fit_run(run.study(), run.folder)
    named, target = _target(run.study(), formats)
    out = folder or run.files.launch
    reader = readback.verify if verify else None
    made = bundle.export(fitted, run.folder, _corpora(run), out, accept_risk, named, target, reader)
    run.share()
    return made


def formats(names: list[str] | None) -> tuple[Format, ...] | None:
    """As a command line names them; None for those of the study. Raises InputError."""
    known = get_args(Format)
    if unknown := [name for name in names or () if name not in known]:
        raise InputError(f"--format {unknown[0]}: no such format: give {', '.join(known)}")
    return cast(tuple[Format, ...], tuple(names)) if names else None


def _target(study: Study, formats: tuple[Format, ...] | None) -> tuple[tuple[Format, ...], LaunchHardware | None]:
    named = formats or (study.launch.formats if study.launch else ())
    return named, launch_layout.target(study, named) if study.launch else None


def _corpora(run: Run) -> dict[str, CorpusFacts]:
    ingredients = run.ingredients()
    if ingredients is None:
        raise InputError(f"{run.files.ingredients}: not there, so document lengths are not known: run the study first")
    return ingredients.corpora


def confirm(run: Run, accept_risk: str | None = None) -> ConfirmPlan:
    """What would confirm the launch. Raises InputError as `export`."""
    _, target = _target(run.study(), None)
    return bundle.confirmation(fit_run(run.study(), run.folder), _corpora(run), accept_risk, target)


def conclude(
    run: Run, results: Path, folder: Path | None = None, accept_risk: str | None = None
) -> tuple[Confirmed, Exported]:
    """What the results say, kept with the run, and the bundle written anew, of the formats that it had.

    Raises InputError as `export`, and for results that cannot be read.
    """
    fitted, corpora, out = fit_run(run.study(), run.folder), _corpora(run), folder or run.files.launch
    old = evidence.written(out) or {}
    named, target = _target(run.study(), _known(old.get("formats")))
    plan = bundle.confirmation(fitted, corpora, accept_risk, target)
    judged = bracket.compare(confirm_results.read(results, plan), plan.lr, plan.noise, plan.tolerance, plan.level)
    found = confirmed.conclude(plan, judged, results)
    place.refuse_foreign(out)  # before the judgement is kept
    reader = readback.verify if old.get("read_back") else None
    with run.locked():
        confirmed.keep(found, results, run.folder, out)
        made = bundle.export(fitted, run.folder, corpora, out, accept_risk, named, target, reader)
    run.share()
    return found, made


def _known(names: Any) -> tuple[Format, ...] | None:
    """Formats as an older bundle names them."""
    return tuple(name for name in get_args(Format) if name in (names or ())) or None
