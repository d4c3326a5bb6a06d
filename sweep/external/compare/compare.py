"""Compares two finished runs of the same trials by two trainers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from analysis.fit.fit import Fit, fit_run, fit_study
from analysis.table import table as tables
from analysis.table import trainers
from sweep.external.compare import judge
from sweep.external.compare.judge import Bounds
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
    bounds, source = _bounds(own, fits, bound)
    tolerance = study.launch.transfer.confirm.tolerance if study.launch and study.launch.transfer else None
    return TrainerComparison(
        study=study.name,
        trainers=_named(first.study.trainer.name, second.study.trainer.name),
        versions=(first.version, second.version),
        runs=(first.run.address, second.run.address),
        trials=tuple(judge.trials(paired)),
        differences=tuple(judge.differences(paired, bounds)),
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
            tables.refuse_few(side.table, side.study.name)
        return [fit_study(side.study, side.table) for side in sides], None
    except InputError as error:
        return [], str(error)


def _bounds(own: Run | None, fits: list[Fit], stated: float | None) -> tuple[Bounds, str]:
    """And where they are from: as stated, by the noise of the study's own run, or by that of the compared trials."""
    if stated is not None:
        return Bounds(judge.noise_of(), stated), f"as stated: {stated:g} nats"
    if own and (fit := _fit(own)):
        count, seeds = fit.file.trials.complete, fit.table["seed"].nunique()
        order = 1.0 if seeds > 1 else judge.ORDER  # the noise over several seeds has the order of the text in it
        said = f"by the noise of the {count} complete trials of {own.address}, of {seeds} seed{'s' * (seeds > 1)}"
        return Bounds(judge.noise_of(fit), order=order), said
    if fits:
        count = sum(fit.file.trials.complete for fit in fits)
        return Bounds(judge.noise_of(*fits)), f"by the noise of these {count} trials, which know it roughly"
    return Bounds(judge.noise_of(), judge.LEAST), "the noise is not known: state one with --bound NATS"


def _fit(run: Run) -> Fit | None:
    try:
        return fit_run(run.study(), run.folder)
    except InputError:
        return None
