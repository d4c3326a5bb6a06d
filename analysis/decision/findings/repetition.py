"""How often a trial reads each corpus at a given ALMR, and up to which ALMR that stays within a limit."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from analysis.table import table as tables
from sweep.study.fields import LANGUAGES


@dataclass(frozen=True)
class Repetition:
    """One corpus. `full`: how many times a trial of this corpus alone would read it; passes grow with its share."""

    language: str
    full: float

    def share(self, almr: float) -> float:
        return almr if self.language == "additional" else 1 - almr

    def epochs(self, almr: float) -> float:
        return self.full * self.share(almr)

    def furthest(self, most: float) -> float:
        """The last ALMR, to three decimals, at which a trial reads the corpus no more than `most` times."""
        thousandths = math.floor(1000 * most / self.full)
        return self.share(thousandths / 1000)

    def within(self, most: float) -> str:
        """In words: the ALMRs that read it no more than `most` times."""
        limit = f"ALMR {self.furthest(most):.3g}"
        return f"up to {limit}" if self.language == "additional" else f"from {limit} on"


def of(table: pd.DataFrame) -> list[Repetition]:
    """Of each corpus whose passes the trials recorded."""
    used = tables.usable(table)
    almr = used["almr_achieved"].fillna(used["almr"]).astype(float) if "almr_achieved" in used else used["almr"]
    shares = {"original": 1 - almr, "additional": almr}
    found = []
    for language in LANGUAGES:
        passes = used.get(f"epochs_{language}", pd.Series(dtype=float)).astype(float)
        full = (passes / shares[language])[shares[language] > 0].dropna()
        if len(full):
            found.append(Repetition(language, float(full.median())))
    return found
