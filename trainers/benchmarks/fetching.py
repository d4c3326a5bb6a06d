"""Fetching the data of the benchmarks into the cache, before the sweep starts."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator

from sweep.study import InputError
from sweep.study.errors import network_fault
from sweep.study.files import disk
from sweep.study.sections.benchmarks import Benchmarks
from trainers.benchmarks import catalogue, definitions, outcome, task_data
from trainers.benchmarks.definitions import TaskDefinition
from trainers.benchmarks.task_files import BrokenTaskError


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence huggingface_hub's warnings: `missing` reports the same in one line."""
    log = logging.getLogger("huggingface_hub")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)


@_quiet()
def fetch_all(benchmarks: Benchmarks, progress: Callable[[str, float | None], None]) -> None:
    """Fetch all data without a local copy. Tasks whose data cannot be fetched are not scored, see `missing`."""
    given_up: set[str] = set()
    for name in catalogue.harness_tasks(benchmarks):
        for leaf in _to_fetch(benchmarks, name):
            source = str(leaf.config.get("dataset_path"))
            if source in given_up:
                continue
            progress(f"fetching the data of {name}", None)
            try:
                task_data.fetch(leaf)
            except Exception as error:  # whatever `datasets` and the network raise
                if disk.fault(error, ""):
                    raise
                if network_fault(error):
                    return  # the hub cannot be reached: each further task would wait for its time-out too
                given_up.add(source)


def _to_fetch(benchmarks: Benchmarks, name: str) -> list[TaskDefinition]:
    """The tasks without data; none for a name that cannot be found or read, for which `missing` gives the reason."""
    try:
        return _not_here(benchmarks, name)
    except Exception:  # whatever the user's own task file causes
        return []


def folders(benchmarks: Benchmarks) -> list[str]:
    """The folders in the cache with the fetched data of all tasks."""
    return [str(folder) for leaf in _readable(benchmarks) if (folder := task_data.fetched(leaf)).is_dir()]


def downloads(benchmarks: Benchmarks) -> list[str]:
    """The folders of huggingface_hub and `datasets` that the data of all tasks were fetched through."""
    return [path for leaf in _readable(benchmarks) for path in task_data.downloads(leaf)]


def _readable(benchmarks: Benchmarks) -> Iterator[TaskDefinition]:
    """Every task that can be found and read; `missing` has the reason for the others."""
    for name in catalogue.harness_tasks(benchmarks):
        with contextlib.suppress(Exception):  # whatever the user's own task file causes
            yield from definitions.leaves(benchmarks, name)


def missing(benchmarks: Benchmarks) -> dict[str, str]:
    """For every task that cannot be scored on this machine now, one line with the reason and what to do."""
    found = {}
    for name in catalogue.harness_tasks(benchmarks):
        try:
            absent = _not_here(benchmarks, name)
        except Exception as error:  # whatever the user's own task file causes
            found[name] = outcome.one_line(error)
            continue
        if absent:
            others = f" (and of {len(absent) - 1} more)" if len(absent) > 1 else ""
            found[name] = task_data.missing(benchmarks, name, absent[0]) + others
    return found


def refuse_broken(benchmarks: Benchmarks) -> None:
    """Raises InputError with a line for each task that is faulty in the user's own task files."""
    own, lines = benchmarks.include, []
    for name in catalogue.harness_tasks(benchmarks) if own else ():
        try:
            definitions.leaves(benchmarks, name)
        except BrokenTaskError as error:
            if error.path.is_relative_to(own or ""):
                lines.append(f"benchmarks.tasks: {name}: {error}")
        except ValueError:  # reported by `missing`
            continue
    if lines:
        raise InputError("\n".join(lines))


def _not_here(benchmarks: Benchmarks, name: str) -> list[TaskDefinition]:
    return [leaf for leaf in definitions.leaves(benchmarks, name) if task_data.locate(benchmarks, name, leaf) is None]
