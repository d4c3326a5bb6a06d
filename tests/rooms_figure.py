"""The figure of the flow and the rooms, `docs/figures/rooms.svg`. `make docs` draws it anew."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple
from xml.sax.saxutils import escape


class Stage(NamedTuple):
    """One stage of the flow: its name, the file that holds its result, and the folders that do its work."""

    name: str
    result: str
    folders: tuple[str, ...]


FLOW = (
    Stage("study", "study.yaml", ("sweep/study", "sweep/planning", "sweep/preflight")),
    Stage("trials", "trials/*/trial.json", ("sweep/trials", "analysis/search")),
    Stage("records", "trials/*/record.json", ("sweep/controller", "sweep/worker", "trainers")),
    Stage("table", "trials.csv", ("analysis/table",)),
    Stage("surface", "figures/", ("analysis/surfaces", "analysis/figures")),
    Stage("winner", "fit.json", ("analysis/decision", "analysis/scores", "analysis/fit")),
    Stage("transfer", "fit.json, report.html", ("analysis/transfer", "analysis/report")),
    Stage("launch", "launch/", ("analysis/launch", "sweep/external")),
)
ROOMS = (
    (
        "sweep",
        "what to run, running it, what happened",
        "imports the other rooms; ray in controller and preflight alone",
    ),
    ("trainers", "one trial from the base model to its losses", "imports no other room"),
    ("analysis", "numbers to a surface to a decision", "imports no other room; never ray or torch"),
)
COLOURS = {"sweep": "#31688e", "trainers": "#d98200", "analysis": "#3d9963"}
WIDTH, HEIGHT, MARGIN = 1200, 520, 20
BOX, GAP, TOP = 130, 17, 60
INK, SOFT, PALE = "#1d2430", "#5d6675", "#f5f7f9"


def svg() -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'font-family="Helvetica, Arial, DejaVu Sans, sans-serif">\n'
        "<title>The flow from study to launch, and the rooms</title>\n"
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0,0 L8,4 L0,8 z" fill="{SOFT}"/></marker></defs>\n'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>'
    )
    return "\n".join([head, *_flow(), *_rooms(), "</svg>"]) + "\n"


def _flow() -> Iterator[str]:
    yield _text(MARGIN, 34, "The flow. A stage reads the files that the stages before it left.", 17, weight="bold")
    for number, stage in enumerate(FLOW):
        x = MARGIN + number * (BOX + GAP)
        yield f'<rect x="{x}" y="{TOP}" width="{BOX}" height="150" rx="6" fill="{PALE}" stroke="{SOFT}"/>'
        yield _text(x + BOX / 2, TOP + 27, stage.name, 17, anchor="middle", weight="bold")
        yield _text(x + BOX / 2, TOP + 49, stage.result, 11.5, anchor="middle", colour=SOFT)
        for line, folder in enumerate(stage.folders):
            colour = COLOURS[folder.split("/")[0]]
            yield _text(x + BOX / 2, TOP + 82 + 22 * line, folder, 12.5, anchor="middle", colour=colour)
        if number:
            yield _arrow(x - GAP, TOP + 75, x - 2, TOP + 75)
    yield from _feedback()


def _feedback() -> Iterator[str]:
    """A search proposes trials from the records so far; a refusal names the trials to run next."""
    x = [MARGIN + number * (BOX + GAP) + BOX / 2 for number in range(len(FLOW))]
    y = TOP + 150
    for start, end, depth, words in (
        (2, 1, 24, "a search proposes from the records"),
        (5, 1, 62, "a refused fit names the trials to run next"),
    ):
        left, right = x[end] + (20 if depth < 50 else -20), x[start]
        yield (
            f'<path d="M{right:g},{y} L{right:g},{y + depth} L{left:g},{y + depth} L{left:g},{y + 2}" fill="none" '
            f'stroke="{SOFT}" stroke-dasharray="5 4" marker-end="url(#head)"/>'
        )
        yield _text((left + right) / 2, y + depth + 16, words, 12, anchor="middle", colour=SOFT)


def _rooms() -> Iterator[str]:
    top = 330
    yield _text(
        MARGIN,
        top,
        "The rooms. All three import the ground floor; sweep imports the other two as well.",
        17,
        weight="bold",
    )
    width = 370
    for number, (name, does, may) in enumerate(ROOMS):
        x = MARGIN + number * (width + 25)
        yield (
            f'<rect x="{x}" y="{top + 15}" width="{width}" height="74" rx="6" fill="#ffffff" '
            f'stroke="{COLOURS[name]}" stroke-width="2"/>'
        )
        yield _text(x + 14, top + 39, f"{name}/", 16, weight="bold", colour=COLOURS[name])
        yield _text(x + 14, top + 59, does, 12.5)
        yield _text(x + 14, top + 78, may, 11.5, colour=SOFT)
        yield _arrow(x + width / 2, top + 89, x + width / 2, top + 116)
    yield (
        f'<rect x="{MARGIN}" y="{top + 118}" width="{WIDTH - 2 * MARGIN}" height="52" rx="6" fill="{PALE}" '
        f'stroke="{INK}"/>'
    )
    yield _text(MARGIN + 14, top + 141, "sweep/study/", 16, weight="bold")
    told = "the ground floor: schemas of study, trial and record; names of files; numbers; sizes of models and GPUs"
    yield _text(MARGIN + 14, top + 160, f"{told}. Every room may import it; it imports no other room.", 12.5)


def _arrow(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<path d="M{x1:g},{y1:g} L{x2:g},{y2:g}" stroke="{SOFT}" fill="none" marker-end="url(#head)"/>'


def _text(
    x: float, y: float, words: str, size: float, *, anchor: str = "start", colour: str = INK, weight: str = "normal"
) -> str:
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="{size:g}" text-anchor="{anchor}" fill="{colour}" '
        f'font-weight="{weight}">{escape(words)}</text>'
    )
