"""A comparison as one HTML page that needs nothing beside it. Its parts are those of a run's report: `analysis.report`.

Without JavaScript the tables and words are whole; the maps need it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict

from analysis.compare.fitted import ComparedFit
from analysis.compare.result import NATS, RunComparison, RunPair, SizeStep
from analysis.compare.text import pairs, rows
from analysis.figures.data.loss_and_guard import unguarded
from analysis.report import inline
from analysis.report.data import encoded
from analysis.report.trials import Numbers
from analysis.report.trials import numbers as numbers_of
from analysis.table import table as tables
from sweep.study import InputError, numbers
from sweep.study.files.atomic import write_atomically
from sweep.study.files.patterns import what_it_is

TEMPLATE = Path(__file__).with_name("template")
SHARED_SCRIPTS = ("formats", "surface", "chart", "controls")  # of the report, in order
SCRIPTS = ("maps", "compare")
STAMP = '<meta name="generator" content="almr compare">'
HEAD_BYTES = 2048
KINDS = {pairs.CARRIES: "good", pairs.COSTS: "bad", pairs.MAY: "open", pairs.UNKNOWN: "open"}


class BestPoint(TypedDict):
    """A run's winner with [low, high] of both; `alone`: the hyper-parameter that was fitted alone."""

    mark: str
    name: str
    almr: float | None
    lr: float
    almr_interval: list[float | None]
    lr_interval: list[float]
    alone: str | None
    refused: bool


class MapData(TypedDict):
    """A run's map: the losses on its grid (A, L) in base64 (see analysis.report.data), its trials, and its winner;
    `region`: [ALMR, lowest LR, highest LR].
    """

    mark: str
    name: str
    labels: dict[str, str]
    weights: dict[str, float]
    grid_almr: list[float]
    grid_lr: list[float]
    mean: dict[str, str]
    almr: Numbers
    lr: Numbers
    status: list[str]
    loss: dict[str, Numbers]
    winner: BestPoint
    region: list[list[float]]


class ComparisonData(TypedDict):
    """`winners`: of all runs; `runs`: those with a map. `scales`: the layers of all maps, "objective" or the name of a
    loss, and whether they have one scale.
    """

    winners: list[BestPoint]
    runs: list[MapData]
    scales: dict[str, bool]


def write_page(found: RunComparison, fits: Sequence[ComparedFit], path: Path) -> Path:
    """Write the page atomically. Raises InputError as `refuse_foreign`."""
    refuse_foreign(path)
    return write_atomically(path, render(found, fits))


def refuse_foreign(path: Path) -> None:
    """Raises InputError where the page would replace a file that is no such page, or stand where none can be."""
    if str(path) == "-":
        raise InputError("--out -: the page is a file: name it, such as compare.html")
    if path.is_dir() or (path.exists() and not path.is_file()):
        raise InputError(f"--out {path}: {what_it_is(path)}: name a file, such as compare.html")
    if not path.is_file():
        return
    with path.open("rb") as file:
        if STAMP.encode() not in file.read(HEAD_BYTES):
            raise InputError(f"--out {path}: it is no page of almr compare, and would be lost: name another file")


def render(found: RunComparison, fits: Sequence[ComparedFit]) -> str:
    style = (inline.TEMPLATE / "style.css").read_text(encoding="utf-8")
    style += (TEMPLATE / "compare.css").read_text(encoding="utf-8")
    scripts = [inline.TEMPLATE / f"{name}.js" for name in SHARED_SCRIPTS] + [TEMPLATE / f"{n}.js" for n in SCRIPTS]
    return (
        inline.environment(TEMPLATE)
        .get_template("compare.html.j2")
        .render(
            **inline.inside(style, inline.joined(scripts)),
            data=inline.as_data(_data(found, fits)),
            found=found,
            level=numbers.level(found.level),
            pairs=[_pair(found, pair) for pair in found.pairs],
            caveats=pairs.common_caveats(found),
            winners=rows.winner_rows(found),
            costs=rows.cost_rows(found),
            fields=rows.field_rows(found, decides=True),
            others=rows.field_rows(found, decides=False),
            no_fields=rows.no_fields(found),
            maps=[run for run, fit in zip(found.runs, fits, strict=True) if fit.file.alone is None],
            own_scales=_own_scales(found),
        )
    )


def _pair(found: RunComparison, pair: RunPair) -> dict[str, Any]:
    word = pairs.word(pair)
    first, second = found.run(pair.first), found.run(pair.second)
    return {
        "name": f"{first.name} and {second.name}",
        "word": word,
        "kind": KINDS[word],
        "costs": pairs.costs(found, pair),
        "optima": pairs.optima(pair.shift),
        "shift": _shift(pair),
        "losses": list(pairs.losses(found, pair)),
        "shared": list(pairs.shared(found, pair)),
        "caveats": pairs.own_caveats(found, pair),
        "sizes": pair.sizes,
        "sizes_text": list(pairs.sizes(found, pair.sizes)) if pair.sizes else [],
        "rules": _rules(found, pair.sizes) if pair.sizes else [],
    }


def _shift(pair: RunPair) -> list[str]:
    """The cells of the table of optima."""
    shift = pair.shift
    verdict = "" if shift.differ is None else "differ" if shift.differ else "no difference shown"
    return [
        pairs.almr_shift(shift.almr) if shift.almr else numbers.MISSING,
        pairs.lr_shift(shift.lr) if shift.lr else numbers.MISSING,
        numbers.number(shift.p_value),
        numbers.number(shift.p_corrected),
        verdict or shift.why,
    ]


def _rules(found: RunComparison, step: SizeStep) -> list[list[str]]:
    larger = found.run(step.larger)
    return [
        [
            f"{rule.rule}{' (of the study)' if rule.chosen else ''}",
            f"{numbers.lr(rule.lr)} ({numbers.interval(rule.lr_interval, 'lr')})" if rule.lr_interval else "",
            numbers.lr(larger.winner.lr),
            pairs.ratio_text(rule),
            pairs.held(rule),
            pairs.rule_cost(rule),
            rule.why or "yes",
        ]
        for rule in step.rules
    ]


def _own_scales(found: RunComparison) -> str:
    """Why the maps of the objective have a scale of colours each; empty where they have one."""
    reasons = dict.fromkeys(pair.objectives for pair in found.pairs if pair.objectives)
    return "; ".join(reasons)


def _data(found: RunComparison, fits: Sequence[ComparedFit]) -> ComparisonData:
    mapped = [(run.mark, fit) for run, fit in zip(found.runs, fits, strict=True) if fit.file.alone is None]
    marks = {mark for mark, _ in mapped}
    names = [name for name in fits[0].losses if all(name in fit.losses for _, fit in mapped)]
    pairs = [pair for pair in found.pairs if {pair.first, pair.second} <= marks]
    one = {name: all(_unit(pair, name) == NATS for pair in pairs) for name in names}
    several = {name: shared for name, shared in one.items() if len(names) > 1}
    scales = {"objective": not any(pair.objectives for pair in pairs)} | several
    winners = [_best(run.mark, fit) for run, fit in zip(found.runs, fits, strict=True)]
    return ComparisonData(winners=winners, runs=[_map(mark, fit) for mark, fit in mapped], scales=scales)


def _unit(pair: RunPair, name: str) -> str | None:
    return next((loss.unit for loss in pair.losses if loss.name == name), None)


def _map(mark: str, fit: ComparedFit) -> MapData:
    grid, region = fit.lattice.coarse, fit.file.region
    rows = fit.table[fit.table["excluded"].isna() | fit.table.index.isin(tables.diverged(fit.table).index)]
    return MapData(
        mark=mark,
        name=fit.name,
        labels={name: fit.label(name) for name in fit.losses},
        weights=unguarded(fit).loss_weights,
        grid_almr=grid.almr.tolist(),
        grid_lr=grid.lr.tolist(),
        mean={name: encoded(grid.mean[name]) for name in fit.losses},
        almr=numbers_of(rows, "almr"),
        lr=numbers_of(rows, "lr"),
        status=[str(status) for status in rows["status"]],
        loss={name: numbers_of(rows, f"loss_{name}") for name in fit.losses},
        winner=_best(mark, fit),
        region=[[row.almr, row.lr_low, row.lr_high] for row in (region.rows if region else [])],
    )


def _best(mark: str, fit: ComparedFit) -> BestPoint:
    winner = fit.file.winner
    return BestPoint(
        mark=mark,
        name=fit.name,
        almr=winner.almr,
        lr=winner.lr,
        almr_interval=[winner.almr_interval.low, winner.almr_interval.high],
        lr_interval=[winner.lr_interval.low, winner.lr_interval.high],
        alone=fit.file.alone,
        refused=bool(fit.file.refusals),
    )
