"""Data of the benchmarks before the sweep starts: what is published and can be reached is fetched into the cache."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator

from sweep.study.errors import InputError
from sweep.study.sections.benchmarks import Benchmarks
from trainers.benchmarks import catalogue, definitions, outcome, task_data
from trainers.benchmarks.definitions import TaskDefinition
from trainers.benchmarks.task_files import BrokenTaskError


def fetch_all(benchmarks: Benchmarks, progress: Callable[[str, float | None], None]) -> None:
    """Fetch what no local copy holds. What cannot be had is left: `missing` says so, trials are scored without."""
    with _quiet():
        _fetch_all(benchmarks, progress)


def _fetch_all(benchmarks: Benchmarks, progress: Callable[[str, float | None], None]) -> None:
    given_up: set[str] = set()
    for name in catalogue.asked(benchmarks):
        for leaf in _to_fetch(benchmarks, name):
            source = str(leaf.config.get("dataset_path"))
            if source in given_up:
                continue
            progress(f"fetching the data of {name}", None)
            try:
                task_data.fetch(benchmarks, leaf)
            except ConnectionError:
                return  # no hub in reach: every other one would be waited for too
            except Exception:  # whatever `datasets` and the network raise
                given_up.add(source)


def _to_fetch(benchmarks: Benchmarks, name: str) -> list[TaskDefinition]:
    """None of a task that cannot be found or read: `missing` says why, and nothing else is to be lost for it."""
    try:
        return _not_here(benchmarks, name)
    except Exception:  # whatever a task file of the user's own leads to
        return []


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The hub's own words on what it cannot reach: `missing` says it in one line."""
    log = logging.getLogger("huggingface_hub")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)


def missing(benchmarks: Benchmarks) -> dict[str, str]:
    """Of every task that cannot be scored on this machine as it stands, one line: why, and what to do."""
    found = {}
    for name in catalogue.asked(benchmarks):
        try:
            gone = _not_here(benchmarks, name)
        except Exception as error:  # whatever a task file of the user's own leads to
            found[name] = outcome.one_line(error)
            continue
        if gone:
            others = f" (and of {len(gone) - 1} more)" if len(gone) > 1 else ""
            found[name] = task_data.missing(benchmarks, name, gone[0]) + others
    return found


def refuse_broken(benchmarks: Benchmarks) -> None:
    """Raises InputError with a line for each task that a file of the user's own keeps from being one."""
    own, lines = benchmarks.include, []
    for name in catalogue.asked(benchmarks) if own else ():
        try:
            definitions.leaves(benchmarks, name)
        except BrokenTaskError as error:
            if error.path.is_relative_to(own or ""):
                lines.append(f"benchmarks.tasks: {name}: {error}")
        except ValueError:  # `missing` tells it
            continue
    if lines:
        raise InputError("\n".join(lines))


def _not_here(benchmarks: Benchmarks, name: str) -> list[TaskDefinition]:
    return [leaf for leaf in definitions.leaves(benchmarks, name) if task_data.locate(benchmarks, name, leaf) is None]
