"""Speed and memory of the search for near-copies of held-out text, beside tokenising the same text.

    python -m tests.benchmarks.near_copies [MEGABYTES] [--rival]

`--rival` also measures datasketch's MinHash LSH (128 permutations), which has to be installed. A third of the text is
Chinese, a tenth of the training documents are changed copies of held-out ones, and every document has the same footer.
"""

from __future__ import annotations

import argparse
import random
import time
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import datasets
import numpy as np

from trainers.data.hold_out import near_copies, shingles

HELD_OUT = 0.05
FOOTER = " All rights reserved. Read our terms of use and our privacy policy before you use this site. "
WORDS, HAN = 50_000, 3_500


def documents(megabytes: float) -> Iterator[str]:
    """Words by Zipf's law; lengths are log-normal, with a median of about 2 kB."""
    chance, bytes_left = np.random.default_rng(0), megabytes * 1e6
    words = np.array(["".join(random.Random(i).choices("etaoinshrdlu", k=3 + i % 7)) for i in range(WORDS)])
    han = np.array([chr(0x4E00 + i) for i in range(HAN)])
    while bytes_left > 0:
        names, gap = (han, "") if chance.random() < 1 / 3 else (words, " ")
        size = int(chance.lognormal(6, 0.8)) + 5
        text = gap.join(names[np.minimum(chance.zipf(1.2, size), len(names)) - 1]) + FOOTER
        bytes_left -= len(text.encode())
        yield text


def changed(text: str, chance: random.Random) -> str:
    return f"Reprint. {text.upper() if chance.random() < 0.5 else text[: int(len(text) * 0.95)]}  {FOOTER}"


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    began = time.process_time()
    found = work()
    return time.process_time() - began, found


def rival(held_out: list[str], training: list[str]) -> int:
    """The near-copies that MinHash LSH finds."""
    from datasketch import MinHash, MinHashLSH

    def signature(grams: Any) -> Any:
        made = MinHash(num_perm=128, hashfunc=lambda value: value & 0xFFFFFFFF)
        made.update_batch(grams.tolist())
        return made

    index = MinHashLSH(threshold=near_copies.SIMILAR, num_perm=128)
    for row, grams in enumerate(shingles.grams(held_out)):
        index.insert(row, signature(grams))
    return sum(bool(index.query(signature(grams))) for text in training for grams in shingles.grams([text]))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("megabytes", type=float, nargs="?", default=50)
    parser.add_argument("--rival", action="store_true")
    given = parser.parse_args()
    texts, chance = list(documents(given.megabytes)), random.Random(1)
    count = round(HELD_OUT * len(texts))
    held_out = texts[:count]
    training = [changed(held_out[i % count], chance) if i % 10 == 0 else text for i, text in enumerate(texts[count:])]
    size = sum(len(text.encode()) for text in [*held_out, *training]) / 1e6
    print(f"{size:.0f} MB, {len(texts):,} documents, {count:,} held out, {len(training[::10]):,} changed copies")
    shingles.grams(["warm"])
    rows = datasets.Dataset.from_dict({"text": training})
    spent, found = timed(lambda: near_copies.find(rows, range(len(training)), held_out))
    print(f"search: {size / spent:.1f} MB/s of processor time, {len(found.near):,} near-copies found")
    spent_tokenising = tokenising(training[: len(training) // 10])
    print(f"tokenising takes {spent_tokenising * 10 / spent:.1f} x as long")
    tracemalloc.start()
    near_copies.find(rows, [], held_out)
    peak = tracemalloc.get_traced_memory()[1]
    held = sum(len(text.encode()) for text in held_out)
    print(f"memory: {peak / 1e6:.0f} MB for {held / 1e6:.1f} MB of held-out text")
    tracemalloc.stop()
    if given.rival:
        part = training[: len(training) // 10]
        own, _ = timed(lambda: near_copies.find(rows, range(len(part)), held_out))
        spent, count = timed(lambda: rival(held_out, part))
        print(f"MinHash LSH: {count:,} found in the first tenth, in {spent / own:.1f} x the time of this search")


def tokenising(texts: list[str]) -> float:
    """Seconds of a byte-level tokenizer with 8,000 tokens, trained on the text itself."""
    from tokenizers import ByteLevelBPETokenizer

    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(texts[:500], 8000, show_progress=False)
    return timed(lambda: trained.encode_batch(texts))[0]


if __name__ == "__main__":
    main()
