"""Hostile and absurd tables: refused in one line that names the file, in bounded time and memory, or read right."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import hostile_tables
import pytest

from analysis.table import too_few
from analysis.table.import_table import read_table
from sweep.study import InputError
from sweep.study.errors import LINE

SECONDS = 4.0  # of processor: other work on the machine does not count
MEGABYTES = 64  # of a bomb: twice what is read; one of a gigabyte is told the same


def message(path: Path) -> str | None:
    """The message that refuses a table, None where it is read."""
    began, told = time.process_time(), None
    try:
        too_few.refuse(read_table(path), path.name)
    except InputError as error:
        told = str(error)
    assert time.process_time() - began < SECONDS
    assert told is None or (told.startswith(str(path)) and told.isprintable() and len(told) < len(str(path)) + LINE)
    return told


def put(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize("kind", hostile_tables.BOMBS)
def test_a_bomb_is_refused_before_it_fills_the_memory(kind: str, tmp_path: Path) -> None:
    name, make, expected = hostile_tables.BOMBS[kind]
    path = put(tmp_path, name, make(MEGABYTES))
    tracemalloc.start()
    try:
        assert expected in str(message(path))
        assert tracemalloc.get_traced_memory()[1] < 150e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("case", hostile_tables.REFUSED)
def test_a_hostile_table_is_refused_with_the_reason(case: str, tmp_path: Path) -> None:
    name, make, expected = hostile_tables.REFUSED[case]
    assert expected in str(message(put(tmp_path, name, make())))


@pytest.mark.parametrize("case", hostile_tables.READ)
def test_an_unusual_table_is_read(case: str, tmp_path: Path) -> None:
    name, make = hostile_tables.READ[case]
    assert message(put(tmp_path, name, make())) is None


@pytest.mark.parametrize(
    ("make", "expected"),
    [(Path.mkdir, "a directory"), (lambda path: path.symlink_to(path), "a link that leads nowhere")],
)
def test_what_is_no_file_is_said(make: Callable[[Path], None], expected: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    make(path)
    assert expected in str(message(path))
