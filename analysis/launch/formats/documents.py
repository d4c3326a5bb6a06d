"""The files of the corpora, and the corpora as arguments of `datasets.load_dataset`, which most formats read."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from analysis.launch.plan.launch_plan import LaunchPlan
from analysis.launch.plan.source import LaunchCorpus
from sweep.study import InputError
from sweep.study.files import patterns

BUILDERS = {".jsonl": "json", ".json": "json", ".parquet": "parquet", ".txt": "text"}


def sources(plan: LaunchPlan, folder: Path) -> dict[str, dict[str, Any]]:
    """{name: {"load": arguments of load_dataset, "field": column of the text}} for the corpora in use.

    A small (embedded) corpus is copied into the folder and named relative to it.
    """
    return {source.name: {"load": _arguments(source, folder), "field": source.field} for source in plan.used}


def held_out(plan: LaunchPlan) -> dict[str, dict[str, Any]]:
    load = {"path": "json", "split": "train"}
    return {
        name: {"load": load | {"data_files": [file]}, "field": "text"} for name, file in plan.evaluation_files.items()
    }


def _arguments(source: LaunchCorpus, folder: Path) -> dict[str, Any]:
    spec = source.spec
    if spec.dataset and not source.rewritten:
        named = {"name": spec.config, "revision": spec.revision}
        return {"path": spec.dataset, "split": spec.split} | {k: v for k, v in named.items() if v}
    files = [copied(source, folder)] if spec.embedded else paths(source)
    builders = {_builder(file, source.name) for file in files}
    if len(builders) > 1:
        raise InputError(f"corpora.{source.name}.files: several kinds ({', '.join(sorted(builders))}): give one kind")
    encoding = {} if source.rewritten or builders == {"parquet"} else {"encoding": spec.encoding}
    if encoding.get("encoding", "utf-8").lower().replace("-", "") == "utf8":
        encoding = {}
    return {"path": builders.pop(), "data_files": files, "split": "train"} | encoding


def _builder(file: str, name: str) -> str:
    kind = patterns.suffix(file)
    if kind not in BUILDERS:
        raise InputError(f"corpora.{name}.files: no trainer reads {file}: give {', '.join(BUILDERS)}")
    return BUILDERS[kind]


def paths(source: LaunchCorpus) -> list[str]:
    """The absolute paths of a corpus' files. Raises InputError where the run did not record them."""
    if not source.facts.files:
        raise InputError(f"ingredients.json has no files of the {source.name} corpus: run the study again")
    return [os.path.abspath(file) for file in source.facts.files]


def copied(source: LaunchCorpus, folder: Path) -> str:
    """Copy a small corpus into the bundle as one file; returns its name in the folder."""
    name, known = f"data/{source.name}.jsonl", paths(source)
    (folder / "data").mkdir(exist_ok=True)
    with (folder / name).open("wb") as copy:
        for file in known:
            with open(file, "rb") as original:
                shutil.copyfileobj(original, copy)
    return name
