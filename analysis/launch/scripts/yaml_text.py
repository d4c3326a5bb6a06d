"""YAML with text in double quotes or in literal blocks."""

from __future__ import annotations

from typing import Any

import yaml


class Quoted(str):
    """Text in double quotes, so that no YAML reader takes it for a number or a boolean."""


class Block(str):
    """Text of several lines, as a literal block."""


class _Dumper(yaml.SafeDumper):
    pass


_TEXT = "tag:yaml.org,2002:str"
_Dumper.add_representer(Quoted, lambda dumper, text: dumper.represent_scalar(_TEXT, text, style='"'))
_Dumper.add_representer(Block, lambda dumper, text: dumper.represent_scalar(_TEXT, text, style="|"))


def dump(content: dict[str, Any], width: int | None = None) -> str:
    """The mapping as YAML, in its own order. `width`: the length at which lines are folded; None: 80 characters."""
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=width)
