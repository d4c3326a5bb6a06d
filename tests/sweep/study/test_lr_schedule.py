"""The LR at each step: known values, what holds for every schedule, and which schedules are refused."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from sweep.study.sections.recipe.lr_schedule import LrSchedule
from sweep.study.sections.recipe.training import Schedule, Training

SHARES = st.floats(0, 1, allow_nan=False)
SCHEDULES = st.builds(dict, name=st.sampled_from(["cosine", "wsd"]), warmup=SHARES, decay=SHARES, min_lr=SHARES)


def lrs(made: LrSchedule) -> list[float]:
    return [made.share(step) for step in range(made.steps)]


def test_cosine_known_values() -> None:
    found = lrs(Schedule(warmup=0.3, min_lr=0.2).over(10))
    down = [0.2 + 0.4 * (1 + math.cos(math.pi * n / 6)) for n in range(7)]
    assert found == pytest.approx([0.25, 0.5, 0.75, *down], rel=1e-15)
    assert (found[3], found[-1]) == (1, 0.2)


def test_wsd_known_values() -> None:
    found = lrs(Schedule(name="wsd", warmup=0.1, decay=0.4, min_lr=0).over(10))
    assert found == pytest.approx([0.5, 1, 1, 1, 1, 1, 0.5 + math.sqrt(0.125), 0.5, 0.5 - math.sqrt(0.125), 0])
    assert found[-1] == 0


def test_without_a_warm_up_the_first_step_has_the_peak() -> None:
    assert lrs(Schedule(warmup=0, min_lr=0.1).over(3)) == [1, pytest.approx(0.55), 0.1]


def test_a_constant_lr_is_warmed_up_too() -> None:
    assert lrs(Schedule(name="wsd", warmup=0.2, decay=0, min_lr=1).over(5)) == [0.5, 1, 1, 1, 1]


@pytest.mark.parametrize("tokens", [20, 40, 80])
def test_every_horizon_ends_at_the_minimum(tokens: int) -> None:
    """The horizons of 20, 40 and 80 steps ended at 0.232, 0.134 and 0.109 of the peak."""
    content = {"sequence_length": 2, "tokens": 160, "horizons": [20, 40, 80], "global_batch_tokens": 2}
    training = Training.model_validate(content | {"schedule": {"name": "wsd", "warmup": 0.05, "min_lr": 0.1}})
    steps = training.steps_of(tokens)
    made = training.lr_schedule(steps)
    assert made.share(steps - 1) == 0.1
    assert (made.warmup, made.decay) == (training.warmup_steps, round(0.2 * steps))
    branch = training.decay_from(steps)
    full = training.lr_schedule(training.steps)
    assert [made.share(step) for step in range(branch)] == [full.share(step) for step in range(branch)]
    assert made.share(branch) < 1


@given(SCHEDULES, st.integers(1, 300))
@example({"name": "wsd", "warmup": 0.5, "decay": 0.5, "min_lr": 0.0}, 10)
@example({"name": "cosine", "warmup": 0.0, "decay": 0.0, "min_lr": 0.0}, 2)
@example({"name": "wsd", "warmup": 0.0, "decay": 0.0, "min_lr": 1.0}, 1)
def test_a_schedule_learns_reaches_its_peak_and_ends_at_its_minimum(given: dict[str, Any], steps: int) -> None:
    assume(given["name"] == "cosine" or given["warmup"] + given["decay"] <= 1)
    schedule = Schedule(**given)
    assume(schedule.fault(steps) is None)
    made = schedule.over(steps)
    values, stop = lrs(made), made.peak.stop
    assert values[-1] == schedule.min_lr
    assert values[0] > 0
    assert max(values) == 1 == values[made.warmup]
    assert values[: made.warmup + 1] == sorted(set(values[: made.warmup + 1]))  # each step is above the one before
    assert set(values[made.warmup : stop]) == {1.0}
    assert values[stop:] == sorted(values[stop:], reverse=True)
    assert all(value < 1 for value in values[stop : None if schedule.min_lr < 1 - 1e-9 else stop])


@given(SCHEDULES, st.integers(1, 300))
def test_a_refused_schedule_has_no_peak_or_does_not_end_at_its_minimum(given: dict[str, Any], steps: int) -> None:
    assume(given["name"] == "cosine" or given["warmup"] + given["decay"] <= 1)
    schedule = Schedule(**given)
    fault = schedule.fault(steps)
    assume(fault is not None)
    made = schedule.over(steps)
    assert not made.peak or made.share(steps - 1) != schedule.min_lr
    assert str(fault).startswith("schedule")


@pytest.mark.parametrize(
    ("schedule", "steps", "says"),
    [
        ({"warmup": 1}, 10, "schedule.warmup 1 takes all of 10 steps, so none has the peak LR: lower it"),
        ({"warmup": 0.96}, 10, "schedule.warmup 0.96 takes all of 10 steps"),
        ({"warmup": 0.9}, 10, "schedule.warmup 0.9 leaves none of 10 steps to decay to min_lr 0.1: lower it"),
        ({"warmup": 0}, 1, "schedule: one step cannot have both the peak LR and min_lr 0.1: give the run more tokens"),
        ({"warmup": 0, "min_lr": 0}, 1, "schedule: one step cannot have both the peak LR and min_lr 0"),
        ({"name": "wsd", "decay": 0}, 10, "schedule.decay 0 lets none of 10 steps decay, so the LR never falls to"),
        ({"name": "wsd", "decay": 0.01}, 10, "raise it, or write min_lr: 1 for a constant LR"),
        ({"name": "wsd", "warmup": 0.9, "decay": 0.1}, 10, "schedule.warmup 0.9 leaves none of 10 steps to decay"),
    ],
)
def test_a_schedule_without_a_learning_step_is_refused(schedule: dict[str, Any], steps: int, says: str) -> None:
    content = {"sequence_length": 2, "tokens": 2 * steps, "global_batch_tokens": 2, "schedule": schedule}
    with pytest.raises(ValidationError) as error:
        Training.model_validate(content)
    [found] = error.value.errors()
    assert says in found["msg"]
    assert "\n" not in found["msg"]


def test_a_horizon_that_never_decays_is_refused() -> None:
    content = {"sequence_length": 2, "tokens": 160, "horizons": 4, "global_batch_tokens": 2}
    with pytest.raises(
        ValidationError, match=r"horizons: 4 cannot be measured: schedule.decay 0.2 lets none of 2 steps decay"
    ):
        Training.model_validate(content | {"schedule": {"name": "wsd", "warmup": 0.01}})
