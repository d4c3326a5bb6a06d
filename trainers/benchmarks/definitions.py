"""Task files of lm-evaluation-harness, read without importing it: what a name stands for, what data are asked for.

A task file is YAML with an `include` of another one; tags such as `!function` are left to the harness.
"""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from sweep.benchmark import Benchmarks
from trainers.benchmarks import catalogue

OURS = Path(__file__).parent / "tasks"
Config = dict[str, Any]


class _Loader(yaml.SafeLoader):
    """Safe: what is not plain YAML becomes None."""


_Loader.add_multi_constructor("!", lambda loader, tag, node: None)


@dataclass(frozen=True)
class Leaf:
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


def leaves(benchmarks: Benchmarks, name: str) -> list[Leaf]:
    """The tasks that a name stands for, in the order of their names. Raises ValueError where there is none."""
    for folder in _folders(benchmarks, name):
        read = _read(folder)
        if name in read:
            found = {leaf.name: leaf for leaf in _expand(read, name, folder)}
            return [found[key] for key in sorted(found)]
    raise ValueError(f"no task of this name in lm-evaluation-harness 0.4.13{_and_in(benchmarks)}: check its spelling")


def _and_in(benchmarks: Benchmarks) -> str:
    return f" nor in {benchmarks.include}" if benchmarks.include else ""


def _folders(benchmarks: Benchmarks, name: str) -> list[Path]:
    """Where a name may be defined, the user's own first."""
    own = [Path(benchmarks.include)] if benchmarks.include else []
    entry = catalogue.known(name)
    if entry and not entry.stock:
        return [*own, OURS]
    if own and name in _read(own[0]):
        return own
    return [*own, stock() / entry.stock] if entry and entry.stock else [*own, *_searched(name)]


@lru_cache
def _searched(name: str) -> list[Path]:
    line = re.compile(rf"^[\"']?(task|group)[\"']?:\s*[\"']?{re.escape(name)}[\"']?\s*$", re.MULTILINE)
    return [path.parent for path in sorted(stock().rglob("*.yaml")) if line.search(path.read_text(encoding="utf-8"))]


@lru_cache
def _read(folder: Path) -> dict[str, list[tuple[Path, Config]]]:
    """Every task, group and tag of a folder by its name. A file that cannot be read is left out: it names nothing."""
    found: dict[str, list[tuple[Path, Config]]] = {}
    for path in sorted(folder.rglob("*.yaml")):
        try:
            config = config_of(path)
        except (OSError, ValueError, yaml.YAMLError):
            continue
        own = config.get("group") or config.get("task")
        tags = config.get("tag") or []
        for name in [own, *([tags] if isinstance(tags, str) else tags)]:
            if isinstance(name, str):
                found.setdefault(name, []).append((path, config))
    return found


def config_of(path: Path) -> Config:
    """A task file with what it includes. Raises ValueError where it is not a mapping."""
    content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506  # a safe loader of ours
    if not isinstance(content, dict):
        raise ValueError(f"{path}: not a task file")
    included = content.pop("include", [])
    merged: Config = {}
    for name in [included] if isinstance(included, str) else included:
        merged |= config_of(path.parent / name)
    return merged | content


def _expand(read: dict[str, list[tuple[Path, Config]]], name: str, folder: Path) -> list[Leaf]:
    if name not in read:
        raise ValueError(f"its group names {name}, which is not in {folder}")
    found: list[Leaf] = []
    for path, config in read[name]:
        if "group" not in config:
            found.append(Leaf(str(config["task"]), path, config))
            continue
        for member in config["task"]:
            inner = member if isinstance(member, str) else member.get("task") or member.get("group")
            found += _expand(read, str(inner), folder)
    return found
