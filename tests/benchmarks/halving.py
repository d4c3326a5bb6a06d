"""Is it safe to stop trials that are behind? Successive halving replayed on trials that were measured on the way.

    python tests/benchmarks/halving.py [--repeats 500] [--table tests/data/dense_rungs.csv] [--run RUN]

With --run the table is first written from the logs of a run whose study has `training.evaluate_every`.

At a rung (1/4, 1/2 and 3/4 of the steps, or 3/4 alone) a trial goes on if it is among the best 1/2 or 1/3: of all
trials, of those with its LR, or of those with its ALMR. `together` compares them when all have reached the rung,
`in turn` as they come, in random order, each with those before it. Repeats draw the cells at random; 81 cells are all
there are. What is compared is the plain mean of the two held-out losses.
"""

from __future__ import annotations

import argparse
import bisect
import itertools
import json
import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.fit.fit import fit_table
from analysis.fit_file.fit_file import FitFile
from sweep.study import InputError, Objective, Record

RUNGS = Path(__file__).parents[1] / "data" / "dense_rungs.csv"
SIZES = (16, 27, 81)
NAMES = {"all": "all", "lr": "the same LR", "almr": "the same ALMR"}
AMONG = tuple(NAMES)
KEEP = (2, 3)
WAYS = ("together", "together, 3/4 alone", "in turn")


@dataclass(frozen=True)
class Measured:
    """`loss` (cells, evaluations) in nats, the last column at the full budget, and infinite once a trial has diverged.

    `tokens` (cells, evaluations) are those trained on until then, no more than up to its divergence.
    """

    almr: np.ndarray
    lr: np.ndarray
    loss: np.ndarray
    tokens: np.ndarray

    @staticmethod
    def read(path: Path) -> Measured:
        table = pd.read_csv(path)
        table["loss"] = (table["loss_original"] + table["loss_additional"]) / 2
        wide = table.pivot(index=["almr", "lr"], columns="tokens", values="loss")
        ends = table.groupby(["almr", "lr"])["tokens"].max()
        wide = wide[wide.columns[wide.notna().sum() > 1]]  # one trial alone was measured where it diverged
        almr, lr = np.array(list(wide.index)).T
        tokens = np.minimum(wide.columns.to_numpy(), ends.to_numpy()[:, None])
        return Measured(almr, lr, wide.fillna(math.inf).to_numpy(), tokens)

    def of(self, cells: np.ndarray) -> Measured:
        return Measured(self.almr[cells], self.lr[cells], self.loss[cells], self.tokens[cells])

    def groups(self, among: str) -> np.ndarray:
        return np.zeros(len(self.lr)) if among == "all" else getattr(self, among)


def write_table(run: Path, table: Path) -> None:
    """One row per trial and evaluation on its way, from `trials/*/metrics.jsonl`; the base model's is left out.

    The rows of a trial that diverged end where it did.
    """
    rows = []
    for path in sorted(run.glob("trials/*/record.json")):
        record = Record.model_validate_json(path.read_text())
        lines = map(json.loads, (path.parent / "metrics.jsonl").read_text().splitlines())
        for line in lines:
            if line["step"] and "held_out" in line and "horizon" not in line:
                losses = {f"loss_{language}": loss for language, loss in line["held_out"].items()}
                at = {"step": line["step"], "tokens": line["tokens"]}
                rows.append(record.trial.model_dump() | at | losses)
    ordered = pd.DataFrame(rows).sort_values(["seed", "almr", "lr", "step"])
    ordered.drop_duplicates().to_csv(table, index=False)


def together(data: Measured, group: np.ndarray, keep: int, rungs: range) -> np.ndarray:
    """Per trial, the evaluation that it was stopped at; the last one's for those that never were."""
    stopped = np.full(len(group), data.loss.shape[1] - 1)
    alive = np.ones(len(group), bool)
    for rung in rungs:
        for value in np.unique(group[alive]):
            members = np.flatnonzero(alive & (group == value))
            behind = members[np.argsort(data.loss[members, rung])][math.ceil(len(members) / keep) :]
            stopped[behind], alive[behind] = rung, False
    return stopped


def in_turn(data: Measured, group: np.ndarray, keep: int, rungs: range, order: np.ndarray) -> np.ndarray:
    """The same, one trial after the other."""
    stopped = np.full(len(group), data.loss.shape[1] - 1)
    seen: dict[tuple[float, int], list[float]] = defaultdict(list)
    for trial, rung in itertools.product(order, rungs):
        if stopped[trial] < rung:
            continue
        peers, loss = seen[group[trial], rung], data.loss[trial, rung]
        bisect.insort(peers, loss)
        if peers.index(loss) >= math.ceil(len(peers) / keep):
            stopped[trial] = rung
    return stopped


def halve(data: Measured, among: str, keep: int, way: str, order: np.ndarray) -> np.ndarray:
    last = data.loss.shape[1] - 1
    group = data.groups(among)
    if way == "in turn":
        return in_turn(data, group, keep, range(last), order)
    return together(data, group, keep, range(last - 1, last) if "alone" in way else range(last))


def outcome(data: Measured, stopped: np.ndarray) -> tuple[float, float, float]:
    """Whether the winner survived, the regret of the best survivor in % of the best loss, the share of tokens spent."""
    final = data.loss[:, -1]
    survivors = final[stopped == data.loss.shape[1] - 1]
    best = survivors.min() if len(survivors) else math.inf  # in turn, all may be stopped but the first
    spent = np.take_along_axis(data.tokens, stopped[:, None], axis=1).sum() / data.tokens[:, -1].sum()
    return float(best == final.min()), 100 * (best / final.min() - 1), float(spent)


def replayed(data: Measured, size: int, repeats: int, rule: Callable[[Measured, np.ndarray], np.ndarray]) -> np.ndarray:
    """Means over the repeats of what `outcome` says. The draws are the same for every rule."""
    random = np.random.default_rng(0)
    found = []
    for _ in range(repeats):
        part = data.of(random.permutation(len(data.lr))[:size])
        found.append(outcome(part, rule(part, random.permutation(size))))
    return np.mean(found, axis=0)


def print_rules(data: Measured, repeats: int) -> None:
    heads = (f"{size} cells: winner survives, mean regret, tokens" for size in SIZES)
    print(f"| stopped if behind among | keep | when | {' | '.join(heads)} |")
    print("|---|---|---|" + "---|" * len(SIZES))
    for among, keep, way in itertools.product(AMONG, KEEP, WAYS):
        rule = lambda part, order, how=(among, keep, way): halve(part, *how, order)  # noqa: E731
        found = (replayed(data, size, repeats, rule) for size in SIZES)
        cells = (f"{survives:.1%}, {regret:.2f} %, {spent:.0%}" for survives, regret, spent in found)
        print(f"| {NAMES[among]} | 1/{keep} | {way} | {' | '.join(cells)} |")


def print_winner(data: Measured) -> None:
    """Where the eventual winner stands at each evaluation."""
    winner = data.loss[:, -1].argmin()
    print(f"\nthe winner: ALMR {data.almr[winner]:g}, LR {data.lr[winner]:g}\n")
    print("| tokens | rank of all | rank in its LR | rank in its ALMR | nats behind the first | the first: ALMR, LR |")
    print("|---|---|---|---|---|---|")
    for tokens, loss in zip(data.tokens.max(axis=0), data.loss.T, strict=True):
        better = loss < loss[winner]
        ranks = (1 + int(np.sum(better & (data.groups(a) == data.groups(a)[winner]))) for a in AMONG)
        first = loss.argmin()
        behind = f"{loss[winner] - loss[first]:.3f} | {data.almr[first]:g}, {data.lr[first]:.2g}"
        print(f"| {tokens:,} | {' | '.join(map(str, ranks))} | {behind} |")


def fitted(data: Measured, left: np.ndarray) -> FitFile | None:
    ended = np.isfinite(data.loss[left, -1])
    status = {"status": np.where(ended, "complete", "diverged"), "excluded": np.where(ended, None, "diverged: early")}
    rows = {"almr": data.almr[left], "lr": data.lr[left], "loss_total": np.where(ended, data.loss[left, -1], np.nan)}
    try:
        table = pd.DataFrame(rows | status | {"seed": 0})
        return fit_table(table, Objective(), "left").file
    except InputError:
        return None


def print_fits(data: Measured) -> None:
    """What a surface says that only the survivors of all cells are left for."""
    print("\n| what the fit sees | trials | ALMR (90 %) | LR (90 %) | refused as |")
    print("|---|---|---|---|---|")
    rules = [("all trials", np.ones(len(data.lr), bool))]
    for way, among, keep in itertools.product(WAYS[:2], AMONG, KEEP):
        stopped = halve(data, among, keep, way, np.arange(len(data.lr)))
        rules.append((f"1/{keep} among {NAMES[among]}, {way}", stopped == data.loss.shape[1] - 1))
    for name, left in rules:
        print(f"| {name} | {left.sum()} | {_winner_columns(fitted(data, left))} |")


def _winner_columns(file: FitFile | None) -> str:
    if file is None:
        return "- | - | too few for a surface"
    almr, lr = file.winner.almr_interval, file.winner.lr_interval
    codes = ", ".join(dict.fromkeys(finding.code for finding in file.refusals)) or "-"
    best = f"{file.winner.almr:.2f} ({almr.low:.2f} to {almr.high:.2f})"
    return f"{best} | {file.winner.lr:.2e} ({lr.low:.2e} to {lr.high:.2e}) | {codes}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=500)
    parser.add_argument("--table", type=Path, default=RUNGS)
    parser.add_argument("--run", type=Path)
    asked = parser.parse_args()
    if asked.run:
        write_table(asked.run, asked.table)
    data = Measured.read(asked.table)
    print_rules(data, asked.repeats)
    print_winner(data)
    print_fits(data)


if __name__ == "__main__":
    main()
