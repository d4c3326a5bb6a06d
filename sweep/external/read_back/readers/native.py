"""Reads study.yaml with the product's own study reader; the LRs come from its own training loop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sweep.study import study_file


def read(folder: Path, question: dict[str, Any]) -> dict[str, Any]:
    study = study_file.load(str(folder / "study.yaml"))
    [(almr, lr, seed)] = study.grid.points
    of_language = {"original": 1 - almr, "additional": almr}
    shares = {name: of_language[source.language] * source.share for name, source in study.corpora.by_name.items()}
    training, optimizer = study.training, study.training.optimizer
    by_template = training.stage != "cpt"  # the chat template writes all special tokens
    share = training.lr_schedule(training.steps).share
    return {
        "parsers": "the study reader and the training loop",
        "lr": lr,
        "token_shares": {name: share for name, share in shares.items() if share},
        "steps": training.steps,
        "tokens": training.steps * training.global_batch_tokens,
        "global_batch_tokens": training.global_batch_tokens,
        "sequence_length": training.sequence_length,
        "seed": seed,
        "beta1": optimizer.beta1,
        "beta2": optimizer.beta2,
        "epsilon": optimizer.epsilon,
        "weight_decay": optimizer.weight_decay,
        "max_grad_norm": optimizer.max_grad_norm,
        "eos": study.documents.eos,
        "bos": study.documents.bos,
        # It saves every so many minutes; with `auto` it asks the tokenizer.
        "not_stated": [
            "checkpoint_steps",
            *(["bos"] if study.documents.bos == "auto" or by_template else []),
            *(["eos"] if by_template else []),
        ],
        "lrs": [lr * share(step) for step in question["steps"]],
        **({"beta": training.dpo.beta} if training.dpo else {}),
    }
