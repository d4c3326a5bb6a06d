"""Which outputs of a run were made from an earlier fit than the one in `fit.json`."""

from __future__ import annotations

import re
from pathlib import Path

from sweep.study.files.atomic import sha256
from sweep.study.files.layout import RunFiles
from sweep.study.files.reader import read_object

STAMP = re.compile(rb'<meta name="fit-sha256" content="([0-9a-f]{64})">')  # at the top of report.html
SUBJECT = "fit-sha256 {}"  # what a figure for a paper says of where it is from: an SVG at its top, a PDF at its end
OF_A_FIGURE = re.compile(rb"fit-sha256 ([0-9a-f]{64})")
END_BYTES = 4096


def outdated(run: Path, address: str | None = None) -> list[str]:
    """One line for each output of an earlier fit, with the verb that renews it. `address`: the run in messages.

    Passes over outputs that do not name their fit: an earlier version of almr-sweep wrote them.
    """
    files = RunFiles(run)
    fit = fit_sha256(run)
    made_from = {
        "launch/": ("export", (read_object(files.evidence) or {}).get("fit_sha256")),
        "report.html": ("report", _stamp(files.report, STAMP)),
    }
    figures = sorted(path for kind in ("svg", "pdf") for path in files.figures.glob(f"*.{kind}"))
    stamps = {path: _stamp(path, OF_A_FIGURE) for path in figures}
    old = next((path for path, hashed in stamps.items() if hashed and hashed != fit), None)
    made_from |= {files.name(old): ("figures", stamps[old])} if old else {}
    return [
        f"{output} is from an earlier fit: almr {verb} {address or run}"
        for output, (verb, hashed) in made_from.items()
        if hashed and fit and hashed != fit
    ]


def fit_sha256(run: Path) -> str | None:
    """The hash of `fit.json`; None where the run was not fitted."""
    path = RunFiles(run).fit
    return sha256(path) if path.is_file() else None


def _stamp(path: Path, pattern: re.Pattern[bytes]) -> str | None:
    if not path.is_file():
        return None
    with path.open("rb") as file:
        ends = file.read(END_BYTES)
        file.seek(max(END_BYTES, path.stat().st_size - END_BYTES))
        found = pattern.search(ends + file.read(END_BYTES))
    return found[1].decode() if found else None
