"""Tells others of a run while it goes on: trackers, an Optuna storage, whoever wants to be notified.

They work in one thread of the driver, one after the other, so that a slow server delays no trial. What one of them
raises is a warning, and it is left out from then on: it never fails the run.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sweep.study import Record, Trial
from sweep.study.errors import one_line, without_secrets
from sweep.study.sections.notify import Event

if TYPE_CHECKING:
    from analysis.fit_file.result import FitResult

LOOK_SECONDS = 2.0  # between looks at what no event tells of
LAST_SECONDS = 180.0  # that the end of a run waits for them
INTERRUPTED_SECONDS = 20.0  # likewise where it was told to end: what told it may kill it soon
Tell = Callable[[str], None]


@dataclass(frozen=True)
class End:
    """How a session of a run ended. `why`: of an error or a refusal. `fitted` is None where nothing was fitted, `word`
    is the verdict of the page.
    """

    event: Event
    why: str = ""
    word: str = ""
    fitted: FitResult | None = None


class Follower:
    """What is told of a run. `name` is the field of the study that asks for it."""

    name = ""

    def open(self) -> None:
        """Before the first trial starts."""

    def training(self, on: bool) -> None:
        """Trials are about to run, or none will any more."""

    def started(self, trial: Trial) -> None:
        """An attempt at a trial has started."""

    def ended(self, record: Record) -> None:
        """A trial has its record."""

    def look(self) -> None:
        """From time to time."""

    def end(self, end: End) -> None:
        """The session is over."""

    def leave(self) -> None:
        """No time is left, in another thread: end what it has started."""


class Followers:
    """Passes each event on to all of them, in the order in which it happened. `tell` prints a warning."""

    def __init__(self, of: Sequence[Follower], tell: Tell) -> None:
        self.followers, self.tell = list(of), tell
        self.events = queue.SimpleQueue[Callable[[Follower], None] | None]()
        self.thread = threading.Thread(target=self._work, name="almr-followers", daemon=True)

    def watch(self, trial: Trial, record: Record | None) -> None:
        """A trial has started, or ended with its record."""
        self._pass_on((lambda one: one.ended(record)) if record else (lambda one: one.started(trial)))

    @contextlib.contextmanager
    def training(self) -> Iterator[None]:
        """While the block runs, trials are run."""
        self._pass_on(lambda one: one.training(True))
        try:
            yield
        finally:
            self._pass_on(lambda one: one.training(False))

    def open(self) -> None:
        """Open all before trials start, which may need what they make; then follow."""
        self._each(lambda one: one.open())
        if self.followers:
            self.thread.start()

    def close(self, end: End) -> None:
        """Pass on how the session ended, and wait for all that is left to do, within limits."""
        self._pass_on(lambda one: one.end(end))
        self.events.put(None)
        if self.followers and self.thread.is_alive():
            self.thread.join(INTERRUPTED_SECONDS if end.event == "interrupted" else LAST_SECONDS)
            if self.thread.is_alive():
                for one in self.followers:
                    one.leave()
                self.tell(f"warning: {', '.join(one.name for one in self.followers)}: not done in time: left as it is")

    def _pass_on(self, event: Callable[[Follower], None]) -> None:
        if self.followers:  # else nobody takes it, and each event holds its record
            self.events.put(event)

    def _work(self) -> None:
        looked = time.monotonic()
        while self.followers:
            with contextlib.suppress(queue.Empty):
                if (event := self.events.get(timeout=LOOK_SECONDS)) is None:
                    return
                self._each(event)
            if time.monotonic() - looked >= LOOK_SECONDS:
                self._each(lambda one: one.look())
                looked = time.monotonic()

    def _each(self, act: Callable[[Follower], None]) -> None:
        for one in list(self.followers):
            try:
                act(one)
            except Exception as error:  # a network, a full disk, a database that is locked
                why = f"{type(error).__name__}: {without_secrets(one_line(error))}"
                self.tell(f"warning: {one.name}: {why}; the run goes on without it")
                self.followers.remove(one)
