"""Synthetic studies whose optimum is known: two quadratic bowls that share one valley in ln LR.

With equal weights the objective's minimum is at ALMR 0.5 and LR 1.1e-4 and is 3.545 nats; ln of the best LR rises by
`coupling` per unit of ALMR.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.fit.fit import Fit, fit_study
from analysis.table import table as tables
from sweep.study import Record, Study, Trial
from sweep.study.study_file import dump

ALMRS = (0.1, 0.3, 0.5, 0.7, 0.9)
LRS = tuple(float(f"{lr:.3g}") for lr in np.geomspace(1e-5, 1e-3, 6))
BEST_LR = 1.1e-4


def losses(almr: float, lr: float, coupling: float) -> dict[str, float]:
    valley = 0.05 * (np.log(lr / BEST_LR) - coupling * (almr - 0.5)) ** 2
    return {"original": 3.2 + (almr - 0.2) ** 2 / 2 + valley, "additional": 3.8 + (almr - 0.8) ** 2 / 2 + valley}


def record(almr: float, lr: float, seed: int = 0, **fields: Any) -> Record:
    trial = Trial(almr=almr, lr=lr, seed=seed)
    measured = {"tokens": 204800, "seconds": 36.0, "gpu_hours": 0.02, "epochs": {"original": 0.5, "additional": 0.1}}
    base = {"base_loss": {"original": 3.4, "additional": 5.7}}
    identity = {"trial_id": trial.id, "fingerprint": study().fingerprint, "almr": almr, "lr": lr, "seed": seed}
    return Record.model_validate({"status": "complete", "attempt": 1} | measured | base | identity | fields)


def bowl(
    almrs: tuple[float, ...] = ALMRS,
    lrs: tuple[float, ...] = LRS,
    seeds: tuple[int, ...] = (0,),
    coupling: float = 1.0,
    noise: float = 0.003,
    stream: int = 0,
) -> list[Record]:
    """One complete record per point of the grid, with normal noise of that sd (nats) on each loss."""
    random = np.random.default_rng(stream)
    return [
        record(a, lr, seed, loss={k: v + noise * random.standard_normal() for k, v in losses(a, lr, coupling).items()})
        for seed in seeds
        for a in almrs
        for lr in lrs
    ]


def study(**fields: Any) -> Study:
    content = {
        "name": "bowl",
        "base_model": {"embedded": "tiny"},
        "corpora": {"original": {"embedded": "shakespeare"}, "additional": {"embedded": "three-kingdoms"}},
        "training": {"sequence_length": 128, "tokens": 204800, "global_batch_tokens": 2048},
        "grid": {"almr": list(ALMRS), "lr": list(LRS)},
    }
    return Study.model_validate(content | fields)


def metrics(lr: float, steps: int = 50) -> str:
    """A training log with one evaluation in it."""
    lines = [
        {"step": s, "tokens": 2048 * s, "loss": 3 + 2 * np.exp(-s * lr * 300), "lr": lr, "grad_norm": 1.0, "seconds": s}
        for s in range(1, steps + 1)
    ]
    held_out = {"step": steps, "tokens": 2048 * steps, "held_out": {"original": 3.5, "additional": 4.0}}
    return "".join(json.dumps(line) + "\n" for line in [*lines, held_out])


def write(run: Path, records: list[Record], of: Study) -> Path:
    """A run directory as the sweep leaves it."""
    for one in records:
        folder = run / "trials" / one.trial_id
        folder.mkdir(parents=True)
        (folder / "record.json").write_text(one.model_dump_json())
        (folder / "metrics.jsonl").write_text(metrics(one.lr))
    (run / "study.yaml").write_text(dump(of))
    return run


@pytest.fixture(scope="session")
def make_record() -> Callable[..., Record]:
    return record


@pytest.fixture(scope="session")
def make_bowl() -> Callable[..., list[Record]]:
    return bowl


@pytest.fixture(scope="session")
def make_study() -> Callable[..., Study]:
    return study


@pytest.fixture(scope="session")
def write_run() -> Callable[..., Path]:
    return write


@pytest.fixture(scope="session")
def true_losses() -> Callable[..., dict[str, float]]:
    return losses


@pytest.fixture(scope="session")
def fitted() -> Fit:
    """The bowl with one diverged, one failed and one unmeasured trial beside it."""
    other = [
        record(0.5, 3e-3, status="diverged", reason="held-out loss 9.1 is over the margin"),
        record(0.7, 3e-3, status="failed", reason="worker died", tokens=None, seconds=None, gpu_hours=None),
        record(0.9, 3e-3, loss={"original": 3.9}),
    ]
    launch = {
        "model": "large",
        "tokens": 10**11,
        "global_batch_tokens": 4_194_304,
        "sequence_length": 8192,
        "transfer": {"rule": "direct", "accept_token_ratio": 10**6},
    }
    return fit_study(study(launch=launch), tables.from_records(bowl() + other))
