"""Records -> table -> loss surfaces -> winner -> launch. Never imports ray or torch.

The public names are loaded when they are first used:

    from analysis import fit_table, load_run, read_table

    run = load_run("runs/demo")  # a finished study
    print(len(run.table), "trials,", run.fit.winner.almr, run.fit.winner.lr)

    fit = fit_table(read_table("runs/demo/trials.csv"))  # or any CSV with almr, lr and losses
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analysis.fit.fit import Fit, fit_table
    from analysis.fit.load import LoadedRun, load_run
    from analysis.search.sampler import SurfaceSampler
    from analysis.table.import_table import read_table
    from sweep.study.errors import InputError
    from sweep.study.sections.objective import Objective

__all__ = ["Fit", "InputError", "LoadedRun", "Objective", "SurfaceSampler", "fit_table", "load_run", "read_table"]
HOMES = {
    "Fit": "analysis.fit.fit",
    "InputError": "sweep.study.errors",
    "LoadedRun": "analysis.fit.load",
    "Objective": "sweep.study.sections.objective",
    "SurfaceSampler": "analysis.search.sampler",
    "fit_table": "analysis.fit.fit",
    "load_run": "analysis.fit.load",
    "read_table": "analysis.table.import_table",
}


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(HOMES[name]), name)
