"""What the sweep predicts of the launch's held-out losses, and how a finished launch compares with it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from statistics import NormalDist

from pydantic import Field

from analysis.fit_file.result import FitResult
from analysis.fit_file.winner import Interval
from analysis.launch.plan.source import same_text
from analysis.table.table import usable
from sweep.study import LANGUAGES, Schema, numbers
from sweep.study.files import reader
from sweep.study.sections.launch import Launch

NAME = "predicted_losses.json"
SCHEMA_VERSION = 1
AGAIN = "export again: almr export RUN"
SAME = 0.05  # relative: tokens that differ by less are the same budget


class PredictedChange(Schema):
    """The held-out loss of one language after the launch minus that before it, in nats per token; `label` is the user's
    name of the language. `interval`: of one run, so with the surface's uncertainty and the error with which it predicts
    a trial that was left out of it, which contains the noise of a run.
    """

    label: str
    change: float
    interval: Interval

    def after(self, base: float) -> Interval:
        """The predicted loss of a model whose loss was `base`."""
        return Interval(low=base + self.interval.low, high=base + self.interval.high)


class PredictedLosses(Schema):
    """The prediction for a launch of `model` with this ALMR, LR and number of tokens, or `why_not` there is none.

    The change that the trials' surface has at the winner is carried to the launch's own base model. For the trials'
    model that is the fit's prediction; for a larger one it is an `assumption`, in words.
    """

    schema_version: int = SCHEMA_VERSION
    model: str
    almr: float
    lr: float
    tokens: int
    level: float
    assumption: str | None = None
    why_not: str | None = None
    changes: dict[str, PredictedChange] = Field(default_factory=dict)

    def is_for(self, almr: float, lr: float, tokens: int) -> bool:
        """Whether it is of a launch with this setting, and not of a confirmation run or a launch that was moved."""
        return bool(self.changes) and (self.almr, self.lr, self.tokens) == (almr, lr, tokens)

    def compared(self, base: Mapping[str, float | None], loss: Mapping[str, float | None]) -> list[str]:
        """Lines that compare measured losses, before and after the launch by language, with the prediction."""
        lines, inside = [], []
        for name, predicted in self.changes.items():
            before, after = base.get(name), loss.get(name)
            if before is None or after is None:
                continue
            expected = predicted.after(before)
            inside.append(expected.low <= after <= expected.high)
            lines.append(
                f"{predicted.label}: held-out loss {numbers.number(before)} before, {numbers.number(after)} after "
                f"(predicted {numbers.interval(expected)}: {'inside' if inside[-1] else 'OUTSIDE'})"
            )
        if not lines:
            return []
        verdict = f"{sum(inside)} of {len(inside)} held-out losses are inside their predicted intervals"
        level = f"Each interval holds {numbers.level(self.level)} of runs"
        return [verdict, *lines, f"{level}{f', {self.assumption}' if self.assumption else ''}."]


def predict(fit: FitResult, launch: Launch, almr: float, lr: float) -> PredictedLosses:
    """The prediction for the launch of a study's fit."""
    winner, why_not = fit.winner, _why_not(fit, launch)
    changes = {} if why_not else {name: _change(fit, name) for name in _known(fit)}
    small = fit.study and (fit.study.base_model.embedded or fit.study.base_model.pretrained)
    assumed = "if the launch's model changes as much as the trials' model did: an assumption that this run tests"
    return PredictedLosses(
        model=launch.model,
        almr=almr,
        lr=lr,
        tokens=launch.steps * launch.global_batch_tokens,
        level=winner.level,
        assumption=None if launch.model == small else assumed,
        why_not=why_not,
        changes=changes,
    )


def _why_not(fit: FitResult, launch: Launch) -> str | None:
    """Why the trials do not support a prediction: a launch of another budget, batch, sequence length or text."""
    assert fit.study is not None  # a launch was made from it
    of = fit.study.training
    ratio = launch.tokens / of.tokens
    if abs(ratio - 1) > SAME:
        return f"the launch trains {numbers.times(ratio)} the tokens of a trial"
    for name in ("global_batch_tokens", "sequence_length"):
        if getattr(launch, name) != getattr(of, name):
            return f"launch.{name} is {getattr(launch, name):,}, that of the trials {getattr(of, name):,}"
    if launch.evaluation and {*launch.formats} != {"native"}:  # our own trainer measures the trials' text all the same
        return "the launch measures its losses on launch.evaluation, the trials on other text"
    if launch.corpora and not same_text(fit.study.corpora, launch.corpora):
        return "the launch reads launch.corpora, the trials other text"
    return None if _known(fit) else "the base model's held-out losses are not known"


def _known(fit: FitResult) -> list[str]:
    """The languages with a predicted loss, and a loss of the base model."""
    return [name for name in LANGUAGES if name in fit.winner.losses and math.isfinite(_base(fit, name))]


def _base(fit: FitResult, name: str) -> float:
    column = f"base_loss_{name}"
    return float(usable(fit.table)[column].astype(float).median()) if column in fit.table else math.nan


def _change(fit: FitResult, name: str) -> PredictedChange:
    found, base = fit.winner.losses[name], _base(fit, name)
    deviations = NormalDist().inv_cdf((1 + fit.winner.level) / 2)
    checked = fit.file.cross_validation.get(name)
    error = max(fit.file.noise[name], checked.rmse if checked else 0.0)
    below, above = (
        math.hypot(abs(end - found.mean), deviations * error) for end in (found.interval.low, found.interval.high)
    )
    change = found.mean - base
    return PredictedChange(
        label=fit.label(name), change=change, interval=Interval(low=change - below, high=change + above)
    )


def read(folder: Path) -> PredictedLosses | None:
    """The prediction in a format's folder; None where there is none. Raises InputError for a file that is broken."""
    try:
        return reader.read(folder / NAME, PredictedLosses, "prediction", SCHEMA_VERSION, AGAIN)
    except FileNotFoundError:
        return None
