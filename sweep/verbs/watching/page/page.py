"""A look at a launch as one HTML page that needs nothing beside it and no script; its style is that of the report."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from markupsafe import Markup

from analysis.launch.watching import text
from analysis.launch.watching.result import WatchResult
from analysis.launch.watching.verdict import band_at
from analysis.report import inline
from sweep.study import LANGUAGES, InputError, numbers
from sweep.study.files.atomic import write_atomically
from sweep.study.files.patterns import what_it_is
from sweep.verbs.watching.page.chart import Chart

TEMPLATE = Path(__file__).with_name("template")
STAMP = '<meta name="generator" content="almr watch">'
HEAD_BYTES = 2048
KINDS = {"as predicted": "good", "outside": "bad", "diverging": "bad", "stalled": "bad", "not predicted": "open"}
BAND_POINTS = 60


def write_page(found: WatchResult, path: Path, every: float | None = None) -> Path:
    """Write the page atomically. `every`: seconds after which it is written again, None: never. Raises InputError as
    `refuse_foreign`.
    """
    refuse_foreign(path)
    return write_atomically(path, render(found, every))


def refuse_foreign(path: Path) -> None:
    """Raises InputError where the page would replace a file that is no such page, or stand where none can be."""
    if str(path) == "-":
        raise InputError("--out -: the page is a file: name it, such as watch.html")
    if path.is_dir() or (path.exists() and not path.is_file()):
        raise InputError(f"--out {path}: {what_it_is(path)}: name a file, such as watch.html")
    if not path.is_file():
        return
    with path.open("rb") as file:
        if STAMP.encode() not in file.read(HEAD_BYTES):
            raise InputError(f"--out {path}: it is no page of almr watch, and would be lost: name another file")


def render(found: WatchResult, every: float | None = None) -> str:
    style = (inline.TEMPLATE / "style.css").read_text(encoding="utf-8")
    style += (TEMPLATE / "watch.css").read_text(encoding="utf-8")
    launch = found.launch
    return (
        inline.environment(TEMPLATE)
        .get_template("watch.html.j2")
        .render(
            **inline.inside(style, ""),
            found=found,
            name=launch.study.name,
            about=f"{launch.folder}, with {launch.format}; ALMR {numbers.almr(launch.almr)}, peak LR "
            f"{numbers.lr(launch.lr)}",
            kind=KINDS[found.verdict.word],
            facts=text.named_facts(found),
            heads=text.HEAD,
            rows=text.rows_of(found.checks),
            share=found.progress.step / found.progress.steps,
            charts=[(chart, Markup(svg)) for chart in charts(found) if (svg := chart.svg())],  # noqa: S704  # escaped
            every=every and not found.progress.ended and round(every),
            written=f"{datetime.now():%Y-%m-%d %H:%M:%S}",
        )
    )


def charts(found: WatchResult) -> Iterator[Chart]:
    launch, log = found.launch, found.log
    steps = float(launch.steps)
    for name in LANGUAGES:
        yield _held_out(found, name)
    losses, norms = log.series("loss"), log.series("grad_norm")
    yield Chart("Training loss", launch.study.loss_unit, line=list(losses.items()), steps=steps)
    yield Chart("Gradient norm before clipping", "", line=list(norms.items()), steps=steps)
    rates = log.series("lr")
    yield Chart("Learning rate", "", line=list(rates.items()), steps=steps, show=numbers.lr)


def _held_out(found: WatchResult, name: str) -> Chart:
    launch, log = found.launch, found.log
    base = log.held_out.get(0, {}).get(name)
    measured = [(step, values[name]) for step, values in sorted(log.held_out.items()) if name in values]
    odd = {check.step for check in found.checks if check.language == name and check.excess}
    return Chart(
        title=f"Held-out loss: {launch.labels[name]}",
        axis=launch.study.loss_unit,
        line=measured,
        dots=[(step, loss) for step, loss in measured if step not in odd],
        odd=[(step, loss) for step, loss in measured if step in odd],
        band=list(_band(found, name, base)),
        steps=float(launch.steps),
    )


def _band(found: WatchResult, name: str, base: float | None) -> Iterator[tuple[float, float, float]]:
    steps = found.launch.steps
    for step in sorted({math.ceil(steps * i / BAND_POINTS) for i in range(1, BAND_POINTS + 1)}):
        if band := band_at(found.launch, step, name, base):
            yield float(step), band.low, band.high
