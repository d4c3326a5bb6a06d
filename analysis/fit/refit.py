"""A run's trials fitted anew, in memory: under its own objective or another one."""

from __future__ import annotations

from pathlib import Path

from analysis.fit.fit import Fit, fit_study
from analysis.fit.load import load_run
from sweep.study import Objective


def refit_run(folder: str | Path, objective: Objective | None = None) -> Fit:
    """Fit the trials of a run directory, such as `runs/demo`, and write nothing.

    `objective`: in place of the study's, such as `Objective(weights={"original": 0.2, "additional": 0.8})`. Returns a
    Fit with its surfaces, from which `analysis.figures.views` draws. Benchmark scores are left out, and guards of them
    too.

    Raises InputError as `load_run`, and where fewer trials are usable than a surface needs.
    """
    run = load_run(folder)
    aim = objective or run.study.objective
    plain = aim.model_copy(update={"guards": aim.loss_guards})
    return fit_study(run.study.model_copy(update={"objective": plain}), run.table)
