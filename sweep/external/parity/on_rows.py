"""Trains our own trainer's way on the rows that another trainer read: of one that shuffles by itself.

    python -m sweep.external.parity.on_rows STUDY INGREDIENTS ROWS

ROWS is a file of uint32: the rows of all steps in order, each of `sequence_length` + 1 tokens, so of as many targets as
a sequence has tokens. Prints the trace, one line of JSON. One process trains, whatever a trial has.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

from sweep.external.runs.reference.evaluate import held_out, model_loss, one_worker
from sweep.external.runs.trace import LoggedStep, Trace
from sweep.study import Study, study_file
from sweep.study.ingredients import read_ingredients
from trainers.loop.learner import Learner
from trainers.loop.out_of_memory import MicroBatch


def main() -> None:
    study, ingredients = study_file.load(sys.argv[1]), read_ingredients(Path(sys.argv[2]))
    assert ingredients
    [(_, lr, seed)] = study.grid.points
    torch.manual_seed(seed)
    workers, training = one_worker(study), study.training
    loss = model_loss(study, ingredients, ingredients.base_model, workers)
    measured = held_out(study, ingredients, workers)
    before = measured.losses(loss)
    learner = Learner(loss, training, lr, workers, MicroBatch(training.micro_batch_sequences))
    read = torch.split(rows(study, Path(sys.argv[3])), training.batch_sequences)
    batches = (batch.to(workers.device) for batch in read)
    steps = [
        LoggedStep(step=step.step, loss=step.loss, lr=step.lr, grad_norm=step.grad_norm)
        for step in learner.train(batches, training.lr_schedule(training.steps).share, lambda step: False)
    ]
    print(Trace(steps=tuple(steps), before=before, after=measured.losses(loss)).model_dump_json())


def rows(study: Study, path: Path) -> torch.Tensor:
    """The rows of all steps (sequences, sequence_length + 1)."""
    training = study.training
    tokens = np.fromfile(path, "<u4").reshape(-1, training.sequence_length + 1)
    return torch.from_numpy(tokens[: training.steps * training.batch_sequences].astype(np.int64))


if __name__ == "__main__":
    main()
