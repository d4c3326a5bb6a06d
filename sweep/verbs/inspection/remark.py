"""A remark on a file of a run, in one line that names the file and what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from sweep.study import InputError
from sweep.study.errors import one_line


class Remark(NamedTuple):
    """`damaged`: the file is not as the product wrote it; else it is whole, and worth knowing."""

    path: Path
    text: str
    damaged: bool = True


def of_reading(path: Path, read: Callable[[Path], Any]) -> Iterator[Remark]:
    """What `read` says of a file that it refuses; nothing of one that it reads, or that is not there."""
    try:
        read(path)
    except FileNotFoundError:
        return
    except InputError as error:
        text = str(error).splitlines()[0]
        yield Remark(path, text.removeprefix(f"{path}").removeprefix(":").strip())
    except OSError as error:
        yield Remark(path, f"{error.strerror or one_line(error)}: correct it, or restore the file")
