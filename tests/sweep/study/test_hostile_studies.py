"""Hostile and absurd studies: refused within two seconds in one short message that names the file, or read right."""

from __future__ import annotations

import os
import time
from pathlib import Path

import hostile_studies
import pytest

from sweep.study import InputError, study_file
from sweep.study.errors import LINE, MOST_LINES

SECONDS = 2.0  # of processor: other work on the machine does not count


def put(folder: Path, content: str | bytes) -> Path:
    path = folder / "study.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    return path


def message(path: Path) -> str | None:
    """The message that refuses a study, None where it is read."""
    began, told = time.process_time(), None
    try:
        study_file.load(path)
    except InputError as error:
        told = str(error)
    assert time.process_time() - began < SECONDS
    lines = told.splitlines() if told else []
    assert len(lines) <= MOST_LINES
    assert all(line.startswith(str(path)) and line.isprintable() for line in lines)
    assert all(len(line) <= len(str(path)) + LINE for line in lines)
    return told


@pytest.mark.parametrize("name", hostile_studies.REFUSED)
def test_a_hostile_study_is_refused_with_the_reason(name: str, tmp_path: Path) -> None:
    make, expected = hostile_studies.REFUSED[name]
    assert expected in str(message(put(tmp_path, make())))


@pytest.mark.parametrize("name", hostile_studies.READ)
def test_an_unusual_study_is_read(name: str, tmp_path: Path) -> None:
    assert message(put(tmp_path, hostile_studies.READ[name]())) is None


def test_odd_values_are_read_or_refused(tmp_path: Path) -> None:
    refused = [message(put(tmp_path, text)) for text in hostile_studies.odd_values()]
    assert 100 < sum(one is not None for one in refused) < len(refused)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("folder", "a directory"), ("link", "leads nowhere"), ("pipe", "no regular"), ("zero", "no reg")],
)
def test_what_is_no_file_is_refused_and_not_waited_for(kind: str, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    {
        "folder": path.mkdir,
        "link": lambda: path.symlink_to(path),
        "pipe": lambda: os.mkfifo(path),
        "zero": lambda: path.symlink_to("/dev/zero"),
    }[kind]()
    assert expected in str(message(path))
