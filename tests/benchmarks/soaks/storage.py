"""Storage that fails at every moment: full, over a quota, read-only, broken or stale at the n-th call, for each n.

python -m tests.benchmarks.soaks.storage --seed 0 --count 30

`fit`, `report`, `export`, `confirm` and `simulate` meet a full disk and a quota at each of their calls on the disk that
they write to, and the other faults, which reading meets too, at every eleventh; `prepare` does so with all. Runs
of a replayed grid, of a replayed search and of real training meet them at `count` seeded moments, and are resumed: the
table has to be that of a run without a fault.
"""

from __future__ import annotations

import argparse
import errno
import os
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))

import bowl_run
import yaml
from disk_faults import COMPILER, Commands, FaultyDisk
from samples import bowl_csv, local_corpora, study_content
from storage_cases import BROKEN, CASES, FULL, OF_CACHES, OF_TABLES, QUOTA, READ_ONLY, STALE, Attack, judged

from sweep.study.files import cache as cache_of_user
from tests.benchmarks.soaks import finished

ALMR, LR = [0.1, 0.5, 0.9], [1e-3, 3e-3, 1e-2]


class Row(NamedTuple):
    what: str
    cases: int
    faults: int
    seconds: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=30, help="moments at which runs are attacked")
    parser.add_argument("--every", type=int, default=11, help="of the calls that read-only and broken disks refuse")
    parser.add_argument("--only", default="", help="of the verbs, those whose name and fault have this text")
    parser.add_argument("--skip-verbs", action="store_true")
    given = parser.parse_args()
    if not COMPILER:
        raise SystemExit("a C compiler is needed")
    with tempfile.TemporaryDirectory(prefix="almr-soak-") as name:
        rows = [] if given.skip_verbs else attack_verbs(Path(name), given.every, given.only)
        rows += attack_runs(Path(name), random.Random(given.seed), given.count) if given.count else []
    print("| what | cases | faults | seconds |\n|---|---:|---:|---:|")
    for row in rows:
        print(f"| {row.what} | {row.cases} | {row.faults} | {row.seconds:.0f} |")
    return sum(row.faults for row in rows) > 0


def attack_verbs(place: Path, every: int, only: str) -> list[Row]:
    disk, fresh = FaultyDisk(place), place / "fresh" / "small"
    fresh.parent.mkdir()
    bowl_run.write_fitted(fresh)
    commands = Commands(disk, place)
    results = fill_in(commands, fresh)
    (place / "results.csv").write_text(results)
    tables, prepared = write_others(commands, place)
    attacked = [(Attack(disk, commands, place / "attacked", fresh), case) for case in CASES]
    attacked += [(Attack(disk, commands, place / "attacked", tables), case) for case in OF_TABLES]
    attacked += [(Attack(disk, commands, place / "attacked", prepared), case) for case in OF_CACHES]
    rows = []
    for attack, case in attacked:
        if only not in case.text:
            continue
        began, faults, cases = time.monotonic(), 0, 0
        each = case.fault in (FULL, QUOTA) and not case.variable
        for first, outcome in attack.each(case, every=1 if each else every):
            cases += 1
            faults += bool(outcome.fault)
            if outcome.fault:
                print(f"{case.text}, call {first} ({outcome.last}): {outcome.fault}", file=sys.stderr, flush=True)
        rows.append(Row(case.text, cases, faults, time.monotonic() - began))
        print(rows[-1], file=sys.stderr, flush=True)
    commands.close()
    return rows


def write_others(commands: Commands, place: Path) -> tuple[Path, Path]:
    """An empty folder for a simulation of `table.csv`, and a cache in which only the text has yet to be prepared."""
    bowl_csv(place / "table.csv", ALMR, LR)
    content = study_content(name="prepared") | {"corpora": local_corpora(place)}
    (place / "prepared.yaml").write_text(yaml.safe_dump(content))
    tables, cache = place / "fresh" / "simulated", place / "fresh" / "cache"
    tables.mkdir()
    if (known := cache_of_user.root() / "models").is_dir():
        shutil.copytree(known, cache / "models")
    done = commands.almr("prepare", "prepared.yaml", ALMR_CACHE=str(cache))
    assert done.status == 0, done
    for name in ("corpora", "prepared"):
        shutil.rmtree(cache / name)
    return tables, cache


def fill_in(commands: Commands, run: Path) -> str:
    """The results of confirmation runs, as the template asks for them."""
    done = commands.almr("export", str(run), "--accept-risk", "tried", "--out", str(run.parent / "launch"))
    assert done.status in (0, 3), done
    lines = (run.parent / "launch" / "confirm" / "results-template.csv").read_text().splitlines()
    heads = lines[0].split(",")
    filled = [lines[0]]
    for k, line in enumerate(lines[1:]):
        cells = dict(zip(heads, line.split(","), strict=False))
        cells |= {head: f"{3.0 + 0.1 * abs(k - 2):.3f}" for head in heads if head.startswith("loss")}
        filled.append(",".join(cells.get(head) or "complete" for head in heads))
    return "\n".join(filled) + "\n"


STUDIES: dict[str, dict[str, Any]] = {
    "replayed grid": {"replay": True},
    "replayed search": {"replay": True, "search": {"strategy": "random", "trials": 9}},
    "training with checkpoints": {
        "execution": {"checkpoint_minutes": 0.001},
        "keep": "best",
        "grid": {"almr": ALMR, "lr": [1e-4, 3e-4, 1e-3]},
    },
}


def attack_runs(place: Path, chance: random.Random, count: int) -> list[Row]:
    place = place / "runs"
    place.mkdir()
    bowl_csv(place / "table.csv", ALMR, LR)
    disk = FaultyDisk(place)
    commands, rows = Commands(disk, place), []
    for name, changes in STUDIES.items():
        file = place / f"{name.split()[-1]}.yaml"
        replay = {"replay": {"table": "table.csv"}} if changes.get("replay") else {}
        content = study_content(name=file.stem, grid={"almr": ALMR, "lr": LR}) | changes | replay
        file.write_text(yaml.safe_dump(content))
        rows.append(_attack_study(disk, commands, file, name, chance, count // len(STUDIES)))
        print(rows[-1], file=sys.stderr, flush=True)
    commands.close()
    return rows


def _attack_study(
    disk: FaultyDisk, commands: Commands, file: Path, name: str, chance: random.Random, count: int
) -> Row:
    began, runs, faults = time.monotonic(), file.parent / "of" / file.stem, 0
    words = ["run", file.name, "--runs", str(runs.parent)]
    with disk.failing(runs, 10**9, 0):
        whole = commands.almr(*words)
        calls = disk.calls
    assert whole.status in (0, 3), whole
    expected = finished.table(runs)
    for _ in range(count):
        fault, first = chance.choice((FULL, QUOTA, READ_ONLY, BROKEN, STALE)), _moment(chance, calls)
        shutil.rmtree(runs)
        with disk.failing(runs, first, *fault):
            answer = commands.almr(*words)
            last = disk.last
        found = judged(answer, runs, fault[0]) if last else ""
        done = commands.almr(*words)
        if not found and (done.status not in (0, 3) or not finished.table(runs).equals(expected)):
            found = f"not whole afterwards: {done.status} {done.err[-300:]}"
        faults += bool(found)
        text = found or (answer.err.strip().splitlines() or ["goes on"])[-1]
        print(f"{name}: {errno.errorcode[fault[0]]} at call {first} ({last}): {text}", file=sys.stderr, flush=True)
    return Row(name, count, faults, time.monotonic() - began)


def _moment(chance: random.Random, calls: int) -> int:
    """Most calls stage the code, before the first trial: half of the moments are later."""
    return chance.randint(1, calls) if chance.random() < 0.5 else chance.randint(int(0.75 * calls), calls)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    raise SystemExit(main())
