"""The text of a launch as our own trainer reads it, for the writers of other trainers' files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweep.study import Ingredients, InputError, Study, Trial
from sweep.study.files import patterns
from sweep.study.sections.text.corpora import Corpus
from trainers.data.conversations import packed
from trainers.data.conversations import rows as conversations
from trainers.data.conversations.rendering import ChatRenderer
from trainers.data.corpus import PackedCorpus, evenly_spaced, held_out_blocks, open_corpora
from trainers.data.hold_out import excluded
from trainers.data.hold_out.held_out_texts import TextFile, Together
from trainers.data.mixture import BatchReader, Mixture
from trainers.data.tokens.borders import Borders
from trainers.data.tokens.text_tokenizer import TextTokenizer
from trainers.model.loading import load_tokenizer

Rows = NDArray[np.uint32]  # (sequences, sequence_length); of conversations with a last dimension of 3
NO_TARGET = -100  # the label of a token that is not predicted


@dataclass(frozen=True)
class LaunchBlocks:
    """The blocks of `sequence_length` tokens of a study's only trial.

    `corpora` are the packed sources. `held_out` are the blocks that the losses are measured on, by name. `model` is the
    directory of the base model, `tokenizer` the one that the text was packed with.
    """

    study: Study
    trial: Trial
    corpora: dict[str, PackedCorpus]
    held_out: dict[str, Rows]
    model: Path
    tokenizer: TextTokenizer

    @staticmethod
    def of(study: Study, trial: Trial, made: Ingredients, held_out: Mapping[str, str] | None = None) -> LaunchBlocks:
        """Of a prepared study. `held_out`: JSON Lines files by name, to measure on instead of the corpora's own part.

        Raises InputError for a file that is missing, cannot be read, or is shorter than one block.
        """
        loaded = load_tokenizer(study.base_model, made.base_model)
        text = study.training.stage == "cpt"
        tokenizer = TextTokenizer(loaded, Borders.of(loaded, study.documents) if text else Borders())
        corpora, most = open_corpora(made), study.training.evaluation_tokens // study.training.sequence_length
        if held_out:
            stated = {name: _of_files(name, files, study, tokenizer) for name, files in held_out.items()}
            measured = {name: rows[evenly_spaced(len(rows), most)] for name, rows in stated.items()}
        else:
            measured = {name: held_out_blocks(corpus, most).astype(np.uint32) for name, corpus in corpora.items()}
        return LaunchBlocks(study, trial, corpora, measured, Path(made.base_model), tokenizer)

    @property
    def sequence_length(self) -> int:
        return self.study.training.sequence_length

    @property
    def rows(self) -> int:
        """The blocks of the whole run."""
        return self.study.training.steps * self.study.training.batch_sequences

    @property
    def borders(self) -> Borders:
        """The tokens before and after each document."""
        return self.tokenizer.borders

    @property
    def document_masking(self) -> bool:
        """Whether documents do not attend to one another, and first tokens of documents are no targets."""
        return self.study.training.document_masking

    @property
    def mixture(self) -> Mixture:
        return Mixture.of(self.trial.almr, self.trial.seed, self.study.corpora, self.corpora)

    @property
    def drawn(self) -> dict[str, int]:
        """The blocks of each source."""
        return self.mixture.drawn(self.rows)

    def train(self) -> Iterator[Rows]:
        """The run's blocks in its order, a global batch at a time. A shorter run of the same seed reads the first."""
        reader = BatchReader(self.corpora, self.mixture, self.study.training.batch_sequences)
        for batch in reader.read(range(self.study.training.steps)):
            yield batch.numpy().astype(np.uint32)

    def starts(self, rows: Rows) -> NDArray[np.bool_]:
        """Which tokens are the first of a piece of a document, or of a block: (sequences, sequence_length)."""
        if conversations.are(rows):
            return np.asarray(rows[..., conversations.POSITION] == 0)
        found = np.zeros(rows.shape, bool)
        found[:, 0] = True
        if self.borders.ids:
            found[:, 1:] = self.borders.starts(rows)
        return found

    def labels(self, rows: Rows) -> NDArray[np.int32]:
        """The token itself where it is predicted, else NO_TARGET: (sequences, sequence_length)."""
        if conversations.are(rows):
            left_out = rows[..., conversations.TARGET] == 0
        else:
            left_out = self.starts(rows) if self.document_masking else np.zeros(rows.shape, bool)
        left_out[:, 0] = True
        return np.where(left_out, NO_TARGET, conversations.ids(rows).astype(np.int32)).astype(np.int32)

    def link_model(self, folder: Path) -> None:
        """Make a folder with links to the base model's files."""
        folder.mkdir()
        for file in self.model.iterdir():
            (folder / file.name).symlink_to(file.resolve())


def _of_files(name: str, files: str, study: Study, tokenizer: TextTokenizer) -> Rows:
    """The documents of JSON Lines files as blocks, one after another; an incomplete last block is dropped."""
    where, length = f"--held-out {name}", study.training.sequence_length
    if study.training.stage == "sft":
        spec = Corpus(files=tuple(_matching(files, where)))
        return packed.of_files(spec, where, ChatRenderer.of(tokenizer.tokenizer), length).astype(np.uint32)
    texts = Together([TextFile(excluded.cached(file, where)) for file in _matching(files, where)])
    before, after = (np.array(ids, np.int32) for ids in (tokenizer.borders.before, tokenizer.borders.after))
    parts: list[Any] = [np.concatenate([before, ids, after]) for ids in tokenizer.tokens(list(texts))]
    stream = np.concatenate(parts) if parts else np.zeros(0, np.int32)
    if len(stream) < length:
        raise InputError(f"{where}: {files} has {len(stream):,} tokens, less than one block of {length:,}: add text")
    return stream[: len(stream) // length * length].reshape(-1, length).astype(np.uint32)


def _matching(files: str, where: str) -> list[str]:
    try:
        return patterns.distinct(patterns.matching(files))
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
