"""Whether all records of a corpus have the same fields: other trainers read whole records, and fail if they differ."""

from __future__ import annotations

from typing import Any


class Alike:
    """Told each record or schema that is read; `holds` stays true while they have the same fields of the same kinds."""

    def __init__(self) -> None:
        self.holds = True
        self._first: Any = None
        self._kinds: dict[str, Any] = {}

    def schema(self, schema: Any) -> None:
        """Of a parquet file."""
        self._first = schema if self._first is None else self._first
        self.holds = self.holds and bool(schema.equals(self._first))

    def record(self, record: Any) -> None:
        """Of JSON Lines. A null has any kind."""
        if not self.holds or not isinstance(record, dict):
            return
        self._kinds = self._kinds or dict.fromkeys(record)
        self.holds = _fits(self._kinds, record)


def _fits(kinds: dict[str, Any], record: dict[str, Any]) -> bool:
    """Whether the record has these fields and kinds; a kind that is not known yet is taken from it."""
    if kinds.keys() != record.keys():
        return False
    for key, value in record.items():
        if value is None:
            continue
        nested = isinstance(value, dict)
        if kinds[key] is None:
            kinds[key] = dict.fromkeys(value) if nested else type(value)
        if nested != isinstance(kinds[key], dict):
            return False
        if not (_fits(kinds[key], value) if nested else kinds[key] is type(value)):
            return False
    return True
