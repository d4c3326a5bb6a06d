"""The files of a corpus: their paths, their kind, and the copy of a small corpus in the bundle."""

from __future__ import annotations

import shutil
from pathlib import Path

from analysis.launch.plan.source import LaunchCorpus
from sweep.study import InputError

COMPRESSED = (".gz", ".zst", ".bz2", ".xz")


def files(source: LaunchCorpus) -> tuple[str, ...]:
    """Raises InputError where the run did not record them."""
    if not source.facts.files:
        raise InputError(f"ingredients.json has no files of the {source.language} corpus: run the study again")
    return source.facts.files


def copied(source: LaunchCorpus, folder: Path) -> str:
    """Copy a small corpus into the bundle as one file; returns its name in the folder."""
    name, known = f"data/{source.language}.jsonl", files(source)
    (folder / "data").mkdir(exist_ok=True)
    with (folder / name).open("wb") as copy:
        for file in known:
            with open(file, "rb") as original:
                shutil.copyfileobj(original, copy)
    return name


def suffix(file: str) -> str:
    """The suffix in lower case, before that of a compression; empty where there is none."""
    return next((s.lower() for s in reversed(Path(file).suffixes) if s.lower() not in COMPRESSED), "")
