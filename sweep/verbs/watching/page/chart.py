"""A series as inline SVG, drawn here: the page needs no script, and is whole wherever it is opened."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from sweep.study import numbers

WIDTH, HEIGHT = 460, 210  # small, so that the text can be read on a telephone
LEFT, RIGHT, TOP, BOTTOM = 54, 14, 10, 34
TICKS = 5
MOST_POINTS = 400  # of a series: more cannot be told apart
Point = tuple[float, float]


@dataclass(frozen=True)
class Chart:
    """`line` and `dots` in the units of the axes, `band` as (step, low, high). `odd`: dots outside the band.
    `show` writes a value."""

    title: str
    axis: str
    line: Sequence[Point] = ()
    dots: Sequence[Point] = ()
    odd: Sequence[Point] = ()
    band: Sequence[tuple[float, float, float]] = ()
    steps: float = 1.0
    show: Callable[[float], str] = numbers.number

    def svg(self) -> str:
        """Empty where there is nothing to draw."""
        values = [y for _, y in (*self.line, *self.dots, *self.odd)] + [y for _, *ends in self.band for y in ends]
        finite = [y for y in values if math.isfinite(y)]
        if not finite:
            return ""
        low, high = min(finite), max(finite)
        margin = (high - low) * 0.06 or abs(high) * 0.01 or 1.0
        return _Drawn(self, low - margin, high + margin).svg()


class _Drawn:
    """A chart whose values lie between `low` and `high`."""

    def __init__(self, chart: Chart, low: float, high: float) -> None:
        self.chart, self.low, self.high = chart, low, high

    def x(self, step: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * step / self.chart.steps

    def y(self, value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (self.high - value) / (self.high - self.low)

    def svg(self) -> str:
        title = escape(self.chart.title, {'"': "&quot;"})
        parts = [*self._grid(), *self._band(), *self._line(), *self._dots()]
        return (
            f'<svg class="chart" role="img" aria-label="{title}" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
            f'height="{HEIGHT}">{"".join(parts)}</svg>'
        )

    def _grid(self) -> Iterable[str]:
        bottom = HEIGHT - BOTTOM
        for i in range(TICKS):
            value = self.low + (self.high - self.low) * i / (TICKS - 1)
            y = self.y(value)
            yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            yield f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{escape(self.chart.show(value))}</text>'
            step = self.chart.steps * i / (TICKS - 1)
            anchor = "end" if i == TICKS - 1 else "middle" if i else "start"
            yield f'<text x="{self.x(step):.1f}" y="{bottom + 16}" text-anchor="{anchor}">{step:,.0f}</text>'
        middle = (LEFT + WIDTH - RIGHT) / 2
        yield f'<text class="axis-name" x="{middle}" y="{HEIGHT - 4}" text-anchor="middle">step</text>'

    def _band(self) -> Iterable[str]:
        if len(self.chart.band) == 1:
            step, low, high = self.chart.band[0]
            x, ends = f"{self.x(step):.1f}", f'y1="{self.y(low):.1f}" y2="{self.y(high):.1f}"'
            yield f'<line class="reach" x1="{x}" x2="{x}" {ends}/>'
        elif self.chart.band:
            forth = [(step, high) for step, _, high in self.chart.band]
            back = [(step, low) for step, low, _ in reversed(self.chart.band)]
            yield f'<polygon class="band" points="{self._points([*forth, *back])}"/>'

    def _line(self) -> Iterable[str]:
        """Broken where a value is not finite."""
        every = max(1, math.ceil(len(self.chart.line) / MOST_POINTS))
        part: list[Point] = []
        for point in [*self.chart.line[::every], (math.nan, math.nan)]:
            if math.isfinite(point[1]):
                part.append(point)
            elif part:
                yield f'<polyline class="line" points="{self._points(part)}"/>'
                part = []

    def _dots(self) -> Iterable[str]:
        for kind, dots in (("dot", self.chart.dots), ("dot odd", self.chart.odd)):
            for step, value in dots:
                if math.isfinite(value):
                    yield f'<circle class="{kind}" cx="{self.x(step):.1f}" cy="{self.y(value):.1f}" r="4"/>'

    def _points(self, points: Iterable[Point]) -> str:
        return " ".join(f"{self.x(step):.1f},{self.y(value):.1f}" for step, value in points)
