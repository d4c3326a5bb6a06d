"""`report.html` of a run that goes on: fitted anew when records changed, written anew every few seconds."""

from __future__ import annotations

import os
import time
from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from analysis.fit.fit import Fit, fit_study
from analysis.report import live
from analysis.report.live import GoingOn, LiveData
from analysis.report.page import Unfitted
from analysis.scores.read import read as read_scores
from analysis.table import table as tables
from sweep.store.run import Run
from sweep.study import InputError
from sweep.study.files.atomic import write_atomically
from sweep.verbs.live import text
from sweep.verbs.live.files import RunReader, Stamps
from sweep.verbs.live.now import RunNow
from sweep.verbs.live.provisional import SCHEMA_VERSION, Provisional
from sweep.verbs.results import rerun

EVERY_SECONDS = 5.0  # between loads of an open page
SIGN_SECONDS = 30.0  # after which the page is written even where nothing changed
FIT_SHARE = 0.02  # of the machine's processors, at most, for fits
LOAD_SHARE = 0.05  # of the time of an open page, for loading it, which takes about as long as writing it
HEADS = ("trial", "step", "loss", "tokens/s", "left")


class Stop(NamedTuple):
    """How a run ended before its end. `why`: None where it was interrupted."""

    why: str | None = None


class LivePage:
    """The page of a run whose driver is another process."""

    def __init__(self, run: Run) -> None:
        self.run, self.reader = run, RunReader(run)
        self.fitted: Stamps | None = None  # of the records of the draft
        self.draft, self.why = "", ""
        self.rest, self.every = 0.0, EVERY_SECONDS  # no fit before; seconds
        self.shown: object = None
        self.signed = 0.0
        self.written: int | None = None  # when the page was, in ns

    def write(self, told: Collection[str] | None = None, stop: Stop | None = None) -> bool:
        """Write the page, where it would differ or is due. `told`: the running trials' ids. Returns whether it did."""
        now = self._look(told, stop)
        if self.fitted != self.reader.stamps and (stop or not self.draft or time.monotonic() >= self.rest):
            self._fit()
            now = self._look(told, stop)
        shown = (self.fitted, now.left, text.facts(now), self._rows(now))
        if not stop and shown == self.shown and time.monotonic() - self.signed < SIGN_SECONDS:
            return False
        self._put(now, stop)
        self.shown, self.signed = shown, time.monotonic()
        return True

    def sign_off(self, stop: Stop) -> None:
        """Write the last page of the fit that there is, if any: a new one may take longer than there is time."""
        if self.draft:
            self._put(self._look(None, stop), stop)

    def _put(self, now: RunNow, stop: Stop | None) -> None:
        began, report = time.process_time(), self.run.files.report
        write_atomically(report, live.filled(self.draft, self._words(now, stop)))
        self.written = report.stat().st_mtime_ns
        self.every = max(EVERY_SECONDS, (time.process_time() - began) / LOAD_SHARE)

    def _look(self, told: Collection[str] | None, stop: Stop | None) -> RunNow:
        if not stop:
            return self.reader.look(told)
        self.reader.rest = 0.0
        return replace(self.reader.look(()), driver=None)

    def _fit(self) -> None:
        """Fit the trials that have ended, and draw the page of them."""
        began, study = time.process_time(), self.reader.study
        stamps, files = self.reader.stamps, self.run.files
        table = tables.of_run(files.folder, study) if files.records() else tables.empty()
        found = None
        try:
            fit = fit_study(study, table, scored=read_scores(files.folder, table))
            self.draft, self.why = live.draft(fit, files.folder), ""
            found = _provisional(fit)
        except InputError as error:
            self.why = " ".join(str(error).removeprefix(f"{study.name}: ").split())
            self.draft = live.draft_unfitted(Unfitted(study, table, self.why), files.folder)
        self.fitted = stamps
        self.rest = time.monotonic() + (time.process_time() - began) / (FIT_SHARE * (os.cpu_count() or 1))
        if found:  # last: on a full disk nothing is fitted again and again
            write_atomically(files.live, found.model_dump_json(indent=2))

    def _words(self, now: RunNow, stop: Stop | None) -> GoingOn:
        again, grid, written = rerun.of(self.run), self.reader.study.grid, datetime.now()
        watch = f"to watch it in a terminal: almr status {self.run.address} --watch"
        done = now.done + sum(one.step / one.steps for one in now.running)
        no_winner = [f"no winner yet: {self.why.partition('; ')[0]}"] if self.why else []
        return GoingOn(
            word="RUNNING" if stop is None else "STOPPED" if stop.why else "INTERRUPTED",
            counts=text.counts(now),
            share=min(1.0, done / max(1, now.total)),
            facts=[*no_winner, *text.facts(now)],
            heads=HEADS if now.running else (),
            rows=self._rows(now),
            commands=rerun.suggestion([], [], again) if stop else [watch],
            written=f"{written:%Y-%m-%d %H:%M:%S}",
            data=LiveData(
                every=None if stop else self.every,
                written=written.isoformat(),
                at=round(written.timestamp()),
                corners=[[min(grid.almr), min(grid.lrs)], [max(grid.almr), max(grid.lrs)]],
                running=[[t.trial.almr, t.trial.lr, t.step / t.steps] for t in now.running],
            ),
            why=(stop.why or "") if stop else "",
        )

    def _rows(self, now: RunNow) -> list[list[str]]:
        return [list(text.cells(now, one)) for one in text.furthest(now)]


def _provisional(fit: Fit) -> Provisional:
    return Provisional(
        schema_version=SCHEMA_VERSION,
        trials=len(tables.usable(fit.table)),
        winner=fit.file.winner,
        alone=fit.file.alone,
        refusals=tuple(finding.code for finding in fit.file.refusals),
    )
