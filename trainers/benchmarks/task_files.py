"""Reading task files of lm-evaluation-harness without importing it, with checks for the user's own.

A task file is YAML that may `include` others; tags such as `!function` are ignored here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

Config = dict[str, Any]
TEXT = ("dataset_path", "dataset_name", "test_split", "validation_split", "training_split", "fewshot_split")
MAPPINGS = ("dataset_kwargs", "fewshot_config")
KINDS = dict.fromkeys(TEXT, str) | dict.fromkeys(MAPPINGS, dict) | {"num_fewshot": int}
WORDS = {str: "text", dict: "a mapping", int: "a whole number"}


class BrokenTaskError(ValueError):
    """A faulty task file: one line with the file, the field and the fix."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path}: {why}")
        self.path = path


class _Loader(yaml.SafeLoader):
    """A safe loader: a value with a tag of its own becomes None."""


_Loader.add_multi_constructor("!", lambda loader, tag, node: None)


@dataclass(frozen=True)
class TaskFiles:
    """The task files of a folder, by the names of their tasks, groups and tags. `unreadable`: the errors of others."""

    named: dict[str, list[tuple[Path, Config]]] = field(default_factory=dict)
    unreadable: dict[Path, str] = field(default_factory=dict)


@lru_cache
def read(folder: Path) -> TaskFiles:
    found = TaskFiles()
    for path in sorted(folder.rglob("*.yaml")):
        try:
            config = _config_of(path)
        except RecursionError:
            found.unreadable[path] = "the file includes itself"
        except (OSError, ValueError, TypeError, yaml.YAMLError) as error:
            found.unreadable[path] = _why(error)
        else:
            for name in _names(config):
                found.named.setdefault(name, []).append((path, config))
    return found


def _why(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        return f"line {error.problem_mark.line + 1}: {error.problem}"
    return " ".join(str(error).split())


def _config_of(path: Path) -> Config:
    """The fields of a task file, those of its includes among them. Raises ValueError where it is not a mapping."""
    content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506  # a safe loader of ours
    if not isinstance(content, dict):
        raise ValueError("a task file is a mapping of fields")
    included = content.pop("include", [])
    merged: Config = {}
    for name in [included] if isinstance(included, str) else included:
        merged |= _config_of(path.parent / name)
    return merged | content


def _names(config: Config) -> Iterator[str]:
    tags = config.get("tag")
    for name in [config.get("group") or config.get("task"), *(tags if isinstance(tags, list) else [tags])]:
        if isinstance(name, str):
            yield name


def members(path: Path, config: Config) -> list[str]:
    """The names of a group's tasks. Raises BrokenTaskError where it does not list them."""
    stated = config.get("task")
    if not isinstance(stated, list) or not stated:
        raise BrokenTaskError(path, "task: a group needs the list of its tasks: add it")
    names: list[str] = []
    for member in stated:
        name = (member.get("task") or member.get("group")) if isinstance(member, dict) else member
        if not isinstance(name, str):
            raise BrokenTaskError(
                path, f"task: {str(member)[:60]} is not the name of a task: name its tasks one by one"
            )
        names.append(name)
    return names


def refuse_broken(path: Path, config: Config) -> None:
    """Raises BrokenTaskError where a field that this package reads is not of the type that the harness expects."""
    if not isinstance(config.get("task"), str):
        raise BrokenTaskError(path, "task: this field is required: name the task")
    for name, kind in KINDS.items():
        if config.get(name) is not None and not isinstance(config[name], kind):
            raise BrokenTaskError(path, f"{name}: has to be {WORDS[kind]} (found {config[name]!r})")
