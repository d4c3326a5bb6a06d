"""What a notification says: a sentence for people, and the same as fields for a program."""

from __future__ import annotations

import socket
from datetime import UTC, datetime
from typing import Any

from sweep.store.run import Run
from sweep.study import Status, Study
from sweep.study.errors import visible, without_secrets
from sweep.study.numbers import count, finite
from sweep.study.sections.notify import Event
from sweep.trials.followers import result
from sweep.trials.followers.follower import End
from sweep.trials.progress import RunProgress

MOST = 600  # letters of the sentence
Facts = dict[str, Any]


def of_end(study: Study, run: Run, end: End) -> Facts:
    """At the end of a session."""
    page = run.shown(run.files.report) if end.fitted and run.files.report.is_file() else None
    done, why = _counted(study, run), end.why.removeprefix(f"{study.name}: ").removeprefix(f"{run.address}: ")
    trials = f"{count(done['complete'], 'trial')} complete" + "".join(
        f", {done[name]} {name}" for name in ("diverged", "failed") if done[name]
    )
    words = {
        "finished": f"{end.word}: {result.winner(end.fitted)}; {trials}" if end.fitted else f"has ended: {trials}",
        "refused": f"REFUSED: {why}; {trials}",
        "failed": f"stopped by an error: {why}; {trials}",
        "interrupted": f"interrupted; {trials}, {done['left']} left; almr run resumes it",
    }
    more = {"report": page, "result": finite(result.facts(end)) or None, "reason": end.why or None}
    return _facts(study, run, end.event, words[end.event] + (f". Report: {page}" if page else ""), done, more)


def of_event(study: Study, run: Run, event: Event, words: str, more: Facts | None = None) -> Facts:
    """While trials run."""
    return _facts(study, run, event, words, _counted(study, run), more or {})


def _facts(study: Study, run: Run, event: Event, words: str, trials: dict[str, int], more: Facts) -> Facts:
    text = visible(without_secrets(f"{study.name} {words}"))
    return {
        "event": event,
        "study": study.name,
        "run": run.address,
        "text": text if len(text) <= MOST else f"{text[:MOST]}...",
        "host": socket.gethostname(),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "trials": trials,
        **more,
    }


def _counted(study: Study, run: Run) -> dict[str, int]:
    progress = RunProgress.of(study, run)
    of = {status.value: sum(one.status is status for one in progress.records) for status in Status}
    return {**of, "left": progress.remaining}
