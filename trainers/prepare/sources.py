"""The sources of a language, packed with the base model's tokenizer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from sweep.study import InputError, Study
from sweep.study.files import patterns
from sweep.study.sections.text.corpora import Corpus
from trainers.data import corpus, documents
from trainers.data.conversations import messages
from trainers.data.conversations import packed as conversations
from trainers.data.documents import DocumentSource
from trainers.data.hold_out import excluded, held_out_texts
from trainers.data.origins.hub import RecordedCommit
from trainers.data.readers.record_text import RecordText
from trainers.data.tokens.text_tokenizer import TextTokenizer
from trainers.preference import prepared as pairs
from trainers.preference.pairs import PAIRS
from trainers.prepare.base_model import Progress

PREPARE = {"cpt": corpus.prepare, "sft": conversations.prepare, "dpo": pairs.prepare}  # what packs a source, by stage
# how a record of a source becomes a document, where it is no plain text
READ_AS: dict[str, Callable[[Corpus], RecordText]] = {"sft": messages.read_as, "dpo": lambda spec: PAIRS}


def refuse_absent(study: Study) -> None:
    """Before anything is downloaded or tokenised, which may take hours. Raises InputError."""
    for source in study.corpora.by_name.values():
        try:
            for pattern in source.spec.files or ():
                patterns.matching(pattern)
        except InputError as error:
            raise InputError(f"{source.where}: {error}") from None


def resolved(
    study: Study, names: Sequence[str], commits: dict[str, RecordedCommit], progress: Progress
) -> dict[str, DocumentSource]:
    found = {}
    for name in names:
        progress(f"computing checksums of the {study.source_label(name)} corpus", None)
        source = study.corpora.by_name[name]
        found[name] = documents.resolve(source.spec, source.where, commits[name])
    return found


def packed(
    study: Study,
    sources: dict[str, DocumentSource],
    tokenizer: TextTokenizer,
    progress: Progress,
    again: Mapping[str, str],
) -> dict[str, Path]:
    """The folders of the packed sources of a language. They hold out what the packed corpora in `again` held out, by
    source, where the text is not the very same.
    """
    length = study.training.sequence_length
    kept = {name: replace(source, held_out_of=Path(again[name])) for name, source in sources.items() if name in again}
    text = study.training.stage == "cpt"
    if text and kept and all(corpus.packed_folder(source, tokenizer, length).is_dir() for source in sources.values()):
        plain = _packed_now(study, sources, tokenizer, progress)
        if all(plain[name].name == Path(again[name]).name for name in kept):
            return plain
    return _packed_now(study, sources | kept, tokenizer, progress)


def _packed_now(
    study: Study, sources: dict[str, DocumentSource], tokenizer: TextTokenizer, progress: Progress
) -> dict[str, Path]:
    """The folders of the packed sources of a language. None is trained on what repeats held-out text of another, or
    text that the study excludes.
    """

    def pack(name: str, others: Sequence[Path] = ()) -> Path:
        phase = f"tokenising the {study.source_label(name)} corpus"
        length = study.training.sequence_length
        return PREPARE[study.training.stage](
            sources[name], tokenizer, length, lambda share: progress(phase, share), others
        )

    left_out = {name: excluded.files(study.corpora.by_name[name]) for name in sources}
    alone = {name: pack(name) for name in sources}
    found = {}
    for name in alone:
        beside = [folder / held_out_texts.FILE for other, folder in alone.items() if other != name]
        others = sorted([*beside, *left_out[name]])
        if others:
            progress(f"comparing the {study.source_label(name)} corpus with held-out and excluded text", None)
        found[name] = pack(name, others) if others else alone[name]
    return found
