"""What `almr scores` asks: the questions of the command line, or those of a study."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pydantic
from rich.console import Console

from sweep.store.run import Run
from sweep.study import InputError, Study, preparation, study_file
from sweep.study.errors import explain
from sweep.study.sections.benchmarks import Benchmarks
from sweep.verbs.plan import phases
from trainers import prepare
from trainers.benchmarks.harness import Prompting
from trainers.benchmarks.models import checkpoint
from trainers.benchmarks.models.asked import Asked, HeldOutSource

PRECISIONS = ("float32", "bfloat16")
NO_QUESTIONS = "which questions? give --suite embedded or almr, --tasks, or --study with a section benchmarks"


@dataclass(frozen=True)
class How:
    """How models are asked, as the user states it. None: by what there is."""

    chat: bool = False
    temperature: float = 0.0
    max_tokens: int | None = None
    precision: str | None = None
    device: str | None = None

    def prompting(self) -> Prompting:
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise InputError(f"--temperature {self.temperature:g}: write 0 for greedy answers, or a number above 0")
        if self.max_tokens is not None and self.max_tokens < 1:
            raise InputError(f"--max-tokens {self.max_tokens}: write a whole number from 1 on")
        return Prompting(self.chat, self.temperature, self.max_tokens)


def asked(benchmarks: Benchmarks, text: HeldOutSource | None = None, how: How = How()) -> Asked:
    """`text` is needed where the suite is `embedded`. Raises InputError for a device or precision that is none."""
    device = checkpoint.place(how.device)
    precision = how.precision or ("float32" if device == "cpu" else "bfloat16")
    if precision not in PRECISIONS:
        raise InputError(f"--precision {precision}: write {' or '.join(PRECISIONS)}")
    return Asked(benchmarks, how.prompting(), precision, device, text)


def benchmarks(given: dict[str, Any], study: Study | None) -> Benchmarks:
    """The options that are given, over those of the study. Raises InputError, naming the option."""
    own = study.benchmarks.model_dump(mode="json", exclude_none=True) if study and study.benchmarks else {}
    stated = {name: value for name, value in given.items() if value is not None and value is not False and value != []}
    if stated.get("suite") or stated.get("tasks"):  # these questions, in place of the study's
        own = {name: value for name, value in own.items() if name not in ("suite", "tasks")}
    try:
        return Benchmarks.model_validate(own | stated)
    except pydantic.ValidationError as error:
        if not (own | stated).keys() & {"suite", "tasks"}:
            raise InputError(NO_QUESTIONS) from None
        lines = explain(error, Benchmarks)
        raise InputError("\n".join(f"--{line.replace('_', '-', 1)}" for line in lines)) from None


def held_out(study: Study, console: Console) -> HeldOutSource:
    """The held-out text of a study, prepared where it is not yet. Raises InputError as `almr prepare`."""
    if study.replay:
        raise InputError(f"study {study.name}: a replayed study has no text: name the one that was trained")
    ready = preparation.state(study).ready
    if ready:
        return HeldOutSource(study, ready.ingredients)
    with phases.shown(console) as progress:
        return HeldOutSource(study, prepare.prepare(study, progress))


def of_run(run: Run) -> HeldOutSource:
    """The held-out text that a run's trials are measured on. Raises InputError where they never read any."""
    study, made = run.study(), run.ingredients()
    if made is None:
        raise InputError(f"{run.shown(run.files.ingredients)}: does not exist: run the study first")
    return HeldOutSource(study, made)


def study_of(name: str) -> Study:
    return study_file.load(name)
