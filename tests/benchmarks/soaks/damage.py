"""Damaged files: every file of a run, damaged in every listed way, is given to every verb.

    python -m tests.benchmarks.soaks.damage --seed 1 --count 300 [--only TEXT] [--part 1/2 [--after N]] [--values 2000]

`--count`: damages of random bytes; `--values`: wrong values of JSON files, drawn from all; the listed cases come first.
"""

from __future__ import annotations

import argparse
import collections
import random
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))

import whole_run
from damaged_run import VERBS, Attack, fitted_once
from damages import FILES, Case, listed, of_values, random_bytes


def cases(run: Path, seed: int, count: int, values: int) -> list[Case]:
    """The listed ones, then those that the seed draws."""
    dice, wrong = random.Random(seed), of_values(run)
    drawn = dice.sample(wrong, min(values, len(wrong)))
    files = [file for file in FILES if not file.startswith(".")]
    return [*listed(run), *drawn, *(Case(dice.choice(files), random_bytes(seed * 10**6 + k)) for k in range(count))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--values", type=int, default=2000)
    parser.add_argument("--folder", help="where the run is made and damaged, such as /dev/shm")
    parser.add_argument("--sound", help="a folder to make the whole run in, or to find it in: it is kept")
    parser.add_argument("--only", default="", help="cases whose name has this text")
    parser.add_argument("--part", default="1/1", help="of so many")
    parser.add_argument("--after", type=int, default=0, help="cases of the part to pass over, of one that was ended")
    given = parser.parse_args()
    part, parts = map(int, given.part.split("/"))
    began, found = time.monotonic(), collections.Counter[str]()
    with tempfile.TemporaryDirectory(dir=given.folder) as scratch, fitted_once():
        sound = Path(given.sound or Path(scratch, "sound"))
        run = sound / "runs" / whole_run.NAME if sound.exists() else whole_run.write(sound)
        attack = Attack(sound, Path(scratch, "tried"))
        every = [case for case in cases(run, given.seed, given.count, given.values) if given.only in case.name]
        tried = every[part - 1 :: parts][given.after :]
        for number, case in enumerate(tried, start=1):
            for fault in attack.faults(case):
                print(fault, flush=True)
                found[case.file] += 1
            if number % 50 == 0:
                print(f"{number} of {len(tried)}, {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    print("\n| cases | verbs | faults | seed | s |\n|---|---|---|---|---|")
    print(f"| {len(tried)} | {len(VERBS)} | {found.total()} | {given.seed} | {time.monotonic() - began:.0f} |")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
