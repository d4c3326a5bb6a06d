"""The table of trials: records -> one row per trial, and the points that were tried.

`excluded` holds why the fit must not use a row.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from sweep.study import LANGUAGES, MINIMUM_TRIALS, Horizon, InputError, Objective, Record, Status, Study
from sweep.study.files.layout import RunFiles
from sweep.study.files.trial_files import read_trial
from sweep.study.ingredients import read_ingredients
from sweep.study.record import ALSO, SAME_TEXT, SIMULATED

Array = NDArray[np.float64]
WHY = "why"  # the column that says why a trial was run that is no point of the grid
HYPERPARAMETERS = ("almr", "lr")  # of a sweep, in the order of every (ALMR, LR) point
SCALARS = (
    *("trial_id", "almr", "almr_achieved", "lr", "seed", "status", "reason", "attempt", "tokens", "steps"),
    "trained_tokens",
    *("seconds", "training_seconds", "tokens_per_second", "mfu", "peak_memory_bytes", "gpu_hours", "fingerprint"),
)
PER_LANGUAGE = ("loss", "base_loss", "bits_per_byte", "base_bits_per_byte", "epochs")
TRAINER = ("trainer", "trainer_version")  # what trained a trial; see analysis.table.trainers
OFF_GRID, OTHER_RECIPE = FOREIGN = ("not in the study's grid", "made by another recipe")
TOTAL = "total"
MOST_GRID_VALUES, EVEN_VALUES = 12, 9  # more distinct values are a search's: evenly spaced ones replace them
MOST_TRIALS = 20_000  # 25 s of processor and 0.8 GB, with figures and page
MINIMUM_ALONE = 5  # a quadratic in one hyper-parameter has three coefficients; the others show the noise
ALMR_STEP, LR_FACTOR = 0.2, 3.0  # where a single value was tried
COLUMNS = [*SCALARS, *(f"{name}_{language}" for name in PER_LANGUAGE for language in LANGUAGES), *TRAINER, "excluded"]


def read_run(run: Path) -> pd.DataFrame:
    """The table of a run directory: one row per `trials/*/record.json`, ordered by (seed, almr, lr).

    Columns are COLUMNS (losses in nats per token), then for each named source what they have for a language, as in
    `loss_web`, `score_<name>` for each benchmark, and for each token horizon the losses, bits per byte and why its
    branch diverged, as in `loss_original@81920`. Raises InputError for a folder without records, for an unreadable
    record, and for a record in another trial's folder.
    """
    paths = RunFiles(run).records()
    if not paths:
        raise InputError(f"{run}: no finished trials: run the study first, almr run STUDY")
    return from_records(map(read_trial, paths))


def of_run(run: Path, study: Study) -> pd.DataFrame:
    """The table of a run directory, with the trials excluded that are not of its study. See `read_run`."""
    made = read_ingredients(RunFiles(run).ingredients)
    stated = made.same_text if made else ()
    table = mark_foreign(read_run(run), study, [one.recipe for one in stated])
    table.attrs[SAME_TEXT] = [one.reason for one in stated]
    return table


def mark_foreign(table: pd.DataFrame, study: Study, same_text: Iterable[str] = ()) -> pd.DataFrame:
    """The table, with the trials excluded that are not of this study: of another recipe, not in its grid or search, or
    without the loss of a source that its objective needs. A trial that the user named is of the study.
    `same_text`: fingerprints of recipes that differ by where the text is alone.
    """
    points = zip(table["almr"], table["lr"], table["seed"], strict=True)
    reasons = pd.Series([None if study.includes(*point) else OFF_GRID for point in points], table.index, object)
    reasons[named_by_user(table)] = None
    reasons[~table["fingerprint"].isin([study.fingerprint, *same_text])] = OTHER_RECIPE
    table = table.assign(excluded=table["excluded"].where(reasons.isna(), reasons))
    return with_losses(table, named_losses(study.objective))


def from_records(records: Iterable[Record]) -> pd.DataFrame:
    """The table of these records, ordered by (seed, almr, lr)."""
    table = pd.DataFrame([_row(record) for record in records])
    table = table.reindex(columns=[*COLUMNS, *(c for c in table.columns if c not in COLUMNS)])
    return table.sort_values(["seed", "almr", "lr"], ignore_index=True)


def empty() -> pd.DataFrame:
    """The table of a run without a record."""
    return pd.DataFrame(columns=[*COLUMNS])


def _row(record: Record) -> dict[str, Any]:
    row: dict[str, Any] = {name: getattr(record, name) for name in SCALARS}
    row["status"] = record.status.value
    for name in PER_LANGUAGE:
        row |= {f"{name}_{language}": getattr(getattr(record, name), language) for language in LANGUAGES}
    for source, result in record.sources.items():
        row |= {f"{name}_{source}": getattr(result, name) for name in PER_LANGUAGE}
    row |= {f"score_{name}": score.value for name, score in record.scores.items()}
    for horizon in record.horizons:
        row |= _horizon_columns(horizon)
    row |= {"trainer": record.trainer.name, "trainer_version": record.trainer.version or None}
    row["excluded"] = _why_excluded(record)
    row |= {WHY: record.proposed.why} if record.proposed else {}
    return row | {name: stated for name in (SIMULATED, SAME_TEXT) if (stated := record.provenance.get(name))}


def named_by_user(table: pd.DataFrame) -> pd.Series:
    """Which rows are of trials that the user named beside the study's own: wherever they lie, they are of the study."""
    return pd.Series(table[WHY] == ALSO if WHY in table else False, table.index)


def simulated(table: pd.DataFrame) -> str | None:
    """What made the losses of a table that nobody measured; None of a measured one."""
    made = table[SIMULATED].dropna().tolist() if SIMULATED in table else []
    return str(made[0]) if made else None


def _horizon_columns(horizon: Horizon) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in ("loss", "bits_per_byte"):
        of_sources = {source: getattr(result, name) for source, result in horizon.sources.items()}
        values = getattr(horizon, name).model_dump() | of_sources
        found |= {f"{name}_{part}@{horizon.tokens}": value for part, value in values.items()}
    return found | {f"reason@{horizon.tokens}": horizon.reason}


def _why_excluded(record: Record) -> str | None:
    if record.status is not Status.COMPLETE:
        return f"{record.status.value}: {record.reason or 'no reason recorded'}"
    losses = {language: getattr(record.loss, language) for language in LANGUAGES}
    missing = [language for language, loss in losses.items() if loss is None or not math.isfinite(loss)]
    return f"no {' or '.join(missing)} loss" if missing else None


def with_status(table: pd.DataFrame) -> pd.DataFrame:
    """The same rows with `status` and `excluded`, which a table made by hand may lack: by its losses.

    Raises InputError where it has no LR or loss.
    """
    columns = [column for name in (*LANGUAGES, TOTAL) if (column := f"loss_{name}") in table]
    if not columns:
        raise InputError("the table has no column loss_original, or loss_total: add it")
    if "lr" not in table or table["lr"].isna().all():
        name = f"{table.attrs['file']}: " if "file" in table.attrs else ""
        raise InputError(
            f"{name}the table has no column lr with numbers: name it, --columns lr=..., or add a column lr, with the "
            f"one LR of all trials"
        )
    if "status" not in table:
        table = table.assign(status=Status.COMPLETE.value)
    if "excluded" in table:
        return table
    measured = table[[column for column in columns if table[column].notna().any()]].notna().all(axis=1)
    reasons = [
        f"{status}: no reason recorded" if status != Status.COMPLETE else None if whole else "no loss"
        for status, whole in zip(table["status"], measured, strict=True)
    ]
    return table.assign(excluded=pd.Series(reasons, table.index, object))


def in_order(table: pd.DataFrame) -> pd.DataFrame:
    """The rows in the order of a run's, by (seed, almr, lr), and of equal ones by their losses. So what is computed of
    them does not depend on how they came: in late digits, and in which of many trials are drawn.
    """
    losses = sorted(str(name) for name in table if str(name).startswith("loss_"))
    return table.sort_values([*(name for name in ("seed", "almr", "lr") if name in table), *losses], kind="stable")


def usable(table: pd.DataFrame) -> pd.DataFrame:
    """The rows that the fit uses."""
    return table[table["excluded"].isna()]


def fewest(almr: ArrayLike, lr: ArrayLike) -> int:
    """How many trials (n,) a fit of theirs needs: fewer where one of ALMR and LR has one value."""
    one, other = sorted((len(np.unique(np.asarray(almr))), len(np.unique(np.asarray(lr)))))
    return MINIMUM_ALONE if one == 1 < other else MINIMUM_TRIALS


def refuse_many(table: pd.DataFrame, name: str) -> None:
    """Raises InputError where more trials are usable than a surface is fitted to in a minute."""
    if (found := len(usable(table))) > MOST_TRIALS:
        raise InputError(
            f"{name}: {found:,} usable trials: a fit takes at most {MOST_TRIALS:,}: give one row per trial, and choose "
            f"some with --where"
        )


def diverged(table: pd.DataFrame) -> pd.DataFrame:
    """The rows that are excluded because they diverged, which bound the surfaces."""
    return table[table["excluded"].astype(str).str.startswith(f"{Status.DIVERGED}: ")]


def languages(table: pd.DataFrame) -> tuple[str, ...]:
    """The languages whose losses were measured; ("total",) where the table has one combined loss."""
    used = usable(table)
    measured = [n for n in (*LANGUAGES, TOTAL) if f"loss_{n}" in table and used[f"loss_{n}"].notna().any()]
    return tuple(n for n in measured if n != TOTAL or len(measured) == 1)


def named_losses(objective: Objective) -> tuple[str, ...]:
    """The losses of sources that the objective needs; the languages' losses are not listed."""
    weighed = [name for name, share in objective.shares.items() if share]
    names = [*weighed, *(guard.name for guard in objective.loss_guards)]
    return tuple(dict.fromkeys(name for name in names if name not in LANGUAGES))


def with_losses(table: pd.DataFrame, names: Iterable[str]) -> pd.DataFrame:
    """The table, with the usable rows excluded that lack one of these losses. One that no usable row has is left to
    `analysis.decision.objectives.goal`, which refuses the table.
    """
    for name in names:
        used = table["excluded"].isna()
        lacking = used & table[f"loss_{name}"].isna() if f"loss_{name}" in table else used
        if lacking.any() and not lacking[used].all():
            table = table.assign(excluded=table["excluded"].astype(object).where(~lacking, f"no {name} loss"))
    return table


def objective(table: pd.DataFrame, weights: dict[str, float]) -> pd.Series:
    """The weighted mean of the held-out losses of each row, in nats; NaN where one with a weight is missing."""
    parts = [share * table[f"loss_{language}"].astype(float) for language, share in weights.items() if share > 0]
    return sum(parts[1:], start=parts[0])


@dataclass(frozen=True)
class TriedPoints:
    """The (ALMR, LR) of the trials that completed, `complete` (n, 2), and that diverged, `diverged` (m, 2)."""

    complete: Array
    diverged: Array

    @classmethod
    def of(cls, table: pd.DataFrame) -> TriedPoints:
        return cls(*(rows[["almr", "lr"]].to_numpy(float) for rows in (usable(table), diverged(table))))

    @property
    def almrs(self) -> Array:
        """The ALMRs of the grid, ascending; evenly spaced ones where the trials form no grid."""
        return _values(self.complete[:, 0])

    @property
    def lrs(self) -> Array:
        """The LRs of the grid, likewise, evenly spaced in ln LR."""
        return np.asarray(np.exp(_values(np.log(self.complete[:, 1]))))

    @property
    def almr_step(self) -> float:
        """Median difference of neighbouring ALMRs."""
        return float(np.median(np.diff(self.almrs))) if len(self.almrs) > 1 else ALMR_STEP

    @property
    def lr_factor(self) -> float:
        """Median ratio of neighbouring LRs."""
        return float(np.exp(np.median(np.diff(np.log(self.lrs))))) if len(self.lrs) > 1 else LR_FACTOR

    def near(self, points: Array, almr: float) -> Array:
        """The points of (k, 2) within one step of the ALMR, or within a quarter of the tried range if that is more."""
        reach = max(self.almr_step, float(np.ptp(self.almrs)) / 4) * (1 + 1e-6)
        return np.asarray(points[np.abs(points[:, 0] - almr) <= reach])

    def lowest_diverged(self, almr: float) -> float | None:
        """The lowest LR at which a trial near the ALMR diverged; None where none did."""
        lost = self.near(self.diverged, almr)[:, 1]
        return float(lost.min()) if len(lost) else None

    def highest_trained(self, almr: float, below: float = np.inf) -> float:
        """The highest LR under `below` at which a trial near the ALMR completed; 0 where none did."""
        trained = self.near(self.complete, almr)[:, 1]
        return float(trained[trained < below].max(initial=0.0))

    def scaled(self, points: ArrayLike) -> Array:
        """Points (..., 2) in grid steps of ALMR and of ln LR, for distances."""
        almr, lr = np.moveaxis(np.asarray(points, float), -1, 0)
        return np.stack([almr / self.almr_step, np.log(lr) / np.log(self.lr_factor)], axis=-1)


def _values(values: Array) -> Array:
    distinct = np.unique(np.round(values, 9))
    return distinct if len(distinct) <= MOST_GRID_VALUES else np.linspace(distinct[0], distinct[-1], EVEN_VALUES)
