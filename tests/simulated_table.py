"""Simulated losses of the shipped 8B study, so that its launch bundle can be looked at without a GPU.

    python -m tests.simulated_table    # writes sweep/studies/llama3-8b-zh-simulated.csv anew

No run of this study was made. The numbers have the shape that sweeps of small models have, and plausible sizes:

    x(r, a) = ln(r / (6e-5 exp(-0.5 a)))                     the LR r beside the best one at ALMR a
    original:    2.080 + 0.120 a^2 + 0.014 (x + 0.3)^2       forgetting grows with ALMR and LR; before: 2.050
    additional:  2.640 - 0.330 a^0.35 + 0.020 (x - 0.2)^2    learning grows with ALMR, at a falling rate; before: 2.640

in nats per token, with normal noise of 0.0015, seed 0. A trial with an LR of 3e-4 or more diverges.
"""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

import numpy as np

from sweep.study import study_file

STUDY, FILE = "llama3-8b-zh", study_file.SHIPPED / "llama3-8b-zh-simulated.csv"
MADE_BY = "tests/simulated_table.py (seed 0)"
BASE = {"original": 2.050, "additional": 2.640}
NOISE, SEED = 0.0015, 0
DIVERGES = 3e-4 * (1 - 1e-9)


def losses(almr: float, lr: float) -> dict[str, float]:
    x = math.log(lr / (6e-5 * math.exp(-0.5 * almr)))
    return {
        "original": 2.080 + 0.120 * almr**2 + 0.014 * (x + 0.3) ** 2,
        "additional": 2.640 - 0.330 * almr**0.35 + 0.020 * (x - 0.2) ** 2,
    }


def text() -> str:
    """The table: a row for each cell of the study's grid."""
    rng, out = np.random.default_rng(SEED), io.StringIO()
    names = ["almr", "lr", "seed", "status", "reason", "tokens"]
    names += [f"{kind}_{language}" for kind in ("loss", "base_loss") for language in BASE]
    table = csv.DictWriter(out, [*names, "simulated_by"], lineterminator="\n")
    table.writeheader()
    study = study_file.load(STUDY)
    for almr, lr, seed in study.grid.points:
        row = {"almr": almr, "lr": lr, "seed": seed, "tokens": study.training.tokens, "simulated_by": MADE_BY}
        noise = rng.normal(0, NOISE, len(BASE))
        row |= {f"base_loss_{language}": loss for language, loss in BASE.items()}
        if lr >= DIVERGES:
            row |= {"status": "diverged", "reason": "simulated: an LR of 3e-4 or more"}
        else:
            found = zip(losses(almr, lr).items(), noise, strict=True)
            row |= {"status": "complete"} | {f"loss_{name}": f"{loss + more:.5f}" for (name, loss), more in found}
        table.writerow(row)
    return out.getvalue()


def write(file: Path = FILE) -> None:
    file.write_text(text(), encoding="utf-8")


if __name__ == "__main__":
    write()
