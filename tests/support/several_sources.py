"""A study of several sources a language, and its trials on known surfaces."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
from samples import study_content

from sweep.study import LANGUAGES, Record, Study, Trial
from sweep.study.study_file import dump

ALMRS, LRS = (0.1, 0.3, 0.5, 0.7, 0.9), tuple(float(f"{lr:.3g}") for lr in np.geomspace(1e-5, 1e-3, 6))
CORPORA = {
    "original": [
        {"files": "/data/web.jsonl", "name": "web", "weight": 7, "language": "English"},
        {"files": "/data/code.jsonl", "name": "code", "weight": 3},
    ],
    "additional": {"files": "/data/zh.jsonl", "language": "Chinese"},
}
LANGUAGE_OF = {"web": "original", "code": "original", "additional": "additional"}
SHARES = {"web": 0.7, "code": 0.3, "additional": 1.0}
BASE = {"web": 3.22, "code": 2.0, "additional": 5.7}
BITS_PER_NAT = {"web": 0.4, "code": 0.6, "additional": 0.5}
EPOCHS = {"web": 0.5, "code": 3.0, "additional": 1.0}  # of a trial of its language alone


def study(**changes: Any) -> Study:
    content = study_content(corpora=CORPORA, grid={"almr": list(ALMRS), "lr": list(LRS)})
    return Study.model_validate(content | changes)


def losses(almr: float, lr: float) -> dict[str, float]:
    """Of each source. With equal weights of the languages the best ALMR is 0.6, and LR 1e-4 whatever the weights; the
    loss of code rises with ALMR, by 5 % over the base model's at 0.5.
    """
    valley = 0.03 * np.log(lr / 1e-4) ** 2
    web, code = 3.2 + 0.1 * (almr - 0.2) ** 2, 2.0 + 0.4 * almr**2
    return {"web": web + valley, "code": code + valley, "additional": 4.0 + 0.5 * (almr - 0.8) ** 2 + valley}


def by_language(values: Mapping[str, float]) -> dict[str, float]:
    """The mean of a language's sources, by their shares."""
    return {
        language: sum(SHARES[name] * values[name] for name in SHARES if LANGUAGE_OF[name] == language)
        for language in LANGUAGES
    }


def record(of: Study, almr: float, lr: float, measured: Mapping[str, float] | None = None, **fields: Any) -> Record:
    """A complete trial; `measured` are the losses of its sources."""
    found, trial = dict(measured or losses(almr, lr)), Trial(almr=almr, lr=lr, seed=0)
    part = {"original": 1 - almr, "additional": almr}
    sources = {
        name: {
            "language": LANGUAGE_OF[name],
            "weight": SHARES[name],
            "loss": found[name],
            "base_loss": BASE[name],
            "bits_per_byte": found[name] * BITS_PER_NAT[name],
            "base_bits_per_byte": BASE[name] * BITS_PER_NAT[name],
            "epochs": EPOCHS[name] * part[LANGUAGE_OF[name]],
        }
        for name in SHARES
    }
    content = {
        **trial.model_dump(),
        "trial_id": trial.id,
        "fingerprint": of.fingerprint,
        "attempt": 1,
        "status": "complete",
        "tokens": 2048,
        "loss": by_language(found),
        "base_loss": by_language(BASE),
        "epochs": {"original": sources["code"]["epochs"], "additional": sources["additional"]["epochs"]},
        "sources": sources,
    }
    return Record.model_validate(content | fields)


def records(of: Study, noise: float = 0.002) -> list[Record]:
    """One trial per cell of the grid, with normal noise of that sd on the loss of each source."""
    random = np.random.default_rng(0)
    return [
        record(of, a, r, {name: loss + noise * random.standard_normal() for name, loss in losses(a, r).items()})
        for a, r in itertools.product(ALMRS, LRS)
    ]


def write(run: Any, of: Study, made: list[Record]) -> None:
    """A run directory."""
    run.mkdir(parents=True, exist_ok=True)
    (run / "study.yaml").write_text(dump(of))
    for one in made:
        (run / "trials" / one.trial_id).mkdir(parents=True, exist_ok=True)
        (run / "trials" / one.trial_id / "record.json").write_text(one.model_dump_json())
