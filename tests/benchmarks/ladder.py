"""Which transfer rule would have found the largest model's best ALMR and LR? A ladder of small ones, each swept.

    python tests/benchmarks/ladder.py [--runs runs/ladder] [--sizes 0.2m tiny 1.2m 3m] [--trials 16] [--steps 60]
        [--pretraining-steps 800]

A base model of each size is pre-trained alike (trainers/tiny.py) and cached; each is swept with the adaptive search, by
`almr run`, over the same cells. Run again, it goes on where it stopped; with all done it only prints. Then every rule
predicts the largest from the smaller ones.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

BATCH = 2048


def study(size: str, model: Path, trials: int, steps: int) -> dict[str, Any]:
    return {
        "name": f"ladder-{size}",
        "base_model": {"pretrained": str(model)},
        "corpora": {"original": {"embedded": "shakespeare"}, "additional": {"embedded": "three-kingdoms"}},
        "training": {
            "sequence_length": 128,
            "tokens": steps * BATCH,
            "global_batch_tokens": BATCH,
            "micro_batch_sequences": 8,
            "evaluation_tokens": 16384,
            "schedule": {"name": "cosine", "warmup": 0.1, "min_lr": 0.1},
        },
        "grid": {
            "almr": [0.05, 0.2, 0.35, 0.5, 0.6, 0.7, 0.8, 0.95],
            "lr": {"from": 3e-4, "to": 2.4e-2, "points": 11},
        },
        "search": {"strategy": "surface", "trials": trials, "curve": 0.25},
        "resources": {"cpus": 1},
    }


def base_model(size: str, steps: int) -> Path:
    from trainers import tiny

    training = tiny.TRAINING.model_copy(update={"tokens": steps * BATCH})
    return tiny.build(lambda share: None, size, training)


def sweep(size: str, runs: Path, model: Path, trials: int, steps: int) -> None:
    """`almr run` of one size; a refused winner (status 3) is a result too."""
    runs.mkdir(parents=True, exist_ok=True)
    path = runs / f"{size}.yaml"
    path.write_text(yaml.safe_dump(study(size, model, trials, steps), sort_keys=False), encoding="utf-8")
    almr = [sys.executable, "-c", "from sweep.cli import main; main()"]
    done = subprocess.run([*almr, "run", str(path), "--runs", str(runs)], check=False)
    if done.returncode not in (0, 3):
        raise SystemExit(f"{size}: almr run ended with status {done.returncode}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs/ladder"))
    parser.add_argument("--sizes", nargs="+", default=["0.2m", "tiny", "1.2m", "3m"], help="names in tiny.SIZES")
    parser.add_argument("--trials", type=int, default=16)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--pretraining-steps", type=int, default=800)
    asked = parser.parse_args()
    for size in asked.sizes:
        print(f"{size}: base model", flush=True)
        sweep(size, asked.runs, base_model(size, asked.pretraining_steps), asked.trials, asked.steps)


if __name__ == "__main__":
    main()
