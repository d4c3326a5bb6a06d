"""One cause that fails many trials stops the sweep; divergence, results between failures, and other causes do not."""

from __future__ import annotations

from pathlib import Path

import pytest
from samples import make_study

from sweep.store.run import Run
from sweep.study import Record, Status, Study, Trial
from sweep.trials.queue import GridQueue, Queue, SearchQueue, Turn

GRID = {"almr": [0.1, 0.5, 0.9], "lr": [1e-5, 1e-4, 1e-3]}
FULL = "OSError: [Errno 28] No space left on device: /scratch/{:08x}/{}"


def outcome(run: Run, study: Study, trial: Trial, status: str, reason: str | None = None) -> None:
    attempt = run.start(trial, study)
    record = Record(
        **trial.model_dump(),
        trial_id=trial.id,
        fingerprint=study.fingerprint,
        status=Status(status),
        attempt=attempt,
        reason=reason,
    )
    run.finish(record)


def go(study: Study, run: Run, outcomes: list[tuple[str, str | None]], at_once: int = 1) -> tuple[Queue, list[Trial]]:
    """Give each trial its outcome in turn, the last one to all others, until the queue is done."""
    run.freeze(study)
    queue: Queue = (
        SearchQueue(study, run, at_once)
        if study.search.proposes
        else GridQueue(study, run, run.left(study.grid_trials), at_once)
    )
    given: list[Trial] = []
    while (turn := queue.next()) is not Turn.DONE:
        assert isinstance(turn, Trial)
        status, reason = outcomes[min(len(given), len(outcomes) - 1)]
        given.append(turn)
        queue.ended(turn)  # Tune tells the searcher first
        outcome(run, study, turn, status, reason and reason.format(len(given), len(given)))
    return queue, given


@pytest.mark.parametrize("search", [{}, {"strategy": "random", "trials": 9}])
def test_five_failures_of_one_cause_stop_it_and_the_next_run_begins_with_the_others(
    tmp_path: Path, search: dict[str, object]
) -> None:
    study, run = make_study(grid=GRID, search=search), Run(tmp_path / "run")
    queue, given = go(study, run, [("failed", FULL)])
    assert len(given) == 5
    assert queue.fault
    assert queue.fault.startswith(f"{run.address}: stopped with 9 trials left: the last 5 failed on every try, all of")
    assert "No space left on device" in queue.fault
    assert str(run.log(given[-1])) in queue.fault
    assert len(queue.fault) < 300 + 2 * len(run.address)
    again, more = go(study, run, [("complete", None)])
    assert again.fault is None
    assert {*more} == {*more} | {*given}
    assert len(more) == 9
    if not search:
        assert more[4:] == given, "what failed comes last"


@pytest.mark.parametrize(
    "outcomes",
    [
        [("diverged", "the held-out loss is not finite at step 3")],
        [("failed", FULL), ("failed", FULL), ("failed", FULL), ("failed", FULL), ("complete", None), ("failed", FULL)],
        [("failed", reason) for reason in ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine")],
    ],
)
def test_data_results_between_failures_and_several_causes_stop_nothing(
    tmp_path: Path, outcomes: list[tuple[str, str | None]]
) -> None:
    study, run = make_study(grid=GRID), Run(tmp_path / "run")
    queue, given = go(study, run, outcomes)
    assert len(given) == 9
    assert queue.fault is None


def test_as_many_have_to_fail_as_run_in_parallel(tmp_path: Path) -> None:
    study, run = make_study(grid=GRID), Run(tmp_path / "run")
    assert len(go(study, run, [("failed", FULL)], at_once=7)[1]) == 7


def test_trials_that_failed_in_an_earlier_session_and_fail_again_stop_nothing(tmp_path: Path) -> None:
    study, run = make_study(grid=GRID), Run(tmp_path / "run")
    go(study, run, [("complete", None)] * 3 + [("failed", "one"), ("failed", "two"), ("failed", FULL)])
    queue, given = go(study, run, [("failed", FULL)])
    assert len(given) == 6
    assert queue.fault is None
