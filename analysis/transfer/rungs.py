"""The rungs of a ladder: finished runs of smaller sweeps, rungs stated in numbers, and this sweep itself."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from scipy.stats import norm

from analysis.fit_file.fit_file import FitFile, HorizonFit
from analysis.fit_file.read import read_fit
from analysis.fit_file.transfer import FittedRung
from analysis.fit_file.winner import Winner
from analysis.transfer import sizes
from sweep.study import study_file
from sweep.study.errors import InputError
from sweep.study.files.layout import RunFiles
from sweep.study.sections.transfer import ModelFacts
from sweep.study.sections.transfer import Rung as Stated
from sweep.study.study import Study


def gather(stated: Iterable[Stated]) -> tuple[list[FittedRung], list[str]]:
    """Rungs and what to know of them. Raises InputError for a run that is not finished or whose size is not known."""
    found, warnings = [], []
    for i, one in enumerate(stated):
        if one.run is None:
            found.append(_of_numbers(one, f"rung {i + 1}"))
        else:
            rungs, told = _of_run(Path(one.run), one.parameters)
            found += rungs
            warnings += told
    return found, warnings


def of_winner(name: str, winner: Winner, parameters: int, tokens: int) -> FittedRung:
    lr, almr = winner.lr_interval, winner.almr_interval
    wide = 2 * float(norm.ppf((1 + winner.level) / 2))
    return FittedRung(
        name=name,
        parameters=parameters,
        tokens=tokens,
        lr=winner.lr,
        lr_sd=math.log(lr.high / lr.low) / wide,
        almr=winner.almr,
        almr_sd=(almr.high - almr.low) / wide,
    )


def _of_numbers(one: Stated, name: str) -> FittedRung:
    numbers: Any = one  # its validator saw to it that all are there
    wide = 2 * float(norm.ppf((1 + one.level) / 2))
    return FittedRung(
        name=name,
        parameters=numbers.parameters,
        tokens=numbers.tokens,
        lr=numbers.lr,
        lr_sd=math.log(numbers.lr_high / numbers.lr_low) / wide,
        almr=numbers.almr,
        almr_sd=(numbers.almr_high - numbers.almr_low) / wide,
    )


def _of_run(folder: Path, parameters: int | None) -> tuple[list[FittedRung], list[str]]:
    """One rung for each budget that the run was measured at."""
    study, file = _read(folder)
    count = parameters or sizes.of_base(study.base_model, ModelFacts()).parameters
    if count is None:
        raise InputError(f"launch.transfer.rungs: {folder}: how large its model is, is not known: add parameters")
    codes = tuple(dict.fromkeys(finding.code for finding in file.refusals))
    whole = HorizonFit(tokens=study.training.tokens, winner=file.winner, refusals=codes)
    budgets = file.horizons or (whole,)
    warnings = [
        f"ladder: the fit of {folder} at {one.tokens:,} tokens was refused ({', '.join(one.refusals)}): "
        f"its best LR and ALMR may be only bounds"
        for one in budgets
        if one.refusals
    ]
    return [of_winner(str(folder), one.winner, count, one.tokens) for one in budgets], warnings


def _read(folder: Path) -> tuple[Study, FitFile]:
    try:
        file = read_fit(folder, f"write it anew: almr fit {folder}")
    except OSError as error:
        raise InputError(
            f"launch.transfer.rungs: {RunFiles(folder).fit}: {error.strerror}: give the folder of a finished run, "
            f"on this machine"
        ) from None
    except InputError as error:
        raise InputError(f"launch.transfer.rungs: {error}") from None
    return study_file.load(RunFiles(folder).study), file
