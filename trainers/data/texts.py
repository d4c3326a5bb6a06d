"""The texts of a corpus on disk, and the sample of them that `documents: N` asks for.

The sample is the N documents with the smallest keys, and a key is a hash of the text. So it depends on neither seed,
machine, file names, shards nor order, a smaller sample is a part of a larger one, and it needs one pass. To a reader it
is a uniform random choice; copies of a text are chosen together. (Bottom-k sketch: Cohen and Kaplan, PODC 2007.)
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable, Iterator
from pathlib import Path

import datasets
import pyarrow as pa

SAMPLE_VERSION = 1  # part of the fingerprint of a sampled corpus: raise it when other documents would be chosen
KEY = b"almr documents"
FILE, CANDIDATES = "documents.arrow", "candidates.arrow"
SCHEMA = pa.schema({"text": pa.large_string()})
BATCH_BYTES, BATCH_DOCUMENTS = 2**24, 1000


def opened(folder: Path) -> datasets.Dataset:
    """The texts that were written into a folder: one column `text`, memory-mapped."""
    return datasets.Dataset.from_file(str(folder / FILE))


def write(texts: Iterable[bytes], folder: Path, most: int | None = None) -> None:
    """Write texts (UTF-8) into a folder; of more than `most`, the sample, in the order of its keys.

    Memory holds one batch, and two integers for each document of the sample. Raises OSError that names the file.
    """
    if most is None:
        return _write(texts, folder / FILE)
    smallest: list[tuple[int, int]] = []  # a heap of (-key, row among the candidates)
    _write(_candidates(texts, smallest, most), folder / CANDIDATES)
    candidates = datasets.Dataset.from_file(str(folder / CANDIDATES))
    rows = [row for _, row in sorted((-key, row) for key, row in smallest)]
    _write((text.encode() for text in candidates.select(rows)["text"]), folder / FILE)
    (folder / CANDIDATES).unlink()


def _candidates(texts: Iterable[bytes], smallest: list[tuple[int, int]], most: int) -> Iterator[bytes]:
    """Those of the texts that are among the `most` smallest keys so far; `smallest` holds the keys and rows at the end.

    From D documents in random order come about most x (1 + ln(D / most)) candidates.
    """
    row = 0
    for text in texts:
        key = int.from_bytes(hashlib.blake2b(text, digest_size=8, key=KEY).digest(), "big")
        if len(smallest) < most:
            heapq.heappush(smallest, (-key, row))
        elif -key > smallest[0][0]:
            heapq.heapreplace(smallest, (-key, row))
        else:
            continue
        row += 1
        yield text


def _write(texts: Iterable[bytes], path: Path) -> None:
    try:
        with path.open("wb") as raw, pa.ipc.new_stream(raw, SCHEMA) as stream:
            for batch in _batches(texts):
                column = pa.array(batch, pa.large_binary()).cast(pa.large_string())
                stream.write_batch(pa.record_batch([column], schema=SCHEMA))
    except OSError as error:
        raise OSError(error.errno, error.strerror or "cannot be written", str(path)) from error


def _batches(texts: Iterable[bytes]) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    size = 0
    for text in texts:
        batch.append(text)
        size += len(text)
        if size >= BATCH_BYTES or len(batch) >= BATCH_DOCUMENTS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
