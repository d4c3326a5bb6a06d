"""What the intervals are worth on a zoo of surfaces with known optima: coverage, width, regret and refusals.

    python tests/benchmarks/intervals.py --draws 40 [--families logs,cliff] [--designs grid,search] [--out zoo.csv]

A draw is a surface with settings drawn at random (tests/support/zoo.py); even draws measure both languages' losses, odd
ones their mean. Each is fitted from a grid, from random points and from what the product's search chooses. Widths are
beside those of an oracle that knows the family (tests/support/zoo_oracle.py). With --out, draws that the file has are
not run again. The families that are held out run only when they are named.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from zoo import EVERY, FAMILIES, Drawn
from zoo_oracle import widths
from zoo_trials import COUNTS, DESIGNS, Trials

from analysis.fit.fit import Fit, fit_table
from analysis.fit_file.winner import Region
from analysis.table import table as tables
from sweep.study import InputError

KEY = ["family", "draw", "design"]
HEADS = ("trials", "n", "ALMR", "LR", "joint", "width ALMR", "width LR", "area", "regret", "90th pct.", "refused")
Row = dict[str, Any]


def judge(family: str, number: int, designs: tuple[str, ...], counts: tuple[int, ...]) -> list[Row]:
    """One surface, from each design and number of trials."""
    drawn = EVERY[family].draw(family, number)
    trials = Trials(drawn, combined=number % 2 == 1, seed=number)
    rows = []
    with threadpool_limits(1):
        for design in designs:
            for count, table in trials.tables(design, counts).items():
                key = {"family": family, "draw": number, "design": design, "trials": count}
                rows.append(key | _of_fit(drawn, table, trials.combined))
    return rows


def _of_fit(drawn: Drawn, table: pd.DataFrame, combined: bool) -> Row:
    try:
        found = fit_table(table)
    except InputError:
        return {"refused": "few"}
    used = tables.usable(table)
    known = widths(drawn, used["almr"].to_numpy(float), used["lr"].to_numpy(float), combined)
    almr, lr, region = found.winner.almr_interval, found.winner.lr_interval, found.file.region
    assert region is not None
    return {
        "almr": float(almr.low <= drawn.almr <= almr.high),
        "lr": float(lr.low <= drawn.lr <= lr.high),
        "joint": float(holds(region, drawn)),
        "almr_width": almr.high - almr.low,
        "lr_width": float(np.log(lr.high / lr.low)),
        "area": region.share * _range(found),
        "almr_oracle": known.almr,
        "lr_oracle": known.lr,
        "area_oracle": known.joint,
        "regret": float(drawn.mean(found.winner.almr, found.winner.lr)) - drawn.lowest,
        "refused": " ".join(dict.fromkeys(finding.code for finding in found.refusals)),
        "forms": " ".join(found.file.forms.values()),
    }


def _range(found: Fit) -> float:
    return float(np.ptp(found.optima.almr) * np.ptp(np.log(found.optima.lr)))


def holds(region: Region, drawn: Drawn) -> bool:
    """Whether the optimum is between the region's LRs at its ALMR."""
    almrs = [row.almr for row in region.rows]
    low, high = (
        np.interp(drawn.almr, almrs, np.log([getattr(row, end) for row in region.rows]))
        for end in ("lr_low", "lr_high")
    )
    return bool(almrs[0] <= drawn.almr <= almrs[-1] and low <= np.log(drawn.lr) <= high)


def run(asked: argparse.Namespace) -> pd.DataFrame:
    """All rows; those in the file `out` are not computed again, and new ones are added to it."""
    families, designs, out = asked.families.split(","), tuple(asked.designs.split(",")), asked.out
    draws, counts = range(asked.first, asked.first + asked.draws), tuple(map(int, asked.trials.split(",")))
    known = pd.read_csv(out) if out and out.exists() else pd.DataFrame(columns=KEY)
    done = set(known[KEY].itertuples(index=False, name=None))
    jobs = []
    for number, family in itertools.product(draws, families):
        left = tuple(design for design in designs if (family, number, design) not in done)
        jobs += [(family, number, left, counts)] if left else []
    rows = known.to_dict("records")
    with ProcessPoolExecutor(2, mp_context=get_context("fork")) as pool:
        for future in as_completed([pool.submit(judge, *job) for job in jobs]):
            rows += future.result()
            if out:
                pd.DataFrame(rows).to_csv(out, index=False)
    found = pd.DataFrame(rows)
    wanted = {"family": families, "draw": draws, "design": designs, "trials": counts}
    return found[np.all([found[name].isin(values) for name, values in wanted.items()], axis=0)]


def summary(rows: pd.DataFrame) -> list[str]:
    """Cells of one line: shares in %, medians of width / oracle's, regret in 1/1000 nats (mean and 90th percentile)."""
    shares = [f"{100 * rows[name].mean():.0f}" for name in ("almr", "lr", "joint")]
    ratios = [f"{(rows[name] / rows[oracle]).median():.2f}" for name, oracle in RATIOS]
    regret = [f"{1000 * rows['regret'].mean():.1f}", f"{1000 * rows['regret'].quantile(0.9):.1f}"]
    refused = (rows["refused"].fillna("") != "").mean()
    return [str(len(rows)), *shares, *ratios, *regret, f"{100 * refused:.0f}"]


RATIOS = (("almr_width", "almr_oracle"), ("lr_width", "lr_oracle"), ("area", "area_oracle"))


def print_table(rows: pd.DataFrame, by: list[str]) -> None:
    print(f"\n| {' | '.join((*by, *HEADS[1:]))} |\n|{'---|' * (len(by) + len(HEADS) - 1)}")
    for key, group in rows.groupby(by, sort=False):
        print(f"| {' | '.join((*map(str, key), *summary(group)))} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", default=",".join(FAMILIES), help=f"of {', '.join(EVERY)}")
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--first", type=int, default=0, help="the number of the first draw")
    parser.add_argument("--designs", default=",".join(DESIGNS))
    parser.add_argument("--trials", default=",".join(map(str, COUNTS)))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--short", action="store_true", help="families and trials alone, over all designs")
    asked = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    rows = run(asked)
    rows = rows.sort_values(["family", "design", "trials"], key=lambda c: c.map(_rank) if c.name != "trials" else c)
    print("coverage and refusals in %; widths as ratios to the oracle's (medians); regret in 0.001 nats")
    if not asked.short:
        print_table(rows, ["family", "design", "trials"])
    print_table(rows, ["design", "trials"])
    print_table(rows, ["family", "trials"])


def _rank(name: str) -> int:
    return [*EVERY, *DESIGNS].index(name)


if __name__ == "__main__":
    main()
