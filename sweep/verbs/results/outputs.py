"""The report, the launch bundle and the confirmation of a fitted run: what they say is in its `fit.json`."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast, get_args

from analysis.fit.load import load_fit
from analysis.fit_file.outdated import fit_sha256
from analysis.fit_file.result import FitResult
from analysis.launch import bundle
from analysis.launch.bundle import Exported, FittedRun
from analysis.launch.confirm import result, results_table
from analysis.launch.confirm.plan import ConfirmPlan
from analysis.launch.confirm.result import ConfirmationResult
from analysis.launch.evidence import bundle_folder, evidence, parity
from analysis.launch.evidence.parity import ParityResult
from analysis.launch.plan.held_out import HeldOutText
from analysis.launch.plan.launch_plan import NO_PARITY
from analysis.table import table as tables
from analysis.transfer import bracket
from sweep.external.parity import kept
from sweep.external.read_back import verify as read_back
from sweep.planning import model_shape
from sweep.store.run import Run
from sweep.study import Ingredients, InputError, Study
from sweep.study.files import unfinished
from sweep.study.files.reader import read_object
from sweep.study.sections.launch import Format
from sweep.trials.followers.optuna import export as optuna_export
from sweep.verbs.results import rerun
from trainers.data.hold_out import held_out_texts


def fitted(run: Run, tell: Callable[[str], None]) -> FitResult:
    """The run's fit as its `fit.json` has it. A run that was never fitted is fitted first, and `tell` says so.

    Raises InputError where `fit.json` does not belong to the run's records and study as they are now.
    """
    if not run.files.fit.is_file():
        from sweep.verbs.results import fitting  # drawing and surfaces take a second to import

        tell(f"{run.address} was never fitted: fitting it first, as almr fit does")
        return fitting.fit(run)
    return load_fit(run.study(), run.folder, run.address)


def report(run: Run, fitted: FitResult) -> Path:
    """Write the page of a fit. Raises InputError where its surfaces are not those of the fit."""
    from analysis.report import page as pages

    unfinished.remove_abandoned(run.folder)
    page = pages.write_report(fitted, run.folder, _next(run, fitted), run.address)
    run.share()
    return page


def report_without_fit(run: Run, why: str) -> Path:
    """Write the page of a run's trials, where no fit can be made of them; `why` in words.

    Raises InputError for a record that cannot be read.
    """
    from analysis.report import page as pages

    study = run.study()
    made = pages.Unfitted(study, tables.of_run(run.folder, study) if run.files.records() else tables.empty(), why)
    page = pages.write_unfitted(made, run.folder, rerun.suggestion([], [], rerun.of(run)))
    run.share()
    return page


def _next(run: Run, fitted: FitResult) -> list[str]:
    """What to run next, as "purpose: command": trials that are left or suggested, and the step to the launch."""
    trials = rerun.suggestion(fitted.refusals, fitted.warnings, rerun.of(run))
    if fitted.refusals or fitted.study is None or fitted.study.launch is None:
        return trials
    exported = (read_object(run.files.evidence) or {}).get("fit_sha256") == fit_sha256(run.folder)
    if exported and (replay := fitted.study.replay):  # nothing was trained whose LR confirmation runs could test
        return [*trials, f"train the study without replay before a launch; these losses are from {replay.table}"]
    verb, purpose = (
        ("confirm", "measure the LR at the launch's size") if exported else ("export", "write the launch bundle")
    )
    return [*trials, f"to {purpose}: {shlex.join(['almr', verb, run.address])}"]


@dataclass(frozen=True)
class ExportOptions:
    """How a bundle is exported: by default to the run's `launch/`, in the formats that the study names.

    `accept_risk` says why a refused fit is exported all the same. With `verify` the bundle is read back by the
    trainers' own parsers, where they are installed. `parity`: each installed trainer first trains the small model again
    as `trial` was trained, by default the complete trial nearest to the winner; `tell` is told what that costs, `show`
    what happens.
    """

    folder: Path | None = None
    accept_risk: str | None = None
    formats: tuple[Format, ...] | None = None
    verify: bool = False
    parity: bool = False
    trial: str | None = None
    show: Callable[[str], None] = lambda text: None
    tell: Callable[[str], None] = lambda text: None


def export(run: Run, fitted: FitResult, options: ExportOptions = ExportOptions()) -> Exported:
    """Say what the launch and its confirmation runs take, and write the launch bundle of a fit.

    Raises InputError for a refused fit, a run whose corpora were never read, or a study without a launch.
    """
    named, source = _source(run, fitted, options.formats)
    out = options.folder or run.files.launch
    forecast = bundle.planned(source, out, options.accept_risk, named).forecast(named)  # refused before hours are told
    if options.parity:
        source = replace(source, parity=_parity(run, fitted, named, options, forecast))
    else:
        _tell(options, forecast)
    reader = read_back.verify if options.verify else None
    made = bundle.export(source, out, options.accept_risk, named, reader)
    run.share()
    return made


def _parity(
    run: Run, fitted: FitResult, named: tuple[Format, ...], options: ExportOptions, forecast: list[str]
) -> tuple[ParityResult, ...]:
    """Train the parity runs, and return their results. Raises InputError, before `forecast` is told, without a trial
    that can be repeated.
    """
    from sweep.external.parity import parity as parity_runs  # torch takes seconds to import

    recipe = parity_runs.recipe(run, fitted, options.trial, options.show)
    _tell(options, [*forecast, parity_runs.cost(recipe, named)])
    parity_runs.carry_out(recipe, named)
    return kept.results(run, named)


def _tell(options: ExportOptions, lines: list[str]) -> None:
    for line in lines:
        options.tell(line)


def summary(made: Exported, again: str) -> list[str]:
    """The verdict of the bundle's GO.md, the folder, and its parity runs."""
    refused = made.failed and not made.accepted
    insist = [f'to accept what fails: {again} --accept-risk "reason", which GO.md repeats'] if refused else []
    folder = f"launch bundle: {made.folder} (read GO.md, then README.md)"
    return [made.headline, folder, *parity.shown(made.parity), *insist]


def is_storage(names: list[str] | None) -> bool:
    """Whether a command line asks for an Optuna storage. Raises InputError where it asks for a bundle too."""
    if optuna_export.FORMAT not in (names or ()):
        return False
    if names != [optuna_export.FORMAT]:
        raise InputError("--format optuna: it is no format of a bundle: give it alone")
    return True


def formats(names: list[str] | None) -> tuple[Format, ...] | None:
    """The formats that a command line names; None for those of the study. Raises InputError for an unknown one."""
    known = get_args(Format)
    if unknown := [name for name in names or () if name not in known]:
        raise InputError(f"--format {unknown[0]}: no such format: give {', '.join((*known, optuna_export.FORMAT))}")
    return cast(tuple[Format, ...], tuple(names)) if names else None


def _source(run: Run, fitted: FitResult, formats: tuple[Format, ...] | None) -> tuple[tuple[Format, ...], FittedRun]:
    """The formats, by default those of the study, and what a launch is made from."""
    study = fitted.study or run.study()
    named = formats or (study.launch.formats if study.launch else ())
    if study.launch is None:  # which is said of it; a replay without one has no ingredients
        return named, FittedRun(fitted, run.folder, {})
    target, ingredients = model_shape.launch_hardware(study, named), _ingredients(run)
    held_out = _held_out(study, ingredients)
    return named, FittedRun(fitted, run.folder, ingredients.corpora, target, held_out, kept.results(run, named))


def _held_out(study: Study, ingredients: Ingredients) -> HeldOutText:
    """The trials' held-out texts, which lie beside the packed corpora in the cache."""
    files = {name: Path(folder) / held_out_texts.FILE for name, folder in ingredients.folders.items()}
    known = {name: file for name, file in files.items() if file.is_file()}
    lost = {
        name: f"the trials' held-out text of {study.source_label(name)} is gone from the cache: the launch would train "
        f"on it, and not be measured on it: run almr prepare STUDY, then almr export RUN"
        for name in study.corpora.source_names()
        if name not in known
    }
    return HeldOutText(known, lost)


def _ingredients(run: Run) -> Ingredients:
    ingredients = run.ingredients()
    if ingredients is None:
        path = run.shown(run.files.ingredients)
        raise InputError(f"{path}: does not exist, so document lengths are not known: run the study first")
    return ingredients


def confirm(run: Run, fitted: FitResult, accept_risk: str | None = None) -> ConfirmPlan:
    """The confirmation runs of the launch. Raises InputError as `export`."""
    return bundle.confirmation(_source(run, fitted, None)[1], accept_risk)


def untried(run: Run, fitted: FitResult) -> list[str]:
    """Which formats have no parity run that passed: a cheaper test, to be made before the confirmation runs."""
    named = fitted.study.launch.formats if fitted.study and fitted.study.launch else ()
    passed = {result.name for result in kept.results(run, named) if result.state == "pass"}
    if not (left := [name for name in named if name not in passed]):
        return []
    if fitted.study and fitted.study.replay:
        return [f"a parity run of {', '.join(left)} is {NO_PARITY}"]
    return [
        f"first try {', '.join(left)} on the small model, at the cost of about two trials each: "
        f"{shlex.join(['almr', 'export', run.address, '--parity'])}"
    ]


def conclude(
    run: Run, fitted: FitResult, results: Path, folder: Path | None = None, accept_risk: str | None = None
) -> tuple[ConfirmationResult, Exported]:
    """Compare the results of the confirmation runs, keep the comparison in the run, and write the bundle anew.

    Raises InputError as `export`, and for results that cannot be read.
    """
    out = folder or run.files.launch
    old = evidence.written(out) or {}
    named, source = _source(run, fitted, _known(old.get("formats")))
    plan = bundle.confirmation(source, accept_risk)
    compared = bracket.compare(results_table.read(results, plan), plan.lr, plan.noise, plan.tolerance, plan.level)
    found = result.conclude(plan, compared, results)
    bundle_folder.refuse_foreign(out)  # before the comparison is written
    reader = read_back.verify if old.get("read_back") else None
    with run.locked():
        result.save(found, results, run.folder, out)
        made = bundle.export(source, out, accept_risk, named, reader)
    run.share()
    return found, made


def _known(names: Any) -> tuple[Format, ...] | None:
    """The formats that an older bundle names, as far as they still exist."""
    return tuple(name for name in get_args(Format) if name in (names or ())) or None
