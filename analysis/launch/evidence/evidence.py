"""evidence.json: the trials that support the launch, the quality of the fit, and the hashes of the bundle's files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import Field

from analysis.fit_file.findings import Finding
from analysis.fit_file.fit_file import CrossValidation, ForgettingGuard, TrainedBy, TrialCounts
from analysis.fit_file.sources import LossGuard, SourceAtWinner
from analysis.fit_file.transfer import RuleEstimate, Transfer
from analysis.fit_file.winner import Interval, Winner
from analysis.launch.confirm.result import ConfirmationResult
from analysis.launch.evidence.parity import ParityResult
from analysis.launch.plan.estimate import LaunchEstimate
from analysis.launch.plan.launch_plan import AcceptedRisk
from analysis.launch.plan.predicted_losses import PredictedLosses
from sweep.study import PerLanguage, Schema
from sweep.study.files import reader
from sweep.study.files.atomic import sha256
from sweep.study.sections.launch import Launch
from sweep.study.sections.text.corpora import BaseModelSource

NAME = "evidence.json"
SCHEMA_VERSION = 7


class StudyEvidence(Schema):
    """`sha256` of the run's study.yaml; None where it has none."""

    name: str
    fingerprint: str
    sha256: str | None


class SearchEvidence(Schema):
    """How the trials were chosen. `budget` is in `unit`: trials, tokens or gpu_hours. It and `asked` (trials requested
    so far) are None where the whole grid was run and could not grow. `stopped`: why a search ended before its budget;
    None where it did not.
    """

    strategy: str
    budget: int | float | None
    unit: str = "trials"
    asked: int | None
    stopped: str | None


class CorpusEvidence(Schema):
    """The trials' counts of a source. `counted`: as CorpusFacts."""

    fingerprint: str
    documents: int
    tokens: int
    held_out_documents: int
    held_out_tokens: int
    tokens_per_document: float
    counted: bool = True


class LaunchTextEvidence(Schema):
    """A source of the launch: its tokens in the launch, its own size and where that is from, and how often it is read;
    None: not known.
    """

    language: str
    launch_tokens: int
    corpus_tokens: int | None
    size_source: str | None
    launch_epochs: float | None


class TrialEvidence(Schema):
    """A trial, with the sha256 of its record.json. `excluded`: why the fit did not use it. `sources`: the losses of
    named sources.
    """

    trial_id: str
    almr: float
    lr: float
    seed: int
    status: str
    loss: PerLanguage
    sha256: str
    excluded: str | None
    sources: dict[str, float | None] = Field(default_factory=dict)


class Quality(Schema):
    """Quality of the surfaces, per language and per source in the objective: noise in nats and leave-one-out error; and
    the number of trials.
    """

    noise: dict[str, float]
    cross_validation: dict[str, CrossValidation]
    trials: TrialCounts


class ReadBack(Schema):
    """One format's files as its trainer's own parser reads them, compared with the winner.

    `differences` is None where it was not read; `why_not` says why. `parsers`: names of the parsers.
    """

    name: str
    differences: tuple[str, ...] | None
    parsers: str | None = None
    why_not: str | None = None

    @property
    def text(self) -> str:
        if self.differences is None:
            return f"{self.name}: not read back ({self.why_not})"
        if self.differences:
            return "\n".join(f"{self.name}: WRONG: {line}" for line in self.differences)
        return f"{self.name}: equal to the winner, as read by {self.parsers}"


class Evidence(Schema):
    """`fit_warnings` are about the winner, `launch_warnings` about the launch. `files`: the sha256 of each by path,
    `fit_sha256` that of the run's fit.json.

    `accepted_risk`: the refusals that were overridden, with the reason; None without a refusal. `launch_almr` and
    `launch_lr` are the transfer's, but for an LR that a confirmation moved; `transfer_rules` are
    the fit's. `read_back`: how the trainers' own parsers read their formats; empty if not requested.
    `base_model_fingerprint` is of the trials' weights and tokenizer, the fingerprint of a corpus is of its text and
    tokenizer. `loss_guards` and `sources` are those of the fit.
    `unmeasured`: losses of the objective that the launch does not measure. `held_out`: the sha256 of the trials'
    held-out text of each source, which the launch leaves out. `predicted`: how the launch's held-out losses will
    change, or why that is not known. `base_objective`: the objective of the base model, where its losses are known.
    `accepted_reason`: why the launch may start although checks fail; None where nobody gave one. `headline`: the
    verdict of GO.md. `simulated`: what made the losses of the trials, where nobody measured them. `estimates`: what the
    launch takes with each format. `parity`: the newest parity run of each format that has one. `trainers`: what trained
    the fitted trials; empty where that is not stated. `same_trainer`: by format, whether the trainer that launches is
    the one that trained the trials.
    """

    schema_version: int = SCHEMA_VERSION
    study: StudyEvidence
    fit_sha256: str | None
    search: SearchEvidence
    base_model: BaseModelSource
    base_model_fingerprint: str | None
    launch: Launch
    formats: tuple[str, ...]
    launch_steps: int
    launch_tokens: int
    launch_almr: float
    launch_lr: float
    winner: Winner
    transfer: Transfer
    transfer_rules: tuple[RuleEstimate, ...] = ()
    confirmation: ConfirmationResult | None
    read_back: tuple[ReadBack, ...]
    weights: dict[str, float] | None
    guard: ForgettingGuard | None
    quality: Quality
    accepted_risk: AcceptedRisk | None
    fit_warnings: tuple[Finding, ...]
    launch_warnings: tuple[str, ...]
    assumptions: tuple[str, ...]
    trials: tuple[TrialEvidence, ...]
    excluded_trials: tuple[TrialEvidence, ...]
    corpora: dict[str, CorpusEvidence]
    launch_corpora: dict[str, LaunchTextEvidence] = Field(default_factory=dict)
    provenance: dict[str, Any] | None
    files: dict[str, str]
    links: dict[str, str]
    loss_guards: tuple[LossGuard, ...] = ()
    sources: tuple[SourceAtWinner, ...] = ()
    unmeasured: tuple[str, ...] = ()
    held_out: dict[str, str] = Field(default_factory=dict)
    predicted: PredictedLosses | None = None
    base_objective: float | None = None
    accepted_reason: str | None = None
    headline: str = ""
    simulated: str | None = None
    estimates: dict[str, LaunchEstimate] = Field(default_factory=dict)
    parity: tuple[ParityResult, ...] = ()
    trainers: tuple[TrainedBy, ...] = ()
    same_trainer: dict[str, bool] = Field(default_factory=dict)

    @property
    def launch_lr_interval(self) -> Interval:
        """The interval of `launch_lr`: that of a confirmation that measured it, else the transfer's."""
        done = self.confirmation
        return done.after_interval if done and done.after_interval else self.transfer.lr_interval


def contents(folder: Path) -> Iterator[str]:
    """Relative paths of all files and links in the folder except evidence.json."""
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if name != NAME and (path.is_symlink() or not path.is_dir()):
            yield name


def written(folder: Path) -> dict[str, Any] | None:
    """The content of evidence.json, of this version or an older one; None where there is no bundle.

    Raises InputError where a newer version wrote it.
    """
    path = folder / NAME
    try:
        content: dict[str, Any] = reader.parse(path, "list of a bundle's files", "export again")
        sound = isinstance(content["files"], dict) and isinstance(content["links"], dict)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    reader.refuse_newer(path, content, SCHEMA_VERSION)
    return content if sound else None


def target_or_sha256(path: Path) -> str:
    """The target of a link, or the sha256 of a file."""
    return os.readlink(path) if path.is_symlink() else sha256(path)
