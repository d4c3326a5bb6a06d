"""`almr watch`: looks at a running launch, once or until it ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from rich.console import Console

from analysis.launch.watching import result, text
from analysis.launch.watching.bundles import WatchedLaunch
from analysis.launch.watching.result import WatchResult
from sweep.verbs.watching.page.page import write_page
from sweep.verbs.watching.tell import VerdictTeller

LOOK_SECONDS = 5.0
SILENT_SECONDS = 60.0  # without a change, after which a log says that nothing changed

lines = text.lines


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


def follow(watched: LaunchWatch, console: Console) -> WatchResult:
    """Look until the launch ends. On a terminal the view stays in its place; in a log a dated line is printed where the
    verdict changed, and once in a minute.
    """
    from rich.live import Live

    looks = _looks(watched)
    if console.is_terminal:
        with Live(console=console, auto_refresh=False, transient=False) as view:
            for found in looks:
                view.update("\n".join(lines(found)), refresh=True)
        return found
    before, said = "", -SILENT_SECONDS
    for found in looks:
        if found.verdict.text != before or time.monotonic() - said >= SILENT_SECONDS:
            console.print(brief(found), markup=False, highlight=False, soft_wrap=True)
            before, said = found.verdict.text, time.monotonic()
    return found


def brief(found: WatchResult) -> str:
    now = found.progress
    return f"{datetime.now():%Y-%m-%d %H:%M:%S} step {now.step:,} of {now.steps:,}: {found.verdict.text}"


def _looks(watched: LaunchWatch, wait: Callable[[float], None] = time.sleep) -> Iterator[WatchResult]:
    while True:
        yield (found := watched.look(LOOK_SECONDS))
        if found.progress.ended:
            return
        wait(LOOK_SECONDS)
