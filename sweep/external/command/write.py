"""Writes the request of a trial and its rows into the folder of its run.

    python -m sweep.external.command.write STUDY INGREDIENTS FOLDER

STUDY is the trial as a study of its own. In a process of its own, because it imports torch.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sweep.external.command.files import CommandFiles
from sweep.external.command.request import (
    CommandRequest,
    RequestedLanguage,
    RequestedSchedule,
    RequestedSource,
)
from sweep.study import LANGUAGES, Ingredients, Study, Trial, study_file
from sweep.study.fields import largest_divisor
from sweep.study.files.atomic import write_atomically
from sweep.study.ingredients import read_ingredients
from trainers.packing import token_file
from trainers.packing.blocks import LaunchBlocks


def main() -> None:
    study, made = study_file.load(sys.argv[1]), read_ingredients(Path(sys.argv[2]))
    assert made
    write(study, study.grid_trials[0], made, CommandFiles(Path(sys.argv[3])))


def write(study: Study, trial: Trial, made: Ingredients, files: CommandFiles) -> CommandRequest:
    """Write what the program is given, the request last. Raises OSError for a full disk."""
    files.folder.mkdir(parents=True, exist_ok=True)
    return _Writer(LaunchBlocks.of(study, trial, made), made, files).write()


@dataclass(frozen=True)
class _Writer:
    blocks: LaunchBlocks
    made: Ingredients
    files: CommandFiles

    def write(self) -> CommandRequest:
        blocks, mixture, names = self.blocks, self.blocks.mixture, [*self.blocks.corpora]
        token_file.write(blocks, self.files.folder, lambda rows: None)
        numbers = (names.index(mixture.slot(position).source) for position in range(blocks.rows))
        np.fromiter(numbers, np.uint8, blocks.rows).tofile(self.files.row_sources)
        asked = self._request(tuple(self._sources()))
        write_atomically(self.files.request, asked.model_dump_json(indent=1) + "\n")
        return asked

    def _sources(self) -> Iterator[RequestedSource]:
        blocks = self.blocks
        drawn = blocks.mixture.drawn(blocks.rows)
        for name, corpus in blocks.corpora.items():
            read = drawn[name] * blocks.sequence_length
            yield RequestedSource(
                name=name,
                language=blocks.study.corpora.by_name[name].language,
                rows=drawn[name],
                tokens=read,
                documents=round(read / corpus.facts.tokens_per_document),
                packed=str(Path(self.made.folders[name]) / "training"),
                held_out=str(self.files.folder / token_file.HELD_OUT.format(name)),
            )

    def _request(self, sources: tuple[RequestedSource, ...]) -> CommandRequest:
        blocks, study, trial = self.blocks, self.blocks.study, self.blocks.trial
        training = study.training
        schedule, resources = training.lr_schedule(training.steps), study.resources
        return CommandRequest(
            trial=trial.id,
            almr=trial.almr,
            lr=trial.lr,
            seed=trial.seed,
            model=self.made.base_model,
            trust_remote_code=study.base_model.trust_remote_code,
            steps=training.steps,
            batch_sequences=training.batch_sequences,
            sequence_length=training.sequence_length,
            micro_batch_sequences=_micro_batch(study),
            rows=str(self.files.folder / token_file.TRAIN),
            row_sources=str(self.files.row_sources),
            sources=sources,
            languages={name: _language(name, sources) for name in LANGUAGES},
            schedule=RequestedSchedule(
                name=training.schedule.name,
                warmup_steps=schedule.warmup,
                decay_steps=schedule.decay,
                min_lr=schedule.min_lr,
            ),
            lr_by_step=tuple(trial.lr * schedule.share(step) for step in range(training.steps)),
            optimizer=training.optimizer,
            precision=training.precision,
            document_masking=training.document_masking,
            borders=tuple(blocks.borders.ids),
            nodes=resources.nodes,
            gpus_per_node=resources.gpus_per_node,
            cpus=resources.cpus_per_node,
            folder=str(self.files.folder),
            checkpoints=str(self.files.checkpoints),
            answer=str(self.files.answer),
        )


def _micro_batch(study: Study) -> int:
    """The study's, or what is a whole part of a worker's share of a batch and no larger."""
    own = study.training.batch_sequences // study.resources.workers
    return largest_divisor(own, min(study.training.micro_batch_sequences or own, own))


def _language(name: str, sources: tuple[RequestedSource, ...]) -> RequestedLanguage:
    own = [source for source in sources if source.language == name]
    return RequestedLanguage(
        rows=sum(source.rows for source in own),
        tokens=sum(source.tokens for source in own),
        documents=sum(source.documents for source in own),
    )


if __name__ == "__main__":
    main()
