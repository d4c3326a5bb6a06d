"""`almr run`: from a study to its report and launch bundle; a run that was interrupted is resumed."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.console import Console

from sweep.planning import epochs, model_shape, remembered, scoring, speed, warnings
from sweep.preflight import checks
from sweep.store.run import Run
from sweep.study import Ingredients, InputError, Record, Status, Study, Trial, study_file
from sweep.study.record import SCORING
from sweep.study.sections.grid import Search
from sweep.trials import also, same_text
from sweep.trials.also import NamedPoint
from sweep.trials.followers.follower import Tell
from sweep.trials.followers.following import Following, followed
from sweep.trials.followers.notify import notifier
from sweep.trials.progress import RunProgress
from sweep.trials.queue import GridQueue, Queue, SearchQueue
from sweep.verbs.conclusion import Finished, conclude
from sweep.verbs.live.display import Display
from sweep.verbs.live.writing import PageTeller, writing
from sweep.verbs.plan import phases
from trainers import recorded
from trainers.tracking import packages


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
    _refuse_at_once(study, run, len(named), options)
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
            if (progress.to_run or _may_grow(study, progress)) and not _over(study, run, progress):
                with _ray_ahead(study, address):
                    _train(study, run, progress, console, address, following)
            elif study.search.proposes and not run.search_state():
                _queue(study, run, progress)(1).next()  # the search has ended: this writes search.json anew
            run.freeze(study)
            _score_finished(study, run, console, address, following)
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


def grid(study: Study, run: Run, console: Console, address: str | None = None) -> None:
    """Train what is left of a study's grid, and fit nothing. Raises InputError for another recipe than the run's."""
    _refuse_without_folder(study, run)
    recorded.refuse_unusable(study)
    run.refuse_other_recipe(study)
    with run.locked():
        run.mend()
        progress = RunProgress.of(study, run)
        console.print(f"{study.name}: {progress.text}, in {run.address}", soft_wrap=True)
        if progress.to_run:
            with _ray_ahead(study, address):
                _train(study, run, progress, console, address, Following([], _telling(console)), page=False)
        run.freeze(study)
        run.refresh()
        _print_ended(study, RunProgress.of(study, run), run, console)


def _take_over(study: Study, run: Run, console: Console, options: RunOptions) -> None:
    """Keep the trials of a text whose files changed, where the user states that it is the same.

    Raises InputError where the base model's loss shows another text.
    """
    made = _prepared(study, run, console, same_text.state(study, run, options.same_text or ""))
    if not same_text.changed(study, run, made):
        console.print("--same-text: neither text nor study changed: nothing is stated")
        return
    made = same_text.checked(study, run, _measured(study, run, console, made, options.address))
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


def _may_grow(study: Study, progress: RunProgress) -> bool:
    """Whether a finished grid may be extended beyond its edges; the records decide whether it is."""
    return study.search.bounds is not None and progress.own < (study.search.trials or 0)


def _over(study: Study, run: Run, progress: RunProgress) -> bool:
    """Whether the records alone show that nothing is left to run, so that Ray need not start. Writes nothing."""
    state = run.search_state()
    if progress.left or (study.search.proposes and not (progress.ended and state)):
        return False
    at_once = state.at_once if state and study.search.proposes else 1
    return _queue(study, run, progress)(at_once).finished()


def _refuse_at_once(study: Study, run: Run, also: int, options: RunOptions) -> None:
    """Raises InputError for what can be known before anything is written. `also`: trials that the user named."""
    if fault := warnings.too_small(study, also):
        raise InputError(f"study {study.name}: {fault}")
    _refuse_without_folder(study, run)
    if fault := study_file.own_rung(study, run.folder):
        raise InputError(fault)
    recorded.refuse_unusable(study)
    notifier.refuse_silent(study.notify)
    if not options.address:
        scoring.refuse_without_sandbox(study)
    epochs.refuse_early(study, made.corpora if (made := run.ingredients()) else {})


def _refuse_without_folder(study: Study, run: Run) -> None:
    """Raises InputError where the study needs a run on a file system, and this one is on an object store."""
    if faults := checks.needs_a_folder(study, run.mirror is not None):
        raise InputError("\n".join(f"{run.address}: {fault}" for fault in faults))


def _telling(console: Console) -> Tell:
    """Prints a line of a follower, while other lines are drawn too."""
    return lambda text: console.print(text, markup=False, soft_wrap=True)


def _ray_ahead(study: Study, address: str | None) -> contextlib.AbstractContextManager[None]:
    """Ray starts on this machine while the study is prepared."""
    from sweep import controller

    return contextlib.nullcontext() if study.replay else controller.ahead(address)


def _train(
    study: Study,
    run: Run,
    progress: RunProgress,
    console: Console,
    address: str | None,
    following: Following,
    page: bool = True,
) -> None:
    """`page`: whether the run has one while its trials run."""
    if not study.replay:
        from sweep.external import outlook

        packages.refuse_missing(study.tracking)
        outlook.refuse_missing(study)
        _prepare(study, run, console)
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
        run.keep_ingredients(_measured(study, run, console, made, address))
    with writing(run, console) if page else contextlib.nullcontext(PageTeller(None)) as told:
        display = Display(console, study, run, progress, told.tell)

        def watch(trial: Trial, record: Record | None) -> None:
            if record:
                display.ended(record)
                following.ended(record)
            else:
                display.started(trial)
                following.started(trial)

        threading.Thread(target=_import_ahead, args=(study,), name="almr-imports", daemon=True).start()
        with display.live(), following.training():
            controller.run_trials(study, run, _queue(study, run, progress), watch, address)


def _import_ahead(study: Study) -> None:
    """What is imported for the first proposal and after the last trial, while Ray starts and a core is idle."""
    with contextlib.suppress(Exception):  # whoever needs them imports them again, and says what is wrong
        if study.search.proposes:
            import analysis.search.ask  # noqa: F401
        from sweep.verbs import fitting, outputs  # noqa: F401


def _measured(study: Study, run: Run, console: Console, made: Ingredients, address: str | None) -> Ingredients:
    """With the base model's loss, where the preparation left it to a GPU. Raises InputError for a broken one."""
    from sweep.controller import base_model

    if base_model.is_needed(study, made):
        with console.status("measuring the base model on a GPU"):
            made = base_model.measure(study, run, made, address)
        for line in phases.base_model_lines(study, made.base_check):
            console.print(line, markup=False, soft_wrap=True)
    return made


def _score_finished(study: Study, run: Run, console: Console, address: str | None, following: Following) -> None:
    """Score the finalists, and the trials that finished before the study named a benchmark; their losses stay."""
    trials = scoring.unscored(study, run, RunProgress.of(study, run).trials) if study.benchmarks else []
    if not trials:
        return
    console.print(f"scoring {len(trials)} finished trials, from saved models or by training again", soft_wrap=True)
    _prepare(study, run, console)
    run.stage_code()
    from sweep import controller

    def watch(trial: Trial, record: Record | None) -> None:
        if record:
            following.ended(record)
            lost = record.score_failures.get(SCORING)
            line = f"not scored: {trial.id}: {lost}" if lost else f"scored: {trial.id}"
            console.print(line, markup=False, soft_wrap=True)

    plain = study.model_copy(update={"search": Search()})
    with writing(run, console):
        controller.run_trials(study, run, lambda at_once: GridQueue(plain, run, trials, at_once), watch, address)


def _expected_gpu_hours(study: Study, run: Run) -> float | None:
    """Of a trial, by the plan's estimate; None where nothing tells it, or no budget needs it."""
    made = run.ingredients()
    if not study.search.gpu_hours or study.replay:
        return None
    shape = model_shape.find(study.base_model, made.base_model if made else None).shape
    found = speed.of(study, study.trained_tokens, (), shape)
    return found.seconds * study.resources.gpus / 3600 if found else None


def _queue(study: Study, run: Run, progress: RunProgress) -> Callable[[int], Queue]:
    if study.search.proposes:
        expected = _expected_gpu_hours(study, run)
        return lambda at_once: SearchQueue(study, run, at_once, expected)
    return lambda at_once: GridQueue(study, run, progress.left, at_once)


def _prepare(study: Study, run: Run, console: Console) -> None:
    run.keep_ingredients(_prepared(study, run, console, run.ingredients()))


def _looked_for(study: Study, console: Console, earlier: Ingredients | None) -> Ingredients:
    own = remembered.own_stamps(study)
    with phases.shown(console) as progress:
        from trainers import prepare

        made = prepare.prepare(study, progress, earlier)
    remembered.keep(study, made, own)
    return made


def _prepared(study: Study, run: Run, console: Console, earlier: Ingredients | None) -> Ingredients:
    for line in phases.preparation_lines(study):
        console.print(line, markup=False, soft_wrap=True)
    made = epochs.with_trial_blocks(study, remembered.read(study, earlier) or _looked_for(study, console, earlier))
    for line in phases.base_model_lines(study, made.base_check):
        console.print(line, markup=False, soft_wrap=True)
    phases.print_unscored(study, console)
    return made
