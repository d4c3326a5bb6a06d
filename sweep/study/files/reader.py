"""The one reader of the JSON files that carry a schema version: records and `fit.json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

import pydantic

from sweep.study.errors import InputError, explain
from sweep.study.fields import Schema

Model = TypeVar("Model", bound=Schema)


def read(path: Path, schema: type[Model], kind: str, version: int, remedy: str) -> Model:
    """Read and validate a file. `kind` names it in messages, `remedy` says what to do about an unreadable one.

    Raises FileNotFoundError where it is missing, and InputError naming the file where it has another schema version
    or does not follow the schema. The version is checked first: a file of a newer version is sound, so it must not be
    called broken, nor be read as one of this version.
    """
    try:
        content = json.loads(path.read_bytes())
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a {kind} (not JSON: {error}); {remedy}") from None
    refuse_other_version(content, version, path)
    try:
        return schema.model_validate(content)
    except pydantic.ValidationError as error:
        raise InputError(f"{path}: not a {kind} ({explain(error, schema)[0]}); {remedy}") from None


def refuse_other_version(content: Any, version: int, path: Path) -> None:
    """Raises InputError where the content states another schema version. Without one, this version is assumed."""
    found = content.get("schema_version", version) if isinstance(content, dict) else version
    if found == version:
        return
    newer = isinstance(found, int) and not isinstance(found, bool) and found > version
    written = "a newer" if newer else "another"
    raise InputError(
        f"{path}: written by {written} version of almr-sweep (schema_version {str(found)[:20]}, this one reads "
        f"{version}): keep the file, and read it with that version"
    )
