"""The benchmarks of a study: questions, time and missing data of each task, and the trials that are not scored yet."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sweep.store.run import Run
from sweep.study import InputError, Record, Status, Study, Trial
from sweep.study.record import SCORING
from sweep.study.sections.benchmarks import Benchmarks
from trainers.benchmarks import catalogue, definitions, fetching
from trainers.benchmarks.sandbox import engines

CLOZE_TOKENS = 48  # per question: four continuations with their context
FORWARD = 3  # a training step takes about three times as long as its forward pass


@dataclass(frozen=True)
class PlannedTask:
    """One task: its number of questions, a trial's seconds for them, and one line about missing data.

    None: not known beforehand, and for `missing`, nothing.
    """

    name: str
    group: str | None
    questions: int | None
    seconds: float | None
    missing: str | None


def tasks(study: Study) -> list[PlannedTask]:
    """Every task of the study's benchmarks, in the order in which they run."""
    benchmarks = study.benchmarks
    if benchmarks is None:
        return []
    missing = fetching.missing(benchmarks)
    seconds = _seconds(study, catalogue.CLOZE_QUESTIONS, CLOZE_TOKENS, 0)
    cloze = PlannedTask(name="", group=None, questions=catalogue.CLOZE_QUESTIONS, seconds=seconds, missing=None)
    return [
        *(replace(cloze, name=name, group=group(name)) for name in catalogue.cloze(benchmarks)),
        *(_task(study, name, missing.get(name)) for name in catalogue.harness_tasks(benchmarks)),
    ]


def finalist_seconds(study: Study) -> float | None:
    """Of scoring one trial, to an order of magnitude; None where that is not known."""
    if study.benchmarks is None:
        return 0.0
    cloze = [_seconds(study, catalogue.CLOZE_QUESTIONS, CLOZE_TOKENS, 0) for _ in catalogue.cloze(study.benchmarks)]
    known = [*cloze, *(_task(study, name, None).seconds for name in catalogue.harness_tasks(study.benchmarks))]
    return None if None in known else sum(one for one in known if one is not None)


def group(task: str) -> str | None:
    """The group of a task's scores; None for a task of the user's own."""
    language = next((language for language, name in catalogue.CLOZE.items() if name == task), None)
    known = catalogue.known(task)
    return f"cloze, {language} language" if language else known.group if known else None


def _task(study: Study, name: str, missing: str | None) -> PlannedTask:
    assert study.benchmarks
    known, count = catalogue.BY_NAME.get(name), questions(study.benchmarks, name)
    if known is None or count is None:
        return PlannedTask(name=name, group=None, questions=count, seconds=None, missing=missing)
    seconds = _seconds(study, count, catalogue.TOKENS_PER_QUESTION, known.generated)
    return PlannedTask(name=name, group=known.group, questions=count, seconds=seconds, missing=missing)


def questions(benchmarks: Benchmarks, name: str) -> int | None:
    """How many a task of the harness asks, at most; None where that is not known beforehand."""
    known = catalogue.BY_NAME.get(name)
    if benchmarks.limit is None:
        return known.questions if known else None
    most = benchmarks.limit * _subtasks(benchmarks, name)
    return min(most, known.questions) if known else most


def _subtasks(benchmarks: Benchmarks, name: str) -> int:
    """The number of subtasks of a task: `limit` is for each."""
    try:
        return len(definitions.leaves(benchmarks, name))
    except ValueError:
        return 1


def _seconds(study: Study, questions: int, tokens: int, generated: int) -> float | None:
    """Prompts at the speed of a forward pass, answers at that of training: right to an order of magnitude."""
    speed = study.resources.tokens_per_second
    return questions * (tokens / FORWARD + generated) / speed if speed else None


def planned(study: Study) -> list[PlannedTask]:
    """As `tasks`. Raises InputError for a broken task file of the user's; a run only reports it and goes on."""
    if study.benchmarks:
        fetching.refuse_broken(study.benchmarks)
    return tasks(study)


def without_sandbox(study: Study) -> str | None:
    """Why the benchmarks that run code of the model cannot run on this machine, in a line; None where they can."""
    benchmarks = study.benchmarks
    if benchmarks is None or study.replay or not (tasks := definitions.runs_code(benchmarks)):
        return None
    why = engines.refused(benchmarks.sandbox)
    return f"benchmarks: {', '.join(tasks)}: {why}" if why else None


def refuse_without_sandbox(study: Study) -> None:
    """Raises InputError where this machine, which scores, has no sandbox for code that a benchmark runs."""
    if why := without_sandbox(study):
        raise InputError(f"study {study.name}: {why}")


def unscored(study: Study, run: Run, trials: list[Trial]) -> list[Trial]:
    """Finished trials without a score that the study now requests: of all trials, or of the best by the objective."""
    if study.benchmarks is None or study.replay:
        return []
    records = [record for trial in trials if (record := run.record(trial)) and record.status is Status.COMPLETE]
    candidates = records if study.benchmarks.when == "all" else _best(study, records)
    return [record.trial for record in candidates if _lacks(study, record)]


def _best(study: Study, records: list[Record]) -> list[Record]:
    assert study.benchmarks
    measured = [(value, record) for record in records if (value := study.objective.of_record(record)) is not None]
    return [record for _, record in sorted(measured, key=lambda pair: pair[0])[: study.benchmarks.finalists]]


def _lacks(study: Study, record: Record) -> bool:
    """A task that failed counts as scored: it is reported, and not tried again with every run."""
    assert study.benchmarks
    known = record.scores.keys() | record.score_failures.keys()
    if SCORING in known:
        return False
    return not set(catalogue.all_tasks(study.benchmarks)) <= known or _other_questions(study.benchmarks, record)


def _other_questions(benchmarks: Benchmarks, record: Record) -> bool:
    """Whether it was scored on other questions: more, fewer, or after other examples. Embedded ones never change."""
    before = record.provenance.get("questions")
    return before is not None and before != benchmarks.questions and bool(catalogue.harness_tasks(benchmarks))
