"""The time that a run still takes: known answers, by hand."""

from __future__ import annotations

import pytest

from sweep.verbs.live import text
from sweep.verbs.live.estimate import TimeLeft, UnderWay, Work, beside, time_left

TENS = [10.0] * 8


def seconds(work: Work) -> float:
    found = time_left(work)
    assert found is not None
    assert found.low <= found.seconds <= found.high
    return found.seconds


@pytest.mark.parametrize(
    ("waiting", "at_once", "expected"),
    [(5, 2, 30), (6, 2, 30), (4, 2, 20), (1, 2, 10), (0, 2, 0), (5, 1, 50), (7, 8, 10), (201, 2, 1010), (200, 2, 1000)],
)
def test_the_last_wave_counts_whole(waiting: int, at_once: int, expected: float) -> None:
    assert seconds(Work([], waiting, at_once, TENS)) == pytest.approx(expected)


def test_what_running_trials_have_done_is_taken_off() -> None:
    running = [UnderWay(4.0), UnderWay(9.0)]
    assert seconds(Work(running, 0, 2, TENS)) == pytest.approx(6)
    # The next trial starts on the worker that is free after 1 s, the one after it when the other is, after 6 s.
    assert seconds(Work(running, 1, 2, TENS)) == pytest.approx(11)
    assert seconds(Work(running, 2, 2, TENS)) == pytest.approx(16)


def test_evaluation_counts_since_lengths_are_those_of_whole_trials() -> None:
    trained = UnderWay(8.0, steps_left=0.0)  # its steps are done, its evaluation is not
    assert seconds(Work([trained], 0, 1, TENS)) == pytest.approx(2)
    slow = UnderWay(20.0, steps_left=7.0)  # slower than all that ended: its own steps tell
    assert seconds(Work([slow], 0, 1, TENS)) == pytest.approx(7)


def test_scores_of_finalists_come_after_the_last_trial() -> None:
    assert seconds(Work([], 2, 2, TENS, after=25.0)) == pytest.approx(35)
    unknown = time_left(Work([], 2, 2, TENS, after=None))
    assert unknown is not None
    assert unknown.at_least


def test_before_a_trial_has_ended_its_steps_tell_the_least() -> None:
    found = time_left(Work([UnderWay(3.0, 9.0), UnderWay(3.0, 9.0)], 2, 2, []))
    assert found is not None
    assert found.seconds == pytest.approx(9 + 12)
    assert found.at_least
    assert text.time_left(found).startswith("at least 21 s left")
    assert time_left(Work([UnderWay(3.0)], 2, 2, [])) is None


def test_the_range_is_narrower_the_more_trials_have_ended_and_wider_the_more_they_differ() -> None:
    def width(lengths: list[float]) -> float:
        found = time_left(Work([], 20, 2, lengths))
        assert found is not None
        return (found.high - found.low) / found.seconds

    assert width([10.0]) > width(TENS) > width([10.0] * 100) > 0.1
    assert width([5.0, 15.0] * 20) > width([10.0] * 40)
    assert time_left(Work([], 20, 2, [5.0, 15.0])) == time_left(Work([], 20, 2, [5.0, 15.0]))


def test_nine_of_ten_runs_end_inside_the_range() -> None:
    import random

    chance, inside = random.Random(5), 0
    for _ in range(200):
        lengths = [chance.uniform(6, 14) for _ in range(12)]
        found = time_left(Work([], 9, 2, lengths))
        free = [0.0, 0.0]
        for _ in range(9):
            free = sorted([free[0] + chance.uniform(6, 14), free[1]])
        assert found is not None
        inside += found.low <= max(free) <= found.high
    assert 160 <= inside <= 200  # of 180 expected


def test_what_a_worker_takes_beside_the_trials_counts() -> None:
    # Two workers; each trial is 10 s long, and its worker takes the next one 2 s later.
    ends = [(12.0 * k + 5 * worker, 10.0) for k in range(10) for worker in (0, 1)]
    assert beside(ends, 2) == pytest.approx(2.0, abs=0.3)
    assert beside(ends[:4], 2) == 0.0  # too few to tell
    assert beside([(7.0, 10.0)] * 20, 2) == 0.0  # copied together: the times say nothing
    answered = [(0.5 * number, 0.0) for number in range(20)]  # from a table, one each half second
    assert beside(answered, 4) == pytest.approx(2.0)
    paused = [*answered, (5000.0, 0.0)]
    assert beside(paused, 4) == 10.0


def test_it_is_told_in_words() -> None:
    assert text.time_left(TimeLeft(190, 160, 230)) == "about 3 min 10 s left (2 min 40 s to 3 min 50 s)"
    assert text.time_left(TimeLeft(30, 30, 30)) == "about 30 s left"
    assert text.time_left(None) == "time left: not known before a trial's first steps"


def test_a_trial_that_takes_longer_than_all_before_is_not_said_to_end_in_0_seconds() -> None:
    stuck = time_left(Work([UnderWay(1000.0)], 0, 1, TENS))
    assert text.time_left(stuck) == "about to end, or the last trials take longer than those before"
