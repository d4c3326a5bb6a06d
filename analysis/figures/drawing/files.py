"""A figure as the bytes of a file, and a style file of the user's own.

The same figure gives the same bytes: no file has a date.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, Literal, get_args

from matplotlib import rc_context, rc_params_from_file, rcParams
from matplotlib.figure import Figure

from analysis.figures.drawing import style
from sweep.study import InputError
from sweep.study.errors import one_line, shown
from sweep.study.files import regular

Kind = Literal["png", "svg", "pdf"]
KINDS: tuple[Kind, ...] = get_args(Kind)
UNDATED: dict[Kind, dict[str, None]] = {
    "png": {"Software": None},
    "svg": {"Date": None},
    "pdf": {"CreationDate": None},
}
SUBJECT: dict[Kind, str] = {"svg": "Description", "pdf": "Subject"}  # where a file says what it was made from
MOST_STYLE = 100_000  # bytes
LEAST, MOST = 2.0, 20.0  # inches
LABELS = ("axes.labelsize", "axes.titlesize", "xtick.labelsize", "ytick.labelsize", "legend.fontsize")
SIZES = {
    "figure.figsize": (LEAST, MOST, "inches"),
    **dict.fromkeys(("figure.dpi", "savefig.dpi"), (20, 1200, "dots per inch")),
    **dict.fromkeys(("font.size", "figure.labelsize", "figure.titlesize", *LABELS), (1, 72, "points")),
}


def encoded(figure: Figure, kind: Kind = "png", subject: str | None = None) -> bytes:
    """`subject`: what the file says of where it is from, in SVG and PDF."""
    content = BytesIO()
    said: dict[str, str | None] = {**UNDATED[kind]}
    if subject and kind in SUBJECT:
        said[SUBJECT[kind]] = subject
    logging.getLogger("fontTools").setLevel(logging.WARNING)  # it tells what it takes of a font
    with style.applied():
        _lay_out(figure)
        figure.savefig(content, format=kind, metadata=said)
    return content.getvalue()


def _lay_out(figure: Figure) -> None:
    """Settle where everything is, once: each drawing moves it a little, so files would depend on those before them.

    The engine alone moves it: to draw the figure for that, as matplotlib does, takes half of the time of a file.
    """
    if engine := figure.get_layout_engine():
        for _ in range(2):  # the second starts from what the first found, as matplotlib's own do
            engine.execute(figure)
        with rc_context({"figure.autolayout": False, "figure.constrained_layout.use": False}):
            figure.set_layout_engine(None)  # with "none" a stand-in would stay, for which matplotlib draws once more


def read_style(path: Path) -> dict[str, Any]:
    """The settings of a matplotlib style file. Raises InputError that names the line which matplotlib cannot use."""
    try:
        lines = regular.content(path)[:MOST_STYLE].decode("utf-8").splitlines()
    except UnicodeDecodeError:
        raise InputError(
            f"{path}: not text in UTF-8: write a style file of matplotlib, lines of setting: value"
        ) from None
    for number, line in enumerate(lines, start=1):
        name = line.partition("#")[0].partition(":")[0].strip()
        if name and name not in rcParams:
            raise InputError(f"{path}, line {number}: matplotlib has no setting {shown(name)}: correct or remove it")
    try:
        read = rc_params_from_file(path, fail_on_error=True, use_default_template=False)
    except ValueError as error:
        raise InputError(f"{path}: {one_line(error)}: correct it, as matplotlib's style files have it") from None
    settings = {str(name): value for name, value in read.items()}
    _refuse_sizes(settings, path)
    return settings


def _refuse_sizes(settings: dict[str, Any], path: Path) -> None:
    """Raises InputError for a size that would fill the memory or of which nothing can be seen."""
    for name, (least, most, unit) in SIZES.items():
        values = settings.get(name, ())
        for value in values if isinstance(values, list | tuple) else (values,):
            if isinstance(value, int | float) and not least <= value <= most:
                raise InputError(f"{path}: {name}: {value:g}: give {least:g} to {most:g} {unit}")


@contextmanager
def looking(settings: dict[str, Any], path: Path | None) -> Iterator[None]:
    """Draw with these settings, which were read from `path`. Raises InputError where matplotlib cannot draw so, such as
    with a LaTeX that is not installed.
    """
    try:
        with warnings.catch_warnings(action="ignore"), style.look(settings):  # of fonts that it lacks
            yield
    except (RuntimeError, ValueError) as error:
        if path is None:
            raise
        raise InputError(f"{path}: matplotlib cannot draw with it: {one_line(error)}") from None
