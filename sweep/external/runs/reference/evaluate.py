"""The held-out losses of a Hugging Face model that a trainer left, measured as the trials' were.

    python -m sweep.external.runs.reference.evaluate STUDY INGREDIENTS MODEL

In a process of its own: a GPU's memory is free again when it ends. One process measures, whatever a trial has. Prints
one line of JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from sweep.study import Ingredients, Study, study_file
from sweep.study.ingredients import read_ingredients
from trainers.data.corpus import open_corpora
from trainers.data.tokens.borders import Borders
from trainers.loop.held_out import HeldOut, Losses
from trainers.loop.out_of_memory import MicroBatch
from trainers.model.loading import load_model, load_tokenizer
from trainers.model.token_loss import TokenLoss
from trainers.workers.device import open_device
from trainers.workers.group import WorkerGroup


def main() -> None:
    study, ingredients = study_file.load(sys.argv[1]), read_ingredients(Path(sys.argv[2]))
    assert ingredients
    print(json.dumps(losses(study, ingredients, sys.argv[3])))


def losses(study: Study, ingredients: Ingredients, model: str) -> Losses:
    """In nats per token, by language and source."""
    workers = one_worker(study)
    return held_out(study, ingredients, workers).losses(model_loss(study, ingredients, model, workers))


def one_worker(study: Study) -> WorkerGroup:
    """This process alone, on a GPU where the study has any."""
    alone = {"nodes": 1, "processes": 1, "gpus_per_node": min(1, study.resources.gpus_per_node)}
    return WorkerGroup(0, 1, open_device(study.resources.model_copy(update=alone)))


def held_out(study: Study, ingredients: Ingredients, workers: WorkerGroup) -> HeldOut:
    micro_batch = MicroBatch(study.training.micro_batch_sequences)
    return HeldOut.of(open_corpora(ingredients), study, workers, micro_batch)


def model_loss(study: Study, ingredients: Ingredients, model: str, workers: WorkerGroup) -> TokenLoss:
    """The loss of a model in this folder, with the document mask of the study."""
    masked, bfloat16 = study.training.document_masking, study.training.precision == "bfloat16"
    if study.training.stage == "sft":
        return TokenLoss(load_model(study, model, workers), bfloat16, masked=masked)
    tokenizer = load_tokenizer(study.base_model, ingredients.base_model) if masked else None
    borders = Borders.of(tokenizer, study.documents) if masked else None
    return TokenLoss(load_model(study, model, workers), bfloat16, borders)


if __name__ == "__main__":
    main()
