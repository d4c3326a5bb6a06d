"""Parity runs: the small model, trained by a launch's trainer as a trial was trained, and how the numbers compare.

`parity.json` in the run keeps the newest result of each format.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from analysis.launch.plan.launch_plan import NO_PARITY, NOT_TRIED
from sweep.study import Schema

NAME = "parity.json"
SCHEMA_VERSION = 1
TRY = "almr export RUN --parity"
AGAIN = "run almr export RUN --parity again"
ParityState = Literal["pass", "fail", "not known"]
Kind = Literal["again", "borders", "resumed"]
KINDS: dict[Kind, str] = {
    "again": "a finished trial again",
    "borders": "short documents, as our own trainer trains on them",
    "resumed": "the same, killed half-way and started again",
}


class ParityCheck(Schema):
    """A number of a parity run beside the one it should be, at the `step` where they differ most (None: of the whole
    run), `of` a language or source.

    `bound` is of their difference: in the number's own unit, which is nats per token for losses, or, where `relative`,
    as a share of `wanted`. `found` is None where it was not measured. `fault`: why there is no sound number. Without a
    number that is `required` a run does not pass.
    """

    what: str
    of: str | None = None
    wanted: float | None = None
    found: float | None = None
    bound: float = 0.0
    relative: bool = False
    step: int | None = None
    fault: str | None = None
    required: bool = True

    @property
    def difference(self) -> float | None:
        if self.wanted is None or self.found is None:
            return None
        apart = abs(self.found - self.wanted)
        return apart / abs(self.wanted) if self.relative and self.wanted else apart

    @property
    def state(self) -> ParityState:
        if self.fault:
            return "fail"
        if self.difference is None:
            return "not known"
        return "pass" if self.difference <= self.bound else "fail"

    @property
    def name(self) -> str:
        return f"{self.what}{f' of {self.of}' if self.of else ''}"

    @property
    def text(self) -> str:
        """`loss of step 1: 4.8206, should be 4.9409: 0.12 apart (bound 1e-05)`."""
        at = "" if self.step is None else f" (step {self.step:,})"
        what = f"{self.name}{at}"
        if self.fault:
            return f"{what}: {self.fault}"
        if self.difference is None:
            return f"{what}: not measured"
        apart = f"{self.difference:.2g}{' of it' if self.relative else ''} apart (bound {self.bound:g})"
        return f"{what}: {self.found:.6g}, should be {self.wanted:.6g}: {apart}"


class ParityRun(Schema):
    """One parity run of a format, judged. `why_not`: why it was not run; `fault`: why it did not finish."""

    kind: Kind
    steps: int
    checks: tuple[ParityCheck, ...] = ()
    why_not: str | None = None
    fault: str | None = None

    @property
    def state(self) -> ParityState:
        if self.fault or any(check.state == "fail" for check in self.checks):
            return "fail"
        measured = any(check.state == "pass" for check in self.checks)
        return "pass" if measured and not self.missing else "not known"

    @property
    def missing(self) -> list[str]:
        """The numbers without which it does not pass, and that were not measured."""
        return [check.name for check in self.checks if check.required and check.state == "not known"]

    @property
    def differences(self) -> list[str]:
        """A line for whatever failed."""
        lines = [check.text for check in self.checks if check.state == "fail"]
        return [f"{self.kind}: {line}" for line in ([self.fault] if self.fault else lines)]

    @property
    def text(self) -> str:
        if self.differences:
            return "; ".join(self.differences)
        if self.why_not:
            return f"{self.kind}: not run ({self.why_not})"
        lacks = f"not known, as it was not measured: {', '.join(self.missing)}; " if self.missing else ""
        return f"{self.kind}, {self.steps:,} steps, {lacks}apart by: {', '.join(self._apart()) or 'nothing measured'}"

    def _apart(self) -> Iterator[str]:
        """The largest difference of each kind of number, over the languages, where one is allowed."""
        for what in dict.fromkeys(check.what for check in self.checks if check.bound):
            found = [check.difference for check in self.checks if check.what == what]
            known = [difference for difference in found if difference is not None]
            yield f"{what} {max(known):.1g}" if len(known) == len(found) else f"{what} not measured"


class ParityResult(Schema):
    """The parity runs of one format. `made_from` is the digest of the files that were run and of the code that packed
    the text, `trainer` the version of the trainer that was installed (empty: not known): with others the result is
    `outdated`. `versions`: of the trainer and its torch. `why_not`: why there was no run.
    """

    name: str
    trial_id: str
    precision: str
    made_from: str
    date: str
    device: str = ""
    versions: str = ""
    trainer: str = ""
    runs: tuple[ParityRun, ...] = ()
    why_not: str | None = None
    outdated: bool = False

    @property
    def state(self) -> ParityState:
        states = {run.state for run in self.runs}
        if self.outdated or self.why_not or not self.runs:
            return "not known"
        return "fail" if "fail" in states else "not known" if states != {"pass"} else "pass"

    @property
    def text(self) -> str:
        """The verdict and its numbers, in one line."""
        if self.outdated:
            since = f"its files or its trainer have changed since its parity run of {self.date}"
            return f"{self.name}: not known: {since}: {AGAIN}"
        if self.why_not:
            return f"{self.name}: not run: {self.why_not}"
        wrong = [line for run in self.runs for line in run.differences]
        return f"{self.name}: {self.state}: {'; '.join(wrong or [run.text for run in self.runs])}"

    @property
    def line(self) -> str:
        """The first line of the format's settings."""
        if self.state == "not known" and not self.runs:
            return NOT_TRIED
        on = f"on {self.device} in {self.precision}" if self.device else f"in {self.precision}"
        trained = f"trained the small model as {self.trial_id} {on}, {self.date}"
        said = {"pass": "it passed", "fail": "IT FAILED", "not known": "its result is not complete"}[self.state]
        if self.outdated:
            since = "these files or the trainer have changed since"
            return f"NOT TRIED AS IT IS NOW: {self.name} {trained}, and {since}: {AGAIN}"
        return f"Parity run: {self.name} {trained}: {said} (GO.md, evidence.json)"


class ParityFile(Schema):
    """`parity.json`."""

    schema_version: int = SCHEMA_VERSION
    results: dict[str, ParityResult] = Field(default_factory=dict)

    def of(self, name: str) -> ParityResult | None:
        return self.results.get(name)


def summary(
    results: tuple[ParityResult, ...], names: tuple[str, ...], replayed: bool = False
) -> tuple[ParityState, str]:
    """The state of a bundle's formats together, and each one's line. `replayed`: no trial was trained."""
    known = {result.name: result for result in results}
    states = {known[name].state if name in known else "not known" for name in names}
    state: ParityState = "fail" if "fail" in states else "not known" if states != {"pass"} else "pass"
    missing = [name for name in names if name not in known]
    lines = [known[name].text for name in names if name in known]
    lines += [f"{', '.join(missing)}: no parity run: {NO_PARITY if replayed else TRY}"] if missing else []
    return state, "; ".join(lines)


def shown(results: tuple[ParityResult, ...]) -> list[str]:
    """Lines for a terminal."""
    return [f"parity: {line}" for result in results for line in _lines(result)]


def _lines(result: ParityResult) -> list[str]:
    if result.outdated or result.why_not:
        return [result.text]
    head = f"{result.name}: {result.state} ({result.versions or 'version not known'})"
    return [head, *(f"{result.name}: {run.text}" for run in result.runs)]
