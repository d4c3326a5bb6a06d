"""Sweeps of many trials that are answered from a generated table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from samples import make_study

from sweep.store.run import Run
from sweep.study import Study, study_file
from trainers.trials import recorded

ALMRS = 40
SECONDS = 10.0  # of a trial, by the table
STARTING = 2.5  # seconds for which a core of two starts a worker of Ray Tune
EDGE = 2e-2  # trials of higher LRs and an ALMR over a half diverge


def written(folder: Path, trials: int, seed: int, name: str = "many", at_once: int = 2, seconds: float = 0.0) -> Study:
    """A study of a grid of about so many cells, as `folder/NAME.yaml`, with the table that answers its trials after so
    many seconds each; the first of each worker after the time in which all of them start. Ray Tune gives the worker of
    a trial that ended to one that waits for its own, and ends what was starting for it.
    """
    almrs = [round(float(almr), 4) for almr in np.linspace(0.05, 0.95, min(ALMRS, trials // 5))]
    lrs = [float(f"{lr:.5g}") for lr in np.geomspace(4e-4, 2.8e-2, -(-trials // len(almrs)))]
    random, table = np.random.default_rng(seed), folder / f"{name}.csv"
    slow = at_once * STARTING * SECONDS / seconds if seconds else SECONDS
    cells = [(almr, lr) for almr in almrs for lr in lrs]
    rows = [_row(*cell, random, slow if n < at_once else SECONDS) for n, cell in enumerate(cells)]
    names = "almr,lr,seed,status,reason,loss_original,loss_additional,base_loss_original,base_loss_additional,seconds"
    table.write_text("\n".join([names, *rows]) + "\n")
    study = make_study(
        name=name,
        grid={"almr": almrs, "lr": lrs},
        replay={"table": str(table), "pace": seconds / SECONDS},
        resources={"concurrent": at_once},
    )
    (folder / f"{name}.yaml").write_text(study_file.dump(study))
    return study


def _row(almr: float, lr: float, random: np.random.Generator, seconds: float) -> str:
    """A bowl whose best LR moves with ALMR, with noise of 0.003 nats."""
    if lr > EDGE and almr > 0.5:
        return f"{almr},{lr},0,diverged,the loss rose,,,3.5,5.4,{seconds}"
    dip = 0.05 * (np.log(lr / 3e-3) - almr + 0.5) ** 2
    original, additional = np.array([3 + 0.4 * almr**2, 4 + 0.9 * (1 - almr) ** 2]) + dip
    noisy = [original + 0.003 * random.standard_normal(), additional + 0.003 * random.standard_normal()]
    return f"{almr},{lr},0,complete,,{noisy[0]},{noisy[1]},3.5,5.4,{seconds}"


def finished(folder: Path, study: Study) -> Run:
    """The run of a study that has all its records, as workers write them."""
    run = Run(folder / "runs" / study.name)
    run.freeze(study)
    run.stage_code()
    for trial in study.grid_trials:
        run.finish(recorded.run_trial(study, trial, run.start(trial, study)))
    return run
