"""`almr watch`: looks at a running launch, once or until it ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.text import Text

from analysis.launch.watching import result, text
from analysis.launch.watching.bundles import WatchedLaunch
from analysis.launch.watching.result import WatchResult
from sweep.study import InputError
from sweep.study.errors import visible
from sweep.verbs.watching.page.page import write_page
from sweep.verbs.watching.tell import VerdictTeller

LOOK_SECONDS = 5.0
REST = 9.0  # times what a look takes, at least, between two
SILENT_SECONDS = 60.0  # without a change, after which a log says that nothing changed


@dataclass(frozen=True)
class LaunchWatch:
    """What is watched, by which logs, where the page goes, and who is told."""

    launch: WatchedLaunch
    logs: tuple[Path, ...]
    stalled: float
    page: Path | None
    teller: VerdictTeller

    def look(self, every: float | None = None) -> WatchResult:
        """Look once: write the page and tell whom it concerns. `every`: seconds until the next look."""
        found = result.look(self.launch, self.logs, self.stalled)
        if self.page:
            write_page(found, self.page, every)
        self.teller.look(found)
        return found


def follow(watched: LaunchWatch, console: Console, say: Callable[[str], None]) -> WatchResult:
    """Look until the launch ends. On a terminal the view stays in its place; in a log a dated line is printed where the
    verdict changed, and once in a minute. Raises InputError where the first look fails.
    """
    looks = _looks(watched, say)
    found = next(looks)
    if console.is_terminal:
        with Live(_view(found), console=console, auto_refresh=False) as view:
            for found in looks:
                view.update(_view(found), refresh=True)
        return found
    console.print(brief(found), markup=False, highlight=False, soft_wrap=True)
    before, said = found.verdict.text, time.monotonic()
    for found in looks:
        if found.verdict.text != before or time.monotonic() - said >= SILENT_SECONDS:
            console.print(brief(found), markup=False, highlight=False, soft_wrap=True)
            before, said = found.verdict.text, time.monotonic()
    return found


def _view(found: WatchResult) -> Text:
    """Names of a study are no markup."""
    return Text(visible("\n".join(text.lines(found))))


def brief(found: WatchResult) -> str:
    now = found.progress
    return f"{datetime.now():%Y-%m-%d %H:%M:%S} step {now.step:,} of {now.steps:,}: {found.verdict.text}"


def _looks(
    watched: LaunchWatch, say: Callable[[str], None], wait: Callable[[float], None] = time.sleep
) -> Iterator[WatchResult]:
    """A look that fails after the first one is a warning: a file may be half written."""
    began, found, told = time.monotonic(), watched.look(LOOK_SECONDS), ""
    while True:
        yield found
        if found.progress.ended:
            return
        wait(max(LOOK_SECONDS, REST * (time.monotonic() - began)))  # large logs are not read again and again
        began = time.monotonic()
        try:
            found = watched.look(LOOK_SECONDS)
        except (InputError, OSError) as error:
            if str(error) != told:
                say(f"warning: {error}; looking again")
            told = str(error)
