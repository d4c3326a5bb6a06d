"""Fit -> launch plan, and trial -> launch plan."""

from __future__ import annotations

from analysis.fit_file.findings import Finding, messages
from analysis.fit_file.result import FitResult
from analysis.fit_file.transfer import REPEATS, Transfer
from analysis.launch.plan.held_out import HeldOutText
from analysis.launch.plan.launch_plan import PARITY_RUN, AcceptedRisk, LaunchPlan
from analysis.launch.plan.layout import LaunchHardware
from analysis.launch.plan.predicted_losses import predict
from analysis.launch.plan.source import sources_of
from analysis.table.table import simulated
from sweep.study import CorpusFacts, InputError, Study, Trial
from sweep.study.sections.launch import Launch


def make(
    fit: FitResult,
    corpora: dict[str, CorpusFacts],
    accept_risk: str | None = None,
    target: LaunchHardware | None = None,
    held_out: HeldOutText | None = None,
) -> LaunchPlan:
    """Raises InputError without a launch, for a refused winner unless `accept_risk` says why, for missing corpora."""
    study, launch, transfer = _stated(fit)
    accepted_risk = _accept(fit.file.refusals, accept_risk)
    text = held_out or HeldOutText()
    counted = {name: _facts(corpora, name) for name in study.corpora.source_names()}
    sources = sources_of(study, transfer.almr, counted, text.files)
    findings = (*(accepted_risk.refusals if accepted_risk else ()), *fit.file.warnings)
    of_transfer = (line for line in transfer.warnings if REPEATS not in line)  # see source.repetition
    warnings = (*messages(findings), *of_transfer)
    return LaunchPlan(
        study=study,
        launch=launch,
        almr=transfer.almr,
        lr=transfer.lr,
        accepted_risk=accepted_risk,
        fit_warnings=warnings,
        trained_by=fit.file.trained_by,
        sources=sources,
        target=target or LaunchHardware(),
        held_out=text,
        simulated=simulated(fit.table),
        predicted=predict(fit, launch, transfer.almr, transfer.lr),
        counted=counted,
        precision="bfloat16" if launch.gpus_per_node else "float32",
    )


def _stated(fit: FitResult) -> tuple[Study, Launch, Transfer]:
    """The study, its launch, and the setting that its winner is carried to. Raises InputError where one is missing."""
    if fit.study is None:
        raise InputError("a table has no launch: export the run of a study with `launch:`")
    launch, transfer = fit.study.launch, fit.file.transfer
    if launch is None:
        raise InputError(
            f"study {fit.study.name} has no launch: add `launch:` with model, tokens, global_batch_tokens and "
            f"sequence_length, and run it again"
        )
    if transfer is None:
        why = "\n".join(f.message for f in fit.file.refusals if f.code == "transfer")
        raise InputError(why or "fit.json has no transfer: fit the run again, almr fit RUN")
    return fit.study, launch, transfer


def _accept(refusals: list[Finding], reason: str | None) -> AcceptedRisk | None:
    """None without a refusal. Raises InputError for refusals without a reason, and for a blank reason."""
    if reason is not None and not reason.strip():
        raise InputError('--accept-risk: the reason is blank: give one, --accept-risk "reason"')
    if not refusals:
        return None
    if reason is None:
        raise InputError(
            "\n".join(
                [
                    *messages(refusals),
                    "the fit is refused, so nothing was written: run the suggested trials, or go on with a reason, "
                    '--accept-risk "reason"',
                ]
            )
        )
    return AcceptedRisk(reason=as_text(reason), refusals=tuple(refusals))


def as_text(reason: str) -> str:
    """Bytes that are not UTF-8 reach Python as lone surrogates, which cannot be written to a file."""
    return reason.strip().encode("utf-8", "backslashreplace").decode()


def _facts(corpora: dict[str, CorpusFacts], name: str) -> CorpusFacts:
    if name not in corpora:
        raise InputError(
            f"ingredients.json has no counts of the {name} corpus: run the study again to write them (of a replay: "
            f"state corpora.{name}.tokens first)"
        )
    return corpora[name]


def of_trial(
    study: Study, launch: Launch, trial: Trial, counted: dict[str, CorpusFacts], target: LaunchHardware
) -> LaunchPlan:
    """The plan of a launch that trains as a trial of the study did, at its ALMR and LR and with its seed. Its text is
    the trials', without the held-out part.
    """
    return LaunchPlan(
        study=study,
        launch=launch,
        almr=trial.almr,
        lr=trial.lr,
        accepted_risk=None,
        fit_warnings=(),
        sources=sources_of(study, trial.almr, counted),
        target=target,
        counted=counted,
        precision=study.training.precision,
        parity=dict.fromkeys(launch.formats, PARITY_RUN),
    )
