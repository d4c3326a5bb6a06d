"""The data of a task: a local copy in the study's `data` folder, or one that was fetched into the cache.

A local copy of `cmmlu` is a folder `cmmlu`. For the split `test` of the subject `anatomy` it holds one of test/anatomy,
anatomy/test, test/anatomy_test or anatomy_test (for a task without subjects: test), as .parquet, .jsonl, .json or .csv.
A copy of a Hugging Face repository has this form.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweep.study.files import cache, stamps
from sweep.study.sections.benchmarks import Benchmarks
from sweep.study.study import fingerprint_of
from trainers.benchmarks import catalogue
from trainers.benchmarks.definitions import TaskDefinition

BUILDERS = {".parquet": "parquet", ".jsonl": "json", ".json": "json", ".csv": "csv"}


@dataclass(frozen=True)
class TaskData:
    """The data of one task: the builder of `datasets` that reads them (\"\": none), and the files of each split."""

    builder: str
    splits: dict[str, list[str]]


def locate(benchmarks: Benchmarks, name: str, leaf: TaskDefinition) -> TaskData | None:
    """The data of one of the tasks that `name` defines; None where they are not on this machine."""
    if "data_files" in (leaf.config.get("dataset_kwargs") or {}):
        return TaskData("", {})  # the task file names its files
    folders = [*_local(benchmarks, name, leaf), fetched(leaf)]
    if leaf.published:
        return _published(leaf, folders)
    for folder in folders:
        splits = {split: _files(folder, leaf, split) for split in leaf.splits(benchmarks.shots)}
        if all(splits.values()):
            first = next(iter(splits.values()))
            return TaskData(BUILDERS[Path(first[0]).suffix], splits)
    return None


def files(benchmarks: Benchmarks, name: str, leaf: TaskDefinition) -> list[Path]:
    """The files on this machine that the questions are read from: those that are found, or that the task file names."""
    located = locate(benchmarks, name, leaf)
    if located is None or located.splits:
        return [Path(path) for split in (located.splits if located else {}).values() for path in split]
    options = leaf.config["dataset_kwargs"]
    folder = str(options.get("data_dir") or "")
    patterns = (os.path.join(folder, pattern) for pattern in _texts(options["data_files"]))
    return [Path(path) for pattern in patterns for path in sorted(glob.glob(pattern, recursive=True))]


def _texts(value: Any) -> Iterator[str]:
    """All texts in lists and mappings of them."""
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ():
        yield from _texts(part)
    if isinstance(value, str):
        yield value


def fetched(leaf: TaskDefinition) -> Path:
    """The folder in the cache for the fetched data of a task: of a folder of the user's, for its files as they are."""
    source, options = leaf.config.get("dataset_path"), _options(leaf)
    key = [source, leaf.subset, *([repr(options)] if options else [])]
    if source and Path(source).is_dir():
        key += [stamps.stamped(stamps.inside(source))]
    return cache.root() / "benchmarks" / fingerprint_of(key)


def _options(leaf: TaskDefinition) -> dict[str, Any]:
    """What the task file has `datasets` called with, such as a revision; code of a data set is never run, and all of it
    is fetched.
    """
    stated = leaf.config.get("dataset_kwargs") or {}
    return {name: value for name, value in stated.items() if name not in ("trust_remote_code", "streaming")}


def downloads(leaf: TaskDefinition) -> list[str]:
    """What `datasets` keeps of a task's data, outside of our cache."""
    import datasets
    from huggingface_hub import constants

    source = str(leaf.config.get("dataset_path") or "")
    copies = Path(datasets.config.HF_DATASETS_CACHE) / source.replace("/", "___")
    files = Path(constants.HF_HUB_CACHE) / f"datasets--{source.replace('/', '--')}"
    return [str(folder) for folder in (files, copies) if source and folder.is_dir()]


def fetch(leaf: TaskDefinition) -> None:
    """Fetch a task's published data into the cache. Raises whatever `datasets` raises."""
    import datasets

    from trainers.data.readers import arrow_json

    arrow_json.install()

    def build(folder: Path) -> None:
        rows = datasets.load_dataset(str(leaf.config["dataset_path"]), leaf.subset, **_options(leaf))
        for split in rows:
            rows[split].to_parquet(str(folder / f"{split}.parquet"))

    if not leaf.published:
        cache.build_once(fetched(leaf), build)


def missing(benchmarks: Benchmarks, name: str, leaf: TaskDefinition) -> str:
    """One line that names the missing files and the folder to place them in."""
    entry = catalogue.known(name)
    where = Path(benchmarks.data or "DATA") / (entry.name if entry else name)
    source = entry.source if entry else str(leaf.config.get("dataset_path"))
    of = "" if source in BUILDERS.values() else f" of {source}"  # a task file of the user's own may name no source
    files = " and ".join(leaf.published) or f"{f'{leaf.subset}/' if leaf.subset else ''}{leaf.question_split}.jsonl"
    stated = "" if benchmarks.data else " and state benchmarks.data: DATA"
    return f"data of {leaf.name} are missing: place {files}{of} in {where}/{stated}"


def _local(benchmarks: Benchmarks, name: str, leaf: TaskDefinition) -> list[Path]:
    if benchmarks.data is None:
        return []
    entry, root = catalogue.known(leaf.name), Path(benchmarks.data)
    folders = [root / leaf.name, root / name, root / name / leaf.name]
    if entry:
        folders += [root / entry.name, root / entry.name / leaf.name]
    source = str(leaf.config.get("dataset_path") or "")
    return list(dict.fromkeys([*folders, *([root / os.path.basename(source)] if source else [])]))


def _files(folder: Path, leaf: TaskDefinition, split: str) -> list[str]:
    """The files of a split, all of one format; empty where there are none."""
    subset = leaf.subset
    stems = [split, f"*/{split}"] if subset is None or folder.name in (leaf.name, fetched(leaf).name) else []
    if subset:
        stems = [f"{subset}/{split}", f"{split}/{subset}", f"{split}/{subset}_{split}", f"{subset}_{split}", *stems]
    patterns = (f"{stem}{end}{suffix}" for stem in stems for suffix in BUILDERS for end in ("", "-*"))
    return next((found for p in patterns if (found := sorted(map(str, folder.glob(p))))), [])


def _published(leaf: TaskDefinition, folders: list[Path]) -> TaskData | None:
    """The data of our own task, where a folder holds all files under the names that they are published as."""
    for folder in folders:
        if all((folder / name).is_file() for name in leaf.published):
            return TaskData("", {leaf.question_split: [str(folder / name) for name in leaf.published]})
    return None


def override(leaf: TaskDefinition, files: TaskData, shots: int | None) -> dict[str, Any]:
    """The fields to change in the task file so that the task reads these files and no others."""
    if not files.splits:
        return {}
    if not files.builder:
        return {"dataset_kwargs": {"data_files": files.splits[leaf.question_split]}}
    read = {"dataset_path": files.builder, "dataset_name": None, "dataset_kwargs": {"data_files": files.splits}}
    fields = ("training_split", "validation_split", "test_split", "fewshot_split")
    gone = {field: None for field in fields if leaf.config.get(field) not in (None, *files.splits)}
    if not leaf.shots(shots):
        gone |= {"fewshot_config": None}
    return read | gone
