"""Random bytes, encodings and structures at each reader: the outcome is texts, or one line that names the file."""

from __future__ import annotations

import gzip
import json
import random
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sweep.study import InputError
from sweep.study.sections.text.corpora import Corpus
from trainers.data import documents

ENCODINGS = ("utf-8", "utf-16", "utf-16-le", "utf-32", "utf-7", "gb18030", "big5", "latin-1", "ascii", "iso2022_jp")
PACKERS = {"": bytes, ".gz": gzip.compress, ".zst": lambda data: bytes(pa.Codec("zstd").compress(data))}

surrogates = st.text(st.characters(min_codepoint=0xD800, max_codepoint=0xDFFF), min_size=1, max_size=2)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30) | surrogates
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["text", "a"]), inner, max_size=3),
    max_leaves=6,
)
records = st.fixed_dictionaries({"text": st.text(max_size=40)}, optional={"a": values, "b": values})
rows = st.lists(records | records | values, max_size=8)
several = pytest.mark.parametrize("packing", PACKERS)
quick = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


def outcome(content: bytes, name: str, **spec: Any) -> list[str] | None:
    """The texts, all of which are UTF-8; None where the file was refused in one line that names it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(content)
        try:
            source = documents.resolve(Corpus(files=str(path), **spec), "corpora.original")
            found = list(documents.read(source)["text"])
        except InputError as error:
            message = str(error)
            assert message.startswith("corpora.original")
            assert str(path) in message
            assert "\n" not in message
            assert len(message) < 1000
            return None
    assert found
    assert all(text.encode() and not text.isspace() for text in found)
    return found


def damaged(content: bytes, seed: int) -> bytes:
    """Cut, or with some bytes changed, left out or written twice; for some seeds whole."""
    chance = random.Random(seed)
    for _ in range(seed % 4):
        at, end = sorted(chance.choices(range(len(content) + 1), k=2))
        piece = chance.choice([b"", b"", chance.randbytes(3), content[at:end] * 2, b"\0\0", b'"', b"\n", b"\\ud800"])
        content = content[:at] + piece + content[min(end, at + 8) :]
    return content[: chance.choice([len(content), chance.randrange(len(content) + 1)])]


@quick
@several
@given(content=st.binary(max_size=300), ending=st.sampled_from([".jsonl", ".json", ".txt", ".parquet"]))
def test_random_bytes(packing: str, content: bytes, ending: str, cache: Path) -> None:
    outcome(PACKERS[packing](content), f"a{ending}{packing}")
    outcome(content, f"a{ending}{packing}")


@quick
@several
@given(
    found=rows,
    encodings=st.tuples(st.sampled_from(ENCODINGS), st.sampled_from(ENCODINGS))
    | st.sampled_from(ENCODINGS).map(lambda e: (e, e)),
    field=st.sampled_from(["text", "text", "a.text"]),
    array=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_json_of_any_structure(
    packing: str, found: list[Any], encodings: tuple[str, str], field: str, array: bool, seed: int, cache: Path
) -> None:
    written = (
        json.dumps(found) if array else "".join(json.dumps(row, ensure_ascii=bool(seed % 2)) + "\n" for row in found)
    )
    content = damaged(written.encode(encodings[0], "replace"), seed // 4)
    outcome(PACKERS[packing](content), f"a.jsonl{packing}", encoding=encodings[1], field=field)
    outcome(damaged(PACKERS[packing](content), seed // 8), f"a.jsonl{packing}", encoding=encodings[1], field=field)


@quick
@given(found=st.lists(st.text(min_size=1).filter(lambda text: not text.isspace()), min_size=1), array=st.booleans())
def test_any_texts_come_back(found: list[str], array: bool, cache: Path) -> None:
    lines = json.dumps([{"text": text} for text in found])
    lines = lines if array else "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in found)
    assert outcome(lines.encode(), "a.jsonl") == found
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"text": found}), sink)
    assert outcome(bytes(sink.getvalue()), "a.parquet") == found


@quick
@given(
    content=st.text(),
    encodings=st.tuples(st.sampled_from(ENCODINGS), st.sampled_from(ENCODINGS)),
    seed=st.integers(0, 2**32),
)
def test_text_in_any_encoding(content: str, encodings: tuple[str, str], seed: int, cache: Path) -> None:
    outcome(damaged(content.encode(encodings[0], "replace"), seed), "a.txt", encoding=encodings[1])


COLUMNS: list[Any] = [
    ["a", None, "天"],
    [1, 2],
    [[1], ["a"][:0]],
    [{"text": "a"}, None],
    [None, None],
    [b"a", b"\xff"],
    pa.array(["a", "b", "a"]).dictionary_encode(),
    pa.array([[{"text": "a"}]]),
]


@quick
@given(column=st.sampled_from(COLUMNS), seed=st.integers(0, 2**32), field=st.sampled_from(["text", "text.text"]))
def test_parquet_of_any_kind(column: Any, seed: int, field: str, cache: Path) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"text": column}), sink, compression=random.Random(seed).choice(["none", "snappy", "zstd"]))
    outcome(bytes(sink.getvalue()), "a.parquet", field=field)
    outcome(damaged(bytes(sink.getvalue()), seed), "a.parquet", field=field)
