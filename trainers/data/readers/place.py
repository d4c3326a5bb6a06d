"""Where text is read, for messages; and the check that a value is the text of a document."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sweep.study import InputError
from sweep.study.errors import shown
from sweep.study.files.patterns import printable

MOST_NAMES = 12
KINDS = {
    type(None): "null",
    bool: "true or false",
    int: "a number",
    float: "a number",
    list: "a list",
    dict: "an object",
}


class Repeated:
    """The value of a key that a JSON object has twice."""

    def __repr__(self) -> str:
        return "two values"


@dataclass(frozen=True)
class Place:
    """A file or data set that is read. `where` is the study's section; `unit` is what its documents are counted in."""

    where: str
    name: str
    unit: str = "line"

    def fault(self, problem: str, number: int | None = None) -> InputError:
        """The error that names the place and says what is wrong with it."""
        at = "" if number is None else f", {self.unit} {number}"
        return InputError(f"{self.where}: {printable(self.name)}{at}: {problem}")

    def document(self, value: Any, field: str, number: int) -> bytes:
        """A text as UTF-8; empty where it is null or blank. Raises InputError where the value is no text."""
        if value is None:
            return b""
        if not isinstance(value, str):
            kind = KINDS.get(type(value), "no text")
            texts = [key for key, text in value.items() if isinstance(text, str)] if isinstance(value, dict) else []
            fix = inside(field, texts[0]) if texts else "correct or remove it"
            raise self.fault(f"{shown(field)} is {kind} ({shown(value)}), not text: {fix}", number)
        if not value or value.isspace():
            return b""
        try:
            return value.encode()
        except UnicodeEncodeError as error:
            half = f"half a surrogate pair (\\u{ord(value[error.start]):04x}), which is no character"
            raise self.fault(f"{shown(field)} holds {half}: correct or remove it", number) from None

    def lookup(self, record: Any, field: str, number: int) -> Any:
        """The value of a field of a record. `content.text` is `text` in `content`, if no field has that whole name.

        None where what leads to it is null. Raises InputError where the record does not have the field.
        """
        if isinstance(record, Mapping) and field in record:
            return self._one(record[field], field, number)
        value = record
        for part in field.split("."):
            if value is None and value is not record:
                return None
            if not isinstance(value, Mapping):
                what = "null" if value is None else f"{KINDS.get(type(value), 'text')} ({shown(value)})"
                problem = f"is {what}, not an object with {shown(field)}"
                raise self.fault(f"{problem}: correct or remove it", number)
            if part not in value:
                fix = names(record) if number == 1 else later(record, field)
                raise self.fault(f"there is no {shown(field)}; {fix}", number)
            value = self._one(value[part], part, number)
        return value

    def _one(self, value: Any, key: str, number: int) -> Any:
        if isinstance(value, Repeated):
            raise self.fault(f"{shown(key)} is written twice: keep one of the two", number)
        return value


def inside(field: str, member: str) -> str:
    """The fix where a field is an object, and a member of it is text."""
    return f"set `field: {printable(f'{field}.{member}')}`"


def later(record: Mapping[str, Any], field: str) -> str:
    """The fields of a record after the first, and the fix: the records before it have the field."""
    return f"the fields are {listed(record)}: add {shown(field)} to this record, or remove it"


def names(found: Iterable[Any], kind: str = "fields") -> str:
    """What there is instead of the field that was looked for, and the fix."""
    return f"the {kind} are {listed(found)}: set `field:` to that of the text"


def listed(found: Iterable[Any]) -> str:
    known = [shown(str(name)).strip("'") for name in found]
    return ", ".join(known[:MOST_NAMES]) + (", ..." if len(known) > MOST_NAMES else "") or "none"
