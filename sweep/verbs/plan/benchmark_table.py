"""The benchmarks of a plan as a table."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sweep.planning import scoring
from sweep.study import Study
from sweep.study.numbers import clock


def benchmark_table(study: Study) -> RenderableType:
    """One row per task, then the tasks without data; empty where the study has no benchmarks."""
    tasks = scoring.planned(study)
    if not tasks:
        return Group()
    table = Table("benchmark", "group", "questions", "time per model, about", box=None, padding=(0, 2, 0, 0))
    for task in tasks:
        time = "?" if task.seconds is None else clock(task.seconds)
        table.add_row(task.name, task.group or "", "?" if task.questions is None else f"{task.questions:,}", time)
    missing = [f"no data yet: {task.name}: {task.missing}" for task in tasks if task.missing]
    if missing:
        missing.append("the run downloads missing data when it starts; a task without data gets no score")
    return Group(Text(_head(study, tasks)), table, *(Text(line, style="yellow") for line in missing))


def _head(study: Study, tasks: list[scoring.PlannedTask]) -> str:
    assert study.benchmarks
    which = f"the best {study.benchmarks.finalists} trials" if study.benchmarks.when == "finalists" else "every trial"
    known = [task.seconds for task in tasks if task.seconds is not None]
    total = f", about {clock(sum(known))} per model" if len(known) == len(tasks) else ""
    return f"benchmarks: {len(tasks)} tasks for {which} and the base model{total}"
