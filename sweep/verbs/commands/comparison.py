"""The verb `trainer compare`: the same few trials by two trainers."""

from __future__ import annotations

import math
from typing import Annotated

import typer
from rich.console import Console

from sweep.store.run import Run
from sweep.study import InputError, Study, numbers, study_file
from sweep.verbs.commands.terminal import REFUSED, err, interruptible, out, show
from sweep.verbs.options import RUNS, Address, AsJson, Runs, StudyName

JSON, PAGE = "comparison.json", "comparison.md"


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
    from sweep.verbs import run as sweep_run
    from trainers import recorded

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
