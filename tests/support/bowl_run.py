"""A finished run of nine trials, written without training: the smallest that a surface can be fitted to."""

from __future__ import annotations

from pathlib import Path

from samples import study_content

from sweep.store.run import Run
from sweep.study import Ingredients, Record, Study, Trial
from sweep.study.study_file import dump
from sweep.verbs.results import fitting

LAUNCH = {"model": "large", "tokens": 5 * 4096, "global_batch_tokens": 4096, "sequence_length": 128, "gpus_per_node": 1}


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


def write_fitted(run: Path) -> None:
    """A run that was fitted, with counts of its corpora, so that its launch can be exported."""
    run.mkdir()
    write(run, study())
    counts = {"fingerprint": "0" * 16, "documents": 9, "tokens": 900, "bytes": 900, "blocks": 9}
    held_out = {f"held_out_{name}": 1 for name in ("documents", "tokens", "bytes", "blocks")}
    corpora = dict.fromkeys(("original", "additional"), counts | held_out | {"files": ("text.jsonl",)})
    content = {"base_model": "m", "base_model_fingerprint": "0" * 16, "folders": {}, "corpora": corpora}
    (run / "ingredients.json").write_text(Ingredients.model_validate(content).model_dump_json())
    fitting.fit(Run(run))
