"""The rungs of a ladder: finished runs of smaller sweeps, rungs given as numbers, and this sweep itself."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from scipy.stats import norm

from analysis.fit_file.fit_file import FitFile, HorizonFit, read_fit
from analysis.fit_file.transfer import FittedRung
from analysis.fit_file.winner import Interval, Winner
from analysis.transfer import sizes
from sweep.study import InputError, Study, study_file
from sweep.study.files.layout import RunFiles
from sweep.study.sections.transfer import ModelFacts
from sweep.study.sections.transfer import Rung as Stated


def gather(stated: Iterable[Stated]) -> tuple[list[FittedRung], list[str]]:
    """Rungs and warnings. Raises InputError for a run without a fit, or of a model of unknown size."""
    found, warnings = [], []
    for i, one in enumerate(stated):
        if one.run is None:
            found.append(_of_numbers(one, f"rung {i + 1}"))
        else:
            rungs, more = _of_run(Path(one.run), one.parameters)
            found += rungs
            warnings += more
    return found, warnings


def of_winner(name: str, winner: Winner, parameters: int, tokens: int) -> FittedRung:
    """A winner as a rung."""
    sds = _sds(winner.lr_interval, winner.almr_interval, winner.level)
    return FittedRung(name=name, parameters=parameters, tokens=tokens, lr=winner.lr, almr=winner.almr, **sds)


def _of_numbers(stated: Stated, name: str) -> FittedRung:
    given: Any = stated  # its validator requires all numbers
    lr, almr = Interval(low=given.lr_low, high=given.lr_high), Interval(low=given.almr_low, high=given.almr_high)
    point = stated.model_dump(include={"parameters", "tokens", "lr", "almr"})
    return FittedRung(name=name, **point, **_sds(lr, almr, stated.level))


def _sds(lr: Interval, almr: Interval, level: float) -> dict[str, float]:
    """Standard deviations of ln LR and of ALMR from central intervals."""
    wide = 2 * float(norm.ppf((1 + level) / 2))
    return {"lr_sd": math.log(lr.high / lr.low) / wide, "almr_sd": (almr.high - almr.low) / wide}


def _of_run(folder: Path, parameters: int | None) -> tuple[list[FittedRung], list[str]]:
    """A rung for each token budget at which the run was measured, and warnings."""
    study, file = _read(folder)
    count = parameters or sizes.of_base(study.base_model, ModelFacts()).parameters
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
    return [of_winner(str(folder), one.winner, count, one.tokens) for one in budgets], warnings


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
