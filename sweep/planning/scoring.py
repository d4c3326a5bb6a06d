"""The benchmarks of a study: what they ask and take, which data are missing, which trials are still to be scored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sweep.store.run import Run
from sweep.study.numbers import clock
from sweep.study.record import SCORING, Record
from sweep.study.sections.benchmarks import Benchmarks
from sweep.study.study import Study
from sweep.study.trial import Status, Trial
from trainers.benchmarks import catalogue, definitions, fetching

CLOZE_TOKENS = 48  # of a question: four continuations with their context
FORWARD = 3  # a training step takes about three times the work of its forward pass


@dataclass(frozen=True)
class PlannedTask:
    """One task: how many questions of it are asked, a trial's time for them, and the line that says what is missing.

    None is what is not known beforehand.
    """

    name: str
    group: str | None
    questions: int | None
    seconds: float | None
    missing: str | None


def asked(study: Study) -> list[PlannedTask]:
    """Every task of the study's benchmarks, in the order in which they run."""
    benchmarks = study.benchmarks
    if benchmarks is None:
        return []
    gone = fetching.missing(benchmarks)
    seconds = _seconds(study, catalogue.CLOZE_QUESTIONS, CLOZE_TOKENS, 0)
    rows = [
        PlannedTask(name, "cloze", catalogue.CLOZE_QUESTIONS, seconds, None) for name in catalogue.cloze(benchmarks)
    ]
    return rows + [_asked(study, name, gone.get(name)) for name in catalogue.harness_tasks(benchmarks)]


def _asked(study: Study, name: str, missing: str | None) -> PlannedTask:
    assert study.benchmarks
    known, limit = catalogue.BY_NAME.get(name), study.benchmarks.limit
    most = None if limit is None else limit * _subjects(study.benchmarks, name)
    if known is None:
        return PlannedTask(name, None, most, None, missing)
    questions = known.questions if most is None else min(most, known.questions)
    seconds = _seconds(study, questions, catalogue.TOKENS_PER_QUESTION, known.generated)
    return PlannedTask(name, known.group, questions, seconds, missing)


def _subjects(benchmarks: Benchmarks, name: str) -> int:
    """A limit is of each."""
    try:
        return len(definitions.leaves(benchmarks, name))
    except ValueError:
        return 1


def _seconds(study: Study, questions: int, tokens: int, generated: int) -> float | None:
    """Prompts at the speed of a forward pass, answers at that of training: an order of magnitude."""
    speed = study.resources.tokens_per_second
    return questions * (tokens / FORWARD + generated) / speed if speed else None


def plan(study: Study) -> RenderableType:
    """The part of `almr plan` on benchmarks; nothing where the study has none."""
    rows = _planned(study)
    if not rows:
        return Group()
    table = Table("benchmark", "group", "questions", "time a model, about", box=None, padding=(0, 2, 0, 0))
    for row in rows:
        time = "?" if row.seconds is None else clock(row.seconds)
        table.add_row(row.name, row.group or "", "?" if row.questions is None else f"{row.questions:,}", time)
    gone = [f"not here: {row.name}: {row.missing}" for row in rows if row.missing]
    if gone:
        gone.append("what is not here is fetched when the run starts, where its source can be reached; else not scored")
    return Group(Text(_head(study, rows)), table, *(Text(line, style="yellow") for line in gone))


def _head(study: Study, rows: list[PlannedTask]) -> str:
    assert study.benchmarks
    which = f"the best {study.benchmarks.finalists}" if study.benchmarks.when == "finalists" else "every trial"
    known = [row.seconds for row in rows if row.seconds is not None]
    total = f", about {clock(sum(known))} a model" if len(known) == len(rows) else ""
    return f"benchmarks: {len(rows)} tasks for {which} and the base model{total}"


def plan_json(study: Study) -> list[dict[str, Any]]:
    return [vars(row) for row in _planned(study)]


def _planned(study: Study) -> list[PlannedTask]:
    """Raises InputError for a task file of the user's own that is broken: a run says so and goes on without it."""
    if study.benchmarks:
        fetching.refuse_broken(study.benchmarks)
    return asked(study)


def unscored(study: Study, run: Run, trials: list[Trial]) -> list[Trial]:
    """Finished trials that lack a score which the study now asks for: of all, or of the best by their objective."""
    if study.benchmarks is None or study.replay:
        return []
    records = [record for trial in trials if (record := run.record(trial)) and record.status is Status.COMPLETE]
    wanted = records if study.benchmarks.when == "all" else _best(study, records)
    return [record.trial for record in wanted if _lacks(study, record)]


def _best(study: Study, records: list[Record]) -> list[Record]:
    assert study.benchmarks
    measured = [(value, record) for record in records if (value := study.objective.of_record(record)) is not None]
    return [record for _, record in sorted(measured, key=lambda pair: pair[0])[: study.benchmarks.finalists]]


def _lacks(study: Study, record: Record) -> bool:
    """What failed counts as scored: it is told, and not tried with every run."""
    assert study.benchmarks
    known = record.scores.keys() | record.score_failures.keys()
    if SCORING in known:
        return False
    return not set(catalogue.all_tasks(study.benchmarks)) <= known or _asked_otherwise(study.benchmarks, record)


def _asked_otherwise(benchmarks: Benchmarks, record: Record) -> bool:
    """Whether its questions were others: more, fewer, or after other examples. The embedded ones never change."""
    before = record.provenance.get("questions")
    return before is not None and before != benchmarks.questions and bool(catalogue.harness_tasks(benchmarks))
