"""Task definitions by name, from the task files of lm-evaluation-harness, our own and the user's."""

from __future__ import annotations

import contextlib
import importlib.util
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from sweep.study.files.atomic import sha256
from sweep.study.sections.benchmarks import Benchmarks
from trainers.benchmarks import catalogue, task_files
from trainers.benchmarks.task_files import BrokenTaskError, Config, TaskFiles

OURS = Path(__file__).parent / "tasks"


@dataclass(frozen=True)
class TaskDefinition:
    """One task with questions of its own (no group): its file, and the fields of that file."""

    name: str
    file: Path
    config: Config

    @property
    def subset(self) -> str | None:
        return self.config.get("dataset_name")

    @property
    def question_split(self) -> str:
        """The split that holds the questions."""
        return str(self.config.get("test_split") or self.config.get("validation_split") or "train")

    @property
    def published(self) -> list[str]:
        """The file names under which the data of our own task are published; empty for other tasks."""
        stated = self.config.get("metadata")
        return list(stated.get("published", [])) if isinstance(stated, dict) else []

    @property
    def code(self) -> list[list[str | None]]:
        """The Python that the task names, and the sha256 of its module; None where that is not beside the file."""
        found: list[list[str | None]] = []
        for path, named in self.config.get(task_files.CODE, ()):
            module = path.parent / f"{named.partition(' ')[2].rpartition('.')[0]}.py"
            found.append([named, sha256(module) if module.is_file() else None])
        return found

    def shots(self, wanted: int | None) -> int:
        """Examples before each question: `wanted` (None: as the task states), but none where the task states 0."""
        stated = self.config.get("num_fewshot")
        return int(stated or 0) if wanted is None or stated == 0 else wanted

    def splits(self, wanted: int | None) -> list[str]:
        """The splits that are read: the questions' and, for examples that are not in the task file, theirs."""
        shot = self.config.get("fewshot_split") or self.config.get("training_split")
        written_out = (self.config.get("fewshot_config") or {}).get("samples", 0) != 0
        needed = [self.question_split]
        if self.shots(wanted) and not written_out:
            needed.append(str(shot or self.question_split))
        return list(dict.fromkeys(needed))


def stock() -> Path:
    """The folder of the harness' own task files. Raises ValueError where the harness is not installed."""
    found = importlib.util.find_spec("lm_eval")
    if found is None or not found.submodule_search_locations:
        raise ValueError("lm-evaluation-harness is not installed: pip install 'almr-sweep[bench]'")
    return Path(next(iter(found.submodule_search_locations))) / "tasks"


def leaves(benchmarks: Benchmarks, name: str) -> list[TaskDefinition]:
    """The tasks that a name defines (those of a group, or one), sorted by name.

    Raises ValueError where there is none, and BrokenTaskError (a ValueError) where a task file is faulty.
    """
    for folder in _folders(benchmarks, name):
        files = task_files.read(folder)
        if name in files.named:
            found = {leaf.name: leaf for leaf in _expand(files, name)}
            if benchmarks.include and not benchmarks.task_code:
                for leaf in found.values():
                    task_files.refuse_code(leaf.config, Path(benchmarks.include))
            return [found[key] for key in sorted(found)]
    raise _none(benchmarks.include)


def runs_code(benchmarks: Benchmarks) -> list[str]:
    """The tasks that run code that the model wrote, of those that the study is scored on; a task that cannot be read
    is reported elsewhere.
    """
    found = []
    for name in catalogue.harness_tasks(benchmarks) if benchmarks.unsafe_code else ():
        with contextlib.suppress(Exception):  # whatever the user's own task file causes
            known = catalogue.known(name)
            if (known and known.unsafe) or any(leaf.config.get("unsafe_code") for leaf in leaves(benchmarks, name)):
                found.append(name)
    return found


def _none(include: str | None) -> ValueError:
    """The error for a name that no file defines. It names unreadable files, since one of them may define it."""
    none = "no task of this name in lm-evaluation-harness 0.4.13"
    if include and (unreadable := task_files.read(Path(include)).unreadable):
        first, *others = [(path, f"not readable: {why}") for path, why in unreadable.items()]
        more = "".join(f"; {path}: {why}" for path, why in others)
        return BrokenTaskError(first[0], f"{first[1]}{more}; and {none}")
    return ValueError(f"{none}{f' nor in {include}' if include else ''}: check its spelling")


def _folders(benchmarks: Benchmarks, name: str) -> list[Path]:
    """The folders whose files may define a name, the user's own first."""
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
