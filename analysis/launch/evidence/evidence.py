"""evidence.json: which trials support the launch, how well, and what lies in its bundle."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.fit_file.findings import Finding
from analysis.fit_file.fit_file import CrossValidation, ForgettingGuard, TrialCounts
from analysis.fit_file.result import FitResult
from analysis.fit_file.transfer import Transfer
from analysis.fit_file.winner import Interval, Winner
from analysis.launch.confirm.confirmed import Confirmed
from analysis.launch.evidence.read_back import ReadBack
from analysis.launch.plan.launch_plan import ASSUMPTIONS, LaunchPlan
from analysis.launch.plan.risk import AcceptedRisk
from analysis.launch.plan.source import LaunchCorpus
from sweep.study.errors import InputError
from sweep.study.fields import LANGUAGES, Schema
from sweep.study.files import reader
from sweep.study.files.atomic import sha256
from sweep.study.files.layout import RunFiles
from sweep.study.ingredients import read_ingredients, read_search
from sweep.study.record import PerLanguage
from sweep.study.sections.corpora import BaseModelSource
from sweep.study.sections.launch import Launch
from sweep.study.study import Study

NAME = "evidence.json"
SCHEMA_VERSION = 5


class StudyEvidence(Schema):
    """`sha256` is that of the run's study.yaml; None where the run has none."""

    name: str
    fingerprint: str
    sha256: str | None


class SearchEvidence(Schema):
    """How the trials were chosen. `budget` and `asked` count trials, both None where the whole grid was run and could
    not grow; `stopped` says why a search ended before its budget, None where it did not.
    """

    strategy: str
    budget: int | None
    asked: int | None
    stopped: str | None


class CorpusEvidence(Schema):
    """Counts of the trials' text and of what the launch takes; None: not known."""

    fingerprint: str
    documents: int
    tokens: int
    held_out_documents: int
    held_out_tokens: int
    tokens_per_document: float
    launch_tokens: int
    launch_epochs: float | None


class TrialEvidence(Schema):
    """A trial; `sha256` is that of its record.json. `excluded` says why the fit did not use it."""

    trial_id: str
    almr: float
    lr: float
    seed: int
    status: str
    loss: PerLanguage
    sha256: str
    excluded: str | None


class Quality(Schema):
    """How well the surfaces fit, per language: noise in nats, leave-one-out error, and how many trials there were."""

    noise: dict[str, float]
    cross_validation: dict[str, CrossValidation]
    trials: TrialCounts


class Evidence(Schema):
    """`fit_warnings` qualify the winner, `launch_warnings` the step to the launch. `files`: sha256 of each by path.

    `accepted_risk`: the refusals that the export went past, and why; None where the fit refused nothing.
    `launch_almr` and `launch_lr` are what the launch trains with: the transfer's, but for an LR that a confirmation
    moved. `read_back`: what the trainers' own parsers said of their formats; empty where none was asked.
    `base_model_fingerprint` stands for the trials' weights and tokenizer, a corpus' for text and tokenizer.
    """

    schema_version: int = SCHEMA_VERSION
    study: StudyEvidence
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
    confirmation: Confirmed | None
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
    provenance: dict[str, Any] | None
    files: dict[str, str]
    links: dict[str, str]

    @property
    def launch_lr_interval(self) -> Interval:
        """Of `launch_lr`: the transfer's, or that of the confirmation that moved it."""
        moved = self.confirmation if self.confirmation and self.confirmation.moved else None
        return moved.after_interval if moved and moved.after_interval else self.transfer.lr_interval


def gather(
    fit: FitResult,
    plan: LaunchPlan,
    run: Path,
    formats: tuple[str, ...],
    format_warnings: list[str],
    folder: Path,
    confirmed: Confirmed | None = None,
    read_back: tuple[ReadBack, ...] = (),
) -> Evidence:
    """Everything about the files that already lie in `folder`, and where their numbers come from."""
    file = fit.file
    trials = [_trial(row, run) for row in fit.table.to_dict("records")]
    assert fit.study is not None  # a plan was made from it
    assert file.transfer is not None
    return Evidence(
        study=StudyEvidence(
            name=fit.study.name, fingerprint=fit.study.fingerprint, sha256=_sha256_if_there(RunFiles(run).study)
        ),
        search=_search(fit.study, run),
        base_model=fit.study.base_model,
        base_model_fingerprint=_base_model_fingerprint(run),
        launch=plan.launch,
        formats=formats,
        launch_steps=plan.steps,
        launch_tokens=plan.tokens,
        launch_almr=plan.almr,
        launch_lr=plan.lr,
        winner=file.winner,
        transfer=file.transfer,
        confirmation=confirmed,
        read_back=read_back,
        weights=file.weights,
        guard=file.guard,
        quality=Quality(noise=file.noise, cross_validation=file.cross_validation, trials=file.trials),
        accepted_risk=plan.accepted_risk,
        fit_warnings=tuple(file.warnings),
        launch_warnings=(*plan.warnings, *format_warnings),
        assumptions=ASSUMPTIONS,
        trials=tuple(t for t in trials if t.excluded is None),
        excluded_trials=tuple(t for t in trials if t.excluded is not None),
        corpora={name: _corpus(source) for name, source in plan.sources.items()},
        provenance=_provenance(run),
        files={name: sha256(folder / name) for name in sorted(contents(folder)) if not (folder / name).is_symlink()},
        links={name: os.readlink(folder / name) for name in sorted(contents(folder)) if (folder / name).is_symlink()},
    )


def contents(folder: Path) -> Iterator[str]:
    """Relative paths of all files and links in the folder, beside evidence.json."""
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if name != NAME and (path.is_symlink() or not path.is_dir()):
            yield name


def written(folder: Path) -> dict[str, Any] | None:
    """What the evidence of a bundle says, by this version or an older one; None where there is no bundle.

    Raises InputError where a newer version wrote it.
    """
    path = folder / NAME
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
        sound = isinstance(content["files"], dict) and isinstance(content["links"], dict)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    reader.refuse_newer(path, content, SCHEMA_VERSION)
    return content if sound else None


def state(path: Path) -> str:
    """What the evidence has of a file or link: where it leads, or the sha256."""
    return os.readlink(path) if path.is_symlink() else sha256(path)


def _sha256_if_there(path: Path) -> str | None:
    return sha256(path) if path.exists() else None


def _search(study: Study, run: Path) -> SearchEvidence:
    """As search.json says of the study's own strategy; it is not there where a grid was run."""
    state = read_search(RunFiles(run).search) if study.search.proposes else None
    asked, stopped = (state.asked, state.stopped) if state else (None, None)
    return SearchEvidence(strategy=study.search.strategy, budget=study.search.trials, asked=asked, stopped=stopped)


def _base_model_fingerprint(run: Path) -> str | None:
    ingredients = read_ingredients(RunFiles(run).ingredients)
    return ingredients.base_model_fingerprint if ingredients else None


def _provenance(run: Path) -> dict[str, Any] | None:
    path = RunFiles(run).provenance
    if not path.exists():
        return None
    content: dict[str, Any] = reader.parse(path, "provenance file", "run the study again, which writes it anew")
    return content


def _trial(row: dict[Any, Any], run: Path) -> TrialEvidence:
    record = RunFiles(run).trial(row["trial_id"]).record
    if not record.is_file():
        raise InputError(f"{record}: the fit used this record and it is gone: run the study again, then export")
    fields = {name: row[name] for name in ("trial_id", "almr", "lr", "seed", "status")}
    loss = PerLanguage(**{language: _number(row[f"loss_{language}"]) for language in LANGUAGES})
    excluded = None if pd.isna(row["excluded"]) else row["excluded"]
    return TrialEvidence(**fields, loss=loss, sha256=sha256(record), excluded=excluded)


def _number(value: Any) -> float | None:
    return None if pd.isna(value) else float(value)


def _corpus(source: LaunchCorpus) -> CorpusEvidence:
    counted = ("fingerprint", "documents", "tokens", "held_out_documents", "held_out_tokens", "tokens_per_document")
    return CorpusEvidence(
        **{name: getattr(source.facts, name) for name in counted},
        launch_tokens=round(source.share * source.launch_tokens),
        launch_epochs=source.epochs,
    )
