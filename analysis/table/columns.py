"""Which column of a file is which of ours: by `--columns`, by our names, or by the names that trackers write.

Optuna writes `params_lr`, MLflow `params.lr` and `metrics.eval_loss`, Weights & Biases `config.lr` and `eval/loss`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from analysis.table.table import COLUMNS, HYPERPARAMETERS, TRAINER
from sweep.study import InputError
from sweep.study.tables.cells import listing, number_of, shown, text_of
from sweep.study.tables.table_file import TableFile

PLAIN = {"loss_original": "original", "loss_additional": "additional", "loss_total": "loss"}
OURS = (
    {name: name for name in HYPERPARAMETERS}
    | {plain: name for name, plain in PLAIN.items()}
    | {name: name for name in ("seed", "tokens", "status", "reason", "parameters", *TRAINER)}
    | {"base_original": "base_loss_original", "base_additional": "base_loss_additional"}
)
OPTIONS = {name: option for option, name in OURS.items()}
TRACKERS = {"params", "param", "config", "summary", "metrics", "metric", "hparams", "hyperparameters", "values", "user"}
TRACKERS |= {"attrs"}  # Optuna's user_attrs_
HELD_OUT = {"eval", "evaluation", "val", "valid", "validation", "test", "dev", "heldout", "held", "out", "final"}
UNITS = {"nats", "nat", "per", "token"}
PERPLEXITY, PERCENT, LOGARITHM = {"ppl", "perplexity"}, {"percent", "percentage", "pct"}, {"log", "log10", "ln", "log2"}
MEANINGS = {  # our name -> what is left of a name without case, separators and the words above
    "lr": {"lr", "learningrate", "peaklr", "peaklearningrate", "maxlr", "maxlearningrate"},
    "almr": {"almr", "additionallanguagemixtureratio"},
    "seed": {"seed", "randomseed", "replicate", "repeat"},
    "tokens": {"tokens", "trainingtokens"},
    "status": {"status", "state"},
    "trial_id": {"trialid", "runid"},
    "trainer": {"trainer"},
    "trainer_version": {"trainerversion"},
    "loss_original": {"original", "lossoriginal", "originalloss"},
    "loss_additional": {"additional", "lossadditional", "additionalloss"},
    "loss_total": {"loss", "losstotal", "totalloss"},
}
OF_SOURCE = re.compile(r"(loss|base_loss|bits_per_byte|base_bits_per_byte|epochs)_([A-Za-z0-9][A-Za-z0-9._-]*)")
OPTUNA = {"number", "state", "value"}  # columns by which its table is known: `value` is the objective


class Name(NamedTuple):
    """A column's name as words: `key` without case, separators, and the words of trackers. `says`: perplexity, percent
    or logarithm."""

    key: str
    says: str | None


def read_name(name: str, standard: str) -> Name:
    """The name of a column that may be `standard`."""
    split = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().replace("%", "_percent_")
    words = [word for word in re.split(r"[\W_]+", split) if word]
    while len(words) > 1 and words[0] in TRACKERS:
        words = words[1:]
    special, meaning = {"lr": (LOGARITHM, "logarithm"), "almr": (PERCENT, "percent")}.get(standard, (set(), ""))
    if standard in PLAIN:
        special, meaning = PERPLEXITY, "perplexity"
        rest = ["loss" if word in PERPLEXITY else word for word in words if word not in HELD_OUT | UNITS]
    else:
        rest = [word for word in words if word not in special] if len(words) > 1 else words
    return Name("".join(rest), meaning if set(words) & special else None)


def says(name: str, standard: str) -> str | None:
    """What a column's name says of its unit: "perplexity", "percent", "logarithm", or None."""
    return read_name(name, standard).says


def sources(file: TableFile, columns: str | Mapping[str, str] | None) -> dict[str, str]:
    """Standard name -> the column of the file to read it from. ALMR or LR may be missing: then there is none.

    Raises InputError for columns that cannot be, for several that may be one of ours, and where neither ALMR nor LR,
    or no loss, is found.
    """
    stated = _stated(file, columns)
    free = [name for name in file.names if name not in stated.values()]
    exact = [*COLUMNS, "parameters", *(name for name in free if name.startswith("score_")), *_of_sources(file, stated)]
    found = stated | _losses(file, free, stated)
    free = [name for name in free if name not in found.values()]
    for name in dict.fromkeys([*HYPERPARAMETERS, *MEANINGS, *exact]):
        if name not in PLAIN and name not in stated and (theirs := _one(file, name, free)):
            found[name] = theirs
    lacking = [] if set(HYPERPARAMETERS) & set(found) else [*HYPERPARAMETERS]
    lacking = lacking if set(PLAIN) & set(found) else [n for n in HYPERPARAMETERS if n not in found] + ["a loss"]
    if lacking:
        _refuse_empty(file, lacking)
        raise InputError(
            f"{file.path}: no column for {', '.join(lacking)}: pass --columns almr=...,lr=...,original=...,"
            f"additional=... (or loss=... for one combined loss); its columns are {listing(file.names)}"
        )
    return found


def _refuse_empty(file: TableFile, lacking: list[str]) -> None:
    """Raises InputError where the columns that are looked for are there by name, and hold nothing."""
    empty = [name for name in file.names if name.lower() in (*lacking, *OPTIONS.values()) and not file.has_values(name)]
    if not empty:
        return
    cells = [f"{file.unit} {n}: {str(file.rows[n][empty[0]])!r}" for n in list(file.rows)[:2]]
    raise InputError(
        f"{file.path}: {listing(empty)}: no value in any of {len(file.rows)} rows ({'; '.join(cells)}): write the "
        f"numbers there, or name other columns, --columns {empty[0]}=..."
    )


def _of_sources(file: TableFile, stated: Mapping[str, str]) -> list[str]:
    """The columns of sources of the text, by our names alone: a source is known by its loss, such as `loss_web`."""
    split = {name: found for name in file.names if (found := OF_SOURCE.fullmatch(name))}
    losses = {found[2] for found in split.values() if found[1] == "loss"} | {n.removeprefix("loss_") for n in stated}
    known = losses - {*(name.removeprefix("loss_") for name in PLAIN)}
    return [name for name, found in split.items() if found[2] in known]


def _pairs(columns: str | Mapping[str, str] | None) -> Iterator[tuple[str, str]]:
    if columns is None or isinstance(columns, Mapping):
        yield from (columns or {}).items()
        return
    for piece in columns.split(","):
        ours, _, theirs = (part.strip() for part in piece.partition("="))
        if not (ours and theirs):
            raise InputError(f"--columns: {piece.strip()!r} is not ours=theirs, as in almr=mix")
        yield ours, theirs


def _stated(file: TableFile, columns: str | Mapping[str, str] | None) -> dict[str, str]:
    """The mapping of --columns."""
    stated: dict[str, str] = {}
    for ours, theirs in _pairs(columns):
        standard = OURS.get(ours, ours)
        if ours not in OURS and not OF_SOURCE.fullmatch(ours):
            raise InputError(f"--columns: {ours!r} is not one of {', '.join(OURS)}, or loss_ with a source's name")
        if theirs not in file.names:
            raise file.without(theirs)
        if standard in stated or theirs in stated.values():
            raise InputError(f"--columns: {ours if standard in stated else theirs} is given twice; leave one out")
        stated[standard] = theirs
    if "loss_total" in stated and len(set(PLAIN) & set(stated)) > 1:
        raise InputError("--columns: give loss, or original and additional, not both")
    return stated


def _losses(file: TableFile, free: list[str], stated: Mapping[str, str]) -> dict[str, str]:
    """The loss columns found by name: one per language, or a combined one."""
    given = set(PLAIN) & set(stated)
    if "loss_total" in given:
        return {}
    allowed = [n for n in PLAIN if n not in given and not (given and n == "loss_total")]
    if set(PLAIN) & set(file.names):  # our own names: all others are something else
        free = [name for name in free if name in PLAIN]
    found = {name: theirs for name in allowed if (theirs := _one(file, name, free, empty=True))}
    if not found and not given and {name.lower() for name in file.names} >= OPTUNA:
        found = {"loss_total": next(name for name in free if name.lower() == "value")} if "value" in free else {}
    filled = {name: theirs for name, theirs in found.items() if file.has_values(theirs)}
    found = filled if filled or given else found
    if "loss_total" in found and len(found) > 1:
        choices = " or ".join(f"{PLAIN[name]}={theirs}" for name, theirs in found.items())
        raise InputError(f"{file.path}: has a combined loss and one per language: choose with --columns {choices}")
    return found


def _one(file: TableFile, standard: str, free: list[str], empty: bool = False) -> str | None:
    """The column that is `standard` by its name, None where there is none. Columns of equal cells are one. An `empty`
    column counts where the fit needs it, else, as in our own trials.csv, it is none.

    Raises InputError where several may be it.
    """
    named = {name: read_name(name, standard) for name in free}
    own = [name for name in free if name == standard]
    keys = MEANINGS.get(standard, set())
    plain = [name for name, read in named.items() if read.key in keys and not read.says]
    special = [name for name, read in named.items() if read.key in keys and read.says]
    candidates = list(dict.fromkeys([*own, *plain])) or special
    filled = [name for name in candidates if file.has_values(name)]
    if not filled:
        return candidates[0] if candidates and empty else None
    if len({_contents(file, name) for name in filled}) > 1:
        option = OPTIONS.get(standard, standard)
        what = listing(filled)
        if standard not in OPTIONS:
            return filled[0]
        raise InputError(
            f"{file.path}: several columns may be {option}: {what}; choose with --columns {option}={shown(filled[0])}"
        )
    return filled[0]


def _contents(file: TableFile, name: str) -> tuple[str, ...]:
    """The cells of a column, equal where its numbers are."""
    return tuple(str(n) if (n := number_of(cell)) == n else text_of(cell) for cell in file.column(name))
