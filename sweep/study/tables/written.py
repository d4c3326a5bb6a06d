"""Tables that a spreadsheet may open: no cell of theirs is a formula."""

from __future__ import annotations

import contextlib
from typing import Any

import pandas as pd

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # as OWASP lists them, "CSV Injection"


def csv(table: pd.DataFrame) -> str:
    """The table as CSV. Text that a spreadsheet would compute, such as a reason that begins with `=`, has `'` before
    it, which the spreadsheet does not show.
    """
    shown = table.copy(deep=False)
    for name in table.select_dtypes(exclude="number"):
        cells = [_inert(cell) for cell in table[name]]
        shown[name] = pd.Series(cells, table.index, object)  # `map` would make 3 of 3 beside a missing number 3.0
    return shown.to_csv(index=False)


def _inert(cell: Any) -> Any:
    if not isinstance(cell, str) or not cell.startswith(FORMULA):
        return cell
    with contextlib.suppress(ValueError):
        float(cell)
        return cell
    return f"'{cell}"
