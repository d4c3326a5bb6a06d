"""What a comparison of fitted runs found: the content of `almr compare --json`, and of the page."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field

from analysis.fit_file.findings import Finding
from analysis.fit_file.fit_file import TrialCounts
from analysis.fit_file.transfer import Cost
from analysis.fit_file.unknown import OrUnknown
from analysis.fit_file.winner import Interval, Winner
from sweep.study import Schema

SCHEMA_VERSION = 1
NATS: Final = "nats per token"  # of the runs' stage: RunComparison.loss_unit has the words
BITS: Final = "bits per byte"
Unit = Literal["nats per token", "bits per byte"]


class RunSummary(Schema):
    """One of the runs. `name` is its own among the compared ones, `mark` a letter; `kind` says whether it has a study.

    `labels`: of each loss; `parameters`, `tokens` and `batch` (tokens per optimizer step) are None where not known.
    `objective` is in words; `bits_per_byte` of each loss at the winner, where the records have it.
    """

    mark: str
    name: str
    address: str
    kind: Literal["run", "table"]
    model: str = ""
    parameters: int | None = None
    tokens: int | None = None
    batch: int | None = None
    trained_by: str = ""
    seeds: tuple[int, ...] = ()
    trials: TrialCounts
    labels: dict[str, str]
    objective: str
    alone: str | None = None
    winner: Winner
    bits_per_byte: dict[str, float] = Field(default_factory=dict)
    refusals: tuple[Finding, ...] = ()
    warnings: tuple[Finding, ...] = ()


class AxisShift(Schema):
    """The second run's best value less the first's; of the LR, over the first's. `p_value`: of no difference."""

    value: float
    interval: Interval
    p_value: float


class OptimumShift(Schema):
    """How far apart two optima are. `p_value` tests that they are one point, in ALMR and ln LR together, and
    `p_corrected` is Holm's, over all pairs. `differ`: it is at most 1 - level. An axis is None where one of the runs
    did not vary it; with neither, nothing was tested, and `why` says so.
    """

    almr: AxisShift | None = None
    lr: AxisShift | None = None
    p_value: float | None = None
    p_corrected: float | None = None
    differ: bool | None = None
    why: str = ""


class WinnerElsewhere(Schema):
    """What the winner of one run would cost on the surface of another, `on`, over the optimum there: nats per token of
    that run's objective. None where it is not known, and `why` says so. `carries`: whether the cost is within the
    tolerance; None where it may be.
    """

    winner_of: str
    on: str
    cost: Cost | None = None
    carries: bool | None = None
    why: str = ""


class LossShift(Schema):
    """The second run's loss at its winner less the first's at its own. `name`: original, additional, total or a source.

    `unit` is what they were compared in. None where they were measured on other text or with another tokenizer, and
    `why` says so: such losses are not subtracted.
    """

    name: str
    unit: Unit | None = None
    first: float | None = None
    second: float | None = None
    difference: float | None = None
    interval: Interval | None = None
    p_value: float | None = None
    why: str = ""


class SharedLoss(Schema):
    """One loss on the `trials` that completed in both runs at the same (ALMR, LR, seed): mean of the differences,
    second less first, in nats per token, with its interval, and the largest, at (`almr`, `lr`)."""

    name: str
    trials: int
    mean: float
    interval: Interval | None
    p_value: float | None
    largest: float
    almr: OrUnknown
    lr: float


class SharedTrials(Schema):
    """The trials that both runs have. `ended_otherwise`: complete in one, diverged or failed in the other."""

    trials: int = 0
    ended_otherwise: int = 0
    losses: tuple[SharedLoss, ...] = ()


class RulePrediction(Schema):
    """What a transfer rule says of the larger model from the smaller one's winner, and what was measured.

    `ratio`: the measured best LR over the predicted one, with the uncertainty of both; `held`: its interval has 1.
    `cost`: of the predicted ALMR and LR on the larger one's surface. `chosen`: by the smaller run's study.
    """

    rule: str
    chosen: bool = False
    lr: float | None = None
    lr_interval: Interval | None = None
    almr: float | None = None
    ratio: float | None = None
    ratio_interval: Interval | None = None
    p_value: float | None = None
    held: bool | None = None
    cost: Cost | None = None
    why: str = ""


class SizeStep(Schema):
    """Two sizes of model: `larger` has `factor` times the parameters of `smaller`. `why`: why no rule is asked."""

    smaller: str
    larger: str
    factor: float
    rules: tuple[RulePrediction, ...] = ()
    why: str = ""


class RunPair(Schema):
    """Two of the runs, by their marks. `objectives`: why their objectives are not one; empty where they are, and its
    values compare. `caveats`: what to know of the pair."""

    first: str
    second: str
    objectives: str = ""
    shift: OptimumShift
    elsewhere: tuple[WinnerElsewhere, WinnerElsewhere]
    losses: tuple[LossShift, ...]
    shared: SharedTrials
    sizes: SizeStep | None = None
    caveats: tuple[str, ...] = ()


class FieldDifference(Schema):
    """A field of the study that differs, by its dotted name, and the value in each run as text; None: it has no study.

    `decides`: whether the numbers of a fit depend on it.
    """

    field: str
    values: tuple[str | None, ...]
    decides: bool


class RunComparison(Schema):
    """`level`: of all intervals of differences. `tolerance`: the most that a winner may cost elsewhere to carry over,
    in nats. `one_scale`: whether the objectives of all runs compare, so that maps have one scale of colours.
    `same_text`: why the user says that held-out texts and tokenizers are one where no record tells; empty otherwise.
    `loss_unit`: of all losses that are not in bits per byte.
    """

    schema_version: int = SCHEMA_VERSION
    level: float
    tolerance: float
    runs: tuple[RunSummary, ...]
    pairs: tuple[RunPair, ...]
    fields: tuple[FieldDifference, ...]
    one_scale: bool
    same_text: str = ""
    loss_unit: str = NATS

    def run(self, mark: str) -> RunSummary:
        return next(run for run in self.runs if run.mark == mark)
