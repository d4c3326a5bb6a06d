"""The one reader of the JSON files that carry a schema version: records and `fit.json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

import pydantic

from sweep.study.errors import InputError
from sweep.study.fields import Schema

Model = TypeVar("Model", bound=Schema)


def read(path: Path, schema: type[Model], kind: str, version: int, remedy: str) -> Model:
    """The file's content. `kind` names it in messages, `remedy` says what to do about one that cannot be read.

    Raises FileNotFoundError where it is missing, and InputError naming the file where it is of another schema version
    or not what the schema asks for. The version is looked at first: a file of a newer version is sound, and must be
    neither called broken nor taken for one of this version.
    """
    try:
        content = json.loads(path.read_bytes())
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a {kind} (not JSON: {error}); {remedy}") from None
    refuse_other_version(content, version, path)
    try:
        return schema.model_validate(content)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "content"
        raise InputError(f"{path}: not a {kind} ({where}: {first['msg']}); {remedy}") from None


def refuse_other_version(content: Any, version: int, path: Path) -> None:
    """Raises InputError where the content states another schema version; without one it is taken for this version."""
    found = content.get("schema_version", version) if isinstance(content, dict) else version
    if found == version:
        return
    newer = isinstance(found, int) and not isinstance(found, bool) and found > version
    written = "a newer" if newer else "another"
    raise InputError(
        f"{path}: schema_version {str(found)[:20]!s}, and this version of almr-sweep reads {version}: it was "
        f"written by {written} version; read it with that one, and keep the file"
    )
