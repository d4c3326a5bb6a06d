"""A fitted run, or the folder of a fitted table, with the draws of its surfaces: what a comparison takes."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import takewhile
from pathlib import Path

import pandas as pd
from threadpoolctl import threadpool_limits

from analysis.decision.objectives import Goal, base_loss, goal_of, over_tried
from analysis.decision.winner import choose
from analysis.fit import alone
from analysis.fit.fit import Fit
from analysis.fit.load import load_fit
from analysis.fit_file.fit_file import FitFile, read_fit
from analysis.fit_file.result import FitResult
from analysis.fit_file.winner import Winner
from analysis.surfaces.optima import Lattice, Optima
from analysis.surfaces.surface import Surface, fit_languages
from analysis.table import table as tables
from analysis.table.import_table import read_table
from analysis.transfer import sizes
from sweep.study import LANGUAGES, Ingredients, InputError, study_file
from sweep.study.files.layout import RunFiles
from sweep.study.ingredients import read_ingredients
from sweep.study.sections.transfer import ModelFacts

SAME = 1e-6  # relative: the same fit again


@dataclass(frozen=True, kw_only=True)
class ComparedFit(Fit):
    """A fit as its `fit.json` has it, with the surfaces of its losses made anew from the same trials, for their draws.

    `name`: its own among the compared ones; `address`: as messages name it. `ingredients`: None for a table, and before
    the trials were prepared.
    """

    name: str
    address: str
    ingredients: Ingredients | None = None

    @classmethod
    def of(cls, fit: Fit, name: str, address: str = "", ingredients: Ingredients | None = None) -> ComparedFit:
        """A fit that was just made, such as by `fit_table`."""
        parts = {
            part: getattr(fit, part) for part in ("table", "file", "study", "surfaces", "goal", "lattice", "optima")
        }
        return cls(name=name, address=address or name, ingredients=ingredients, **parts)

    def called(self, name: str) -> ComparedFit:
        return replace(self, name=name)

    @cached_property
    def model(self) -> ModelFacts:
        """Of the trials' model: as stated, as known by name, or as counted when it was loaded."""
        if self.study is None:
            return ModelFacts()
        launch = self.study.launch
        found = sizes.of_base(self.study.base_model, launch.transfer.trial if launch and launch.transfer else None)
        check = self.ingredients.base_check if self.ingredients else None
        return found.model_copy(update={"parameters": found.parameters or (check.parameters if check else None)})

    @property
    def losses(self) -> tuple[str, ...]:
        """The names of the fitted losses."""
        return tuple(self.file.forms)

    def varied(self, name: str) -> bool:
        """Whether several values of "almr" or "lr" were tried."""
        return len(getattr(self.optima, name)) > 1

    def base(self, name: str) -> float | None:
        """The base model's loss, in nats per token."""
        return base_loss(self.table, name)

    def bits_per_byte_of_nat(self, name: str) -> float | None:
        """Bits per byte of the held-out text for a loss of one nat per token: a ratio of the text and its tokenizer."""
        used = tables.usable(self.table)
        columns = f"bits_per_byte_{name}", f"loss_{name}"
        if not set(columns) <= set(used):
            return None
        ratio = (used[columns[0]].astype(float) / used[columns[1]].astype(float)).dropna()
        return float(ratio.median()) if len(ratio) else None


def load_fitted(folder: Path, address: str) -> ComparedFit:
    """A run directory, or the folder that `almr fit TABLE --out FOLDER` wrote. Fits and writes nothing new.

    Raises InputError where there is no fit, and where it is not that of the trials as they are now.
    """
    files = RunFiles(folder)
    of_run = files.study.is_file()
    again = f"almr fit {address}" if of_run else f"almr fit TABLE --out {address}"
    if not files.fit.is_file():
        raise InputError(f"{address}: no fit yet: {again}")
    if of_run:
        loaded = load_fit(study_file.load(files.study), folder, address)
    else:
        loaded = FitResult(table=_table(files, again), file=read_fit(folder, f"write it anew: {again}"))
    made = read_ingredients(files.ingredients) if of_run else None
    return _with_draws(loaded, address, made, again)


def _table(files: RunFiles, again: str) -> pd.DataFrame:
    if not files.table.is_file():
        raise InputError(f"{files.table}: no such file: it has the trials of the fit: write it anew: {again}")
    return alone.with_some_almr(tables.with_status(read_table(files.table, drop_bad_rows=True)))


def _with_draws(loaded: FitResult, address: str, made: Ingredients | None, again: str) -> ComparedFit:
    file, table = loaded.file, tables.in_order(loaded.table)  # a table's rows are kept as they came
    try:
        with threadpool_limits(1):  # as in the fit, to the last digit
            surfaces, goal, lattice, optima = _surfaces(file, table)
            found = choose(optima, lattice, file.winner.level)
    except (KeyError, ValueError) as error:
        raise InputError(f"{address}: its trials are not those of its fit ({error}): fit again: {again}") from None
    if not _same(found, file.winner):
        raise InputError(
            f"{address}: its fit.json is not what these trials give now: other rows, or another version of almr-sweep "
            f"fitted them: fit again: {again}"
        )
    return ComparedFit(
        table=table,
        file=file,
        study=loaded.study,
        name=file.study,
        address=address,
        surfaces=surfaces,
        goal=goal,
        lattice=lattice,
        optima=optima,
        ingredients=made,
    )


def _surfaces(file: FitFile, table: pd.DataFrame) -> tuple[dict[str, Surface], Goal, Lattice, Optima]:
    """As the fit made them: analysis.fit.fit."""
    goal, names = goal_of(file), tuple(file.forms)
    table = tables.with_losses(table, [name for name in names if name not in (*LANGUAGES, tables.TOTAL)])
    surfaces = fit_languages(table, names)
    return surfaces, goal, *over_tried(goal, surfaces, table)


def _same(found: Winner, stated: Winner) -> bool:
    almr = math.isnan(stated.almr) or math.isclose(found.almr, stated.almr, rel_tol=SAME, abs_tol=SAME)
    return almr and math.isclose(found.lr, stated.lr, rel_tol=SAME)


def named_apart(studies: list[str], addresses: list[str]) -> list[str]:
    """A name for each run: its study's; its address, from where they part, where another has the same; and a number
    where that is one too."""
    pairs = list(zip(studies, addresses, strict=True))
    alike = [address.split("/") for study, address in pairs if studies.count(study) > 1]
    folders = zip(*(parts[:-1] for parts in alike), strict=False)
    shared = sum(1 for _ in takewhile(lambda names: len(set(names)) == 1, folders))
    names = [study if studies.count(study) == 1 else "/".join(address.split("/")[shared:]) for study, address in pairs]
    return [
        name if names.count(name) == 1 else f"{name} ({1 + names[:place].count(name)})"
        for place, name in enumerate(names)
    ]
