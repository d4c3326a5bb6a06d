"""Outputs that the documents show. A block below `<!-- first 3 lines of: almr fit runs/demo -->` is that output.

make docs-outputs    # runs each command again and writes its lines into the pages

`runs/demo` is that of `tests.demo_run`.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from tests import demo_run
from tests.rooms import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SHOWN = re.compile(r"(<!-- first (\d+) lines of: (almr [^\n]+?) -->\n```text\n)(.*?)(```)", flags=re.DOTALL)
DEMO = "runs/demo"
ALMR = [sys.executable, "-c", "from sweep.cli import main; main()"]


class ShownOutput(NamedTuple):
    """A block of a page: the command, how many of its lines are shown, and the lines as the page has them."""

    page: Path
    command: str
    count: int
    lines: str


def shown() -> list[ShownOutput]:
    return [
        ShownOutput(page, found[3], int(found[2]), found[4])
        for page in PAGES
        for found in SHOWN.finditer(page.read_text(encoding="utf-8"))
    ]


def output(command: str, count: int) -> str:
    """The first lines that `almr ...` prints, without blank ones. A refused fit ends with status 3 and prints too."""
    with tempfile.TemporaryDirectory() as folder:
        if DEMO in command:
            command = command.replace(DEMO, str(demo_run.write(Path(folder) / DEMO)))
        lines = [line.rstrip() for line in printed(command).splitlines() if line.strip()]
    return "".join(f"{line}\n" for line in lines[:count])


def printed(command: str) -> str:
    environment = os.environ | {"COLUMNS": "120", "PYTHONPATH": str(ROOT)}
    words = [*ALMR, *shlex.split(command)[1:]]
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 3):
        raise SystemExit(f"{command}: {done.stderr.strip()}")
    return done.stdout


def refresh() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        fresh = SHOWN.sub(lambda found: found[1] + output(found[3], int(found[2])) + found[5], text)
        page.write_text(fresh, encoding="utf-8")


if __name__ == "__main__":
    refresh()
