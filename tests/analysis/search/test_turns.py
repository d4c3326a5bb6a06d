"""Which outcomes a proposal of a parallel search sees, in simulated time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.search.turns import LATE, Timetable

DURATIONS = st.lists(st.floats(0.1, 10), min_size=1, max_size=30)


def run(durations: list[float], at_once: int) -> tuple[Timetable, list[list[int]]]:
    table, seen = Timetable(at_once), []
    for duration in durations:
        seen.append(table.seen())
        table.start(duration)
    return table, seen


def test_one_at_a_time_each_proposal_sees_all_before_it() -> None:
    table, seen = run([1.0, 5.0, 2.0], 1)
    assert seen == [[], [0], [0, 1]]
    assert table.ends == [1.0, 6.0, 8.0]


def test_trials_of_like_durations_end_in_any_order_and_change_nothing() -> None:
    even = run([1.0] * 12, 4)[1]
    for seed in range(20):
        jittered = np.random.default_rng(seed).uniform(0.85, 1.15, 12).tolist()
        assert run(jittered, 4)[1] == even
    assert even[4:7] == [[0], [0, 1], [0, 1, 2]]


def test_no_slot_idles_for_a_slow_trial_longer_than_until_it_is_late() -> None:
    table, seen = run([1.0, 30.0, *[1.0] * 20], 4)
    assert max(table.ends[:1] + table.ends[2:]) < 10
    assert all(1 not in those for those in seen)
    assert seen[-1] == [0, *range(2, 18)]
    idle = [start - max((end for end in table.ends if end <= start), default=0.0) for start in table.starts]
    assert max(idle) <= LATE


@given(DURATIONS, st.integers(1, 9))
def test_never_more_trials_than_slots_and_nothing_is_seen_before_it_ended(durations: list[float], at_once: int) -> None:
    table, seen = run(durations, at_once)
    for k, (start, those) in enumerate(zip(table.starts, seen, strict=True)):
        assert sum(first <= start < end for first, end in zip(table.starts[:k], table.ends[:k], strict=True)) < at_once
        assert all(i <= k - at_once and table.ends[i] <= start for i in those)
    assert table.starts == sorted(table.starts)
    assert table.ends == pytest.approx([a + b for a, b in zip(table.starts, durations, strict=True)])
