"""Which transfer rule would have found the best ALMR and LR of a larger model, another batch or a longer run?

    python tests/benchmarks/ladder.py [--runs runs/ladder] [--sizes 0.2m tiny 1.2m 3m] [--batch-sizes 0.2m tiny]
        [--horizon-sizes tiny] [--trials 16] [--steps 60] [--pretraining-steps 800] [--print-only]

A base model of each size is pre-trained alike (trainers/tiny.py) and cached; each is swept with the adaptive search, by
`almr run`, over the same cells. The sizes of --batch-sizes are also swept with a quarter of the batch at the same
tokens, so that the batch grows by 4 from there; those of --horizon-sizes also with 8 times the tokens. Run again, it
goes on where it stopped; with all done, or with --print-only, it only prints: what every rule predicts of each size
from the smaller ones, what the exponents are, and the selection regret at the largest size, which compares the rules.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from analysis.fit.fit import Fit, fit_run
from analysis.fit_file.transfer import FittedRung, Transfer
from analysis.fit_file.winner import Winner
from analysis.transfer import cost, ladder, loss_law, rungs
from analysis.transfer.carry import candidates
from analysis.transfer.rules import Sweep, setting
from analysis.transfer.sizes import ScaleStep
from sweep.study import InputError, study_file
from sweep.study.sections.transfer import ModelFacts, TransferRule

BATCH, BATCH_FACTOR, HORIZON_FACTOR = 2048, 4, 8


@dataclass(frozen=True)
class Place:
    """A sweep of the ladder: its model, and whether it has the smaller batch or the longer horizon."""

    size: str
    kind: str = "base"

    @property
    def name(self) -> str:
        return f"ladder-{self.size}" + ("" if self.kind == "base" else f"-{self.kind}")

    @property
    def batch(self) -> int:
        return BATCH // BATCH_FACTOR if self.kind == "small-batch" else BATCH

    def tokens(self, steps: int) -> int:
        """Of a trial; `steps`: of a base sweep's."""
        return steps * BATCH * (HORIZON_FACTOR if self.kind == "long" else 1)


def places(asked: argparse.Namespace) -> list[Place]:
    """The cheap ones first, so that an interrupted ladder has most of its sweeps."""
    found = [Place(size) for size in asked.sizes]
    found += [Place(size, "small-batch") for size in asked.batch_sizes]
    return found + [Place(size, "long") for size in asked.horizon_sizes]


def study(place: Place, model: Path, trials: int, steps: int) -> dict[str, Any]:
    return {
        "name": place.name,
        "base_model": {"pretrained": str(model)},
        "corpora": {"original": {"embedded": "shakespeare"}, "additional": {"embedded": "three-kingdoms"}},
        "training": {
            "sequence_length": 128,
            "tokens": place.tokens(steps),
            "global_batch_tokens": place.batch,
            "micro_batch_sequences": min(8, place.batch // 128),
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


def sweep(place: Place, runs: Path, model: Path, trials: int, steps: int) -> None:
    """`almr run` of one sweep; a refused winner (status 3) is a result too."""
    runs.mkdir(parents=True, exist_ok=True)
    path = runs / f"{place.name}.yaml"
    path.write_text(yaml.safe_dump(study(place, model, trials, steps), sort_keys=False), encoding="utf-8")
    almr, begin = [sys.executable, "-c", "from sweep.cli import main; main()"], time.monotonic()
    done = subprocess.run([*almr, "run", str(path), "--runs", str(runs)], check=False)
    if done.returncode not in (0, 3):
        raise SystemExit(f"{place.name}: almr run ended with status {done.returncode}")
    print(f"{place.name}: {(time.monotonic() - begin) / 60:.1f} min", flush=True)


@dataclass(frozen=True)
class Swept:
    """A finished sweep of the ladder. `folder`: its run."""

    place: Place
    folder: Path
    rung: FittedRung
    winner: Winner
    refusals: str
    trials: int

    @property
    def fit(self) -> Fit:
        return fit_run(study_file.load(self.folder / "study.yaml"), self.folder)


def read(place: Place, runs: Path) -> Swept | None:
    """None where it has no fit."""
    from trainers import tiny

    folder = runs / place.name
    if not (folder / "fit.json").is_file():
        return None
    content = json.loads((folder / "fit.json").read_text(encoding="utf-8"))
    winner, training = Winner.model_validate(content["winner"]), study_file.load(folder / "study.yaml").training
    size = parameters_of(folder)
    rung = rungs.rung_of(place.name, winner, size, training.tokens, training.global_batch_tokens)
    codes = ", ".join(dict.fromkeys(finding["code"] for finding in content["refusals"])) or "-"
    peak = rung.model_copy(update={"peak_lr": tiny.LR})
    return Swept(place, folder, peak, winner, codes, content["trials"]["complete"])


def parameters_of(run: Path) -> int:
    """As the base model's own weights say."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(study_file.load(run / "study.yaml").base_model.pretrained)
    return sum(p.numel() for p in model.parameters())


def predictions(start: Swept, others: list[Swept], target: Swept) -> Iterator[tuple[str, Transfer]]:
    """What each rule says of `target`, from `start`; the ladder from all `others` too. No exponent is stated."""
    step = ScaleStep(
        trial=ModelFacts(parameters=start.rung.parameters, peak_lr=start.rung.peak_lr),
        launch=ModelFacts(parameters=target.rung.parameters, peak_lr=target.rung.peak_lr),
        trial_tokens=start.rung.tokens,
        launch_tokens=target.rung.tokens,
        trial_batch=start.rung.batch,
        launch_batch=target.rung.batch,
    )
    known = Sweep(start.place.name, start.winner, step, rungs=tuple(other.rung for other in others))
    for name, rule in candidates(TransferRule(rule="direct")).items():
        try:
            yield name, setting(known, rule)
        except InputError:  # a ladder that does not vary what differs
            continue


def print_sweeps(found: list[Swept]) -> None:
    print("| sweep | parameters | tokens | batch | trials | LR* (90 %) | ALMR* (90 %) | refused as |")
    print("|---|---|---|---|---|---|---|---|")
    for one in found:
        lr, almr = one.winner.lr_interval, one.winner.almr_interval
        print(
            f"| {one.place.name} | {one.rung.parameters:,} | {one.rung.tokens:,} | {one.rung.batch:,} | {one.trials} | "
            f"{one.winner.lr:.2e} ({lr.low:.2e} to {lr.high:.2e}) | "
            f"{one.winner.almr:.2f} ({almr.low:.2f} to {almr.high:.2f}) | {one.refusals} |"
        )


def print_predictions(start: Swept, others: list[Swept], target: Swept) -> None:
    fit, winner = target.fit, target.winner
    lowest = float(fit.optima.mean.min())
    print(f"\n{target.place.name} from {start.place.name} and {len(others)} others")
    print(f"measured LR* {winner.lr:.2e}, ALMR* {winner.almr:.2f}\n")
    print("| rule | LR | over measured | ALMR | off by | LR* inside | ALMR* inside | selection regret |")
    print("|---|---|---|---|---|---|---|---|")
    rows = []
    for name, one in predictions(start, others, target):
        lost = cost.selection_regret(fit.optima, one.almr, one.lr, winner.level)
        assert lost is not None  # no guard forbids a setting here
        lr, almr = one.lr_interval, one.almr_interval
        inside = (
            "yes" if ends.low <= value <= ends.high else "no" for ends, value in ((lr, winner.lr), (almr, winner.almr))
        )
        row = (
            f"| {name} | {one.lr:.2e} ({lr.low:.2e} to {lr.high:.2e}) | x {one.lr / winner.lr:.2f} | "
            f"{one.almr:.2f} ({almr.low:.2f} to {almr.high:.2f}) | {one.almr - winner.almr:+.2f} | "
            f"{' | '.join(inside)} | {100 * lost.nats / lowest:.2f} % ({100 * lost.interval.low / lowest:.2f} to "
            f"{100 * lost.interval.high / lowest:.2f}) |"
        )
        rows.append((lost.nats, row))
    print("\n".join(row for _, row in sorted(rows)))


def print_exponents(found: list[Swept]) -> None:
    """The exponent of the best LR for each quantity that the sweeps vary, by one ladder through all of them."""
    line = ladder.line([one.rung for one in found], "lr")
    print("\n| exponent of | measured (90 %) | in the product |\n|---|---|---|")
    stated = {"parameters": "0 (direct), -0.71 to -0.13 (laws)", "tokens": "none by default", "batch": "0.5"}
    for name in line.names:
        one = line.exponent(name, 0.9)
        assert one.interval is not None
        print(f"| {name} | {one.value:.2f} ({one.interval.low:.2f} to {one.interval.high:.2f}) | {stated[name]} |")


def print_losses(base: list[Swept]) -> None:
    """The loss of the largest size from the smaller ones, where these are enough."""
    *smaller, largest = base
    if len(smaller) < loss_law.LEAST_SIZES:
        return
    print(f"\n| language | loss at {largest.place.name} | predicted (90 %) |\n|---|---|---|")
    for name, one in loss_law.predict([s.rung for s in smaller], largest.rung.parameters, 0.9).items():
        at = f"{one.loss:.3f} ({one.interval.low:.3f} to {one.interval.high:.3f})"
        print(f"| {name} | {largest.rung.losses[name].mean:.3f} | {at} |")


def print_tables(found: list[Swept]) -> None:
    print_sweeps(found)
    base = [one for one in found if one.place.kind == "base"]
    varied = [one for one in found if one.place.kind != "base"]
    if len(found) > 1:
        print_exponents(found)
    for one in varied:
        same = [other for other in base if other.place.size == one.place.size]
        for other in same:
            print_predictions(*((other, [], one) if one.place.kind == "long" else (one, [], other)))
    for k in range(1, len(base)):
        smaller = [one for one in varied if one.rung.parameters < base[k].rung.parameters]
        print_predictions(base[k - 1], [*base[: k - 1], *smaller], base[k])
    if base:
        print_losses(base)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs/ladder"))
    parser.add_argument("--sizes", nargs="*", default=["0.2m", "tiny", "1.2m", "3m"], help="of tiny.SIZES")
    parser.add_argument("--batch-sizes", nargs="*", default=["0.2m", "tiny"])
    parser.add_argument("--horizon-sizes", nargs="*", default=["tiny"])
    parser.add_argument("--trials", type=int, default=16)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--pretraining-steps", type=int, default=800)
    parser.add_argument("--print-only", action="store_true", help="tables of the sweeps that are done")
    asked = parser.parse_args()
    for place in () if asked.print_only else places(asked):
        print(f"{place.name}: base model", flush=True)
        sweep(place, asked.runs, base_model(place.size, asked.pretraining_steps), asked.trials, asked.steps)
    print_tables([found for place in places(asked) if (found := read(place, asked.runs))])


if __name__ == "__main__":
    main()
