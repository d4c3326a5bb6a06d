"""What a task's name stands for in the files of lm-evaluation-harness, ours and a user's, which data it asks for."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from sweep.study.sections.benchmarks import Benchmarks
from trainers.benchmarks import catalogue, task_files
from trainers.benchmarks.task_files import BrokenTaskError, Config, TaskFiles

OURS = Path(__file__).parent / "tasks"


@dataclass(frozen=True)
class TaskDefinition:
    """One task that asks questions: its file, and the fields that say where they come from."""

    name: str
    file: Path
    config: Config

    @property
    def subset(self) -> str | None:
        return self.config.get("dataset_name")

    @property
    def asked(self) -> str:
        """The split that the questions are of."""
        return str(self.config.get("test_split") or self.config.get("validation_split") or "train")

    @property
    def published(self) -> list[str]:
        """Of a task of ours the names of its files as they are published, else empty."""
        stated = self.config.get("metadata")
        return list(stated.get("published", [])) if isinstance(stated, dict) else []

    def shots(self, wanted: int | None) -> int:
        """Examples before a question; a task that says 0 means it."""
        stated = self.config.get("num_fewshot")
        return int(stated or 0) if wanted is None or stated == 0 else wanted

    def splits(self, wanted: int | None) -> list[str]:
        shot = self.config.get("fewshot_split") or self.config.get("training_split")
        written_out = (self.config.get("fewshot_config") or {}).get("samples", 0) != 0
        needed = [self.asked]
        if self.shots(wanted) and not written_out:
            needed.append(str(shot or self.asked))
        return list(dict.fromkeys(needed))


def stock() -> Path:
    """The harness' own task files. Raises ValueError where it is not installed."""
    found = importlib.util.find_spec("lm_eval")
    if found is None or not found.submodule_search_locations:
        raise ValueError("lm-evaluation-harness is not installed: pip install 'almr-sweep[bench]'")
    return Path(next(iter(found.submodule_search_locations))) / "tasks"


def leaves(benchmarks: Benchmarks, name: str) -> list[TaskDefinition]:
    """The tasks that a name stands for, in the order of their names. Raises ValueError where there is none, and its
    BrokenTaskError where that is a file's fault.
    """
    for folder in _folders(benchmarks, name):
        files = task_files.read(folder)
        if name in files.named:
            found = {leaf.name: leaf for leaf in _expand(files, name)}
            return [found[key] for key in sorted(found)]
    raise _none(benchmarks.include)


def _none(include: str | None) -> ValueError:
    """Why no file defines a name; one that cannot be read may be the one that was to."""
    none = "no task of this name in lm-evaluation-harness 0.4.13"
    if include and (unreadable := task_files.read(Path(include)).unreadable):
        first, *others = [(path, f"not readable: {why}") for path, why in unreadable.items()]
        more = "".join(f"; {path}: {why}" for path, why in others)
        return BrokenTaskError(first[0], f"{first[1]}{more}; and {none}")
    return ValueError(f"{none}{f' nor in {include}' if include else ''}: check its spelling")


def _folders(benchmarks: Benchmarks, name: str) -> list[Path]:
    """Where a name may be defined, the user's own first."""
    own = [Path(benchmarks.include)] if benchmarks.include else []
    entry = catalogue.known(name)
    if entry and not entry.stock:
        return [*own, OURS]
    if own and name in task_files.read(own[0]).named:
        return own
    return [*own, stock() / entry.stock] if entry and entry.stock else [*own, *_searched(name)]


@lru_cache
def _searched(name: str) -> list[Path]:
    line = re.compile(rf"^[\"']?(task|group)[\"']?:\s*[\"']?{re.escape(name)}[\"']?\s*$", re.MULTILINE)
    return [path.parent for path in sorted(stock().rglob("*.yaml")) if line.search(path.read_text(encoding="utf-8"))]


def _expand(files: TaskFiles, name: str, above: tuple[str, ...] = ()) -> list[TaskDefinition]:
    found: list[TaskDefinition] = []
    for path, config in files.named[name]:
        if "group" not in config:
            task_files.refuse_broken(path, config)
            found.append(TaskDefinition(config["task"], path, config))
            continue
        for member in task_files.members(path, config):
            if member in (*above, name):
                raise BrokenTaskError(path, f"task: the group {member} is a member of itself: take it out")
            if member not in files.named:
                raise BrokenTaskError(path, f"task: no file beside it defines {member}: name its tasks one by one")
            found += _expand(files, member, (*above, name))
    return found
