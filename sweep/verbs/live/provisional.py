"""`live.json`: the winner of the trials so far, fitted while the others still run. The page's writer writes it."""

from __future__ import annotations

from typing import Any

from analysis.fit_file.winner import Winner
from sweep.store.run import Run
from sweep.study import InputError, Schema
from sweep.study.files import reader
from sweep.verbs.results import verdict

SCHEMA_VERSION = 1


class Provisional(Schema):
    """`trials`: how many were fitted. `alone`: the hyper-parameter that was fitted alone. `refusals`: the codes of what
    speaks against the winner so far.
    """

    schema_version: int = SCHEMA_VERSION
    trials: int
    winner: Winner
    alone: str | None = None
    refusals: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        against = f"; refused so far: {', '.join(dict.fromkeys(self.refusals))}" if self.refusals else ""
        return f"provisional winner, of {self.trials} trials: {verdict.point(self.winner, alone=self.alone)}{against}"

    def as_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude={"schema_version"})


def read(run: Run) -> Provisional | None:
    """None where no fit was possible yet, or the file cannot be read: it is made anew."""
    try:
        return reader.read(run.files.live, Provisional, "provisional fit", SCHEMA_VERSION, "remove it")
    except (OSError, InputError):
        return None
