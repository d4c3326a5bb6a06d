"""The page of a run that goes on: a draft, which is rendered when records changed, and what changes in it meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from analysis.fit.fit import Fit
from analysis.fit.grid import SurfaceGrid
from analysis.report import inline, page
from analysis.report.inline import TEMPLATE
from analysis.report.page import Unfitted

HOLES = {name: f"<!--{name} of a run that goes on-->" for name in ("title", "verdict", "state")}  # texts are escaped


class LiveData(TypedDict):
    """`every`: seconds between loads of the page; None where it is not written again. `written`: when, as a name of
    this version; `at`: the same in seconds since 1970. `running`: [ALMR, peak LR, share of the steps that are done] of
    the trials that run. `corners`: two [ALMR, peak LR], of the study's grid, that the map has inside from the first
    trial on.
    """

    every: float | None
    written: str
    at: int
    running: list[list[float]]
    corners: list[list[float]]


@dataclass(frozen=True)
class GoingOn:
    """What a run is doing, in words. `word`: RUNNING, or how it stopped; `share`: how much is done, 0 to 1; `facts`: a
    line each; `heads` and `rows`: the running trials as a table; `commands`: "purpose: command". `written`: the time.
    """

    word: str
    counts: str
    share: float
    facts: Sequence[str]
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    commands: Sequence[str]
    written: str
    data: LiveData
    why: str = ""


def draft(fit: Fit, run: Path) -> str:
    """The page of a provisional fit, with holes for what changes while no record does."""
    return page.render(fit, run, grid=SurfaceGrid.of(fit), holes=HOLES)


def draft_unfitted(made: Unfitted, run: Path) -> str:
    """The same of trials that are too few for a fit."""
    return page.render_unfitted(made, run, holes=HOLES)


def filled(draft: str, now: GoingOn) -> str:
    """The whole page."""
    environment = inline.environment(TEMPLATE)
    environment.filters["purpose"] = lambda line: line.partition(": ")
    parts = {
        "title": environment.from_string("{{ now.word }} {{ (100 * now.share)|round|int }} %").render(now=now),
        "verdict": environment.get_template("live.html.j2").render(now=now),
        "state": inline.as_data(now.data),
    }
    for name, hole in HOLES.items():
        draft = draft.replace(hole, str(parts[name]))
    return draft
