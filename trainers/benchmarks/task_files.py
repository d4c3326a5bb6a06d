"""Reading task files of lm-evaluation-harness without importing it, with checks for the user's own.

A task file is YAML that may `include` others. Its tags, such as `!function`, name Python that the harness runs: here
they are read as no value, and kept under CODE.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from sweep.study.errors import one_line, shown
from sweep.study.files import bounded_yaml
from sweep.study.files.bounded_yaml import BoundedLoader

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


CODE = "!function"  # of a Config: the file and the name of each function; no field of a task file is called so


class _NamedCode(str):
    """The value of a tag."""

    __slots__ = ()


class _TaskLoader(BoundedLoader):
    """A safe loader, which runs no code."""

    def construct_undefined(self, node: yaml.Node) -> Any:
        if node.tag.startswith("!"):
            return _NamedCode(f"{node.tag} {node.value}" if isinstance(node, yaml.ScalarNode) else node.tag)
        return super().construct_undefined(node)


_TaskLoader.add_constructor(None, _TaskLoader.construct_undefined)


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
        except (OSError, ValueError, TypeError) as error:
            found.unreadable[path] = _why(error)
        else:
            for name in _names(config):
                found.named.setdefault(name, []).append((path, config))
    return found


def _why(error: Exception) -> str:
    line = f"line {error.line}: " if isinstance(error, bounded_yaml.UnreadableYamlError) and error.line else ""
    return f"{line}{one_line(error)}"


def _config_of(path: Path) -> Config:
    """The fields of a task file, those of its includes among them. Raises ValueError where it is not a mapping."""
    content = bounded_yaml.parsed(path, _TaskLoader)
    if not isinstance(content, dict):
        raise ValueError("a task file is a mapping of fields")
    included = content.pop("include", [])
    code: list[tuple[Path, str]] = []
    own: Config = _without_code(content, path, code)
    merged: Config = {}
    for name in [included] if isinstance(included, str) else included:
        merged |= (more := _config_of(path.parent / name))
        code += more[CODE]
    return merged | own | {CODE: code}


def _without_code(value: Any, path: Path, found: list[tuple[Path, str]]) -> Any:
    """The value with nothing in the place of code, which is added to `found`."""
    if isinstance(value, _NamedCode):
        found.append((path, str(value)))
        return None
    if isinstance(value, dict):
        return {name: _without_code(part, path, found) for name, part in value.items()}
    return [_without_code(part, path, found) for part in value] if isinstance(value, list) else value


def refuse_code(config: Config, folder: Path) -> None:
    """Raises BrokenTaskError where a task names Python of a folder."""
    for path, name in config[CODE]:
        if path.resolve().is_relative_to(folder.resolve()):
            raise BrokenTaskError(
                path, f"{shown(name)} runs Python of that folder: write benchmarks.task_code: true where you trust it"
            )


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
            raise BrokenTaskError(path, f"{name}: has to be {WORDS[kind]} (found {shown(config[name])})")
