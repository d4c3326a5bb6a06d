"""Random valid studies with random surfaces, through every verb: what raises, prints no valid JSON, or tells nothing.

    python -m tests.benchmarks.soaks.studies [--seed 0] [--count 200]

The trials are answered from a table, in this process and without Ray. Each verb has to end with status 0, 2 (said in
at most three lines) or 3 (refused by the data); every JSON has to be valid; the same study run again changes nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))

from random_studies import written
from typer.testing import CliRunner
from whole_run import without_ray

from sweep import cli
from sweep.verbs.commands import terminal

ENDS = (0, 1, 3)  # 1: trials failed
RISK = ("--accept-risk", "a test")
LINES, LETTERS = 12, 300  # each refusal of a fit has its line
VERBS: tuple[tuple[str, ...], ...] = (
    ("plan", "study.yaml", "--json"),
    ("plan", "study.yaml"),
    ("run", "study.yaml"),
    ("status", "RUN", "--json"),
    ("doctor", "RUN", "--json"),
    ("fit", "RUN", "--json"),
    ("fit", "table.csv", "--out", "fitted", "--json"),
    ("export", "RUN", *RISK, "--json"),
    ("confirm", "RUN", "--json"),
    ("figures", "RUN", "--out", "paper"),
    ("report", "RUN"),
    ("compare", "RUN", "fitted", "--json"),
    ("run", "study.yaml", "--json"),
    ("doctor", "RUN", "--json"),
)


def called(folder: Path, *words: str) -> tuple[int, str]:
    """Status, and what is wrong with it or with what was printed; empty where nothing is."""
    with chdir(folder):
        result = CliRunner().invoke(cli.app, words)
    if isinstance(result.exception, Exception):
        lines, status = terminal.explain(result.exception)
        if status != 2:
            return status, "".join(traceback.format_exception(result.exception))
        long = len(lines) > LINES or any(len(line) > LETTERS for line in lines)
        return status, f"status 2 in {len(lines)} lines: {lines}" if long or not lines else ""
    if result.exit_code not in ENDS:
        return result.exit_code, f"status {result.exit_code}: {result.output[-500:]}"
    return result.exit_code, _json_fault(words, result.stdout)


def _json_fault(words: tuple[str, ...], printed: str) -> str:
    if "--json" not in words:
        return ""
    try:
        json.loads(printed, parse_constant=lambda word: 1 / 0)
    except (ValueError, ZeroDivisionError):
        return f"no valid JSON: {printed[:300]}"
    return ""


def faults(folder: Path, seed: int, ended: Counter[tuple[str, int]]) -> Iterator[str]:
    run = folder / "runs" / written(folder, seed)
    kept: dict[str, bytes] = {}
    for verb in VERBS:
        words = tuple(run.name if word == "RUN" else word for word in verb)
        status, fault = called(folder, *words)
        ended[(verb[0], status)] += 1
        if fault:
            yield f"{' '.join(words)}: {fault}"
        if status == 2 and verb[0] == "run":
            return
        if verb[0] == "run":
            before, kept = kept, _results(run)
            if changed := [name for name in before if before[name] != kept.get(name)]:
                yield f"run again changed {', '.join(changed[:5])}"


def _results(run: Path) -> dict[str, bytes]:
    """What the same command may not change: records of trials that did not fail, and the fit of them."""
    failed = b'"status": "failed"'
    records = {str(path.relative_to(run)): path.read_bytes() for path in run.glob("trials/*/record.json")}
    sound = {name: content for name, content in records.items() if failed not in content}
    return sound | ({} if len(sound) < len(records) else {"fit.json": (run / "fit.json").read_bytes()})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=200)
    asked = parser.parse_args()
    ended: Counter[tuple[str, int]] = Counter()
    found, began = 0, time.monotonic()
    for seed in range(asked.seed, asked.seed + asked.count):
        print(f"study {seed}, {asked.seed + asked.count - seed} left", end="\r", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(prefix="studies-") as scratch, without_ray():
            for fault in faults(Path(scratch), seed, ended):
                found += 1
                print(f"--seed {seed} --count 1: {fault}", flush=True)
    print(f"\n{asked.count} studies, {found} faults, {time.monotonic() - began:.0f} s\n")
    print("| verb | status | calls |\n|---|---|---|")
    for (verb, status), calls in sorted(ended.items()):
        print(f"| {verb} | {status} | {calls} |")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
