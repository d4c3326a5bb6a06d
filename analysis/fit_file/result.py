"""What a fit decided, in memory: the content of `fit.json`, the table that it was fitted from, and the study."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis.fit_file.curve import CurvePoint
from analysis.fit_file.findings import Finding
from analysis.fit_file.fit_file import FitFile
from analysis.fit_file.sources import guards_named
from analysis.fit_file.winner import Winner
from sweep.study import LANGUAGES, Study

if TYPE_CHECKING:
    import pandas as pd

ONE_SEED = (
    "all trials have one seed: another may move the best ALMR by more than its interval, "
    "so repeat the trials near the winner with a second one"
)


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """All that reports and launches need of a fit.

    `table` has one row per trial, used or not (see analysis.table). `study` is None for a table of the user's own.
    """

    table: pd.DataFrame
    file: FitFile
    study: Study | None = None

    @property
    def winner(self) -> Winner:
        """The chosen ALMR and peak LR, with their intervals and the losses there in nats per token."""
        return self.file.winner

    @property
    def curve(self) -> list[CurvePoint]:
        """The best peak LR at each ALMR, with its interval."""
        return self.file.curve

    @property
    def loss_unit(self) -> str:
        """The unit of its losses, as pages and figures write it; that of pre-training for a table of the user's own."""
        return self.study.loss_unit if self.study else "nats per token"

    @property
    def refusals(self) -> list[Finding]:
        """Why the winner should not be launched, each with the trials to run next; empty where nothing speaks against
        it."""
        return self.file.refusals

    @property
    def warnings(self) -> list[Finding]:
        """What to know before the winner is launched."""
        return self.file.warnings

    @property
    def one_seed(self) -> str:
        """What to know where an ALMR was fitted to trials of one seed, whose interval knows of one order of the data;
        empty otherwise."""
        used = self.table[self.table["excluded"].isna()]
        return ONE_SEED if self.file.alone != "lr" and "seed" in used and used["seed"].nunique() == 1 else ""

    def label(self, language: str) -> str:
        """The language's own name where the study gives one."""
        return language_label(self.study, language)

    def score_label(self, name: str) -> str:
        """A task or group by its name; of one language, by the user's own name of it: Chinese cloze, Chinese."""
        language = name.removeprefix("cloze_")
        if language not in LANGUAGES:
            return name
        return self.label(language) + (" cloze" if language != name else "")

    @property
    def guards(self) -> str:
        """The guards of losses in words, as "the guard of code"; empty without any."""
        sources = [guard.source for guard in self.file.loss_guards]
        return guards_named(self.file.guard is not None, sources, self.label)


def language_label(study: Study | None, language: str) -> str:
    """As Study.language_name; for a table of the user's own the word itself, and "loss" for one combined loss."""
    return study.language_name(language) if study else "loss" if language == "total" else language
