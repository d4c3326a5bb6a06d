"""The two consoles of the command: results go to standard output, messages and errors to standard error."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import typer
from rich.console import Console, RenderableType

from sweep.store.interruption import INTERRUPTED
from sweep.study import InputError
from sweep.study.errors import bounded, one_line, visible
from sweep.study.numbers import json_text
from sweep.verbs.commands import system_errors

out = Console(highlight=False, emoji=False)
err = Console(stderr=True, highlight=False, emoji=False)
REFUSED = 3  # the exit status of a fit whose winner the data do not support
BAD_INPUT = 2
INTERNAL = 70  # EX_SOFTWARE of sysexits.h
PREFIX = "almr: "
UsageError: Any = typer.BadParameter.__base__  # of click, or of the copy of it in newer versions of typer


def say(line: str) -> None:
    """Print a message on standard error."""
    err.print(f"{PREFIX}{visible(line)}", markup=False, soft_wrap=True)


def tell(lines: Iterable[str]) -> None:
    for line in lines:
        say(line)


def show(content: str | dict[str, Any] | list[Any] | RenderableType) -> None:
    """Print a result: text as it is, a dict or a list as JSON."""
    if isinstance(content, str):
        out.print(visible(content), markup=False, soft_wrap=True)
    elif isinstance(content, dict | list):
        unicode = out.encoding.startswith("utf")
        sys.stdout.write(json_text(content, indent=2, ensure_ascii=not unicode) + "\n")
    else:
        out.print(content, soft_wrap=True)


@contextmanager
def interruptible(advice: str) -> Iterator[None]:
    """Turn Ctrl-C into one line of advice and an exit status of its own."""
    try:
        yield
    except KeyboardInterrupt:
        tell([f"interrupted; {advice}"])
        sys.exit(INTERRUPTED)


class Explanation(NamedTuple):
    lines: list[str]
    status: int


def explain(error: Exception) -> Explanation:
    lines, status = _explained(error)
    return Explanation([bounded(visible(line), len(PREFIX)) for line in lines], status)


def _explained(error: Exception) -> Explanation:
    if _working_directory_is_gone():
        return Explanation(["the working directory was deleted: change to another one and try again"], BAD_INPUT)
    if isinstance(error, InputError):
        return Explanation(str(error).splitlines(), BAD_INPUT)
    if isinstance(error, OSError):
        return Explanation([system_errors.line(error)], BAD_INPUT)
    if isinstance(error, MemoryError):
        return Explanation([system_errors.no_memory()], BAD_INPUT)
    if isinstance(error, UsageError):
        return Explanation([_usage(error)], BAD_INPUT)
    if isinstance(error, typer.Abort):
        return Explanation(["interrupted; run the same command again"], INTERRUPTED)
    what = f"internal error: {type(error).__name__}: {one_line(error)}"
    return Explanation([f"{what}; run again with --debug for the traceback and report it"], INTERNAL)


def _usage(error: Any) -> str:
    """What is wrong with the words of a command line, and where its help is."""
    said = " ".join(error.format_message().split()).rstrip(".")
    path = error.ctx.command_path if error.ctx else "almr"
    return f"{said}{'' if said.endswith('?') else '.'} Help: {path} --help"


def is_help(error: Exception) -> bool:
    """Whether it is the help, which is given where no verb is named."""
    return type(error).__name__ == "NoArgsIsHelpError"


def _working_directory_is_gone() -> bool:
    try:
        os.getcwd()
    except FileNotFoundError:
        return True
    return False
