"""Which outputs of a run were made from an earlier fit than the one in `fit.json`."""

from __future__ import annotations

import re
from pathlib import Path

from sweep.study.files.atomic import sha256
from sweep.study.files.layout import RunFiles
from sweep.study.files.reader import read_object

STAMP = re.compile(rb'<meta name="fit-sha256" content="([0-9a-f]{64})">')  # at the top of report.html
HEAD_BYTES = 4096


def outdated(run: Path, address: str | None = None) -> list[str]:
    """One line for each output of an earlier fit, with the verb that renews it. `address`: the run in messages.

    Passes over outputs that do not name their fit: an earlier version of almr-sweep wrote them.
    """
    files = RunFiles(run)
    fit = fit_sha256(run)
    made_from = {
        "launch/": ("export", (read_object(files.evidence) or {}).get("fit_sha256")),
        "report.html": ("report", _stamp(files.report)),
    }
    return [
        f"{output} is from an earlier fit: almr {verb} {address or run}"
        for output, (verb, hashed) in made_from.items()
        if hashed and fit and hashed != fit
    ]


def fit_sha256(run: Path) -> str | None:
    """The hash of `fit.json`; None where the run was not fitted."""
    path = RunFiles(run).fit
    return sha256(path) if path.is_file() else None


def _stamp(report: Path) -> str | None:
    if not report.is_file():
        return None
    with report.open("rb") as file:
        found = STAMP.search(file.read(HEAD_BYTES))
    return found[1].decode() if found else None
