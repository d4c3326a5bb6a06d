"""Records of several fields as documents: a conversation, or a pair of answers, as one text that holds all of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sweep.study.errors import shown
from trainers.data.readers.place import Place, listed


@dataclass(frozen=True)
class RecordText:
    """How a record becomes the text of one document, from which its fields are read back.

    `key` is a part of the key of what is cached: it changes where the same record would give another text. `columns`
    are the fields that are read, where a record has them, and `beside` those that are read with them; `rows` is the
    word for several records, in messages. `text` is called with the place of a record, its value and its number there;
    what it returns empty is left out.
    """

    key: str
    columns: tuple[str, ...]
    rows: str
    text: Callable[[Place, Any, int], bytes]
    beside: tuple[str, ...] = ()

    def present(self, place: Place, found: Sequence[str]) -> list[str]:
        """Those of the columns to read that are among the `found` ones of a table. Raises InputError where none is."""
        known = [name for name in self.columns if name in found]
        if not known:
            fix = f"{self.rows} have {', '.join(self.columns)}: rename its columns"
            raise place.fault(f"there is no {shown(self.columns[-1])}; the columns are {listed(found)}; {fix}")
        return known + [name for name in self.beside if name in found]
