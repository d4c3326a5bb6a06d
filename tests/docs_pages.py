"""The pages and figures of `docs/` that are written from the code, so that they cannot differ from it.

make docs    # or: python -m tests.docs_pages
"""

from __future__ import annotations

import ast
import functools
import re
import types
import typing
from pathlib import Path
from typing import Annotated, Any, Literal, Union

from pydantic import BaseModel

from sweep.external.command import answer, request
from tests import rooms, rooms_figure, study_fields
from tests.rooms import ROOT
from tests.study_fields import KINDS

DOCS = ROOT / "docs"
MAP = re.compile(r"(<!-- map: make docs -->\n).*?(<!-- end of map -->)", flags=re.DOTALL)
FIELDS = re.compile(r"(<!-- fields of (\w+): make docs -->\n).*?(<!-- end of fields -->)", flags=re.DOTALL)
MODULES = """# Every module

`make docs` writes this page from the first line of each module; do not edit it. [Architecture](architecture.md) says
how the folders belong together.
"""


def pages() -> dict[Path, str]:
    """The content that each generated file has to have."""
    architecture, trainers = DOCS / "architecture.md", DOCS / "trainers.md"
    return {
        DOCS / "study.md": study_fields.page(),
        DOCS / "modules.md": modules(),
        DOCS / "figures" / "rooms.svg": rooms_figure.svg(),
        trainers: FIELDS.sub(
            lambda found: found[1] + "\n".join(fields(found[2])) + "\n" + found[3], trainers.read_text(encoding="utf-8")
        ),
        architecture: MAP.sub(lambda found: found[1] + tree() + found[2], architecture.read_text(encoding="utf-8")),
    }


def tree() -> str:
    """The folders and their entries as a Markdown table: what `python -m tests.rooms` prints, without the imports."""
    rows = [f"| `{folder.path}/` | {', '.join(f'`{e}`' for e in folder.entries)} |" for folder in rooms.folders()]
    return "\n".join(["| folder | entries |", "|---|---|", *rows]) + "\n"


def fields(schema: str) -> list[str]:
    """A table of the fields of a file that a program of the user's reads or writes, by the name of its schema."""
    described = {**vars(request), **vars(answer)}[schema].model_fields.items()
    rows = [
        f"| `{name}` | {json_type(field.annotation)} | {' '.join((field.description or '').split())} |"
        for name, field in described
    ]
    return ["| field | type | meaning |", "|---|---|---|", *rows]


def json_type(kind: Any) -> str:
    """What a field is in JSON: text, a number, a list of objects."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        return json_type(inner[0])
    if origin is Literal:
        return json_type(type(inner[0]))
    if origin in (Union, types.UnionType):
        return json_type(next(one for one in inner if one is not types.NoneType))
    if origin is dict:
        return f"object: name to {json_type(inner[1])}"
    if origin is tuple:
        return f"list: {json_type(inner[0])}"
    return "object" if issubclass(kind, BaseModel) else {**KINDS, bool: "true or false"}[kind]


def modules() -> str:
    lines = [MODULES]
    for folder in rooms.folders():
        if not named(folder.path):
            continue
        lines += [f"## `{folder.path}/`\n"]
        if folder.imports:
            lines += [f"Imports from {', '.join(f'`{name}`' for name in folder.imports)}.\n"]
        lines += ["| module | what it is |", "|---|---|"]
        lines += [
            f"| [`{path.name}`](../{path.relative_to(ROOT)}) | {first_line(path)} |" for path in named(folder.path)
        ]
        lines += [""]
    return "\n".join(lines).rstrip() + "\n"


def named(folder: str) -> list[Path]:
    """The modules of a folder, without an `__init__.py` that says nothing."""
    return [path for path in sorted((ROOT / folder).glob("*.py")) if first_line(path)]


@functools.cache
def first_line(path: Path) -> str:
    """The first line of a module's docstring, which says what the module is."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(text.split("\n\n")[0].split()).replace("|", "\\|")


if __name__ == "__main__":
    for place, content in pages().items():
        place.parent.mkdir(exist_ok=True)
        place.write_text(content, encoding="utf-8")
