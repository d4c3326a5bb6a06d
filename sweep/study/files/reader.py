"""The one reader of the product's JSON and JSON Lines files."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import pydantic

from sweep.study.errors import InputError, explain
from sweep.study.fields import Schema
from sweep.study.files import regular

Model = TypeVar("Model", bound=Schema)
LONGEST_LINE = 10**6  # bytes of a line of JSON Lines
LARGEST = 1e30  # beyond every measured quantity, and small enough to compute with


class NewerFileError(InputError):
    """A file of a newer or unknown version of almr-sweep: it may be sound, and must be kept."""


def read(path: Path, schema: type[Model], kind: str, version: int, remedy: str) -> Model:
    """Read and validate a file. `kind` names it in messages, `remedy` says what to do about an unreadable one.

    Raises FileNotFoundError where it is missing, and InputError naming file, field and fix where it has another schema
    version or does not follow the schema. The version is checked first: a file of a newer version is sound, so it must
    not be called broken, nor be read as one of this version. A file without a version is read as one of this version.
    """
    content = parse(path, kind, remedy)
    _refuse_other_version(path, content, version, remedy)
    try:
        return schema.model_validate(content)
    except pydantic.ValidationError as error:
        raise _refusal(path, schema, kind, error, remedy) from None


def parse(path: Path, kind: str, remedy: str) -> Any:
    """The JSON of a file. Raises FileNotFoundError, and InputError naming the file and the remedy."""
    try:
        content = json.loads(_text(regular.content(path, remedy)))
        wrong = next(_not_measurable(content), None)
    except RecursionError:
        raise InputError(f"{path}: not a {kind} (nested too deeply); {remedy}") from None
    except regular.UnreadableFileError:
        raise
    except ValueError as error:  # of UTF-8 too
        raise InputError(f"{path}: not a {kind} ({_not_json(error)}); {remedy}") from None
    if wrong is not None:
        raise InputError(f"{path}: not a {kind} ({wrong}: write a measured number, or null); {remedy}")
    return content


def _text(content: bytes) -> str:
    """Raises ValueError saying what the bytes are instead of UTF-8."""
    if content and not content.strip(b"\0"):
        raise ValueError(f"{len(content):,} zero bytes, as a crash leaves them")
    if (found := json.detect_encoding(content)) not in ("utf-8", "utf-8-sig"):
        raise ValueError(f"it is in {found}, not in UTF-8")
    return content.decode(found)


def _not_json(error: ValueError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return "it is empty" if not error.doc.strip() else f"not JSON: {error}"
    if isinstance(error, UnicodeDecodeError):
        return f"not UTF-8 at byte {error.start:,}"
    return "a number of thousands of digits" if "digits" in str(error) else str(error)


def read_object(path: Path) -> dict[str, Any] | None:
    """The object of a JSON file that is only shown; None where the file is missing or unreadable."""
    try:
        content = parse(path, "JSON file", "")
    except (InputError, OSError):
        return None
    return content if isinstance(content, dict) else None


def json_lines(path: Path, *numbers: str, last_bytes: int | None = None) -> Iterator[dict[str, Any]]:
    """The objects of a JSON Lines file; none where it is missing. The values of the fields `numbers` are finite numbers
    or null, where a line has the field. `last_bytes`: look at no more than so many, at its end.

    Leaves out every other line: a killed trial may leave half a line, a full disk a run of zeros.
    """
    for text in _lines(path, last_bytes):
        try:
            line = json.loads(text)
        except (ValueError, RecursionError):
            continue
        if isinstance(line, dict) and all(line.get(name) is None or _is_number(line[name]) for name in numbers):
            yield line


def is_json_object(text: bytes) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _lines(path: Path, last_bytes: int | None) -> Iterator[bytes]:
    """The lines of a file; none where it is no file. One that is too long for ours comes in parts, no JSON each."""
    try:
        file = regular.opened(path)
    except (FileNotFoundError, regular.UnreadableFileError):
        return
    with file:
        if last_bytes is not None:
            file.seek(max(0, file.seek(0, os.SEEK_END) - last_bytes))
        yield from iter(lambda: file.readline(LONGEST_LINE), b"")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and _is_measurable(value)


def _is_measurable(value: float) -> bool:
    return abs(value) <= LARGEST  # NaN is not


def _not_measurable(content: Any, where: str = "") -> Iterator[str]:
    """The places of NaN, infinity and numbers over LARGEST: Python reads them in JSON, but no file of the product has
    them.
    """
    if isinstance(content, int | float) and not _is_measurable(content):
        yield f"{where.lstrip('.') or 'content'} is {str(content)[:20]}"
    parts = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for name, part in parts:
        yield from _not_measurable(part, f"{where}.{name}")


def refuse_newer(path: Path, content: Any, version: int) -> None:
    """Raises NewerFileError where the content states a newer schema version, or one that is no whole number."""
    found = content.get("schema_version", version) if isinstance(content, dict) else version
    if type(found) is not int:  # True is an int, too
        raise NewerFileError(
            f"{path}: its schema_version, {str(found)[:20]!r}, is not one that this version of almr-sweep reads "
            f"({version}): upgrade almr-sweep, and keep the file"
        )
    if found > version:
        raise NewerFileError(
            f"{path}: written by a newer version of almr-sweep (schema_version {found}, this one reads {version}): "
            f"upgrade almr-sweep, and keep the file"
        )


def _refuse_other_version(path: Path, content: Any, version: int, remedy: str) -> None:
    refuse_newer(path, content, version)
    found = content.get("schema_version", version) if isinstance(content, dict) else version
    if found < version:
        raise InputError(
            f"{path}: written by an older version of almr-sweep (schema_version {found}, this one reads {version}): "
            f"{remedy}"
        )


def _refusal(path: Path, schema: type[Schema], kind: str, error: pydantic.ValidationError, remedy: str) -> InputError:
    """Names the first wrong field. An unknown field may come from a newer version."""
    first = error.errors(include_url=False)[0]
    if first["type"] == "extra_forbidden":
        return NewerFileError(
            f"{path}: this version of almr-sweep does not know the field {'.'.join(map(str, first['loc']))}: if a "
            f"newer one wrote the file, upgrade almr-sweep and keep it; else {remedy}"
        )
    return InputError(f"{path}: not a {kind} ({explain(error, schema)[0]}); {remedy}")
