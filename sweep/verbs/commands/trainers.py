"""The verb group `trainer`: `check`, and `compare`, the same few trials by two trainers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import pydantic
import typer
from rich.console import Console

from sweep.store.run import Run
from sweep.study import InputError, Study, numbers, study_file
from sweep.study.errors import explain
from sweep.study.sections.recipe.trainer import TrainerChoice
from sweep.verbs.commands.terminal import REFUSED, err, interruptible, out, show
from sweep.verbs.options import RUNS, Address, AsJson, Runs, StudyName

DEFAULT = "demo"
JSON, PAGE = "comparison.json", "comparison.md"


def check(
    command: Annotated[
        list[str] | None, typer.Argument(metavar="CMD", help="Program and arguments.  [default: the study's]")
    ] = None,
    study: Annotated[
        str, typer.Option("--study", metavar="STUDY", help="Its model, text and recipe are used.")
    ] = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Try whether a program trains as asked. Exit status 3: it does not."""
    loaded = study_file.load(study)
    chosen = _program(loaded.trainer, command or [])
    with interruptible("run the same command again"):
        from sweep.external.command import check as checking
        from sweep.external.runs import start
        from sweep.verbs.plan import phases
        from trainers import prepare

        if lost := start.of_choice(chosen).why_not:
            raise InputError(lost)
        short = checking.short_study(loaded)
        with phases.shown(err if as_json else out) as progress:
            made = prepare.prepare(short, progress)
        with err.status("checking") as status:
            done = checking.check(short, chosen, made, lambda text: status.update(text))
    show(done.as_json() if as_json else done.text)
    raise typer.Exit(0 if done.holds else REFUSED)


def _program(own: TrainerChoice, words: list[str]) -> TrainerChoice:
    """The program of the command line, in the environment of the study's; without one, the study's own."""
    if not words and own.name != "command":
        raise InputError("which program? write its command, such as: almr trainer check python train.py")
    if not words:
        return own
    content = own.model_dump() if own.name == "command" else {}
    given = words[0] if len(words) == 1 and not Path(words[0]).is_file() else words
    try:
        chosen = TrainerChoice.model_validate(content | {"name": "command", "command": given})
    except pydantic.ValidationError as error:
        raise InputError(f"CMD: {explain(error, TrainerChoice)[0]}") from None
    return chosen.beside(Path())


def compare(
    study: StudyName,
    other: Annotated[
        str, typer.Option("--with", metavar="TRAINER", help="Its name, or a study file that states it.")
    ] = "native",
    trials: Annotated[int, typer.Option(min=2, metavar="N", help="Most trials of each trainer.")] = 9,
    bound: Annotated[
        float | None, typer.Option(metavar="NATS", help="Most that two losses may differ.  [default: the noise]")
    ] = None,
    runs: Runs = RUNS,
    address: Address = None,
    as_json: AsJson = False,
) -> None:
    """Train a few trials with two trainers: do they agree?

    Exit status 3: they do not. Run it again to resume: each trainer has a run of its own.
    """
    from sweep.external.compare import compare as comparing
    from sweep.external.compare import sides, text
    from sweep.external.compare.compare import ComparedRun

    if bound is not None and not 0 < bound < math.inf:
        raise InputError(f"--bound {bound:g}: write a number of nats above 0")
    loaded = study_file.load(study)
    both, console = sides.of(loaded, sides.other(other), trials), err if as_json else out
    _announce(both, console)
    places = [Run.within(runs, one.name) for one in both]
    _train(both, places, console, address)
    with console.status("comparing"):
        done = [ComparedRun.of(one, place) for one, place in zip(both, places, strict=True)]
        found = comparing.compare(loaded, done, _own(runs, loaded), bound)
    _write(places[0], {JSON: found.model_dump_json(indent=2), PAGE: text.page(found, loaded.language_name)})
    content = found.model_dump(mode="json") | {"agree": found.agree}
    lines = ["", *text.table(found, loaded.language_name), "", *text.lines(found, loaded.language_name)]
    show(content if as_json else "\n".join([*lines, f"page: {places[0].address}/{PAGE}"]))
    raise typer.Exit(0 if found.agree else REFUSED)


def _train(both: tuple[Study, Study], places: list[Run], console: Console, address: str | None) -> None:
    from sweep.external import outlook
    from sweep.verbs.running import run as sweep_run
    from trainers.trials import recorded

    for one in both:  # before the first is trained
        outlook.refuse_missing(one)
        recorded.refuse_unstated_trainer(one)
    with interruptible("finished trials are kept; run the same command again to resume"):
        for one, place in zip(both, places, strict=True):
            sweep_run.grid(one, place, console, address)


def _announce(both: tuple[Study, Study], console: Console) -> None:
    grid = both[0].grid
    almrs, lrs = ", ".join(map(numbers.almr, grid.almr)), ", ".join(map(numbers.lr, grid.lrs))
    console.print(
        f"{both[0].trainer.name} and {both[1].trainer.name}: {len(grid.points)} trials each, ALMR {almrs} x LR {lrs}, "
        f"seed {grid.seeds[0]}",
        soft_wrap=True,
    )


def _write(run: Run, files: dict[str, str]) -> None:
    for name, text in files.items():
        run.write(run.folder / name, text)
    run.share()


def _own(runs: str, study: Study) -> Run | None:
    """The study's own run; None where it has none."""
    own = Run.within(runs, study.name)
    return own if own.files.study.is_file() else None
