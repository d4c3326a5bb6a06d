"""Reading a corpus: our readers beside `datasets`, which read corpora before.

Wall time, processor time and growth of memory, each in a process of its own, the imports left out; the least of
several runs.

python tests/benchmarks/reading.py [--megabytes 200]
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ENGLISH, CHINESE = "The king rode out at dawn and the river was high. ", "话说天下大势，分久必合，合久必分。"
SAMPLE = 3000


def write(folder: Path, size: int) -> None:
    """The same documents as JSON Lines, JSON Lines in gzip, and parquet."""
    import pandas as pd

    chance, rows, written = random.Random(0), [], 0
    with (folder / "a.jsonl").open("w", encoding="utf-8") as file:
        while written < size:
            text = (ENGLISH if len(rows) % 2 else CHINESE) * chance.randint(5, 150)
            rows.append(
                {"id": len(rows), "url": f"http://x/{len(rows)}", "text": text, "meta": {"score": len(rows) / 7}}
            )
            written += file.write(json.dumps(rows[-1], ensure_ascii=bool(len(rows) % 5)) + "\n")
    (folder / "a.jsonl.gz").write_bytes(gzip.compress((folder / "a.jsonl").read_bytes(), 6))
    pd.DataFrame(rows).to_parquet(folder / "a.parquet")


def ours(file: str, documents: int | None) -> int:
    from sweep.study.sections.text.corpora import Corpus
    from trainers.data.documents import read, resolve

    started.append((time.perf_counter(), time.process_time()))
    return len(read(resolve(Corpus(files=file, documents=documents), "corpora.original")))


def of_datasets(file: str, documents: int | None) -> int:
    """As corpora were read before: the whole table, then the column without empty texts; the first N."""
    import hashlib

    import datasets

    datasets.disable_progress_bars()
    started.append((time.perf_counter(), time.process_time()))
    with open(file, "rb") as raw:
        hashlib.file_digest(raw, "sha256")
    kind = "parquet" if file.endswith(".parquet") else "json"
    rows = datasets.load_dataset(kind, data_files=file, split="train", cache_dir=os.environ["ALMR_CACHE"])
    rows = rows.select(range(documents)) if documents else rows
    texts = rows.select_columns(["text"])
    return len(texts.filter(lambda batch: [bool(t and t.strip()) for t in batch["text"]], batched=True))


started: list[tuple[float, float]] = []
READERS = {"ours": ours, "datasets": of_datasets}


def measure(reader: str, file: str, documents: int | None) -> None:
    """In a process of its own: print wall and processor seconds, and megabytes."""
    import pandas  # noqa: F401 (imports are left out)

    from trainers.data import documents as _  # noqa: F401

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = READERS[reader](file, documents)
    wall, processor = time.perf_counter() - started[0][0], time.process_time() - started[0][1]
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1000
    assert found
    print(json.dumps([wall, processor, grown]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=float, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    print("| file | documents | datasets: wall s, processor s, MB | ours | ratio of processor time |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        _run(f"from pathlib import Path; reading.write(Path({folder!r}), {int(given.megabytes * 1e6)})")
        for name, documents in (("a.jsonl", None), ("a.jsonl", SAMPLE), ("a.jsonl.gz", None), ("a.parquet", None)):
            theirs, own = (
                _best(reader, f"{folder}/{name}", documents, given.repeats) for reader in ("datasets", "ours")
            )
            kept = f"{documents:,}" if documents else "all"
            shown = (f"{wall:.2f}, {processor:.2f}, {grown:.0f}" for wall, processor, grown in (theirs, own))
            print(f"| {name} | {kept} | {' | '.join(shown)} | {own[1] / theirs[1]:.2f} |", flush=True)


def _best(reader: str, file: str, documents: int | None, repeats: int) -> list[float]:
    """The least wall seconds, processor seconds and megabytes of several runs, each with an empty cache."""
    found = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as cache:
            output = _run(f"reading.measure({reader!r}, {file!r}, {documents})", ALMR_CACHE=cache)
        found.append(json.loads(output.splitlines()[-1]))
    return [min(values) for values in zip(*found, strict=True)]


def _run(code: str, **environment: str) -> str:
    """In a new process: the peak of memory is inherited from the one that starts it, so that one stays small."""
    command = [sys.executable, "-c", f"from tests.benchmarks import reading; {code}"]
    done = subprocess.run(command, env=os.environ | environment, stdout=subprocess.PIPE, check=True, text=True)
    return done.stdout


if __name__ == "__main__":
    main()
