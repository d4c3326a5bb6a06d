"""The LRs of each format's arguments, step by step, against the trials' schedule: by the trainers' own rules."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path
from runpy import run_path
from typing import NamedTuple

import pytest
import torch
from hypothesis import assume, example, given
from hypothesis import strategies as st
from transformers import get_scheduler

from analysis.launch.bundle import write
from analysis.launch.formats import megatron, trainer_arguments
from analysis.launch.plan.schedule import ALL, difference, probe_steps, taken
from sweep.external.read_back.verify import differences, expected, question
from sweep.study.sections.recipe.lr_schedule import LrSchedule
from sweep.study.sections.recipe.training import Schedule

LR = 2e-5
EXACT = {"rel": 1e-12, "abs": 1e-15}


class Planned(NamedTuple):
    """What the formats' schedules read of a plan."""

    schedule: LrSchedule
    lr: float = LR

    @property
    def steps(self) -> int:
        return self.schedule.steps

    @property
    def min_lr(self) -> float:
        return self.schedule.min_lr * self.lr

    @property
    def launch(self) -> Planned:
        return self

    @property
    def batch_sequences(self) -> int:
        return 512


@st.composite
def schedules(draw: st.DrawFn) -> LrSchedule:
    warmup, decay = draw(st.floats(0, 1)), draw(st.floats(0, 1))
    name, min_lr = draw(st.sampled_from(["cosine", "wsd"])), draw(st.sampled_from([0.0, 0.02, 0.1, 0.7, 1.0]))
    assume(name == "cosine" or warmup + decay <= 1)
    schedule, steps = Schedule(name=name, warmup=warmup, decay=decay, min_lr=min_lr), draw(st.integers(1, 200))
    assume(schedule.fault(steps) is None)
    return schedule.over(steps)


def lrs(schedule: LrSchedule) -> list[float]:
    return [LR * schedule.share(step) for step in range(schedule.steps)]


@pytest.mark.filterwarnings("ignore:Both num_training_steps and num_stable_steps")
@pytest.mark.parametrize("name", ["llamafactory", "axolotl"])
@given(wanted=schedules())
@example(LrSchedule(10, 1, 3, 0.1))
@example(LrSchedule(10, 1, 8, 0.1))
@example(LrSchedule(10, 0, 9, 0.0))
@example(LrSchedule(1, 0, 0, 1.0))
@example(LrSchedule(10, 9, 0, 1.0))
def test_transformers_takes_the_stated_schedule(name: str, wanted: LrSchedule) -> None:
    found = trainer_arguments.learning_rate(Planned(wanted), "name")
    assert found["warmup_steps"] != 1  # axolotl makes two of it
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=found["learning_rate"])
    made = get_scheduler(found["name"], optimizer, found["warmup_steps"], wanted.steps, found["lr_scheduler_kwargs"])
    values = [LR * made.lr_lambdas[0](step) for step in range(wanted.steps)]
    assert values == pytest.approx(lrs(taken(wanted, name)), **EXACT)
    assert values[wanted.warmup :] == pytest.approx(lrs(wanted)[wanted.warmup :], **EXACT)
    gap = max(abs(value - right) for value, right in zip(values, lrs(wanted), strict=True)) / LR
    assert gap == pytest.approx(abs(taken(wanted, name).begin - wanted.begin) if wanted.warmup else 0, abs=1e-12)
    assert (difference(wanted, name, "it") is None) == (gap < 1e-12)


@given(wanted=schedules())
@example(LrSchedule(10, 0, 9, 0.0))
@example(LrSchedule(1, 0, 0, 1.0))
@example(LrSchedule(10, 9, 0, 1.0))
def test_megatron_takes_the_trials_schedule(wanted: LrSchedule) -> None:
    given = dict(megatron._learning_rate(Planned(wanted)))
    values = [megatron_lr(given, step * 512) for step in range(wanted.steps)]
    assert values == pytest.approx(lrs(wanted), **EXACT)


def megatron_lr(given: dict[str, object], samples: int) -> float:
    """Megatron-LM's rule (core 0.16, OptimizerParamScheduler.get_lr), for the styles that are written."""
    number = {name: float(str(value)) for name, value in given.items() if not name.endswith("style")}
    warmup, end, high, low = (number[f] for f in ("lr-warmup-samples", "lr-decay-samples", "lr", "min-lr"))
    assert warmup < end
    if warmup > 0 and samples <= warmup:
        return number["lr-warmup-init"] + (high - number["lr-warmup-init"]) * samples / warmup
    if given["lr-decay-style"] == "constant":
        return high
    begin = warmup if given["lr-decay-style"] == "cosine" else end - number["lr-wsd-decay-samples"]
    if samples <= begin:
        return high
    return low + (high - low) * 0.5 * (1 + math.cos(math.pi * (samples - begin) / (end - begin)))


def test_torchtitans_bundle_has_a_copy_of_the_formula(write_format, make_study) -> None:
    folder: Path = write_format("torchtitan", make_study())
    copied = run_path(str(folder / "lr_schedule.py"))["LrSchedule"](2384, 238, 2145, 0.1)
    text = (folder / "almr_launch.py").read_text()
    for line in ("STEPS, BATCH, LENGTH = 2384", "warmup_steps=238", "decay_steps=2145", "min_lr_factor=0.1"):
        assert line in text
    assert [copied.share(step) for step in range(2385)] == [
        LrSchedule(2384, 238, 2145, 0.1).share(step) for step in range(2385)
    ]


@pytest.mark.parametrize("schedule", [{"name": "cosine"}, {"name": "wsd"}, {"name": "wsd", "min_lr": 0}])
@pytest.mark.parametrize("steps", [25, 2384, 100_000])
@pytest.mark.parametrize("shift", [-1, 1])
def test_a_schedule_that_is_a_step_early_or_late_is_found(make_plan, make_study, schedule, steps, shift) -> None:
    training = make_study().training.model_dump() | {"schedule": schedule}
    plan = make_plan("megatron", make_study(launch={"tokens": steps * 4_194_304}, training=training))
    asked = question(plan)["steps"]
    answer = expected(plan) | {"token_shares": plan.shares}
    right = [plan.lr * plan.schedule.share(step) for step in asked]
    assert differences(plan, "megatron", answer | {"lrs": right}) == []
    late = [plan.lr * plan.schedule.share(min(max(step + shift, 0), steps - 1)) for step in asked]
    [line] = differences(plan, "megatron", answer | {"lrs": late})
    assert "but the winner's schedule has" in line
    assert "compared steps differ" in line
    assert differences(plan, "megatron", answer) == [f"schedule: the reader returned 0 LRs of {len(asked)} steps"]


def test_all_steps_of_a_small_launch_are_read_back_and_the_borders_of_a_large_one() -> None:
    assert probe_steps(LrSchedule(ALL, 10, 20, 0.1)) == list(range(ALL))
    large = LrSchedule(1_000_000, 10_000, 200_000, 0.1)
    found = probe_steps(large)
    assert ALL / 2 < len(found) < ALL
    assert max(after - before for before, after in itertools.pairwise(found)) <= 1_000_000 / (ALL / 2)
    for border in (0, 9_999, 10_000, 799_999, 800_000, 999_999):
        assert {max(0, border - 1), border, min(999_999, border + 1)} <= set(found)


def test_what_a_trainer_cannot_take_is_stated_with_its_size(make_plan, make_study, tmp_path) -> None:
    training = make_study().training.model_dump() | {"schedule": {"name": "wsd", "warmup": 0.05, "min_lr": 0.1}}
    of = make_study(training=training)
    says = (
        "'s WSD warms up from 10.00 % of the peak LR, the trials' from 0.83 %: in its 119 steps of warm-up its LR is "
        "up to 9.17 % of the peak higher, 5.5 steps at the peak in sum; all later steps are equal"
    )
    for name, trainer in (("llamafactory", "LLaMA-Factory"), ("axolotl", "axolotl")):
        assert trainer + says in write(make_plan(name, of), name, tmp_path / name)
    for name in ("torchtitan", "megatron", "native"):
        assert taken(of.training.schedule.over(2384), name) == of.training.schedule.over(2384)
    assert replace(of.training.schedule.over(2384), first=0.1) == taken(of.training.schedule.over(2384), "axolotl")
