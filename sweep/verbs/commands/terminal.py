"""The two consoles of the command: results go to standard output, messages to standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console, RenderableType

out = Console(highlight=False, emoji=False)
err = Console(stderr=True, highlight=False, emoji=False)
REFUSED = 3  # the exit status of a fit whose winner the data do not support
INTERRUPTED = 130


def say(line: str) -> None:
    """Print a message on standard error."""
    err.print(f"almr: {line}", markup=False, soft_wrap=True)


def tell(lines: Iterable[str]) -> None:
    for line in lines:
        say(line)


def show(content: str | dict[str, Any] | list[Any] | RenderableType) -> None:
    """Print a result: text as it is, a dict or a list as JSON."""
    if isinstance(content, str):
        out.print(content, markup=False, soft_wrap=True)
    elif isinstance(content, dict | list):
        unicode = out.encoding.startswith("utf")
        sys.stdout.write(json.dumps(content, indent=2, ensure_ascii=not unicode) + "\n")
    else:
        out.print(content, soft_wrap=True)


@contextmanager
def interruptible(advice: str) -> Iterator[None]:
    """Turn Ctrl-C into one line of advice and an exit status of its own."""
    try:
        yield
    except KeyboardInterrupt:
        tell([f"interrupted; {advice}"])
        raise typer.Exit(INTERRUPTED) from None
