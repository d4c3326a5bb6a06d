"""The benchmarks of a trial: the base model is scored once for all trials, the trained model at the end.

All workers of a trial call this with the sharded model and do the same forward passes; the first one's outcome counts.
"""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from sweep.study import LANGUAGES, Ingredients, Study
from sweep.study.files import cache
from sweep.study.sections.benchmarks import Benchmarks
from sweep.study.study import fingerprint_of
from trainers.benchmarks import catalogue, cloze, definitions, harness, outcome, task_data
from trainers.benchmarks.catalogue import CLOZE, CLOZE_QUESTIONS
from trainers.benchmarks.outcome import ScoringOutcome
from trainers.benchmarks.sandbox import code_eval
from trainers.data.corpus import PackedCorpus
from trainers.data.source_order import SourceOrder
from trainers.data.tokens.borders import Borders
from trainers.model.fitting import reshard
from trainers.model.loading import load_tokenizer
from trainers.workers.group import WorkerGroup

GROUPS = {"original": "cloze, original language", "additional": "cloze, additional language"}
BASES = "base_scores"
_ASKED: dict[tuple[Any, ...], cloze.Cloze] = {}


class Scoring:
    """Scores one trial. Does nothing where the study has no benchmarks or scores only finalists."""

    def __init__(
        self,
        study: Study,
        ingredients: Ingredients,
        corpora: dict[str, PackedCorpus],
        folder: Path,
        workers: WorkerGroup,
    ) -> None:
        self.study, self.ingredients, self.corpora, self.folder = study, ingredients, corpora, folder
        self.workers = workers
        self.benchmarks = study.benchmarks if study.benchmarks and study.benchmarks.when == "all" else None
        self.seconds = 0.0
        self.base_name: str | None = None

    def base(self, model: Any) -> None:
        """Score the base model on tasks without a cached score. No weight changes, and no random number is drawn."""
        if self.benchmarks:
            found = ScoringOutcome()
            for task in catalogue.all_tasks(self.benchmarks):
                found |= self._once(task, lambda task=task: self._score([task], model))  # type: ignore[misc]
            name = fingerprint_of([found.questions, {k: s.model_dump() for k, s in found.scores.items()}])
            cache.build_once(cache.root() / BASES / name, found.write_base)
            self.base_name = name

    def trial(self, model: Any, diverged: bool) -> dict[str, Any]:
        """The scores as fields of the record; writes `questions.json`. A diverged model is not scored."""
        if self.benchmarks is None or diverged:
            return {}
        began = time.perf_counter()
        found = self._score(catalogue.all_tasks(self.benchmarks), model)
        if self.workers.first:
            found.write(self.folder)
        self.seconds = time.perf_counter() - began
        return {"scores": found.scores, "score_failures": found.failures}

    @property
    def provenance(self) -> dict[str, Any]:
        """The name of the base model's scores, the seconds that scoring took, and how questions were limited."""
        if self.benchmarks is None:
            return {}
        questions = self.benchmarks.questions
        held = {"sandbox": holding(self.benchmarks)} if definitions.runs_code(self.benchmarks) else {}
        return {"base_scores": self.base_name, "scoring_seconds": self.seconds, "questions": questions} | held

    def _score(self, tasks: list[str], model: Any) -> ScoringOutcome:
        assert self.benchmarks
        found = ScoringOutcome()
        tokenizer = load_tokenizer(self.study.base_model, self.ingredients.base_model)
        for language in LANGUAGES:
            if CLOZE[language] in tasks:
                self.workers.heartbeat()
                borders = Borders.of(tokenizer, self.study.documents).ids
                found |= score_cloze(language, sources(self.study, self.corpora, language), model, borders)
        stock = [task for task in tasks if task not in CLOZE.values()]
        if stock:
            training = model.training
            with torch.random.fork_rng([model.device] if model.device.type == "cuda" else []):
                precision = self.study.training.precision
                found |= harness.run(stock, self.benchmarks, model, tokenizer, precision, self.workers.heartbeat)
            model.train(training)
        reshard(model)
        return found

    def _once(self, task: str, score: Callable[[], ScoringOutcome]) -> ScoringOutcome:
        """The base model's outcome on a task, from the cache if it is there. Failures are not cached."""
        folder = cache.root() / BASES / fingerprint_of(self._key(task))
        if self.workers.broadcast(folder.is_dir()):
            return ScoringOutcome.read_base(folder)
        found = score()
        if not found.failures:
            cache.build_once(folder, found.write_base)
        return found

    def _key(self, task: str) -> list[Any]:
        """Everything that a score of the base model depends on."""
        assert self.benchmarks
        device = torch.cuda.get_device_name() if self.study.resources.gpus else "cpu"
        versions = {name: _version(name) for name in ("torch", "lm-eval")}
        shared = [task, self.ingredients.fingerprints(), self.study.training.precision, device, versions]
        if task in CLOZE.values():
            sources = self.study.corpora.by_name.values()
            return [*shared, cloze.VERSION, *([one.name, one.share] for one in sources if one.fraction < 1)]
        runs_code = task in definitions.runs_code(self.benchmarks)
        held = [holding(self.benchmarks), code_eval.VERSION] if runs_code else []
        return [*shared, self.benchmarks.questions, *_content(self.benchmarks, task), *held]


def holding(benchmarks: Benchmarks) -> str:
    """What holds the code of the model on this machine: its name and version, or why there is none."""
    found = code_eval.found(benchmarks.sandbox)
    return found if isinstance(found, str) else found.label


def _content(benchmarks: Benchmarks, task: str) -> list[Any]:
    """A task's definition, the state of its data files and the user's Python; empty for a task that cannot be found,
    which then fails.
    """
    found: list[Any] = []
    try:
        for leaf in definitions.leaves(benchmarks, task):
            paths = task_data.files(benchmarks, task, leaf)
            states = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
            found.append([leaf.name, repr(leaf.config), states, *(leaf.code if benchmarks.include else [])])
    except Exception:  # whatever the user's own task file causes
        return []
    return found


def sources(study: Study, corpora: Mapping[str, PackedCorpus], language: str) -> list[tuple[PackedCorpus, int]]:
    """The sources of a language, each with its share of the embedded suite's questions."""
    names, of = study.corpora.source_names(language), study.corpora.by_name
    questions = SourceOrder([of[name].fraction for name in names]).drawn(CLOZE_QUESTIONS)
    return [(corpora[name], count) for name, count in zip(names, questions, strict=True)]


def score_cloze(
    language: str, sources: Sequence[tuple[PackedCorpus, int]], model: Any, borders: Sequence[int]
) -> ScoringOutcome:
    """The outcome on the embedded suite's task of a language, with so many questions of each of its sources. `borders`:
    the special tokens between documents.
    """
    task = CLOZE[language]
    try:
        test = cloze_questions(sources, borders)
        answers = test.answers(model)
    except ValueError as error:
        return outcome.failed([task], error)
    about = {"version": cloze.VERSION, "prompt_sha256": outcome.sha256([str(test.rows.tolist())])}
    made = outcome.score(answers, **about, group=GROUPS[language], language=language, metric="acc")
    return ScoringOutcome({task: made}, {task: list(map(float, answers))})


def cloze_questions(sources: Sequence[tuple[PackedCorpus, int]], borders: Sequence[int]) -> cloze.Cloze:
    """The questions, which are the same for all trials of this process."""
    key = (tuple((corpus.facts.fingerprint, count) for corpus, count in sources), tuple(borders))
    if key not in _ASKED:
        _ASKED[key] = cloze.Cloze.of_sources(sources, borders)
    return _ASKED[key]


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
