"""The verb group `trainer`: `check`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pydantic
import typer

from sweep.study import InputError, study_file
from sweep.study.errors import explain
from sweep.study.sections.trainer import TrainerChoice
from sweep.verbs.commands.terminal import REFUSED, err, interruptible, out, show
from sweep.verbs.options import AsJson

DEFAULT = "demo"


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
