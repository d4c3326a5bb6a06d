"""The two studies of a comparison: the same few trials, each of another trainer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from sweep.study import InputError, Study, study_file
from sweep.study.fields import TrainerName
from sweep.study.sections.grid import Grid, Search
from sweep.study.sections.recipe.trainer import TrainerChoice
from sweep.study.sections.resources import Tracking

LEAST = 2  # trials: of one, nothing could be said of the scatter
LONGEST = 100  # letters of a study's name


def other(given: str) -> TrainerChoice:
    """The trainer that `--with` names: by its name, or as a study file states it. Raises InputError."""
    if given in get_args(TrainerName) and given != "command":
        return TrainerChoice.model_validate(given)
    if given == "command":
        raise InputError("--with command: name a study file whose trainer it is: its program is stated there")
    if not Path(given).is_file():
        names = ", ".join(name for name in get_args(TrainerName) if name != "command")
        raise InputError(f"--with {given}: no such trainer or study file; give one of {names}, or a file")
    return study_file.load(given).trainer


def of(study: Study, trainer: TrainerChoice, trials: int) -> tuple[Study, Study]:
    """The study's own trainer, and `trainer`, on the same trials. Raises InputError for one trainer twice."""
    if trainer == study.trainer:
        raise InputError(
            f"both trainers are {trainer.name}: name another, as --with llamafactory, or a study file that states it"
        )
    if trials < LEAST:
        raise InputError(f"--trials {trials}: write {LEAST} or more")
    names = study.trainer.name, trainer.name
    second = f"{names[1]}-2" if names[0] == names[1] else names[1]
    grid = chosen(study.grid, trials)
    return _side(study, study.trainer, names[0], grid), _side(study, trainer, second, grid)


def _side(study: Study, trainer: TrainerChoice, called: str, grid: Grid) -> Study:
    """Without what costs more than the losses at the full budget: horizons, benchmarks and kept models."""
    end = f"-compare-{called}"
    changed: dict[str, Any] = {
        "name": f"{study.name[: LONGEST - len(end)]}{end}",
        "trainer": trainer,
        "grid": grid,
        "search": Search(),
        "tracking": Tracking(),
        "keep": "none",
        "benchmarks": None,
        "training": study.training.model_copy(update={"horizons": ()}),
        "objective": study.objective.model_copy(update={"guards": study.objective.loss_guards}),
        "launch": study.launch if study.training.simulate_epochs else None,  # whose tokens it then needs
    }
    return study.model_copy(update=changed)


def chosen(grid: Grid, trials: int) -> Grid:
    """At most `trials` of the grid's points at its first seed: as many ALMRs as LRs, or fewer, in the middle of even
    parts of the range, so that the ends, where training diverges, are left out where they can be.
    """
    almrs, lrs = sorted(grid.almr), sorted(grid.lrs)
    few = min(math.isqrt(trials), len(almrs))
    wide = min(trials // few, len(lrs))
    few = min(trials // wide, len(almrs))
    return Grid(almr=even(almrs, few), lr=even(lrs, wide), seeds=grid.seeds[:1])


def even(values: Sequence[float], count: int) -> tuple[float, ...]:
    """`count` of the values, each the one in the middle of an even part of them."""
    last = len(values) - 1
    margin = min(last / (2 * count), (len(values) - count) / 2)
    step = (last - 2 * margin) / (count - 1) if count > 1 else 0.0
    start = margin if count > 1 else last / 2
    return tuple(values[math.ceil(start + i * step - 0.5)] for i in range(count))
