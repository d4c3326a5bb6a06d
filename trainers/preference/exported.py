"""The preference pairs of a launch, and TRL's files of them: `train/` and `held_out_NAME/`, tables of token ids in the
run's order, and `model/`, links to the base model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import datasets

from sweep.study import Ingredients, InputError, Study, Trial
from trainers.data.tokens.borders import Borders
from trainers.preference import prepared
from trainers.preference.held_out import Example, evenly
from trainers.preference.order import Drawn, PairOrder
from trainers.preference.prepared import FEATURES, ROWS_OF_A_PAIR, PairCorpus

TRAIN, HELD_OUT, MODEL = "train", "held_out_{}", "model"
BYTES = 4  # of a token id
AT_ONCE = 1000  # pairs


@dataclass(frozen=True)
class LaunchPairs:
    """The pairs of a study's only trial, with what `LaunchBlocks` says of text. `held_out`: those that losses are
    measured on, by name. A pair is two rows.
    """

    study: Study
    trial: Trial
    corpora: dict[str, PairCorpus]
    held_out: dict[str, list[Example]]
    model: Path

    @staticmethod
    def of(study: Study, trial: Trial, made: Ingredients, held_out: Mapping[str, str] | None = None) -> LaunchPairs:
        """Of a prepared study. Raises InputError for other held-out text: losses are measured on the held-out pairs."""
        if held_out:
            raise InputError("launch.evaluation: stage dpo is measured on the held-out pairs of its corpora: remove it")
        corpora = prepared.opened(made)
        most = study.training.evaluation_tokens // study.training.sequence_length // ROWS_OF_A_PAIR
        measured = {name: evenly(corpus.held_out, most) for name, corpus in corpora.items()}
        return LaunchPairs(study, trial, corpora, measured, Path(made.base_model))

    @property
    def sequence_length(self) -> int:
        return self.study.training.sequence_length

    @property
    def rows(self) -> int:
        return self.study.training.steps * self.study.training.batch_sequences

    @property
    def held_out_rows(self) -> int:
        return ROWS_OF_A_PAIR * sum(map(len, self.held_out.values()))

    @property
    def borders(self) -> Borders:
        """None: the chat template writes all special tokens."""
        return Borders()

    @property
    def document_masking(self) -> bool:
        return False

    @cached_property
    def order(self) -> list[Drawn]:
        """The pairs of the whole run."""
        sizes = {name: corpus.sizes for name, corpus in self.corpora.items()}
        sources = tuple(self.study.corpora.by_name.values())
        return PairOrder(self.trial.almr, self.trial.seed, sources, sizes).first(self.rows // ROWS_OF_A_PAIR)

    @property
    def drawn(self) -> dict[str, int]:
        """The rows of each source."""
        counts = Counter(one.slot.source for one in self.order)
        return {name: ROWS_OF_A_PAIR * counts[name] for name in self.corpora}


def write(pairs: LaunchPairs, folder: Path, written: Callable[[int], None]) -> None:
    """Fill an empty folder."""
    for name, examples in pairs.held_out.items():
        columns = {column: [one[column] for one in examples] for column in FEATURES}
        datasets.Dataset.from_dict(columns, FEATURES).save_to_disk(str(folder / HELD_OUT.format(name)))
    in_order = prepared.in_order(pairs.order, pairs.corpora)
    in_order.flatten_indices(keep_in_memory=True).save_to_disk(str(folder / TRAIN))
    written(pairs.rows)
    link_model(pairs.model, folder / MODEL)


def size(pairs: LaunchPairs) -> float:
    """Of a pair no more than its two rows; its prompt is written once."""
    return BYTES * pairs.sequence_length * (pairs.rows + pairs.held_out_rows)


def link_model(model: Path, folder: Path) -> None:
    """A new folder of links to the model's files."""
    folder.mkdir()
    for file in model.iterdir():
        (folder / file.name).symlink_to(file.resolve())
