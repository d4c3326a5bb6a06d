"""A finished run of nine trials, written without training: the smallest that a surface can be fitted to."""

from __future__ import annotations

from samples import study_content

from sweep.study import Record, Study, Trial
from sweep.study.study_file import dump

LAUNCH = {"model": "large", "tokens": 10**9, "global_batch_tokens": 4096, "sequence_length": 128, "gpus_per_node": 1}


def study(**changes) -> Study:
    grid = {"almr": [0.1, 0.5, 0.9], "lr": [1e-3, 3e-3, 1e-2]}
    return Study.model_validate(study_content(grid=grid, launch=LAUNCH | {"formats": ["native"]}) | changes)


def record(of: Study, trial: Trial, loss: float) -> Record:
    measured = {"loss": {"original": loss, "additional": loss + 1 - trial.almr / 9}, "attempt": 1, "status": "complete"}
    identity = {"trial_id": trial.id, "fingerprint": of.fingerprint}
    return Record.model_validate(identity | trial.model_dump() | measured)


def write(run, of: Study, **fields) -> None:
    """Nine trials in a bowl around ALMR 0.5 and LR 3e-3."""
    (run / "study.yaml").write_text(dump(of))
    for almr in of.grid.almr:
        for i, lr in enumerate(of.grid.lrs):
            trial = Trial(almr=almr, lr=lr, seed=0)
            (run / "trials" / trial.id).mkdir(parents=True, exist_ok=True)
            made = record(of, trial, 3.0 + (almr - 0.5) ** 2 + 0.1 * (i - 1) ** 2)
            (run / "trials" / trial.id / "record.json").write_text(made.model_dump_json())
