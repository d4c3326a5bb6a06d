"""Compares two finished runs of the same trials by two trainers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from analysis.decision.findings.caveats import FEW_TRIALS
from analysis.fit.fit import Fit, fit_run, fit_study
from analysis.table import table as tables
from analysis.table import too_few, trainers
from sweep.external.compare import bounds, judge
from sweep.external.compare.bounds import Bounds, ByNoise
from sweep.external.compare.result import TrainerComparison
from sweep.store.run import Run
from sweep.study import InputError, Study
from sweep.study.sections.transfer import Confirmation


@dataclass(frozen=True)
class ComparedRun:
    """One trainer's side: its study, its run, and the table of its trials."""

    study: Study
    run: Run
    table: pd.DataFrame

    @staticmethod
    def of(study: Study, run: Run) -> ComparedRun:
        return ComparedRun(study, run, tables.of_run(run.folder, study))

    @property
    def version(self) -> str:
        """The trainer with its version, or versions."""
        versions = trainers.by_version(self.table).get(self.study.trainer.name)
        return " and ".join(versions) if versions else self.study.trainer.name


def compare(study: Study, sides: Sequence[ComparedRun], own: Run | None, bound: float | None) -> TrainerComparison:
    """`study`: that which was to be compared, and `own` its run, where there is one: it knows the noise best. `bound`:
    the user's own of every difference, in nats. Raises InputError for a record that cannot be read.
    """
    first, second = sides
    fits, no_winner = _fits(sides)
    paired = judge.pairs(first.table, second.table)
    allowed, source = _bounds([side.study.trainer.name for side in sides], own, bound)
    tolerance = study.launch.transfer.confirm.tolerance if study.launch and study.launch.transfer else None
    return TrainerComparison(
        study=study.name,
        trainers=_named(first.study.trainer.name, second.study.trainer.name),
        versions=(first.version, second.version),
        runs=(first.run.address, second.run.address),
        trials=tuple(judge.trials(paired)),
        differences=tuple(judge.differences(paired, allowed)),
        noise=source,
        winner=judge.winners(fits[0], fits[1], tolerance or Confirmation().tolerance) if fits else None,
        no_winner=no_winner,
    )


def _named(first: str, second: str) -> tuple[str, str]:
    return first, second if first != second else f"{second} (2)"


def _fits(sides: Sequence[ComparedRun]) -> tuple[list[Fit], str | None]:
    """The fits of both sides, or none and why."""
    try:
        for side in sides:  # before a fit, which takes a second
            too_few.refuse(side.table, side.study.name)
        return [fit_study(side.study, side.table) for side in sides], None
    except InputError as error:
        return [], str(error)


def _bounds(names: Iterable[str], own: Run | None, stated: float | None) -> tuple[Bounds, str]:
    """And where they are from. A few trials do not tell their noise: it is that of the study's own run, if known.
    `names`: the trainers.
    """
    if stated is not None:
        return bounds.stated(stated), f"as stated, {stated:g} nats"
    fit = _fit(own) if own else None
    if own is None or fit is None or (count := fit.file.trials.complete) < FEW_TRIALS:
        why = f"{own.address} has too few trials to tell the noise" if own else "no run of the study tells the noise"
        return bounds.by_default, f"by default, as {why}; state your own with --bound NATS"
    order = bounds.order(names, fit.table["seed"].nunique())
    wider = ", and wider, as one may read the text in another order" if order else ""
    said = f"by the noise of the {count} complete trials of {own.address}{wider}"
    return ByNoise(lambda language, almrs, lrs: fit.surfaces[language].noise(almrs, lrs), order), said


def _fit(run: Run) -> Fit | None:
    try:
        return fit_run(run.study(), run.folder)
    except InputError:
        return None
