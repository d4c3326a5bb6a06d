"""Records -> table -> loss surfaces -> winner -> launch. Never imports ray or torch.

The public names, each loaded when it is first used (docs/api.md), in this example:

    import optuna
    from analysis import SurfaceSampler, fit_table, load_run, read_table

    run = load_run("runs/demo")  # a run that `almr run demo` finished
    print(f"{len(run.table)} trials: ALMR {run.fit.winner.almr:.2f}, LR {run.fit.winner.lr:.2e}")
    fit = fit_table(read_table("runs/demo/trials.csv"))  # or any CSV file with almr, lr and losses
    print(f"ALMR {fit.winner.almr:.2f}, LR {fit.winner.lr:.2e}, {len(fit.refusals)} refusals")


    def loss(trial):  # train here; this reads the loss off the fitted surfaces
        almr, lr = trial.suggest_float("almr", 0.05, 0.95), trial.suggest_float("lr", 4e-4, 2.8e-2, log=True)
        return sum(surface.predict([almr], [lr])[0][0] for surface in fit.surfaces.values()) / 2


    search = optuna.create_study(sampler=SurfaceSampler(seed=0))
    search.optimize(loss, n_trials=12)
    print(f"best of 12: ALMR {search.best_params['almr']:.2f}, LR {search.best_params['lr']:.2e}")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analysis.compare.compare import compare_runs
    from analysis.compare.fitted import ComparedFit
    from analysis.compare.result import RunComparison
    from analysis.decision.objectives import GuardedGoal, WeightedGoal
    from analysis.fit.fit import Fit, fit_table
    from analysis.fit.load import LoadedRun, load_run
    from analysis.fit.refit import refit_run
    from analysis.search.sampler import SurfaceSampler
    from analysis.search.space import Space
    from analysis.table.import_table import read_table
    from sweep.study import InputError, Objective

__all__ = [
    "ComparedFit",
    "Fit",
    "GuardedGoal",
    "InputError",
    "LoadedRun",
    "Objective",
    "RunComparison",
    "Space",
    "SurfaceSampler",
    "WeightedGoal",
    "compare_runs",
    "fit_table",
    "load_run",
    "read_table",
    "refit_run",
]
HOMES = {
    "ComparedFit": "analysis.compare.fitted",
    "Fit": "analysis.fit.fit",
    "GuardedGoal": "analysis.decision.objectives",
    "InputError": "sweep.study.errors",
    "LoadedRun": "analysis.fit.load",
    "Objective": "sweep.study.sections.objective",
    "RunComparison": "analysis.compare.result",
    "Space": "analysis.search.space",
    "SurfaceSampler": "analysis.search.sampler",
    "WeightedGoal": "analysis.decision.objectives",
    "compare_runs": "analysis.compare.compare",
    "fit_table": "analysis.fit.fit",
    "load_run": "analysis.fit.load",
    "read_table": "analysis.table.import_table",
    "refit_run": "analysis.fit.refit",
}


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(HOMES[name]), name)
