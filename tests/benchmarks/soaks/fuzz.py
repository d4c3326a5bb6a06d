"""Fuzzed studies, tables, records, corpora, task files, logs, results, answers and options: each is read, or refused in
a short message that names it.

    python -m tests.benchmarks.soaks.fuzz --seed 0 --count 10000

Readers run in child processes of limited memory, so that one that ends its process is found too.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))

from fuzz_inputs import KINDS, made
from fuzz_readers import tried

MEMORY = 6 * 2**30  # bytes of address space, libraries among them
AT_ONCE = 200  # cases of a child
Case = tuple[str, int]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=10_000)
    given = parser.parse_args(arguments)
    began, cases = time.monotonic(), [(KINDS[i % len(KINDS)], given.seed + i) for i in range(given.count)]
    answers: list[tuple[Case, str]] = []
    while len(answers) < len(cases):
        answers += list(_in_child(cases[len(answers) : len(answers) + AT_ONCE]))
        print(f"{len(answers)} of {len(cases)}", file=sys.stderr)
    faults = [(case, answer) for case, answer in answers if answer not in ("read", "refused")]
    for (kind, seed), answer in faults:
        print(f"{kind} {seed}: {answer[:300]}")
    print(table(answers))
    print(f"\nseed {given.seed}, {given.count} inputs, {time.monotonic() - began:.0f} s, {len(faults)} faults")
    return 1 if faults else 0


def _in_child(cases: list[Case]) -> Iterator[tuple[Case, str]]:
    """The answers of one child, in order; the last is that of a case that ended it, where one did."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        with os.fdopen(writing, "w") as told, tempfile.TemporaryDirectory() as folder:
            for kind, seed in cases:
                print(repr(answered(kind, seed, Path(folder))), file=told, flush=True)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as told:
        answers = [str(line.strip()[1:-1]) for line in told]
    _, status = os.waitpid(child, 0)
    if status:
        answers.append(f"the process ended with status {status}")
    yield from zip(cases, answers, strict=False)


def answered(kind: str, seed: int, folder: Path) -> str:
    name, content = made(kind, seed)
    own = folder / f"{kind}-{seed}"
    own.mkdir()
    (own / name).write_bytes(content)
    return tried(kind, own / name)


def table(answers: list[tuple[Case, str]]) -> str:
    counts = Counter((kind, answer if answer in ("read", "refused") else "fault") for (kind, _), answer in answers)
    lines = ["| input | read | refused | faults |", "|---|---|---|---|"]
    for kind in KINDS:
        lines.append(f"| {kind} | {counts[kind, 'read']} | {counts[kind, 'refused']} | {counts[kind, 'fault']} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
