"""`almr run`: from a study to its report and launch bundle; a run that was interrupted is resumed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from rich.console import Console

from sweep.store.run import Run
from sweep.study import Record, Status, Study
from sweep.trials import also, same_text
from sweep.trials.also import NamedPoint
from sweep.trials.followers.follower import Tell
from sweep.trials.followers.following import Following, followed
from sweep.trials.followers.notify import notifier
from sweep.trials.progress import RunProgress
from sweep.verbs.results.conclusion import Finished, conclude
from sweep.verbs.running import preparing, refusals, training
from trainers.trials import recorded


@dataclass(frozen=True)
class RunOptions:
    """How a study is run. `address`: a Ray cluster's; None means this machine. `points`: trials that the user names
    beside the study's own. `same_text`: why a text whose files changed is the same.
    """

    address: str | None = None
    points: Sequence[NamedPoint] = ()
    same_text: str | None = None


def run(study: Study, run: Run, console: Console, options: RunOptions = RunOptions()) -> Finished:
    """Train what is left; score, fit, report and export.

    Raises InputError for a study whose recipe is not the run's, and where too few trials finished for a fit.
    """
    began, address, points = time.monotonic(), options.address, options.points
    named = [request.trial for request in run.proposals(study) if request.also]
    named += also.find(study, run, points).new if points else []
    refusals.at_once(study, run, len(named), address)
    run.refuse_other_recipe(study, same_text=options.same_text is not None)
    with run.locked():
        run.mend()
        with followed(study, run, _telling(console)) as following:
            if options.same_text is not None:
                _take_over(study, run, console, options)
            if study.replay and study.launch:
                run.keep_ingredients(recorded.ingredients(study))
            _add(study, run, points, console)
            progress = RunProgress.of(study, run)
            console.print(f"{study.name}: {progress.text}, in {run.address}", soft_wrap=True)
            if (progress.to_run or training.may_grow(study, progress)) and not training.over(study, run, progress):
                with training.ray_ahead(study, address):
                    training.train(study, run, progress, console, address, following)
            elif study.search.proposes and not run.search_state():
                training.queue(study, run, progress)(1).next()  # the search has ended: this writes search.json anew
            run.freeze(study)
            training.score_finished(study, run, console, address, following)
            run.remove(run.files.live)  # of a session that was killed too
            run.refresh()  # files that workers put on an object store beside their records
            records = _print_ended(study, RunProgress.of(study, run), run, console)
            results = conclude(study, run, console)
            following.concluded(results.fit, results.word)
    return Finished(
        run=run,
        results=results,
        failed=sum(record.status is Status.FAILED for record in records),
        seconds=time.monotonic() - began,
        trial_seconds=sum(record.seconds or 0 for record in records),
        gpu_hours=sum(record.gpu_hours or 0 for record in records),
    )


def grid(study: Study, run: Run, console: Console, address: str | None = None, follow: bool = False) -> None:
    """Train what is left of a study's grid, and fit nothing. `follow`: tell whom the study names, where any is left.

    Raises InputError for another recipe than the run's.
    """
    refusals.without_folder(study, run)
    if follow:
        notifier.refuse_silent(study.notify)
    recorded.refuse_unusable(study)
    run.refuse_foreign()
    run.refuse_other_recipe(study)
    with run.locked():
        run.mend()
        progress = RunProgress.of(study, run)
        console.print(f"{study.name}: {progress.text}, in {run.address}", soft_wrap=True)
        if progress.to_run:
            nobody = nullcontext(Following([], _telling(console)))
            told: AbstractContextManager[Following] = followed(study, run, _telling(console)) if follow else nobody
            with told as following, training.ray_ahead(study, address):
                training.train(study, run, progress, console, address, following, page=False)
        run.freeze(study)
        run.refresh()
        _print_ended(study, RunProgress.of(study, run), run, console)


def _take_over(study: Study, run: Run, console: Console, options: RunOptions) -> None:
    """Keep the trials of a text whose files changed, where the user states that it is the same.

    Raises InputError where the base model's loss shows another text.
    """
    made = preparing.prepared(study, run, console, same_text.state(study, run, options.same_text or ""))
    if not same_text.changed(study, run, made):
        console.print("--same-text: neither text nor study changed: nothing is stated")
        return
    made = same_text.checked(study, run, preparing.measured(study, run, console, made, options.address))
    for line in same_text.lines(study, made):
        console.print(line, markup=False, soft_wrap=True)
    run.keep_ingredients(made)
    run.freeze(study)


def _add(study: Study, run: Run, points: Sequence[NamedPoint], console: Console) -> None:
    """Keep the user's points in the run, with its study, and say what they add."""
    if not points:
        return
    named = also.find(study, run, points)
    recorded.refuse_unknown(study, named.new)
    run.freeze(study)
    also.add(study, run, named.new)
    for note in named.notes:
        console.print(note, markup=False, soft_wrap=True)


def _print_ended(study: Study, progress: RunProgress, run: Run, console: Console) -> list[Record]:
    """Say why a search ended early, and which trials failed; returns all records."""
    if progress.ended:
        most = f" of {study.search.trials}" if study.search.trials else ""
        tried = f"{progress.own}{most} trials"
        console.print(f"search ended after {tried}: {progress.ended}", soft_wrap=True)
    for record in progress.records:
        if record.status is Status.FAILED:
            log = run.shown(run.log(record.trial))
            console.print(f"failed: {record.trial_id}: {record.reason} ({log})", markup=False, soft_wrap=True)
    return progress.records


def _telling(console: Console) -> Tell:
    """Prints a line of a follower, while other lines are drawn too."""
    return lambda text: console.print(text, markup=False, soft_wrap=True)
