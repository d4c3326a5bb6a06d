"""The confirmation runs in a bundle: their plan, the table to fill in, and the launch's files at each LR."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from analysis.launch.confirm.plan import ConfirmPlan
from analysis.launch.plan.estimate import HOUR
from analysis.launch.plan.launch_plan import DATA, LaunchPlan
from sweep.study.files import disk

FOLDER = "confirm"


def write(
    confirm: ConfirmPlan,
    plan: LaunchPlan,
    folder: Path,
    formats: tuple[str, ...],
    write_format: Callable[[LaunchPlan, str, Path], object],
) -> None:
    """Write plan.json, the table to fill in and, for each LR and format, the launch's files with that LR and budget.

    A run's folder lies beside the launch's, so that relative paths in its files lead to the same places.
    """
    (folder / FOLDER).mkdir()
    disk.written(folder / FOLDER / "plan.json", confirm.model_dump_json(indent=2) + "\n")
    disk.written(folder / FOLDER / "results-template.csv", template(confirm, plan))
    for name in formats:
        for where, run in runs(confirm, plan, name):
            write_format(run, name, folder / where)


def runs(confirm: ConfirmPlan, plan: LaunchPlan, name: str) -> Iterator[tuple[str, LaunchPlan]]:
    """The folder and the plan of each confirmation run of a format."""
    hours = confirm.steps * (plan.target.step_seconds or 0) / HOUR
    brief = plan.launch.model_copy(update={"tokens": confirm.tokens, "checkpoints": max(1, math.ceil(hours))})
    data, held_out = f"../{name}/{DATA}", replace(plan.held_out, beside=f"../{name}/")
    for i, lr in enumerate(confirm.lrs):
        run = replace(plan, launch=brief, lr=lr, data=data, held_out=held_out, newest_only=True)
        yield f"{FOLDER}-{i + 1}-{name}", run


def template(confirm: ConfirmPlan, plan: LaunchPlan) -> str:
    """results-template.csv: a row for each confirmation run, without its status and losses."""
    empty = [""] * (len(confirm.columns) - 2)
    rows = [confirm.columns, *((repr(lr), str(plan.seed), *empty) for lr in confirm.lrs)]
    return "".join(f"{','.join(row)}\n" for row in rows)
