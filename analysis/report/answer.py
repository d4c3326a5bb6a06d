"""The verdict at the top of the page: one word, and the points that decide it."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pydantic

from analysis.fit_file.outdated import fit_sha256
from analysis.fit_file.result import FitResult
from analysis.launch.evidence import go
from analysis.launch.evidence.check import STATES
from analysis.launch.evidence.evidence import Evidence
from sweep.study.files.layout import RunFiles
from sweep.study.files.reader import read_object

RUN = re.compile(r"\b(almr \w+) RUN\b")  # in the checks' commands
REFUSED, FITTED, NO_RESULT = "REFUSED", "FITTED", "NO RESULT"
KINDS = {"GO": "good", "GO WITH OPEN POINTS": "open", "NO GO": "bad", REFUSED: "bad", NO_RESULT: "bad", FITTED: "open"}


@dataclass(frozen=True)
class VerdictPoint:
    """A check or a refusal: its `state` ("fail", "warn", "not known", "pass", or a refusal's code), and in words."""

    state: str
    name: str
    detail: str = ""


@dataclass(frozen=True)
class Answer:
    """`word`: the verdict. `deciding`: the points that it follows from; `others`: the rest of the checks. `note`: what
    to know beside it."""

    word: str
    deciding: list[VerdictPoint]
    others: list[VerdictPoint]
    note: str = ""

    @property
    def counts(self) -> str:
        """How many of the other checks have each state, as "4 warn, 14 pass"."""
        found = Counter(point.state for point in self.others)
        return ", ".join(f"{found[state]} {state}" for state in STATES if found[state])

    @property
    def kind(self) -> str:
        """Its colour: good, open or bad."""
        if self.word == FITTED and not self.deciding:
            return "good"
        return KINDS.get(self.word, "open")


def answer(fit: FitResult, run: Path, address: str) -> Answer:
    """`address`: the run as commands name it."""
    if fit.file.refusals:
        points = [VerdictPoint(one.code, one.message) for one in fit.file.refusals]
        return Answer(REFUSED, points, [], "Do not launch with this winner.")
    found = read_object(RunFiles(run).evidence) or {}
    if found.get("headline") and found.get("fit_sha256") == fit_sha256(run):
        return _of_launch(fit, found, shlex.quote(address))
    return Answer(FITTED, [], [], _without_bundle(fit))


def _without_bundle(fit: FitResult) -> str:
    count = len(fit.file.warnings)
    passed = f"{count} warning{'s' if count > 1 else ''}, below." if count else "The winner passed every check."
    launch = " No launch bundle of this fit yet." if fit.study and fit.study.launch else ""
    return f"No refusal. {passed}{launch}"


def _of_launch(fit: FitResult, found: dict[str, object], address: str) -> Answer:
    headline = str(found["headline"])
    word = next(
        (word for word in KINDS if headline.startswith(word) and not headline[len(word) :].startswith(" W")), "GO"
    )
    try:
        evidence = Evidence.model_validate(found)
    except pydantic.ValidationError:  # of another version: its headline says enough
        return Answer(word, [VerdictPoint("", headline.removeprefix(word).strip(": "))], [])
    assert fit.study is not None  # a bundle was made from it
    points = [
        VerdictPoint(one.state, one.statement, RUN.sub(lambda found: f"{found[1]} {address}", one.detail))
        for one in go.checks(evidence, fit.study)
    ]
    points.sort(key=lambda point: STATES.index(point.state))
    fails = [point for point in points if point.state == "fail"]
    deciding = fails or [point for point in points if point.state != "pass"]
    reason = evidence.accepted_reason
    return Answer(
        word, deciding, [p for p in points if p not in deciding], f"Accepted, because: {reason}" if reason else ""
    )
