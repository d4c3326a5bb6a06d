"""What a confirmation came to, kept with the run, and the launch that it rewrites."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from analysis.fit_file.transfer import EdgeAfter
from analysis.fit_file.winner import Interval
from analysis.launch.confirm.plan import ConfirmPlan
from analysis.launch.plan.launch_plan import LaunchPlan
from analysis.transfer.bracket import LrComparison
from sweep.study.errors import InputError
from sweep.study.fields import Schema
from sweep.study.files import reader
from sweep.study.files.atomic import sha256, write_atomically
from sweep.study.files.layout import RunFiles

NAME = "judgement.json"
SCHEMA_VERSION = 2
RESULTS = "results.csv"
PREVIOUS = "previous-evidence.json"
AGAIN = "delete it, and confirm again: almr confirm RUN --results FILE"


class Confirmed(Schema):
    """`plan` is what was confirmed, `before` the LR of the rule and `after` that of the launch, with its interval where
    it was measured; they are the same unless the answer is `moved`.
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

    def of(self, plan: ConfirmPlan) -> bool:
        """Whether this confirms the setting of the plan."""
        return self.plan.confirms(plan)

    @property
    def lines(self) -> list[str]:
        found = self.judgement
        near = (
            ""
            if found.interval is None
            else f" ({found.level:.0%} {found.interval.low:.4g} to {found.interval.high:.4g})"
        )
        best = "outside of the LRs that were run, or none" if found.best is None else f"{found.best:.4g}"
        more = ", ".join(f"{lr:.4g}" for lr in found.next)
        return [
            self.text,
            f"predicted LR {found.chosen:.4g}; best LR of the brief runs: {best}{near}",
            *([f"the launch is rewritten: LR {self.before:.6g} -> {self.after:.6g}"] if self.moved else []),
            *([f"run next, and add to the results: LR {more}"] if more and not self.moved else []),
        ]

    @property
    def text(self) -> str:
        return f"confirmation at the launch's size: {self.judgement.answer}: {self.judgement.why}"


def conclude(plan: ConfirmPlan, judgement: LrComparison, results: Path) -> Confirmed:
    """A moved launch gets the best LR of the brief runs, carried to its budget as the rule carries it."""
    after, interval = plan.launch_lr, None
    if judgement.answer == "moved":
        assert judgement.best is not None
        assert judgement.interval is not None
        carried = plan.launch_lr / plan.lr
        after = float(f"{judgement.best * carried:.6g}")
        low, high = judgement.interval.low * carried, judgement.interval.high * carried
        interval = Interval(low=min(low, after), high=max(high, after))
    digest = sha256(results)
    return Confirmed(
        plan=plan,
        results_sha256=digest,
        judgement=judgement,
        before=plan.launch_lr,
        after=after,
        after_interval=interval,
    )


def keep(confirmed: Confirmed, results: Path, run: Path, bundle: Path) -> None:
    """The results, the evidence of the launch as it was, and last the judgement, in the run's own folder."""
    folder = RunFiles(run).confirmation
    folder.mkdir(exist_ok=True)
    if results.resolve() != (folder / RESULTS).resolve():
        shutil.copyfile(results, folder / RESULTS)
    earlier = _earlier(run)
    old = bundle / "evidence.json"
    if old.is_file() and not (earlier and earlier.moved):
        shutil.copyfile(old, folder / PREVIOUS)
    write_atomically(folder / NAME, confirmed.model_dump_json(indent=2) + "\n")


def read(run: Path) -> Confirmed | None:
    path = RunFiles(run).confirmation / NAME
    try:
        return reader.read(path, Confirmed, "judgement", SCHEMA_VERSION, AGAIN)
    except FileNotFoundError:
        return None


def _earlier(run: Path) -> Confirmed | None:
    """None also where it cannot be read: another takes its place, unless a newer version wrote it."""
    try:
        return read(run)
    except reader.NewerFileError:
        raise
    except InputError:
        return None


def apply(
    plan: LaunchPlan, confirmed: Confirmed | None, confirm: ConfirmPlan, edge: EdgeAfter | None = None
) -> tuple[LaunchPlan, list[str]]:
    """The plan with the LR that was confirmed, and what to know of it."""
    if confirmed is None:
        return plan, []
    if not confirmed.of(confirm):
        return plan, ["the run's confirmation is of another setting than this launch: confirm again"]
    if not confirmed.moved:
        return plan, [confirmed.text]
    from analysis.transfer.rules import near_edge  # with the surfaces: it takes half a second to import

    told = f"the LR is the confirmation's: {confirmed.after:.6g}, where the rule says {confirmed.before:.6g}"
    before, near = (near_edge(edge, lr) for lr in (confirmed.before, confirmed.after))
    left = tuple(warning for warning in plan.fit_warnings if warning not in before)
    return replace(plan, lr=confirmed.after, fit_warnings=left), [confirmed.text, told, *near]


def copy(run: Path, folder: Path) -> None:
    """The run's confirmation into the bundle's folder `confirm`."""
    for name in (NAME, RESULTS, PREVIOUS):
        if (RunFiles(run).confirmation / name).is_file():
            shutil.copyfile(RunFiles(run).confirmation / name, folder / name)
