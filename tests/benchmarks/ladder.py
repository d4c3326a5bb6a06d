"""Which transfer rule would have found the largest model's best ALMR and LR? A ladder of small ones, each swept.

    python tests/benchmarks/ladder.py [--runs runs/ladder] [--sizes 0.2m tiny 1.2m 3m 5m] [--trials 20] [--steps 60]
        [--pretraining-steps 800]

A base model of each size is pre-trained alike (trainers/tiny.py) and cached; each is swept with the adaptive search, by
`almr run`, over the same cells. Run again, it goes on where it stopped; with all done it only prints. Then every rule
predicts the largest from the smaller ones.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from analysis.fit.fit import Fit, fit_run
from analysis.fit_file.transfer import FittedRung
from analysis.fit_file.winner import Winner
from analysis.transfer import ladder
from analysis.transfer.rules import ladder_setting
from sweep.study import InputError, study_file
from sweep.study.sections.transfer import LAWS

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


@dataclass(frozen=True)
class Prediction:
    """Intervals are (low, high) at the winner's level; None where the rule states none of its own."""

    rule: str
    lr: float
    lr_interval: tuple[float, float]
    almr: float
    almr_interval: tuple[float, float]


def parameters_of(run: Path) -> int:
    """As the base model's own weights say."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(study_file.load(run / "study.yaml").base_model.pretrained)
    return sum(p.numel() for p in model.parameters())


def rung_of(run: Path) -> tuple[FittedRung, Winner]:
    content = json.loads((run / "fit.json").read_text(encoding="utf-8"))
    winner = Winner.model_validate(content["winner"])
    tokens = study_file.load(run / "study.yaml").training.tokens
    return ladder.rung_of(run.name, winner, parameters_of(run), tokens), winner


def predictions(smaller: list[tuple[FittedRung, Winner]], target: FittedRung) -> list[Prediction]:
    """Each rule's, from the largest of the smaller sweeps, and the ladder's from all of them."""
    rung, winner = smaller[-1]
    ratio = target.parameters / rung.parameters
    ends = winner.lr_interval.low, winner.lr_interval.high
    almrs = winner.almr_interval.low, winner.almr_interval.high
    found = [Prediction("direct", winner.lr, ends, winner.almr, almrs)]
    for name, law in LAWS.items():
        factor = ratio**law.parameters  # one token budget
        moved = ends[0] * factor, ends[1] * factor
        found.append(Prediction(f"power, {name}", winner.lr * factor, moved, winner.almr, almrs))
    try:
        told = ladder_setting(
            [r for r, _ in smaller], {"parameters": target.parameters, "tokens": target.tokens}, winner.level
        )
    except InputError:
        return found
    lr, almr = told["lr_interval"], told["almr_interval"]
    name = f"ladder, N^{told['parameters'].value:.2f}"
    return [*found, Prediction(name, told["lr"], (lr.low, lr.high), told["almr"], (almr.low, almr.high))]


def regret(fit: Fit, almr: float, lr: float) -> float:
    """What the setting costs over the fitted optimum, in % of its loss, on the target's own surface.

    A setting outside of the measured range counts at the nearest point inside.
    """
    axes = fit.optima.almr, np.log(fit.optima.lr)
    i = int(np.abs(axes[0] - almr).argmin())
    j = int(np.abs(axes[1] - math.log(lr)).argmin())
    return 100 * float(fit.optima.mean[i, j] / fit.optima.mean.min() - 1)


def print_tables(runs: Path, sizes: list[str]) -> None:
    """The sweeps, and for each size over two or more smaller ones what every rule would have said."""
    done = [size for size in sizes if (runs / f"ladder-{size}" / "fit.json").is_file()]
    found = {size: rung_of(runs / f"ladder-{size}") for size in done}
    print("| size | parameters | trials | LR* (90 %) | ALMR* (90 %) | refused as |\n|---|---|---|---|---|---|")
    for size, (rung, winner) in found.items():
        content = json.loads((runs / f"ladder-{size}" / "fit.json").read_text(encoding="utf-8"))
        codes = ", ".join(dict.fromkeys(f["code"] for f in content["refusals"])) or "-"
        lr, almr = winner.lr_interval, winner.almr_interval
        print(
            f"| {size} | {rung.parameters:,} | {content['trials']['complete']} | {winner.lr:.2e} ({lr.low:.2e} to "
            f"{lr.high:.2e}) | {winner.almr:.2f} ({almr.low:.2f} to {almr.high:.2f}) | {codes} |"
        )
    for k in range(1, len(done)):
        print_predictions(runs / f"ladder-{done[k]}", [found[size] for size in done[:k]], *found[done[k]])


def print_predictions(run: Path, smaller: list[tuple[FittedRung, Winner]], target: FittedRung, winner: Winner) -> None:
    fit = fit_run(study_file.load(run / "study.yaml"), run)
    print(f"\n{run.name} from the {len(smaller)} smaller; measured LR* {winner.lr:.2e}, ALMR* {winner.almr:.2f}\n")
    print("| rule | LR | over measured | ALMR | off by | LR* inside | ALMR* inside | regret |")
    print("|---|---|---|---|---|---|---|---|")
    for one in predictions(smaller, target):
        inside = (
            "yes" if low <= value <= high else "no"
            for (low, high), value in ((one.lr_interval, winner.lr), (one.almr_interval, winner.almr))
        )
        print(
            f"| {one.rule} | {one.lr:.2e} ({one.lr_interval[0]:.2e} to {one.lr_interval[1]:.2e}) | "
            f"x {one.lr / winner.lr:.2f} | {one.almr:.2f} ({one.almr_interval[0]:.2f} to {one.almr_interval[1]:.2f}) | "
            f"{one.almr - winner.almr:+.2f} | {' | '.join(inside)} | {regret(fit, one.almr, one.lr):.2f} % |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs/ladder"))
    parser.add_argument("--sizes", nargs="+", default=["0.2m", "tiny", "1.2m", "3m", "5m"], help="names in tiny.SIZES")
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--pretraining-steps", type=int, default=800)
    parser.add_argument("--print-only", action="store_true", help="tables of the sizes that are done")
    asked = parser.parse_args()
    for size in () if asked.print_only else asked.sizes:
        print(f"{size}: base model", flush=True)
        sweep(size, asked.runs, base_model(size, asked.pretraining_steps), asked.trials, asked.steps)
    print_tables(asked.runs, asked.sizes)


if __name__ == "__main__":
    main()
