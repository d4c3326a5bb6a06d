"""The content of `fit.json`, the result of a fit, and its one reader."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import Field

from analysis.fit_file.curve import AlmrPoint, Coupling, CurvePoint, DivergenceEdge, FrontPoint
from analysis.fit_file.findings import Finding
from analysis.fit_file.inputs import FitInputs
from analysis.fit_file.scores import ScoresFile
from analysis.fit_file.sources import LossGuard, SourceAtWinner
from analysis.fit_file.transfer import RuleEstimate, Transfer
from analysis.fit_file.winner import Region, Winner
from sweep.study import InputError, Schema
from sweep.study.files import reader
from sweep.study.files.layout import RunFiles
from sweep.study.record import OWN_TRAINER, trainer_text
from sweep.study.study import fingerprint_of

SCHEMA_VERSION = 2


class CrossValidation(Schema):
    """Leave-one-out cross-validation: root mean square error in nats, and share of trials inside each band.

    `rmse` weights a trial by its precision, which is low near the divergence edge; `plain_rmse` weights all alike.
    `coverage` is by level of the band: "0.5", "0.8", "0.9".
    """

    rmse: float
    plain_rmse: float
    coverage: dict[str, float]


class HorizonFit(Schema):
    """The winner at a token horizon, `tokens`, and the codes of the refusals of a fit to that horizon alone."""

    tokens: int
    winner: Winner
    refusals: tuple[str, ...]


class TrainedBy(Schema):
    """A trainer that made the losses of a fit, and of how many trials. `version`: empty where it is not known."""

    name: str
    version: str = ""
    trials: int

    @property
    def text(self) -> str:
        return trainer_text(self.name, self.version)


class TrialCounts(Schema):
    complete: int
    diverged: int
    failed: int
    excluded: int


class ForgettingGuard(Schema):
    """The forgetting guard: the original language's loss has to be at most `bound` nats, `percent` over the base model.

    `probability`: that the winner keeps it.
    """

    percent: float
    bound: float
    probability: float


class FitFile(Schema):
    """`fit.json`. Losses in nats per token; `noise` is one trial's sd around its surface at the winner, `forms` the
    coordinate of ALMR that each surface is smooth in; `trials` counts rows.

    `weights` is None under a forgetting guard, `guard` is None under weights. `loss_guards` are the objective's guards
    of sources, `sources` has each source of a study that names sources. `horizons` has the winner at each token budget
    that the trials were measured at, the full one last; it is empty where that is the only one. `transfer_rules`: what
    each transfer rule says of the launch, the study's own among them.
    `scores` is None where nothing was scored. `inputs`: hashes of what was fitted; None for a table of the user's own,
    and where an earlier version wrote the file. `figures`: sha256 of each figure that was drawn, by name; `surfaces`:
    of `surfaces.json`, None where an earlier version fitted, or nothing was kept. `alone`: the hyper-parameter that was
    fitted alone, "lr" or "almr", because all trials have one value of the other.
    `trainers`: what trained the trials that were fitted, by trainer and version; empty where a table does not state it.
    `content`: a hash of all the rest, None where an earlier version wrote the file.
    """

    schema_version: int = SCHEMA_VERSION
    study: str
    weights: dict[str, float] | None
    guard: ForgettingGuard | None
    winner: Winner
    region: Region | None
    curve: list[CurvePoint]
    best_almr: list[AlmrPoint]
    coupling: Coupling | None
    front: list[FrontPoint]
    divergence: DivergenceEdge
    forms: dict[str, str]
    noise: dict[str, float]
    cross_validation: dict[str, CrossValidation]
    trials: TrialCounts
    refusals: list[Finding]
    warnings: list[Finding]
    transfer: Transfer | None
    transfer_rules: tuple[RuleEstimate, ...] = ()
    horizons: tuple[HorizonFit, ...] = ()
    scores: ScoresFile | None = None
    loss_guards: tuple[LossGuard, ...] = ()
    sources: tuple[SourceAtWinner, ...] = ()
    inputs: FitInputs | None = None
    figures: dict[str, str] = Field(default_factory=dict)
    surfaces: str | None = None
    alone: str | None = None
    trainers: tuple[TrainedBy, ...] = ()
    content: str | None = None

    def hashed(self) -> FitFile:
        """With the hash of its content, as it is written."""
        return self.model_copy(update={"content": _hash(json.loads(self.model_dump_json()))})

    @property
    def trained_by(self) -> str:
        """The trainers in words, with the trials of each where there are several; empty for our own trainer alone, and
        where it is not stated."""
        if {one.name for one in self.trainers} <= {OWN_TRAINER}:
            return ""
        several = len(self.trainers) > 1
        return " and ".join(f"{one.text} ({one.trials} trials)" if several else one.text for one in self.trainers)

    @property
    def bounds(self) -> dict[str, float]:
        """The highest loss in nats that the guards allow, by language or source; empty without guards of losses."""
        limits = [("original", self.guard.bound)] if self.guard else []
        limits += [(guard.source, guard.bound) for guard in self.loss_guards]
        return {name: min(bound for one, bound in limits if one == name) for name, _ in limits}


def read_fit(run: Path, remedy: str = "write it anew: almr fit RUN") -> FitFile:
    """The `fit.json` of a run directory.

    Raises FileNotFoundError where the run was never fitted, and InputError naming file, field and remedy where the file
    is of another schema version, cannot be read, or was changed after it was written.
    """
    path = RunFiles(run).fit
    file = reader.read(path, FitFile, "fit", SCHEMA_VERSION, remedy)
    if file.content is not None and file.content != _hash(reader.parse(path, "fit", remedy)):
        raise InputError(f"{path}: content: was changed after almr fit wrote the file; {remedy}")
    return file


def _hash(content: dict[str, Any]) -> str:
    return fingerprint_of(content | {"content": None})
