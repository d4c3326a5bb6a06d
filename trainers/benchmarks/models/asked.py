"""What models are asked, and a key of each task: the hash of all that its score depends on besides the model."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import torch
import transformers

from sweep.study import LANGUAGES, Ingredients, Study
from sweep.study.files.atomic import sha256
from sweep.study.sections.benchmarks import Benchmarks
from sweep.study.study import fingerprint_of
from trainers.benchmarks import catalogue, cloze, definitions, scoring, task_data, task_files
from trainers.benchmarks.catalogue import CLOZE
from trainers.benchmarks.harness import Prompting
from trainers.benchmarks.sandbox import code_eval

GREEDY = Prompting()


@dataclass(frozen=True)
class HeldOutSource:
    """The held-out text that the embedded suite asks about: of a study, as it is prepared in the cache."""

    study: Study
    ingredients: Ingredients


@dataclass(frozen=True)
class Asked:
    """The questions and how they are asked, the same for all models.

    `precision` is that of the weights (float32, bfloat16), `device` as of `checkpoint.place`. `text` is needed for the
    embedded suite alone.
    """

    benchmarks: Benchmarks
    prompting: Prompting = GREEDY
    precision: str = "float32"
    device: str = "cpu"
    text: HeldOutSource | None = None

    @property
    def tasks(self) -> list[str]:
        return catalogue.all_tasks(self.benchmarks)

    @property
    def settings(self) -> dict[str, Any]:
        """How questions are asked, for a record."""
        return self.benchmarks.questions | asdict(self.prompting) | {"precision": self.precision}

    @property
    def languages(self) -> dict[str, str]:
        """The names of the languages, as the study's user wrote them."""
        study = self.text.study if self.text else None
        return {language: study.language_name(language) for language in LANGUAGES} if study else {}

    @cached_property
    def keys(self) -> dict[str, str]:
        """By task. A copy of the data or of a task file in another place gives the same key."""
        return {task: fingerprint_of(self._parts(task)) for task in self.tasks}

    def _parts(self, task: str) -> list[Any]:
        if task in CLOZE.values():
            return [task, self.precision, cloze.VERSION, *self._corpora(task)]
        held = [scoring.holding(self.benchmarks), code_eval.VERSION] if self.runs_code(task) else []
        return [task, self.settings, _harness(), *self._definition(task), *held]

    def provenance(self, task: str) -> dict[str, Any]:
        """The versions, the device, and what holds the model's code, where a task runs it."""
        device = self.device if self.device == "cpu" else torch.cuda.get_device_name()
        held = {"sandbox": scoring.holding(self.benchmarks)} if self.runs_code(task) else {}
        versions = {"torch": torch.__version__, "transformers": transformers.__version__, "lm-eval": _harness()}
        return {"versions": versions, "device": device} | held

    def runs_code(self, task: str) -> bool:
        return task in definitions.runs_code(self.benchmarks)

    def _corpora(self, task: str) -> Iterator[Any]:
        """The held-out text of the task's language: its packed corpora, by their content."""
        if self.text is None:
            return
        study, facts = self.text.study, self.text.ingredients.corpora
        language = next(language for language in LANGUAGES if CLOZE[language] == task)
        yield study.documents.model_dump(mode="json", include={"bos", "eos"})
        for name in study.corpora.source_names(language):
            yield [name, study.corpora.by_name[name].share, facts[name].fingerprint]

    def _definition(self, task: str) -> list[Any]:
        """A task's fields, its Python and its data; empty for a task that cannot be found, which then fails."""
        found: list[Any] = []
        try:
            for leaf in definitions.leaves(self.benchmarks, task):
                paths = task_data.files(self.benchmarks, task, leaf)
                data = [(path.name, sha256(path)) for path in paths]
                fields = {name: value for name, value in leaf.config.items() if name != task_files.CODE}
                found.append([leaf.name, repr(fields), leaf.code, data])
        except Exception:  # whatever the user's own task file causes
            return []
        return found


def _harness() -> str | None:
    try:
        return importlib.metadata.version("lm-eval")
    except importlib.metadata.PackageNotFoundError:
        return None
