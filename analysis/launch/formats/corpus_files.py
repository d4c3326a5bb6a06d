"""A corpus' files in a bundle: which they are, of what kind, and the copy of a small one."""

from __future__ import annotations

import shutil
from pathlib import Path

from analysis.launch.plan.source import LaunchCorpus
from sweep.study.errors import InputError

COMPRESSED = (".gz", ".zst", ".bz2", ".xz")


def files(source: LaunchCorpus) -> tuple[str, ...]:
    """Raises InputError where the run does not know them."""
    if not source.facts.files:
        raise InputError(f"ingredients.json names no files of the {source.language} corpus: run the study again")
    return source.facts.files


def copied(source: LaunchCorpus, folder: Path) -> str:
    """A small corpus travels in the bundle, as one file; returns its name in the folder."""
    name, known = f"data/{source.language}.jsonl", files(source)
    (folder / "data").mkdir(exist_ok=True)
    with (folder / name).open("wb") as copy:
        for file in known:
            with open(file, "rb") as original:
                shutil.copyfileobj(original, copy)
    return name


def suffix(file: str) -> str:
    """In lower case, without that of a compression; empty where there is none."""
    return next((s.lower() for s in reversed(Path(file).suffixes) if s.lower() not in COMPRESSED), "")
