"""How often a trial reads each source of the text at a given ALMR, and the ALMRs that keep that within a limit."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from analysis.table import table as tables
from sweep.study import LANGUAGES, Study


@dataclass(frozen=True)
class Repetition:
    """One source of a language's text, by its `name`. `full`: passes over it in a trial of its language alone; passes
    are proportional to the language's share.
    """

    language: str
    full: float
    name: str

    def label(self, study: Study | None) -> str:
        """As messages name it."""
        return study.source_label(self.name) if study else self.name

    def share(self, almr: float) -> float:
        """The language's share of the tokens at an ALMR, and the inverse of that."""
        return almr if self.language == "additional" else 1 - almr

    def epochs(self, almr: float) -> float:
        """Passes of a trial over the corpus."""
        return self.full * self.share(almr)

    def furthest(self, most: float) -> float:
        """The ALMR, in thousandths, that keeps a trial within `most` passes and is closest to exceeding them."""
        thousandths = math.floor(1000 * most / self.full)
        return self.share(thousandths / 1000)

    def within(self, most: float) -> str:
        """The ALMRs that keep a trial within `most` passes, such as "up to ALMR 0.667"."""
        limit = f"ALMR {self.furthest(most):.3g}"  # two decimals could round it over the limit
        return f"up to {limit}" if self.language == "additional" else f"from {limit} on"


def of(table: pd.DataFrame, study: Study | None) -> list[Repetition]:
    """Each corpus, or each of the study's sources, whose passes the usable trials recorded."""
    used = tables.usable(table)
    almr = used["almr_achieved"].astype(float).fillna(used["almr"]) if "almr_achieved" in used else used["almr"]
    shares = {"original": 1 - almr, "additional": almr}
    sources = study.corpora.by_name if study else {}
    languages = {name: one.language for name, one in sources.items()} or {name: name for name in LANGUAGES}
    found = []
    for name, language in languages.items():
        passes = used.get(f"epochs_{name}", pd.Series(dtype=float)).astype(float)
        full = (passes / shares[language])[shares[language] > 0].dropna()
        if len(full):
            found.append(Repetition(language, float(full.median()), name))
    return found
