"""Seeded inputs for the readers: small valid files of every kind, and what damages or exaggerates them."""

from __future__ import annotations

import copy
import gzip
import json
import random
import re
from collections.abc import Callable
from typing import Any

import hostile_studies
import hostile_tables
import yaml
from samples import study_content

KINDS = ("study", "table", "record", "corpus", "task file", "log", "results", "answer", "command line")
TOKENS = [".nan", ".inf", "NaN", "Infinity", "1e400", "-1e400", "5e-324", "-0.0", "9" * 400, "9" * 6000, "0x10", "1_0"]
TOKENS += [
    "null",
    "~",
    "true",
    "[]",
    "{}",
    "[1, 2]",
    "{a: 1}",
    '"',
    "'",
    ",",
    ";",
    ":",
    "\t",
    "\n",
    "\r",
    "\0",
    "\x1b[2J",
]
TOKENS += [
    "\u202e",
    "\ufeff",
    "天",
    "🙂",
    "é",
    "../../x",
    "/etc/passwd",
    "=1+1",
    "%",
    "10%",
    "1,5",
    "1.000,5",
    "-",
    "#",
]
TOKENS += [
    "&a",
    "*a",
    "<<: *a",
    "!!float x",
    "!!binary =",
    "!f x",
    "---\n",
    "? x\n: y\n",
    "2026-01-01",
    "{{ x }}",
    "$(x)",
]
NUMBER = re.compile(rb"\d+(?:\.\d+)?(?:e-?\d+)?")
WORD = re.compile(rb"[A-Za-z_]{3,}")
STUDY = study_content(
    training=study_content()["training"] | {"schedule": {"name": "wsd", "warmup": 0.25, "decay": 0.5}},
    search={"strategy": "surface", "trials": 12, "bounds": {"lr": [1e-4, 1]}},
    objective={"weights": {"original": 2, "additional": 1}, "level": 0.8},
    resources={"cpus": 2, "concurrent": 3, "hang_minutes": 5},
    benchmarks={"suite": "embedded", "when": "finalists"},
)
TASK = {
    "task": "own",
    "dataset_path": "json",
    "test_split": "test",
    "num_fewshot": 2,
    "dataset_kwargs": {"data_files": {"test": "x.jsonl"}},
    "fewshot_config": {"samples": [{"q": "a"}]},
    "metric_list": [{"metric": "acc"}],
}
RECORD = {
    "almr": 0.5,
    "lr": 0.001,
    "seed": 0,
    "trial_id": "almr0.5-lr0.001-seed0",
    "fingerprint": "0" * 16,
    "attempt": 1,
    "status": "complete",
    "tokens": 2048,
    "steps": 8,
    "loss": {"original": 3.5, "additional": 4.5},
    "base_loss": {"original": 3.6, "additional": 5.5},
    "seconds": 3.5,
}
ANSWER = {
    "trainer": "mine 1.0",
    "steps": 4,
    "tokens": {"original": 512, "additional": 512},
    "loss": {"original": 3.5, "additional": 4.5},
    "base_loss": {"original": 4},
}
OPTIONS = ["almr=mix,lr=peak_lr,loss=total", "tokens=2048", "original=2,additional=1", "3", "code=1,web=2", "0.65:3e-3"]
RESULTS = "lr,loss_original,loss_additional,status\n1e-5,2.1,3.1,complete\n2e-5,2.0,3.0,\n4e-5,,,diverged\n"
LINES = "".join(json.dumps({"text": f"Text {i} of {i} " * 5, "meta": {"n": i}}) + "\n" for i in range(12))
LOG = "".join(json.dumps({"step": i, "loss": 3 - i / 10, "lr": 1e-3, "speed": 1e4}) + "\n" for i in range(9))
SEEDS: dict[str, tuple[tuple[str, str], ...]] = {
    "study": (("study.yaml", yaml.safe_dump(STUDY, sort_keys=False)),),
    "table": (
        ("t.csv", hostile_tables.HEAD + hostile_tables.ROWS),
        ("t.tsv", (hostile_tables.HEAD + hostile_tables.ROWS).replace(",", "\t")),
        ("t.json", json.dumps([{"config": {"lr": 1e-5 * i, "almr": 0.5}, "loss": 2} for i in range(1, 12)])),
        ("t.jsonl", "".join(json.dumps({"almr": 0.5, "lr": 1e-5 * i, "loss": 2.5}) + "\n" for i in range(1, 12))),
    ),
    "record": (("record.json", json.dumps(RECORD)),),
    "corpus": (
        ("c.jsonl", LINES),
        ("c.txt", "One text.\n\nAnother text.\n\nA third.\n"),
        ("c.json", "[" + LINES[:-1].replace("\n", ",\n") + "]"),
    ),
    "task file": (("own.yaml", yaml.safe_dump(TASK, sort_keys=False)),),
    "log": (("metrics.jsonl", LOG),),
    "results": (("results.csv", RESULTS),),
    "answer": (("answer.json", json.dumps(ANSWER)),),
    "command line": tuple(("option", text) for text in OPTIONS),
}
Mutator = Callable[[random.Random, bytes], bytes]


def _place(rng: random.Random, content: bytes) -> int:
    return rng.randrange(len(content) + 1)


def _flip(rng: random.Random, content: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.randint(1, 8) if content else 0):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def _cut(rng: random.Random, content: bytes) -> bytes:
    return content[: _place(rng, content)]


def _remove(rng: random.Random, content: bytes) -> bytes:
    low, high = sorted((_place(rng, content), _place(rng, content)))
    return content[:low] + content[high:]


def _repeat(rng: random.Random, content: bytes) -> bytes:
    low = _place(rng, content)
    piece = content[low : low + rng.randint(1, 40)]
    return content[:low] + piece * rng.choice((2, 10, 1000)) + content[low:]


def _insert(rng: random.Random, content: bytes) -> bytes:
    place = _place(rng, content)
    return content[:place] + rng.choice(TOKENS).encode() + content[place:]


def _number(rng: random.Random, content: bytes) -> bytes:
    """A number, or a word, becomes something else."""
    found = list((NUMBER if rng.random() < 0.7 else WORD).finditer(content))
    if not found:
        return _insert(rng, content)
    one = rng.choice(found)
    return content[: one.start()] + rng.choice(TOKENS).encode() + content[one.end() :]


def _lines(rng: random.Random, content: bytes) -> bytes:
    lines = content.splitlines(keepends=True)
    rng.shuffle(lines)
    return b"".join(lines[: rng.randint(0, len(lines))] * rng.choice((1, 2)))


def _nest(rng: random.Random, content: bytes) -> bytes:
    depth, place = rng.choice((3, 60, 2000, 100_000)), _place(rng, content)
    opening, closing = rng.choice(((b"[", b"]"), (b'{"a":', b"}"), (b"(", b")"), (b"<a>", b"")))
    return content[:place] + opening * depth + b"1" + closing * depth + content[place:]


def _encode(rng: random.Random, content: bytes) -> bytes:
    text = content.decode("utf-8", "replace") + rng.choice(("", "天下大势", "é"))
    return text.encode(rng.choice(("utf-16", "utf-16-le", "utf-32", "gb18030", "cp1252", "utf-8-sig")), "replace")


def _compress(rng: random.Random, content: bytes) -> bytes:
    return gzip.compress(content * rng.choice((1, 100)))[: rng.choice((None, 50))]


def _noise(rng: random.Random, content: bytes) -> bytes:
    return rng.randbytes(rng.randint(0, 400))


MUTATORS: tuple[Mutator, ...] = (
    *(
        _flip,
        _cut,
        _remove,
        _repeat,
        _insert,
        _insert,
        _number,
        _number,
        _number,
        _lines,
        _nest,
        _encode,
        _compress,
        _noise,
    ),
)
ODD = tuple(hostile_studies.odd_values())


VALUES: tuple[Any, ...] = (
    *(0, 1, -1, 2, 3, 7, 0.5, 1e-30, 1e300, -0.0, 10**18, 10**30, 2**31, 2**63, None, True, "", "x", "1e5", "10%"),
    *([], {}, [1], [1, 2, 3], [[1]], {"a": 1}, ["a", "a"], list(range(300)), "x" * 5000, "天", "a\nb"),
)


def _structured(rng: random.Random, name: str, text: str) -> str:
    """A file of one object with some of its values exchanged: it is read up to what checks values."""
    content = yaml.safe_load(text)
    for _ in range(rng.randint(1, 3)):
        inside, keys = content, list(content)
        key = rng.choice(keys)
        while isinstance(inside[key], dict | list) and inside[key] and rng.random() < 0.8:
            inside = inside[key]
            key = rng.choice(list(inside) if isinstance(inside, dict) else range(len(inside)))
        inside[key] = copy.deepcopy(rng.choice(VALUES)) if rng.random() < 0.8 else rng.choice(TOKENS[:12])
    return json.dumps(content) if name.endswith(".json") else yaml.safe_dump(content, sort_keys=False)


def made(kind: str, seed: int) -> tuple[str, bytes]:
    """The name and the content of one input of a kind: a valid one with up to four changes."""
    rng = random.Random(f"{kind} {seed}")
    name, text = rng.choice(SEEDS[kind])
    if kind == "study" and rng.random() < 0.2:
        text = rng.choice(ODD)
    elif kind in ("study", "record", "answer", "task file") and rng.random() < 0.6:
        return name, _structured(rng, name, text).encode()
    content = text.encode("utf-8", "surrogatepass")
    for _ in range(rng.choice((1, 1, 2, 4))):
        content = rng.choice(MUTATORS)(rng, content)
    return name, content
