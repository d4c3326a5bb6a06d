"""The command line's arguments and options, and groups of options that several verbs take."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import Annotated, Any, get_type_hints

import typer

RUNS = "runs"

StudyName = Annotated[str, typer.Argument(metavar="STUDY", help="A study file, or a shipped study such as demo.")]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="A run directory, or its name in --runs.")]
Address = Annotated[
    str | None,
    typer.Option(metavar="HOST:PORT", help="Ray cluster, or auto.  [default: this machine]"),
]
Runs = Annotated[str, typer.Option(metavar="FOLDER", help="Folder of runs, or s3://address.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
AcceptRisk = Annotated[
    str | None,
    typer.Option(metavar="REASON", help="Go on although the fit is refused; record why."),
]


@dataclass(frozen=True)
class TableOptions:
    """How to read a user's own table."""

    columns: Annotated[str | None, typer.Option(metavar="NAMES", help="Its column names: almr=a,lr=b,loss=c")] = None
    where: Annotated[list[str] | None, typer.Option(metavar="COLUMN=VALUE", help="Use only these rows.")] = None
    drop_bad_rows: Annotated[bool, typer.Option("--drop-bad-rows", help="Leave unusable rows out.")] = False
    base: Annotated[str | None, typer.Option(metavar="LOSSES", help="Base model's losses: original=L,additional=L")] = (
        None
    )


@dataclass(frozen=True)
class ObjectiveOptions:
    """What to minimise on a user's own table."""

    weights: Annotated[
        str | None, typer.Option(metavar="WEIGHTS", help="original=W,additional=W  [default: equal]")
    ] = None
    guard: Annotated[
        float | None, typer.Option(metavar="PERCENT", help="Highest rise of the original loss over the base.")
    ] = None


@dataclass(frozen=True)
class ReplayOptions:
    """Which searches to replay, and how often."""

    strategies: Annotated[str, typer.Option(metavar="NAMES", help="Strategies.")] = "surface,tpe,gp,random,grid"
    trials: Annotated[str, typer.Option(metavar="COUNTS", help="Budgets in trials.")] = "8,12,16,24"
    repeats: Annotated[int, typer.Option(metavar="N", help="Searches per strategy.")] = 20
    seed: Annotated[int, typer.Option(metavar="N", help="Random seed.")] = 0
    curve: Annotated[float, typer.Option(metavar="SHARE", help="Share of trials for the curve.")] = 0.25


def grouped(verb: Callable[..., None]) -> Callable[..., None]:
    """Declare each field of a parameter that is a dataclass as an option of its own; the verb gets the dataclass."""
    signature, hints = inspect.signature(verb), get_type_hints(verb, include_extras=True)
    groups = {name: kind for name, kind in hints.items() if is_dataclass(kind) and isinstance(kind, type)}

    @functools.wraps(verb)
    def collected(**given: Any) -> None:
        options = {name: kind(**{f.name: given.pop(f.name) for f in fields(kind)}) for name, kind in groups.items()}
        verb(**given, **options)

    parameters = list(_expanded(signature, hints, groups))
    collected.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    collected.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return collected


def _expanded(
    signature: inspect.Signature, hints: dict[str, Any], groups: dict[str, type]
) -> Iterator[inspect.Parameter]:
    for name, parameter in signature.parameters.items():
        if name not in groups:
            yield parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY)
            continue
        own = get_type_hints(groups[name], include_extras=True)
        for field in fields(groups[name]):
            yield inspect.Parameter(
                field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=own[field.name]
            )
