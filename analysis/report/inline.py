"""A page as one file: its template, styles, scripts and data inside, under a policy that names their hashes."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from analysis.fit_file.findings import messages
from analysis.report import data
from sweep.study import numbers as formats

TEMPLATE = Path(__file__).with_name("template")
FORMATS = ("number", "lr", "tokens", "almr", "percent", "times", "interval", "missing")


def environment(*folders: Path) -> jinja2.Environment:
    """Templates of these folders. Every text is escaped, and a name that is not given is an error."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folders),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {name: getattr(formats, name) for name in FORMATS}
    made.filters["messages"] = messages
    made.filters["sentence"] = lambda text: f"{text[:1].upper()}{text[1:].removesuffix('.')}."
    return made


def inside(style: str, script: str) -> dict[str, Markup | str]:
    """What a template takes of its style sheet and script, with their hashes for the policy."""
    return {
        "style": Markup(style),  # noqa: S704  # ours
        "style_hash": _hash(style),
        "script": Markup(script),  # noqa: S704  # ours
        "script_hash": _hash(script),
    }


def joined(paths: Iterable[Path]) -> str:
    """Scripts as one, in a scope of their own."""
    parts = "\n".join(path.read_text(encoding="utf-8") for path in paths)
    return f'(() => {{\n"use strict";\n{parts}}})();'


def as_data(value: Any, short: bool = True) -> Markup:
    """JSON for a script element."""
    return Markup(data.script_json(value, short))  # noqa: S704  # escaped for a script element


def _hash(text: str) -> str:
    """As a content security policy names an inline script or style."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
