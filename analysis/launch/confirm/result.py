"""The result of a confirmation: saved with the run, and applied to the launch."""

from __future__ import annotations

import math
import os
import shutil
from dataclasses import replace
from pathlib import Path
from statistics import NormalDist

from analysis.fit_file.transfer import EdgeAfter
from analysis.fit_file.winner import Interval
from analysis.launch.confirm.plan import ConfirmPlan
from analysis.launch.plan.launch_plan import LaunchPlan
from analysis.transfer.bracket import LrComparison
from sweep.study import InputError, Schema
from sweep.study import numbers as formats
from sweep.study.files import reader, regular
from sweep.study.files.atomic import sha256, write_atomically
from sweep.study.files.layout import CONFIRMATION_RESULT, CONFIRMATION_RUNS, PREVIOUS_EVIDENCE, RunFiles
from sweep.study.record import OWN_TRAINER

SCHEMA_VERSION = 2
AGAIN = "delete it, and confirm again: almr confirm RUN --results FILE"


class ConfirmationResult(Schema):
    """What a plan's confirmation runs say. `before` is the LR of the transfer rule, `after` that of the launch; they
    differ only where the answer is `moved` and the rule carries it. `after_interval`: of the LR that the runs measured,
    carried to the launch's tokens; None where it is not known, or cannot be carried.
    """

    schema_version: int = SCHEMA_VERSION
    plan: ConfirmPlan
    results_sha256: str
    judgement: LrComparison
    before: float
    after: float
    after_interval: Interval | None

    @property
    def moved(self) -> bool:
        return self.judgement.answer == "moved"

    @property
    def rewrites(self) -> bool:
        """Whether the launch gets the measured LR."""
        return self.moved and self.plan.carries

    @property
    def decided(self) -> bool:
        """Whether the launch's LR is settled."""
        return self.judgement.answer == "holds" or self.rewrites

    def of(self, plan: ConfirmPlan) -> bool:
        """Whether this result is for the setting of the plan."""
        return self.plan.confirms(plan)

    @property
    def lines(self) -> list[str]:
        found = self.judgement
        level = formats.level(found.level)
        near = f" ({level} interval {formats.interval(found.interval, 'lr')})" if found.interval else ""
        best = "none inside the LRs that were run" if found.best is None else formats.lr(found.best)
        more = ", ".join(formats.lr(lr) for lr in found.next)
        return [
            self.text,
            f"predicted LR {formats.lr(found.chosen)}; best LR of the confirmation runs: {best}{near}",
            *([f"the launch is rewritten: LR {_moved(self)}"] if self.rewrites else self.kept),
            *([f"run these LRs next and add them to the results: {more}"] if more and not self.moved else []),
        ]

    @property
    def kept(self) -> list[str]:
        """Why the launch is not rewritten although another LR was better."""
        if not self.moved or self.rewrites:
            return []
        share = formats.percent(1 / self.plan.horizon_ratio, 1)
        return [
            f"the launch keeps LR {formats.lr(self.before)}: these runs had {share} of its tokens, and the transfer "
            f"rule has no exponent that carries their LR to all: set launch.transfer.tokens_exponent and its source"
        ]

    @property
    def text(self) -> str:
        return f"confirmation at the launch's size: {self.said}"

    @property
    def said(self) -> str:
        return f"{self.judgement.answer}: {self.judgement.why}{self._trainers}"

    @property
    def _trainers(self) -> str:
        """What trained the confirmation runs and the trials, where one of them is not our own trainer."""
        runs = next((run.trainer for run in self.judgement.runs if run.trainer), "")
        if not self.plan.trained_by and runs in ("", OWN_TRAINER):
            return ""
        return f" (runs trained by {runs or 'a trainer not stated'}, trials by {self.plan.trained_by or OWN_TRAINER})"

    @property
    def divergence_lr(self) -> float | None:
        """The lowest LR that diverged at the launch's size, scaled to the launch's tokens; None where none did."""
        lost = self.judgement.lowest_diverged
        return None if lost is None else lost * self.plan.launch_lr / self.plan.lr


def _moved(result: ConfirmationResult) -> str:
    return f"{formats.lr(result.before)} -> {formats.lr(result.after)}"


def conclude(plan: ConfirmPlan, judgement: LrComparison, results: Path) -> ConfirmationResult:
    """A moved launch gets the best LR of the confirmation runs, carried to its tokens by the rule's exponent."""
    after, interval = plan.launch_lr, None
    if judgement.answer != "undecided" and plan.carries and judgement.best and judgement.interval:
        scale, sd = plan.launch_lr / plan.lr, plan.tokens_exponent_sd * math.log(plan.horizon_ratio)
        best = judgement.best * scale
        more = NormalDist().inv_cdf((1 + judgement.level) / 2) * sd
        low = best * math.exp(-math.hypot(math.log(judgement.best / judgement.interval.low), more))
        high = best * math.exp(math.hypot(math.log(judgement.interval.high / judgement.best), more))
        after = float(f"{best:.6g}") if judgement.answer == "moved" else after
        interval = Interval(low=min(low, after), high=max(high, after))
    return ConfirmationResult(
        plan=plan,
        results_sha256=sha256(results),
        judgement=judgement,
        before=plan.launch_lr,
        after=after,
        after_interval=interval,
    )


def save(result: ConfirmationResult, results: Path, run: Path, bundle: Path) -> None:
    """Save the table of results, the launch's evidence before it, and last this result, in the run's own folder."""
    folder = RunFiles(run).confirmation
    folder.mkdir(exist_ok=True)
    if os.path.realpath(results) != os.path.realpath(kept := folder / CONFIRMATION_RUNS):
        write_atomically(kept, regular.content(results))  # not through a link in its place
    earlier, old = _earlier(run), bundle / "evidence.json"
    rewritten = earlier is not None and earlier.rewrites and (reader.read_object(old) or {}).get("confirmation")
    if old.is_file() and not rewritten:
        write_atomically(folder / PREVIOUS_EVIDENCE, regular.content(old))
    write_atomically(folder / CONFIRMATION_RESULT, result.model_dump_json(indent=2) + "\n")


def read(run: Path) -> ConfirmationResult | None:
    """None where nothing was confirmed. Raises InputError for a file that cannot be read."""
    path = RunFiles(run).confirmation / CONFIRMATION_RESULT
    try:
        return reader.read(path, ConfirmationResult, "confirmation result", SCHEMA_VERSION, AGAIN)
    except FileNotFoundError:
        return None


def _earlier(run: Path) -> ConfirmationResult | None:
    """As `read`, but None for a file that cannot be read, which `save` replaces, unless a newer version wrote it."""
    try:
        return read(run)
    except reader.NewerFileError:
        raise
    except InputError:
        return None


def apply(
    plan: LaunchPlan, result: ConfirmationResult | None, confirm: ConfirmPlan, edge: EdgeAfter | None = None
) -> tuple[LaunchPlan, list[str]]:
    """The plan with the confirmed LR, and warnings about it."""
    if result is None:
        return plan, []
    if not result.of(confirm):
        return plan, ["the run's confirmation is for another setting than this launch: confirm again"]
    if not result.rewrites:
        return plan, [result.text, *result.kept]
    from analysis.transfer.rules import near_edge  # with the surfaces: it takes half a second to import

    note = f"the confirmation moved the LR of the transfer rule: {_moved(result)}"
    before, near = (near_edge(edge, lr) for lr in (result.before, result.after))
    left = tuple(warning for warning in plan.fit_warnings if warning not in before)
    return replace(plan, lr=result.after, fit_warnings=left), [result.text, note, *near]


def copy(run: Path, folder: Path) -> None:
    """Copy the run's confirmation into `folder`, that of the bundle."""
    for name in (CONFIRMATION_RESULT, CONFIRMATION_RUNS, PREVIOUS_EVIDENCE):
        if (RunFiles(run).confirmation / name).is_file():
            shutil.copyfile(RunFiles(run).confirmation / name, folder / name)
