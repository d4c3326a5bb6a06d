"""The parts of a figure as one table."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd


def labelled(parts: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The rows of all parts below each other, with the name of their part in the column `what`."""
    named = [part.assign(what=name) for name, part in parts.items() if len(part)]
    table = pd.concat(named, ignore_index=True) if named else pd.DataFrame({"what": []})
    return table[["what", *(column for column in table if column != "what")]]
