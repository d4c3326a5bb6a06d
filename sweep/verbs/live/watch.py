"""`almr status RUN --watch`: what a run is doing, until it ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from rich.console import Console

from sweep.store.run import Run
from sweep.verbs.live import text
from sweep.verbs.live.files import RunReader
from sweep.verbs.live.now import RunNow

LOOK_SECONDS = 2.0
PULL_SECONDS = 20.0  # of a run on an object store
SILENT_SECONDS = 60.0  # without a change, after which a log says that nothing changed


def watch(run: Run, console: Console) -> None:
    """Show it until no driver runs it. On a terminal the view stays in its place; in a log, a dated line is printed
    where trials began or ended.
    """
    looks = _looks(run)
    if not console.is_terminal:
        return _log(looks, console)
    with text.view(console) as show:
        for now in looks:
            show(now)


def _looks(run: Run, wait: Callable[[float], None] = time.sleep) -> Iterator[RunNow]:
    """One look after another, while a driver runs it."""
    reader, pulled = RunReader(run), time.monotonic()
    while (now := reader.look()).driver:
        yield now
        wait(LOOK_SECONDS)
        if run.mirror and time.monotonic() - pulled >= PULL_SECONDS:
            run.refresh()
            pulled = time.monotonic()


def _log(looks: Iterator[RunNow], console: Console) -> None:
    before, said = "", 0.0
    for now in looks:
        counts = text.counts(now)
        if counts != before or time.monotonic() - said >= SILENT_SECONDS:
            console.print(text.dated(text.brief(now)), markup=False, highlight=False, soft_wrap=True)
            before, said = counts, time.monotonic()
