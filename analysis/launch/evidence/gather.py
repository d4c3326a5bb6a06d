"""Gathers the evidence of a bundle from the fit, the launch plan, the run directory and the bundle's files."""

from __future__ import annotations

import math
import os
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from analysis.fit_file.fit_file import FitFile, TrainedBy
from analysis.fit_file.outdated import fit_sha256
from analysis.fit_file.result import FitResult
from analysis.launch.confirm import plan as confirm_plan
from analysis.launch.confirm.result import ConfirmationResult
from analysis.launch.evidence.evidence import (
    CorpusEvidence,
    Evidence,
    LaunchTextEvidence,
    Quality,
    ReadBack,
    SearchEvidence,
    StudyEvidence,
    TrialEvidence,
    contents,
)
from analysis.launch.evidence.parity import ParityResult
from analysis.launch.plan.launch_plan import LaunchPlan
from analysis.launch.plan.source import LaunchCorpus
from analysis.table.table import simulated
from sweep.study import LANGUAGES, CorpusFacts, InputError, PerLanguage, Study
from sweep.study.files import reader
from sweep.study.files.atomic import sha256
from sweep.study.files.layout import RunFiles
from sweep.study.ingredients import read_ingredients, read_search


class WrittenBundle(NamedTuple):
    """The bundle so far: its formats, their files in `folder`, the writers' warnings, and the results about it."""

    folder: Path
    formats: tuple[str, ...]
    warnings: list[str]
    confirmation: ConfirmationResult | None = None
    read_back: tuple[ReadBack, ...] = ()
    parity: tuple[ParityResult, ...] = ()
    unmeasured: tuple[str, ...] = ()


def gather(fit: FitResult, plan: LaunchPlan, run: Path, bundle: WrittenBundle) -> Evidence:
    """Raises InputError where the record of a fitted trial is missing."""
    file, study, files = fit.file, fit.study, RunFiles(run)
    ingredients = read_ingredients(files.ingredients)
    assert study is not None  # a plan was made from it
    assert file.transfer is not None
    return Evidence(
        study=_study(study, files.study),
        fit_sha256=fit_sha256(run),
        search=_search(study, run),
        base_model=study.base_model,
        base_model_fingerprint=ingredients.base_model_fingerprint if ingredients else None,
        transfer=file.transfer,
        base_objective=_base_objective(fit),
        simulated=simulated(fit.table),
        provenance=_provenance(fit, files),
        **_of_fit(file),
        **_of_plan(plan),
        **_of_bundle(bundle, plan, file),
        **_trials(fit, run),
    )


def _of_fit(file: FitFile) -> dict[str, Any]:
    return {
        "winner": file.winner,
        "transfer_rules": file.transfer_rules,
        "weights": file.weights,
        "guard": file.guard,
        "loss_guards": file.loss_guards,
        "sources": file.sources,
        "quality": Quality(noise=file.noise, cross_validation=file.cross_validation, trials=file.trials),
        "fit_warnings": tuple(file.warnings),
        "trainers": file.trainers,
    }


def _of_plan(plan: LaunchPlan) -> dict[str, Any]:
    return {
        "launch": plan.launch,
        "launch_steps": plan.steps,
        "launch_tokens": plan.tokens,
        "launch_almr": plan.almr,
        "launch_lr": plan.lr,
        "accepted_risk": plan.accepted_risk,
        "assumptions": plan.assumptions,
        "held_out": plan.held_out.digests,
        "predicted": plan.predicted,
        "corpora": {name: _corpus(facts) for name, facts in plan.counted.items()},
        "launch_corpora": {name: _launch_text(source) for name, source in plan.sources.items()},
    }


def _of_bundle(bundle: WrittenBundle, plan: LaunchPlan, file: FitFile) -> dict[str, Any]:
    return {
        "formats": bundle.formats,
        "same_trainer": _same_trainer(file.trainers, bundle.formats),
        "confirmation": bundle.confirmation,
        "read_back": bundle.read_back,
        "parity": bundle.parity,
        "launch_warnings": (*plan.warnings, *bundle.warnings),
        "unmeasured": bundle.unmeasured,
        "estimates": {name: plan.estimate(name) for name in bundle.formats},
        "files": {path.relative_to(bundle.folder).as_posix(): sha256(path) for path in _paths(bundle, links=False)},
        "links": {path.relative_to(bundle.folder).as_posix(): os.readlink(path) for path in _paths(bundle, links=True)},
    }


def _same_trainer(trainers: tuple[TrainedBy, ...], formats: tuple[str, ...]) -> dict[str, bool]:
    names = {one.name for one in trainers}
    return {name: names == {name} for name in formats} if names else {}


def _study(study: Study, file: Path) -> StudyEvidence:
    digest = sha256(file) if file.exists() else None
    return StudyEvidence(name=study.name, fingerprint=study.fingerprint, sha256=digest)


def _paths(bundle: WrittenBundle, links: bool) -> list[Path]:
    paths = (bundle.folder / name for name in sorted(contents(bundle.folder)))
    return [path for path in paths if path.is_symlink() == links]


def _search(study: Study, run: Path) -> SearchEvidence:
    """From search.json, which a run of the whole grid does not have."""
    state = read_search(RunFiles(run).search) if study.search.proposes else None
    asked, stopped = (state.asked, state.stopped) if state else (None, None)
    search = study.search
    return SearchEvidence(
        strategy=search.strategy,
        budget=search.limit or None,
        unit=search.unit or "trials",
        asked=asked,
        stopped=stopped,
    )


def _trials(fit: FitResult, run: Path) -> dict[str, tuple[TrialEvidence, ...]]:
    named = [one.name for one in fit.file.sources]
    trials = [_trial(row, run, named) for row in fit.table.to_dict("records")]
    return {
        "trials": tuple(trial for trial in trials if trial.excluded is None),
        "excluded_trials": tuple(trial for trial in trials if trial.excluded is not None),
    }


def _trial(row: dict[Any, Any], run: Path, sources: list[str]) -> TrialEvidence:
    record = RunFiles(run).trial(row["trial_id"]).record
    if not record.is_file():
        raise InputError(f"{record}: the fit used this record, but it is missing: run the study again, then export")
    fields = {name: row[name] for name in ("trial_id", "almr", "lr", "seed", "status")}
    loss = PerLanguage(**{language: _number(row[f"loss_{language}"]) for language in LANGUAGES})
    excluded = None if pd.isna(row["excluded"]) else row["excluded"]
    named = {name: _number(row.get(f"loss_{name}")) for name in sources}
    return TrialEvidence(**fields, loss=loss, sha256=sha256(record), excluded=excluded, sources=named)


def _provenance(fit: FitResult, files: RunFiles) -> dict[str, Any] | None:
    """The content of provenance.json, which is of the last session. Where other code trained some of the fitted trials,
    as the record of each says, `other_code` has how many, by its sha256.
    """
    found = reader.read_object(files.provenance)
    if not found or not isinstance(found.get("code_sha256"), str):
        return found
    names = fit.table["trial_id"][fit.table["excluded"].isna()]
    codes = Counter(code for name in names if (code := _code(files.trial(name).record)))
    del codes[found["code_sha256"]]
    return found | {"other_code": dict(sorted(codes.items()))} if codes else found


def _code(record: Path) -> str | None:
    """The sha256 of the code that trained a trial; None where its record does not state it."""
    content = (reader.read_object(record) or {}).get("provenance")
    code = content.get("code_sha256") if isinstance(content, dict) else None
    return code if isinstance(code, str) else None


def _base_objective(fit: FitResult) -> float | None:
    """The objective of the base model, without its guards; None where a record lacks a loss that it weighs."""
    weights = confirm_plan.weights(fit.file)
    columns = {name: f"base_loss_{name}" for name in weights}
    if any(column not in fit.table for column in columns.values()):
        return None
    found = sum(share * float(fit.table[columns[name]].astype(float).median()) for name, share in weights.items())
    return found if math.isfinite(found) else None


def _number(value: Any) -> float | None:
    return None if pd.isna(value) else float(value)


def _corpus(facts: CorpusFacts) -> CorpusEvidence:
    return CorpusEvidence(**{name: getattr(facts, name) for name in CorpusEvidence.model_fields})


def _launch_text(source: LaunchCorpus) -> LaunchTextEvidence:
    return LaunchTextEvidence(
        language=source.language,
        launch_tokens=round(source.share * source.launch_tokens),
        corpus_tokens=round(source.size.tokens) if source.size else None,
        size_source=source.size.source if source.size else None,
        launch_epochs=source.epochs,
    )
