"""The verb `figures`: the figures of a fitted run as a paper needs them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from analysis.fit_file.outdated import SUBJECT, fit_sha256
from sweep.store.run import Run
from sweep.study import InputError
from sweep.study.errors import shown
from sweep.verbs.commands.terminal import say, show
from sweep.verbs.options import RUNS, AsJson, RunName, Runs

if TYPE_CHECKING:
    from analysis.figures.drawing.files import Kind

WIDTHS = {"one": 3.3, "two": 6.8}  # inches: columns of most papers


def figures(
    run: RunName,
    kinds: Annotated[str, typer.Option("--format", metavar="KINDS", help="svg, pdf, and with --out png.")] = "svg,pdf",
    width: Annotated[
        str | None, typer.Option(metavar="INCHES", help="Or one or two columns of a paper.  [default: two]")
    ] = None,
    style: Annotated[Path | None, typer.Option(metavar="FILE", help="A matplotlib style file, over ours.")] = None,
    folder: Annotated[
        Path | None, typer.Option("--out", metavar="FOLDER", help="[default: figures/ in the run]")
    ] = None,
    runs: Runs = RUNS,
    as_json: AsJson = False,
) -> None:
    """Draw the figures of a run for a paper. The data of each is beside it as CSV."""
    wanted, inches = _kinds(kinds, folder), _width(width)
    found = Run.find(run, runs)
    from analysis.figures import drawing
    from analysis.figures.drawing import files
    from sweep.verbs.results import fitting, outputs

    settings = files.read_style(style) if style else {}
    settings |= {"figure.figsize": (inches, inches)} if inches else {}
    fitting.refuse_unusable(folder)
    made = fitting.fitted_again(found, outputs.fitted(found, say))
    subject = SUBJECT.format(fit_sha256(found.folder))
    with files.looking(settings, style):
        paths = drawing.write_figures(made, found.folder, wanted, folder, subject)
    found.share()
    names = ", ".join(dict.fromkeys(path.stem for path in paths))
    show({"figures": [str(path) for path in paths]} if as_json else f"{paths[0].parent}: {names} ({', '.join(wanted)})")


def _kinds(text: str, folder: Path | None) -> tuple[Kind | Literal["csv"], ...]:
    """Those that were asked for. The run's own `figures/` has its data from the fit."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    if unknown := [name for name in names if name not in ("svg", "pdf", "png")]:
        raise InputError(f"--format {shown(unknown[0])}: no such kind of figure: give svg, pdf or png, or several")
    if "png" in names and folder is None:
        raise InputError("--format png: almr fit draws the PNG files of a run: add --out FOLDER for others")
    return cast("tuple[Kind, ...]", names) + (("csv",) if folder else ())


def _width(text: str | None) -> float | None:
    """In inches; None: of the style."""
    if text is None or text in WIDTHS:
        return WIDTHS[text] if text else None
    try:
        inches = float(text)
    except ValueError:
        inches = 0.0
    from analysis.figures.drawing.files import LEAST, MOST

    if not LEAST <= inches <= MOST:
        raise InputError(f"--width {shown(text)}: give one, two or {LEAST:g} to {MOST:g} inches")
    return inches
