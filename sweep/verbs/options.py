"""The command line's arguments and options, and groups of options that several verbs take."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from sweep.study import InputError

RUNS = "runs"
OF_A_TABLE = "--columns, --where, --drop-bad-rows, --weights, --guard, --base, --level and --out"

StudyName = Annotated[str, typer.Argument(metavar="STUDY", help="A study file, or a shipped study such as demo.")]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="A run directory, or its name in --runs.")]
Address = Annotated[
    str | None,
    typer.Option(metavar="HOST:PORT", help="Ray cluster, or auto.  [default: this machine]"),
]
Runs = Annotated[str, typer.Option(metavar="FOLDER", help="Folder of runs, or s3://address.")]
Also = Annotated[
    list[str] | None,
    typer.Option("--also", metavar="ALMR:LR", help="Trials to run beside the study's: 0.65:3.19e-3,0.7:3e-3"),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
AcceptRisk = Annotated[
    str | None,
    typer.Option(metavar="REASON", help="Go on although a check fails; record why."),
]


@dataclass(frozen=True)
class TableOptions:
    """How to read a user's own table."""

    columns: Annotated[str | None, typer.Option(metavar="NAMES", help="Its column names: almr=a,lr=b,loss=c")] = None
    where: Annotated[list[str] | None, typer.Option(metavar="COLUMN=VALUE", help="Use only these rows.")] = None
    drop_bad_rows: Annotated[bool, typer.Option("--drop-bad-rows", help="Leave unusable rows out.")] = False
    base: Annotated[str | None, typer.Option(metavar="LOSSES", help="Base model's losses: original=L,code=L")] = None


@dataclass(frozen=True)
class ObjectiveOptions:
    """What to minimise on a user's own table."""

    weights: Annotated[str | None, typer.Option(metavar="WEIGHTS", help="original=W,additional=W, or by source.")] = (
        None
    )
    guard: Annotated[
        str | None, typer.Option(metavar="PERCENT", help="Highest rise of the original loss, or code=P.")
    ] = None


@dataclass(frozen=True)
class ReplayOptions:
    """Which searches to replay, and how often."""

    strategies: Annotated[str, typer.Option(metavar="NAMES", help="Strategies.")] = "surface,tpe,gp,random,grid"
    trials: Annotated[str, typer.Option(metavar="COUNTS", help="Budgets in trials.")] = "8,12,16,24"
    repeats: Annotated[int, typer.Option(metavar="N", help="Searches per strategy.")] = 20
    seed: Annotated[int, typer.Option(metavar="N", help="Random seed.", hidden=True)] = 0  # a help text fits a screen
    curve: Annotated[float, typer.Option(metavar="SHARE", help="Share of trials for the curve.")] = 0.25
    at_once: Annotated[int, typer.Option(metavar="N", help="Trials in parallel.")] = 1
    spread: Annotated[float, typer.Option(metavar="SD", help="Of ln of a trial's duration.")] = 0.0


def grouped(verb: Callable[..., None]) -> Callable[..., None]:
    """Declare each field of a parameter that is a dataclass as an option of its own; the verb gets the dataclass."""
    given = inspect.signature(verb, eval_str=True)
    groups: dict[str, Any] = {p.name: p.annotation for p in given.parameters.values() if is_dataclass(p.annotation)}
    own = {name: inspect.signature(group, eval_str=True).parameters for name, group in groups.items()}

    @functools.wraps(verb)
    def collected(**options: Any) -> None:
        made = {name: group(**{option: options.pop(option) for option in own[name]}) for name, group in groups.items()}
        verb(**options, **made)

    every = [option for p in given.parameters.values() for option in (own[p.name].values() if p.name in own else [p])]
    parameters = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in every]
    collected.__signature__ = given.replace(parameters=parameters)  # type: ignore[attr-defined]
    collected.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return collected


def refuse_for_a_run(source: str, *given: Any) -> None:
    """Raises InputError for options of a table where `source` is a run: they would be ignored."""
    from sweep.study.files.patterns import what_it_is
    from sweep.study.tables.table_file import is_table

    if is_table(source) or Path(source).suffix == ".xls":
        raise InputError(f"{source}: {what_it_is(Path(source))}")
    if any(value is not None and value is not False and value != [] for value in given):
        raise InputError(
            f"{source}: {OF_A_TABLE} are for a table; a run takes its objective from its study: leave them out"
        )
