"""The rungs of a ladder: sweeps at several sizes, token budgets or batches, of finished runs or as stated."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from scipy.stats import norm

from analysis.fit_file.fit_file import FitFile, HorizonFit, read_fit
from analysis.fit_file.transfer import FittedRung, RungLoss
from analysis.fit_file.winner import Interval, Winner
from analysis.transfer import sizes
from sweep.study import LANGUAGES, InputError, Study, study_file
from sweep.study.files.layout import RunFiles
from sweep.study.sections.transfer import Rung as Stated

STATED_LOSS_SD = 0.005  # nats: of a stated loss, about the noise of one run


def gather(study: Study, stated: Iterable[Stated]) -> tuple[list[FittedRung], list[str]]:
    """The rungs of finished runs or of stated numbers, and warnings. Stated ones without a batch have the study's.

    Raises InputError for a run without a fit, of a model of unknown size, or of the study itself.
    """
    if fault := study_file.own_rung(study):
        raise InputError(fault)
    found, warnings = [], []
    for i, one in enumerate(stated):
        if one.run is None:
            found.append(_of_numbers(one, f"rung {i + 1}", study.training.global_batch_tokens))
        else:
            rungs, more = _of_run(Path(one.run), one.parameters, study.trainer.name)
            found += rungs
            warnings += more
    return found, warnings


def rung_of(name: str, winner: Winner, parameters: int, tokens: int, batch: int) -> FittedRung:
    """A winner as a rung."""
    wide = 2 * float(norm.ppf((1 + winner.level) / 2))
    return FittedRung(
        name=name,
        parameters=parameters,
        tokens=tokens,
        batch=batch,
        lr=winner.lr,
        almr=winner.almr,
        losses={
            language: RungLoss(mean=found.mean, sd=(found.interval.high - found.interval.low) / wide)
            for language, found in winner.losses.items()
            if language in LANGUAGES
        },
        **_sds(winner.lr_interval, winner.almr_interval, winner.level),
    )


def _of_numbers(stated: Stated, name: str, batch: int) -> FittedRung:
    given: Any = stated  # its validator requires all numbers
    lr, almr = Interval(low=given.lr_low, high=given.lr_high), Interval(low=given.almr_low, high=given.almr_high)
    point = stated.model_dump(include={"parameters", "tokens", "lr", "almr"})
    means = {language: getattr(stated, f"loss_{language}") for language in LANGUAGES}
    losses = {name: RungLoss(mean=mean, sd=STATED_LOSS_SD) for name, mean in means.items() if mean is not None}
    own = stated.global_batch_tokens or batch
    return FittedRung(name=name, **point, batch=own, losses=losses, **_sds(lr, almr, stated.level))


def _sds(lr: Interval, almr: Interval, level: float) -> dict[str, float]:
    """Standard deviations of ln LR and of ALMR from central intervals."""
    wide = 2 * float(norm.ppf((1 + level) / 2))
    return {"lr_sd": math.log(lr.high / lr.low) / wide, "almr_sd": (almr.high - almr.low) / wide}


def _of_run(folder: Path, parameters: int | None, trainer: str) -> tuple[list[FittedRung], list[str]]:
    """A rung for each token budget at which the run was measured, and warnings."""
    study, file = _read(folder)
    base = sizes.of_base(study.base_model)
    count = parameters or base.parameters
    if count is None:
        raise InputError(f"launch.transfer.rungs: {folder}: the size of its model is not known: add parameters")
    codes = tuple(dict.fromkeys(finding.code for finding in file.refusals))
    whole = HorizonFit(tokens=study.training.tokens, winner=file.winner, refusals=codes)
    budgets = file.horizons or (whole,)
    warnings = [
        f"ladder: the fit of {folder} at {one.tokens:,} tokens is refused ({', '.join(one.refusals)}), so its best LR "
        f"and ALMR may be bounds: run its suggested trials"
        for one in budgets
        if one.refusals
    ]
    warnings += _of_another_trainer(folder, file, study.trainer.name, trainer)
    batch = study.training.global_batch_tokens
    found = [rung_of(str(folder), one.winner, count, one.tokens, batch) for one in budgets]
    return [one.model_copy(update={"peak_lr": base.peak_lr}) for one in found], warnings


def _of_another_trainer(folder: Path, file: FitFile, stated: str, trainer: str) -> list[str]:
    """A warning of a rung that `trainer` did not train. `stated`: by its study, where its fit does not say it."""
    if {one.name for one in file.trainers} | ({stated} if not file.trainers else set()) == {trainer}:
        return []
    return [
        f"ladder: {folder} was trained by {file.trained_by or stated}, this sweep by {trainer}: part of the step "
        f"between them may be of the trainers: sweep that size with {trainer}, or almr trainer compare STUDY"
    ]


def _read(folder: Path) -> tuple[Study, FitFile]:
    """The study and the fit.json of a finished run."""
    try:
        file = read_fit(folder, f"write it anew: almr fit {folder}")
    except OSError as error:
        raise InputError(
            f"launch.transfer.rungs: {RunFiles(folder).fit}: {error.strerror}: name the folder of a finished run on "
            f"this machine"
        ) from None
    except InputError as error:
        raise InputError(f"launch.transfer.rungs: {error}") from None
    return study_file.load(RunFiles(folder).study), file
