"""`notify`: tells a webhook and a program what becomes of a run. What cannot be told is one warning."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sweep.store.run import Run
from sweep.study import InputError, Record, Status, Study, Trial
from sweep.study.numbers import point
from sweep.study.sections.notify import Event, Notify
from sweep.trials.followers.follower import End, Follower, Tell
from sweep.trials.followers.notify import facts, program, spending, webhook
from sweep.trials.followers.notify.facts import Facts
from sweep.trials.followers.notify.spending import Spending
from sweep.trials.followers.notify.stalling import Stalling


def faults(notify: Notify | None) -> list[str]:
    """One line for each way by which nobody could be told."""
    if notify is None:
        return []
    found = {"webhook": notify.webhook and webhook.fault(notify.webhook)}
    found["command"] = program.fault(notify.command) if notify.command else None
    return [f"notify.{field}: {why}" for field, why in found.items() if why]


def refuse_silent(notify: Notify | None) -> None:
    """Raises InputError where somebody is to be told, and cannot be."""
    if lines := faults(notify):
        raise InputError("\n".join(lines))


class Notifier(Follower):
    """Tells each thing once, except a stall, which may come again after progress."""

    name = "notify"

    def __init__(self, study: Study, run: Run, tell: Tell) -> None:
        assert study.notify
        self.study, self.run, self.warn, self.notify = study, run, tell, study.notify
        self.stalling, self.spending = Stalling(study, run), Spending(study, run)
        self.program = program.Program(study.notify.command)
        self.told, self.broken = set[Event](), set[str]()
        if spending.was_over(run) and self.spending.over():
            self.told.add("over_budget")  # by an earlier session, and no limit was raised since

    def training(self, on: bool) -> None:
        self.stalling.watch(on)

    def started(self, trial: Trial) -> None:
        self.stalling.started(trial)
        self.spending.started(trial)

    def ended(self, record: Record) -> None:
        self.stalling.ended(record)
        self.spending.ended(record)
        if record.status is Status.FAILED:
            where = point(record.almr, record.lr)
            words = f"has a trial that failed on every try, {where}, seed {record.seed}: {record.reason}"
            self._once("failed", words, {"reason": record.reason, "trial_id": record.trial_id})
        self.look()

    def look(self) -> None:
        if words := self.stalling.told():
            self.told.discard("stalled")
            self._once("stalled", words)
        if "over_budget" not in self.told and (words := self.spending.over()):
            self._once("over_budget", words)

    def end(self, end: End) -> None:
        self._send(facts.of_end(self.study, self.run, end))

    def leave(self) -> None:
        self.program.leave()

    def _once(self, event: Event, words: str, more: Facts | None = None) -> None:
        if event not in self.told:
            self.told.add(event)
            self._send(facts.of_event(self.study, self.run, event, words, more))

    def _send(self, found: Facts) -> None:
        if found["event"] not in self.notify.events:
            return
        for field, send in self._ways(found):
            try:
                send()
            except (webhook.WebhookError, program.ProgramError) as error:
                if field not in self.broken:
                    self.warn(f"warning: notify.{field}: {error}; the run goes on")
                self.broken.add(field)

    def _ways(self, found: Facts) -> Iterator[tuple[str, Callable[[], None]]]:
        """Each is tried for every event: a server that was down may be back."""
        variable = self.notify.webhook
        if variable:
            yield "webhook", lambda: webhook.post(variable, found["text"])
        if self.notify.command:
            yield "command", lambda: self.program.tell(found)
