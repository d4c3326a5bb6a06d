"""Writes the request of a trial, its rows and the script that starts the program, into the folder of its run."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sweep.external.command import request
from sweep.external.command.request import (
    CommandRequest,
    RequestedLanguage,
    RequestedSchedule,
    RequestedSource,
)
from sweep.study import LANGUAGES, Ingredients, Study, Trial
from sweep.study.files.atomic import write_atomically
from sweep.study.sections.trainer import TrainerChoice
from trainers.packing import token_file
from trainers.packing.blocks import LaunchBlocks

REQUEST, ANSWER, START, CHECKPOINTS = "request.json", "answer.json", "start.sh", "checkpoints"
ROW_SOURCES = "row_sources.bin"
OURS = ("PYTHONPATH", "PYTHONSAFEPATH")  # of our own worker processes: the program's packages come from elsewhere


@dataclass(frozen=True)
class CommandFiles:
    """The folder of a run of the program. Checkpoints stay there when the run is started again."""

    folder: Path

    @property
    def request(self) -> Path:
        return self.folder / REQUEST

    @property
    def answer(self) -> Path:
        return self.folder / ANSWER

    @property
    def start(self) -> Path:
        return self.folder / START

    @property
    def checkpoints(self) -> Path:
        return self.folder / CHECKPOINTS

    def write(self, study: Study, trial: Trial, made: Ingredients, command: TrainerChoice) -> CommandRequest:
        """Write all that the program is given. An earlier answer is deleted; an earlier run's rows are kept.

        Raises InputError for a model or text that cannot be read, and OSError for a full disk.
        """
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        self.answer.unlink(missing_ok=True)
        if not self.request.exists():
            asked = self._rows(LaunchBlocks.of(study, trial, made), made)
            write_atomically(self.request, asked.model_dump_json(indent=1) + "\n")
        write_atomically(self.start, "\n".join(script(self, study, command)) + "\n")
        return request.read(self.request)

    def _rows(self, blocks: LaunchBlocks, made: Ingredients) -> CommandRequest:
        """The request of these rows, after they are written."""
        token_file.write(blocks, self.folder, lambda rows: None)
        names, mixture = [*blocks.corpora], blocks.mixture
        numbers = (names.index(mixture.slot(position).source) for position in range(blocks.rows))
        np.fromiter(numbers, np.uint8, blocks.rows).tofile(self.folder / ROW_SOURCES)
        return self._request(blocks, made, tuple(self._sources(blocks, made)))

    def _sources(self, blocks: LaunchBlocks, made: Ingredients) -> Iterator[RequestedSource]:
        drawn = blocks.mixture.drawn(blocks.rows)
        for name, corpus in blocks.corpora.items():
            read = drawn[name] * blocks.sequence_length
            yield RequestedSource(
                name=name,
                language=blocks.study.corpora.by_name[name].language,
                rows=drawn[name],
                tokens=read,
                documents=round(read / corpus.facts.tokens_per_document),
                packed=str(Path(made.folders[name]) / "training"),
                held_out=str(self.folder / token_file.HELD_OUT.format(name)),
            )

    def _request(self, blocks: LaunchBlocks, made: Ingredients, sources: tuple[RequestedSource, ...]) -> CommandRequest:
        study, trial, training = blocks.study, blocks.trial, blocks.study.training
        schedule, resources = training.lr_schedule(training.steps), study.resources
        return CommandRequest(
            trial=trial.id,
            almr=trial.almr,
            lr=trial.lr,
            seed=trial.seed,
            model=made.base_model,
            trust_remote_code=study.base_model.trust_remote_code,
            steps=training.steps,
            batch_sequences=training.batch_sequences,
            sequence_length=training.sequence_length,
            micro_batch_sequences=training.micro_batch_sequences or training.batch_sequences // resources.workers,
            rows=str(self.folder / token_file.TRAIN),
            row_sources=str(self.folder / ROW_SOURCES),
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
            folder=str(self.folder),
            checkpoints=str(self.checkpoints),
            answer=str(self.answer),
        )


def _language(name: str, sources: tuple[RequestedSource, ...]) -> RequestedLanguage:
    own = [source for source in sources if source.language == name]
    return RequestedLanguage(
        rows=sum(source.rows for source in own),
        tokens=sum(source.tokens for source in own),
        documents=sum(source.documents for source in own),
    )


def script(files: CommandFiles, study: Study, command: TrainerChoice) -> Iterator[str]:
    """The lines that start the program as the study states, for a shell: a person can run them too.

    `python` is that of the environment; without one, ours. A container has its own programs.
    """
    programs = Path(command.environment) / "bin" if command.environment else Path(sys.executable).parent
    cpus = {} if study.resources.gpus_per_node else {"OMP_NUM_THREADS": str(study.resources.cpus_per_node)}
    variables = [f"{name}={value}" for name, value in {**cpus, **command.variables}.items()]
    yield "#!/usr/bin/env bash"
    yield "# Starts the program that trains this trial. almr writes this file."
    yield "set -euo pipefail"
    yield f"cd {shlex.quote(str(files.folder))}"
    if not command.container:
        yield f"unset {' '.join(OURS)}"
        yield f'export PATH={shlex.quote(str(programs))}{os.pathsep}"$PATH"'
    yield f"exec {shlex.join([*command.container, 'env', *variables, *command.command, str(files.request)])}"
