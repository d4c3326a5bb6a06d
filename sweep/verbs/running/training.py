"""The trials of a run on Ray: what is left of a grid or a search, and scores that finished trials lack."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

from rich.console import Console

from sweep.planning import model_shape, scoring, speed
from sweep.store.run import Run
from sweep.study import Record, Study, Trial
from sweep.study.record import SCORING
from sweep.study.sections.grid import Search
from sweep.trials.followers.following import Following
from sweep.trials.progress import RunProgress
from sweep.trials.queue import GridQueue, Queue, SearchQueue
from sweep.verbs.live.display import Display
from sweep.verbs.live.writing import PageTeller, writing
from sweep.verbs.running import preparing
from trainers.preference import requirements
from trainers.tracking import packages
from trainers.workers.importing import without_collection


def train(
    study: Study,
    run: Run,
    progress: RunProgress,
    console: Console,
    address: str | None,
    following: Following,
    page: bool = True,
) -> None:
    """Prepare, check and run what is left. `page`: whether the run has a page while its trials run."""
    if not study.replay:
        from sweep.external import outlook

        packages.refuse_missing(study.tracking)
        requirements.refuse(study)
        outlook.refuse_missing(study)
        preparing.prepare(study, run, console)
        if made := run.ingredients():
            outlook.refuse_unwritable(study, made)
    run.stage_code()
    from sweep import controller  # first: it sets variables that Ray reads when it is imported
    from sweep.preflight import preflight

    if address:
        with console.status("checking the cluster"):
            preflight.refuse_unready(study, run, address)
    run.freeze(study)
    if made := run.ingredients():  # before any trial starts
        run.keep_ingredients(preparing.measured(study, run, console, made, address))
    with writing(run, console) if page else contextlib.nullcontext(PageTeller(None)) as told:
        display = Display(console, study, run, progress, told.tell)

        def watch(trial: Trial, record: Record | None) -> None:
            display.watch(trial, record)
            following.watch(trial, record)

        threading.Thread(target=_import_ahead, args=(study,), name="almr-imports", daemon=True).start()
        with display.live(), following.training():
            controller.run_trials(study, run, queue(study, run, progress), watch, address)


def ray_ahead(study: Study, address: str | None) -> contextlib.AbstractContextManager[None]:
    """Ray starts on this machine while the study is prepared."""
    from sweep import controller

    return contextlib.nullcontext() if study.replay else controller.ahead(address)


def _import_ahead(study: Study) -> None:
    """What is imported for the first proposal and after the last trial, while Ray starts and a core is idle."""
    with contextlib.suppress(Exception), without_collection():  # who needs them imports again, and says what is wrong
        if study.search.proposes:
            import analysis.search.ask  # noqa: F401
        from sweep.verbs.results import fitting, outputs  # noqa: F401


def score_finished(study: Study, run: Run, console: Console, address: str | None, following: Following) -> None:
    """Score the finalists, and the trials that finished before the study named a benchmark; their losses stay."""
    trials = scoring.unscored(study, run, RunProgress.of(study, run).trials) if study.benchmarks else []
    if not trials:
        return
    console.print(f"scoring {len(trials)} finished trials, from saved models or by training again", soft_wrap=True)
    preparing.prepare(study, run, console)
    run.stage_code()
    from sweep import controller

    def watch(trial: Trial, record: Record | None) -> None:
        if record:
            following.watch(trial, record)
            lost = record.score_failures.get(SCORING)
            line = f"not scored: {trial.id}: {lost}" if lost else f"scored: {trial.id}"
            console.print(line, markup=False, soft_wrap=True)

    plain = study.model_copy(update={"search": Search()})
    with writing(run, console):
        controller.run_trials(study, run, lambda at_once: GridQueue(plain, run, trials, at_once), watch, address)


def may_grow(study: Study, progress: RunProgress) -> bool:
    """Whether a finished grid may be extended beyond its edges; the records decide whether it is."""
    return study.search.bounds is not None and progress.own < (study.search.trials or 0)


def over(study: Study, run: Run, progress: RunProgress) -> bool:
    """Whether the records alone show that nothing is left to run, so that Ray need not start. Writes nothing."""
    state = run.search_state()
    if progress.left or (study.search.proposes and not (progress.ended and state)):
        return False
    at_once = state.at_once if state and study.search.proposes else 1
    return queue(study, run, progress)(at_once).finished()


def queue(study: Study, run: Run, progress: RunProgress) -> Callable[[int], Queue]:
    """The queue of what is left, for a number of trials at once."""
    if study.search.proposes:
        expected = _expected_gpu_hours(study, run)
        return lambda at_once: SearchQueue(study, run, at_once, expected)
    return lambda at_once: GridQueue(study, run, progress.left, at_once)


def _expected_gpu_hours(study: Study, run: Run) -> float | None:
    """Of a trial, by the plan's estimate; None where nothing tells it, or no budget needs it."""
    made = run.ingredients()
    if not study.search.gpu_hours or study.replay:
        return None
    shape = model_shape.find(study.base_model, made.base_model if made else None).shape
    found = speed.of(study, study.trained_tokens, (), shape)
    return found.seconds * study.resources.gpus / 3600 if found else None
