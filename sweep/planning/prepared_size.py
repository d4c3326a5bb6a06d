"""An upper bound of the disk space that the model, text and corpora of a run take, before they are prepared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from sweep.study import Study
from sweep.study.files.patterns import PLAIN, plain_files
from sweep.study.sections.text.corpora import Corpus
from sweep.study.sizes.shape import FLOAT32, Shape
from trainers.benchmarks import catalogue

Parts = dict[str, float | None]  # bytes by part; None: not known
TOKEN = 4.04  # bytes of a packed token: an int32, and what an arrow file adds
CORPUS_FILES = 64 * 1024  # bytes: descriptions of the files of a packed corpus
EMBEDDED_TEXTS = {
    "shakespeare": 5_509_841,
    "three-kingdoms": 1_795_063,
    "chinese-poetry": 75_032_068,
    "shakespeare-questions": 146_959,
    "three-kingdoms-questions": 146_356,
    "shakespeare-preferences": 107_027,
    "three-kingdoms-preferences": 106_187,
}  # bytes, as fetched or made
EMBEDDED_MODELS = {"tiny": 2.4e6, "tiny-5.6m": 23e6, "smollm2-135m": 0.55e9}  # bytes, as converted
ARCHIVES = {"tiny": 0.0, "tiny-5.6m": 0.0, "smollm2-135m": 0.2e9}  # bytes, while a model is converted
TINY_CORPORA = {
    "shakespeare": 2_124_326,
    "three-kingdoms": 708_081,
}  # tokens that the tiny models are trained on
TINY_LENGTH = 128  # tokens of a block of it
TOKENIZER = 40e6  # bytes, at most: tokenizer and configuration of a model of the hub
COPY = 1.1  # bytes of a copy of documents in UTF-8, with their number, to those of their plain files
DOCUMENT = {"text": 9, "rewritten": 13}  # bytes besides the text of each document: its end, and a line of JSON
LOOKED_AT, PLACES = 2**18, 3  # bytes of a text file that are read for the number of its paragraphs, at so many places
LARGEST_CHARACTERS = 2  # bytes of a character in UTF-8 to those in another encoding
MOST_BYTES_PER_TOKEN = 6.0  # of text, with a large vocabulary
CANDIDATES = 2.4  # of the size of a sample: what it is drawn from, see trainers/data/texts.py
STATED = 1.05  # the `tokens` of a corpus are stated with two or three digits


def parts(study: Study, shape: Shape | None) -> Parts:
    specs = [source.spec for source in study.corpora.by_name.values()]
    texts = list(map(CorpusText, specs))
    packed = [_times(TOKEN, text.most_tokens, CORPUS_FILES) for text in texts]
    unpacked = [_times(2, size) for size in packed]  # the tokens, and their blocks before they are saved
    samples = [_times(CANDIDATES, text.bytes) for text in texts if text.spec.documents]
    archive = ARCHIVES.get(study.base_model.embedded or "", 0.0)
    return {
        "base_model": _base_model(study, shape),
        "corpora": _all([*packed, *[text.rewritten for text in texts], *[text.held_out for text in texts]], sum),
        "text": _all([*[text.bytes for text in texts], _tiny_text(study, specs)], sum),
        "temporary": _all([*unpacked, *samples, archive], max),
        "benchmarks": None if study.benchmarks and catalogue.harness_tasks(study.benchmarks) else 0,
        "downloads": _all([_download(spec) for spec in specs], sum),
    }


def _times(factor: float, size: float | None, more: float = 0) -> float | None:
    return None if size is None else factor * size + more


def _all(sizes: list[float | None], combine: Callable[[list[float]], float]) -> float | None:
    known = [size for size in sizes if size is not None]
    return combine(known) if len(known) == len(sizes) else None


def _base_model(study: Study, shape: Shape | None) -> float | None:
    base = study.base_model
    if base.embedded:
        return EMBEDDED_MODELS[base.embedded]
    if Path(base.pretrained or "").is_dir():
        return 0
    return _times(FLOAT32, shape.parameters if shape else None, TOKENIZER)


@dataclass(frozen=True)
class CorpusText:
    """Upper bounds of a corpus' text. Its files are listed, and looked at, once."""

    spec: Corpus

    @property
    def most_tokens(self) -> float | None:
        """As stated, else one for each byte of the text; None: not known."""
        if self.spec.tokens:
            return STATED * self.spec.tokens
        if self.spec.embedded:
            return EMBEDDED_TEXTS[self.spec.embedded]
        return None if self.spec.documents else self._characters

    @property
    def bytes(self) -> float | None:
        """An embedded text lies there twice: as it was fetched, and as it was read. Of a data set of the hub, a sample
        of `documents` is read as a stream.
        """
        spec = self.spec
        if spec.embedded:
            return 2 * COPY * EMBEDDED_TEXTS[spec.embedded]
        if spec.dataset:
            return MOST_BYTES_PER_TOKEN * spec.tokens if spec.documents and spec.tokens else None
        return _times(COPY, self._characters, CORPUS_FILES + DOCUMENT["text"] * self._paragraphs)

    @property
    def rewritten(self) -> float:
        """Plain text is written beside its blocks as JSON Lines, for other trainers."""
        if not self._plain:
            return 0
        each = max(self._paragraphs, len(self._plain))
        return COPY * (self._characters or 0) + DOCUMENT["rewritten"] * each

    @property
    def held_out(self) -> float | None:
        """The held-out documents are written as JSON Lines: at most twice their share, see trainers/data/hold_out."""
        size = self.bytes if self.bytes is not None else _times(MOST_BYTES_PER_TOKEN, self.spec.tokens)
        return _times(min(1.0, 2 * self.spec.held_out), size)

    @cached_property
    def _files(self) -> list[Path] | None:
        return plain_files(self.spec.files or ())

    @property
    def _plain(self) -> list[Path]:
        files = self._files or []
        return files if files and files[0].suffix.lower() in PLAIN else []

    @cached_property
    def _characters(self) -> float | None:
        """Bytes of the text of local files as UTF-8, at most."""
        wider = 1 if self.spec.encoding.lower().replace("-", "") in ("utf8", "ascii") else LARGEST_CHARACTERS
        return None if self._files is None else wider * sum(file.stat().st_size for file in self._files)

    @cached_property
    def _paragraphs(self) -> float:
        """Documents of a single text file, at most, if it is nowhere denser than where it is looked at: an empty line
        between two of them is two ends of lines. Files of another kind take more than a document's share themselves.
        """
        if len(self._plain) != 1:
            return 0
        [path] = self._plain
        size, found = path.stat().st_size, []
        with path.open("rb") as file:
            for place in range(PLACES):
                file.seek(max(0, size - LOOKED_AT) * place // (PLACES - 1))
                part = file.read(LOOKED_AT)
                found.append(max(part.count(b"\n"), part.count(b"\r")) / 2 / max(1, len(part)))
        return 1 + size * max(found)


def _tiny_text(study: Study, specs: list[Corpus]) -> float:
    """The text that the embedded tiny model is trained on, where the study's own corpora are others."""
    if not study.base_model.is_tiny:
        return 0
    plain = [
        Corpus(embedded=spec.embedded, tokens=spec.tokens, language=spec.language) for spec in specs if spec.embedded
    ]
    shared = study.training.sequence_length == TINY_LENGTH and plain == specs
    packed = 0.0 if shared else sum(TOKEN * tokens + CORPUS_FILES for tokens in TINY_CORPORA.values())
    others = TINY_CORPORA.keys() - {spec.embedded for spec in specs}
    return packed + sum(2 * COPY * EMBEDDED_TEXTS[name] for name in others)


def _download(corpus: Corpus) -> float | None:
    return None if corpus.dataset and not corpus.documents and not Path(corpus.dataset).is_dir() else 0
