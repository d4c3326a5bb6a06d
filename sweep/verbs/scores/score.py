"""Scoring several models on the same questions, and the table of gains: `almr scores`, and the end of a chain."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from analysis.report import gains as page
from analysis.scores.gains import files, model_record, table, text
from analysis.scores.gains.gains_file import GainsFile, GainsModel
from analysis.scores.gains.model_record import ModelIdentity, ModelRecord, Questions, TaskScore
from analysis.scores.gains.table import GainsEntry
from sweep.study import InputError
from sweep.study.files.atomic import write_atomically
from sweep.verbs.scores import named
from sweep.verbs.scores.named import NamedModel
from sweep.verbs.scores.remaining import Remaining
from trainers.benchmarks import fetching, outcome
from trainers.benchmarks.catalogue import CLOZE
from trainers.benchmarks.models import answers, checkpoint
from trainers.benchmarks.models.asked import Asked
from trainers.benchmarks.models.checkpoint import FoundModel, OpenModel

LOCK = ".scores.lock"


@dataclass(frozen=True)
class GainsMade:
    """The table and the folder that it was written to. `unscored`: the labels of models without any score."""

    file: GainsFile
    folder: Path

    @property
    def unscored(self) -> list[str]:
        scored = {label for row in self.file.rows for label in row.scores}
        return [model.label for model in self.file.models if model.label not in scored]

    def text(self, width: int) -> str:
        return "\n".join([*text.lines(self.file, width), f"table: {self.folder / page.NAME}"])

    def as_json(self) -> dict[str, Any]:
        return self.file.model_dump(mode="json") | {"folder": str(self.folder), "unscored": self.unscored}


def score_models(
    models: Sequence[NamedModel], asked: Asked, folder: Path, console: Console, level: float = table.LEVEL
) -> GainsMade:
    """Ask each model what its record in `folder/<label>/` does not answer yet, and write the table of gains there.

    The first model is the base of comparisons, each further one is compared with it and with the one before. A model
    that cannot be loaded, and a task that cannot be scored, is a line in the table; the others go on. An interrupt
    leaves every finished task. Raises InputError for labels that are not sound, a damaged record, or where another
    process writes there.
    """
    named.refuse_alike(models)
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        for one in models:  # a damaged record is refused before hours are spent
            model_record.read(folder / one.label)
        with console.status("preparing the questions") as status:
            left = Remaining(console, status, asked.benchmarks, len(models))
            fetching.fetch_all(asked.benchmarks, left.say)
            missing = fetching.missing(asked.benchmarks)
            entries = [_Scoring(one, asked, folder / one.label, left, missing).entry() for one in models]
        made = table.table(entries, asked.keys, asked.languages, level)
        write_files(made, folder)
    return GainsMade(made, folder)


def write_files(made: GainsFile, folder: Path) -> None:
    for name, content in (files.texts(made) | {page.NAME: page.render(made)}).items():
        write_atomically(folder / name, content)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with (folder / LOCK).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{folder}: another almr scores writes here: wait for it, or give another --out") from None
        except OSError:  # a file system without locks
            pass
        yield


@dataclass(frozen=True)
class _Scoring:
    """One model. `missing`: by task, why its data are not here."""

    one: NamedModel
    asked: Asked
    folder: Path
    left: Remaining
    missing: Mapping[str, str]

    def entry(self) -> GainsEntry:
        shown = GainsModel(label=self.one.label, named=self.one.model, reference=self.one.reference)
        try:
            found = checkpoint.locate(self.one.model, self.left.say)
            self.left.say(f"{self.one.label}: computing checksums")
            identity = ModelIdentity(named=found.name, sha256=found.fingerprint, files=found.files, commit=found.commit)
        except (InputError, OSError) as error:
            self.left.model(self.one.label, [])
            self.left.failed(self.one.label, outcome.one_line(error))
            return GainsEntry(shown.model_copy(update={"why": outcome.one_line(error)}))
        record, questions = self._scored(found, identity)
        known = [task for task, key in self.asked.keys.items() if record.answers(task, key, questions)]
        used = [template for task in known if (template := record.tasks[task].template)]
        more = {"sha256": identity.sha256, "commit": found.commit, "template": next(iter(used), None)}
        return GainsEntry(shown.model_copy(update=more), record, questions)

    def _scored(self, found: FoundModel, identity: ModelIdentity) -> tuple[ModelRecord, Questions]:
        """The model's record with all that could be scored."""
        before = model_record.read(self.folder)
        record, questions = before or (ModelRecord(label=self.one.label, identity=identity), {})
        record = record.model_copy(update={"label": self.one.label, "identity": identity, "failures": {}})
        asked = [task for task, key in self.asked.keys.items() if record.needs(task, key, questions)]
        record = _failed(record, {task: why for task, why in self.missing.items() if task in asked})
        todo = [task for task in asked if task not in record.failures]
        self.left.model(self.one.label, todo)
        if not todo:
            return record, questions
        try:
            opened = checkpoint.opened(found, self.asked.precision, self.asked.device)
        except (InputError, OSError, MemoryError, torch.OutOfMemoryError) as error:
            self.left.failed(self.one.label, outcome.one_line(error))
            return _failed(record, dict.fromkeys(todo, outcome.one_line(error))), questions
        for task in todo:
            record, questions = self._task(task, opened, record, questions)
            model_record.write(self.folder, record, questions)
        return record, questions

    def _task(
        self, task: str, opened: OpenModel, record: ModelRecord, questions: Questions
    ) -> tuple[ModelRecord, Questions]:
        self.left.task(task)
        began = time.monotonic()
        got = answers.answered(task, self.asked, opened, self.left.step)
        tasks, key = dict(record.tasks), self.asked.keys[task]
        if task in tasks and tasks[task].key == key:  # asked in another way, a score stays until there is a new one
            del tasks[task]
        if score := got.scores.get(task):
            own: list[float | None] = [*got.questions[task]]
            questions = questions | {task: own}
            tasks[task] = TaskScore(
                key=key,
                model=record.identity.sha256,
                score=score,
                questions=model_record.digest(score, own),
                template=self._template(task, opened),
                settings=self.asked.settings,
                seconds=time.monotonic() - began,
                provenance=self.asked.provenance(task),
            )
        self.left.finished(task, f"{score.value:.3f}" if score else f"not scored: {got.failures.get(task)}")
        return _failed(record.model_copy(update={"tasks": tasks}), got.failures), questions

    def _template(self, task: str, opened: OpenModel) -> str | None:
        """The embedded suite is asked in tokens, without a template."""
        own = self.asked.prompting.chat and task not in CLOZE.values()
        return answers.template(opened.tokenizer) if own else None


def _failed(record: ModelRecord, why: dict[str, str]) -> ModelRecord:
    return record.model_copy(update={"failures": record.failures | why})
