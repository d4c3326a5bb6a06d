"""A guard of the reader by which `datasets` reads JSON: Arrow's C++ ends the process on values that are nested deeply.

`datasets` gives no way to pass another reader, and a hub's files are not ours to read before it: so its module gets one
that looks at the depth first.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.json
from datasets.packaged_modules.json import json as reader

DEEPEST = 500  # Arrow takes some thousands
OPENING, CLOSING = b"[{", b"]}"
TOO_DEEP = "is nested too deeply: correct or remove it"


class _DepthChecked:
    """In place of the module `pyarrow.json`."""

    def __getattr__(self, name: str) -> Any:
        return getattr(pyarrow.json, name)

    def read_json(self, source: io.BytesIO, **options: Any) -> pa.Table:
        """As `pyarrow.json.read_json`. Raises pa.ArrowInvalid for a line that is nested too deeply."""
        refuse_deep(source.getvalue())
        return pyarrow.json.read_json(source, **options)


def install() -> None:
    """Have `datasets` look at the depth of what it reads, in this process."""
    if not isinstance(reader.paj, _DepthChecked):
        reader.paj = _DepthChecked()


def refuse_deep(content: bytes) -> None:
    """Raises pa.ArrowInvalid where a line may open more than DEEPEST lists and objects that it has not closed.

    Brackets inside texts count too: a text with so many that never close is refused as well.
    """
    letters = np.frombuffer(content, np.uint8)
    places = np.flatnonzero(np.isin(letters, np.frombuffer(OPENING + CLOSING + b"\n", np.uint8)))
    kinds = letters[places]
    depth = np.cumsum(np.isin(kinds, list(OPENING)).astype(np.int64) - np.isin(kinds, list(CLOSING)))
    before = np.maximum.accumulate(np.where(kinds == ord("\n"), np.arange(1, len(kinds) + 1), 0))
    at_start = np.concatenate([[0], depth])[before]
    if len(depth) and int((depth - at_start).max()) > DEEPEST:
        line = content.count(b"\n", 0, int(places[int((depth - at_start).argmax())])) + 1
        raise pa.ArrowInvalid(f"line {line} {TOO_DEEP}")
