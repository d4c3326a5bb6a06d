"""YAML of a user's file, read within bounds: of bytes, of values with all aliases written out, and of depth.

A file of a kilobyte can stand for a billion values by its aliases, or end the interpreter by its depth. Every bound is
far beyond what a study or a task file needs.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Any

import yaml
from yaml.composer import Composer

from sweep.study.errors import one_line, shown
from sweep.study.files.marks import encoding_of

LARGEST = 1_000_000  # bytes
MOST_VALUES = 120_000  # keys count too
DEEPEST = 50
TOO_DEEP = f"nested over {DEEPEST} levels deep: write it flatter"
LONGEST = 10_000  # characters of one value
NO_CHARACTER = re.compile("[\0\ud800-\udfff]")
SCALAR = "tag:yaml.org,2002:"

# The parser of libyaml is ten times faster than that in Python, and gives the same events and messages.
_Parser: Any = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader


class BoundedLoader(Composer, _Parser):  # type: ignore[misc]
    """Safe YAML within the bounds above. What is wrong is a yaml.MarkedYAMLError with its line."""

    def __init__(self, text: str) -> None:
        _Parser.__init__(self, text)
        Composer.__init__(self)
        self._counted = self._depth = 0
        self._sizes: dict[int, int] = {}  # of the composed nodes, by id: what an alias of one stands for

    def compose_node(self, parent: Any, index: Any) -> Any:
        mark = self.peek_event().start_mark
        if self.check_event(yaml.AliasEvent):
            node = super().compose_node(parent, index)
            if id(node) not in self._sizes:
                raise _fault("an alias stands for what it is a part of: write it out", mark)
            self._count(self._sizes[id(node)], mark)
            return node
        self._depth += 1
        if self._depth > DEEPEST:
            raise _fault(TOO_DEEP, mark)
        before = self._counted
        self._count(1, mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        self._sizes[id(node)] = self._counted - before
        return node

    def compose_scalar_node(self, anchor: Any) -> yaml.ScalarNode:
        node: yaml.ScalarNode = super().compose_scalar_node(anchor)
        if len(node.value) > LONGEST:
            raise _fault(f"a value of over {LONGEST:,} characters, {shown(node.value)}: shorten it", node.start_mark)
        if NO_CHARACTER.search(node.value):
            raise _fault(f"{shown(node.value)} holds what is no character: remove it", node.start_mark)
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (AttributeError, LookupError, TypeError, ValueError):  # of !!bool x, or of the date 2026-13-01
            kind = node.tag.removeprefix(SCALAR)
            raise _fault(f"{shown(node.value)} is not a {kind}", node.start_mark) from None

    def construct_undefined(self, node: yaml.Node) -> Any:
        raise _fault(f"the tag {shown(node.tag)} is not taken: write a plain value", node.start_mark)

    def _count(self, more: int, mark: Any) -> None:
        self._counted += more
        if self._counted > MOST_VALUES:
            raise _fault(f"over {MOST_VALUES:,} values, with its aliases written out: write fewer", mark)


BoundedLoader.add_constructor(None, BoundedLoader.construct_undefined)


def _fault(problem: str, mark: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=mark)


class UnreadableYamlError(ValueError):
    """What is wrong with a YAML file, with the fix. `line`: where, if that is known."""

    def __init__(self, problem: str, line: int | None = None) -> None:
        super().__init__(problem)
        self.line = line


def parsed(path: Path, loader: type[BoundedLoader] = BoundedLoader) -> Any:
    """The content of a YAML file. Raises UnreadableYamlError, and OSError."""
    text = _text(path)
    try:
        return loader(text).get_single_data()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        fix = ": indent with blanks" if "'\\t'" in str(error.problem) else ""
        own_bound = "nesting depth" in str(error.problem)  # of newer versions of libyaml
        problem = TOO_DEEP if own_bound else f"{error.problem}{fix}"
        raise UnreadableYamlError(problem, mark.line + 1 if mark else None) from None
    except (yaml.YAMLError, ValueError, TypeError) as error:
        raise UnreadableYamlError(f"not readable as YAML: {one_line(error)}") from None


def _text(path: Path) -> str:
    with open(path, "rb", opener=_at_once) as opened:
        if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
            raise UnreadableYamlError("it is no regular file: name a file")
        content = opened.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise UnreadableYamlError(f"over {LARGEST // 1000:,} kB, more than such a file may have: shorten it")
    marked = encoding_of(content) or "utf-8"
    if marked != "utf-8":
        raise UnreadableYamlError(f"its text is {marked.upper()}: save it as UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _not_text(content, error.start) from None
    if "\0" in text:
        raise _not_text(content, content.index(b"\0"))
    return text


def _not_text(content: bytes, place: int) -> UnreadableYamlError:
    bad = shown(content[place : place + 4])
    return UnreadableYamlError(f"not UTF-8 text (the bytes {bad}): save it as UTF-8", content[:place].count(b"\n") + 1)


def _at_once(path: str, flags: int) -> int:
    """Opens a pipe without a writer too, where a plain open would wait for one."""
    return os.open(path, flags | os.O_NONBLOCK)
