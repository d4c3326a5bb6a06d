"""The end of `almr run`: fit, report and launch bundle, and what is printed of them."""

from __future__ import annotations

import shlex
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.console import Console

from sweep.store.run import Run
from sweep.study import InputError, Study
from sweep.study.numbers import clock, quantity
from sweep.verbs.results.rerun import Rerun, suggestion
from sweep.verbs.results.verdict import verdict

if TYPE_CHECKING:
    from analysis.fit_file.result import FitResult
    from analysis.launch.bundle import Exported


class Results(NamedTuple):
    """The fit, the report and the launch bundle of a run.

    `bundle` is None where the study names no launch, or where `refusal` says why. `word`: the verdict of the page.
    """

    fit: FitResult
    report: Path
    bundle: Exported | None
    refusal: str | None
    word: str


@dataclass(frozen=True)
class Finished:
    """A finished run. `seconds` are of this session, `trial_seconds` and `gpu_hours` of the training of all trials."""

    run: Run
    results: Results
    failed: int
    seconds: float
    trial_seconds: float
    gpu_hours: float

    def text(self, again: Rerun) -> str:
        cost = f"time: {clock(self.seconds)} this session; {clock(self.trial_seconds)} of trials in all"
        cost += f", {quantity(self.gpu_hours)} GPU-hours" if self.gpu_hours else ""
        lines = ["", verdict(self.results.fit), cost, f"report: {self.results.report}"]
        if self.results.bundle:
            lines += [f"launch: {self.results.bundle.headline}", f"launch bundle: {self.run.files.launch} (read GO.md)"]
        if self.results.refusal:
            lines.append(f"no launch bundle: {self.results.refusal}")
        return "\n".join([*lines, *suggestion(self.results.fit.refusals, self.results.fit.warnings, again)])

    @property
    def status(self) -> int:
        """The exit status: 1 trials failed, 3 the fit refuses its winner, 2 no bundle for another reason, else 0, also
        where the bundle says NO GO: the study ran as it should, and `almr export` ends with status 3.
        """
        if self.failed:
            return 1
        return 3 if self.results.fit.file.refusals else 2 if self.results.refusal else 0

    def as_json(self) -> dict[str, Any]:
        return {
            "run": self.run.address,
            "winner": self.results.fit.file.winner.model_dump(mode="json"),
            "refusals": [finding.model_dump(mode="json") for finding in self.results.fit.file.refusals],
            "warnings": [finding.model_dump(mode="json") for finding in self.results.fit.file.warnings],
            "trials": self.results.fit.file.trials.model_dump(),
            "seconds": self.seconds,
            "trial_seconds": self.trial_seconds,
            "gpu_hours": self.gpu_hours,
            "report": str(self.results.report),
            "launch": self.results.bundle.as_json() if self.results.bundle else None,
            "launch_refusal": self.results.refusal,
        }


def conclude(study: Study, run: Run, console: Console) -> Results:
    """Fit, report and export. A study that names no launch gets no bundle, and neither does a refused fit.

    A fit of the same trials, study and code is taken as it is: of thousands of trials a fit takes half a minute.
    """
    with console.status("fitting the surface"):
        from analysis.fit.load import load_same
        from analysis.report.answer import answer
        from sweep.verbs.results import outputs

        fitted = load_same(run.study(), run.folder) or _fitted(run)
        made, refusal = _export(study, run, fitted)
        page = outputs.report(run, fitted)  # after the bundle, whose verdict it repeats
    for line in made.notes if made else ():
        console.print(line, markup=False, soft_wrap=True)
    return Results(fitted, page, made, refusal, answer(fitted, run.folder, run.address).word)


def _fitted(run: Run) -> FitResult:
    """The fit of a run. Raises InputError where none can be made; the page then has what is there."""
    from sweep.verbs.results import fitting, outputs

    try:
        return fitting.fit(run)
    except InputError as error:
        with suppress(InputError):  # of records that cannot be read, the error names the first
            outputs.report_without_fit(run, str(error))
        raise


def _export(study: Study, run: Run, fitted: FitResult) -> tuple[Exported | None, str | None]:
    """The bundle, or why there is none; neither without a launch."""
    from sweep.verbs.results import outputs

    if study.launch is None:
        return None, None
    if fitted.file.refusals:
        return None, _how_to_insist(run, fitted)
    try:
        return outputs.export(run, fitted), None
    except InputError as error:
        return None, str(error)


def _how_to_insist(run: Run, fitted: FitResult) -> str:
    stale = f" ({run.files.launch} is from an earlier fit)" if run.files.launch.exists() else ""
    if fitted.file.transfer is None:
        return f"the fit is refused{stale}, and without a setting for the launch there is nothing to export"
    return f'the fit is refused{stale}; to take the risk: almr export {shlex.quote(run.address)} --accept-risk "reason"'
