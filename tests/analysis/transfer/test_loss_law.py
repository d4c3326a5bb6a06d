"""The loss after the launch from a ladder's sizes: exact laws, intervals, and what is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.fit_file.transfer import FittedRung, RungLoss
from analysis.transfer.loss_law import of_one_budget, predict
from sweep.study import InputError

SIZES = (1e8, 3e8, 1e9, 3e9)


def law(n, floor=1.7, scale=400, alpha=0.34):
    return floor + scale * n**-alpha


def rung(parameters, losses, tokens=10**9, batch=10**6, sd=0.001):
    found = {name: RungLoss(mean=loss, sd=sd) for name, loss in losses.items()}
    place = {"parameters": int(parameters), "tokens": tokens, "batch": batch}
    return FittedRung(name="r", **place, lr=1e-4, lr_sd=0.1, almr=0.5, almr_sd=0.1, losses=found)


def ladder(sizes=SIZES, of=law, **fields):
    return [rung(n, {"original": of(n), "additional": 0.5 + of(n)}, **fields) for n in sizes]


def test_a_floor_and_a_power_are_read_off_at_the_launch():
    found = predict(ladder((1e8, 2e8, 4e8, 8e8, 1.6e9, 3.2e9)), 1e10, 0.9)
    assert found["original"].loss == pytest.approx(law(1e10), abs=0.01)
    assert found["additional"].loss == pytest.approx(0.5 + law(1e10), abs=0.01)
    assert found["original"].interval.low < law(1e10) < found["original"].interval.high
    assert (found["original"].sizes, found["original"].tokens) == (6, 10**9)


@settings(max_examples=8, deadline=None)
@given(alpha=st.floats(0.1, 0.6), drop=st.floats(0.1, 2), floor=st.floats(0.5, 3))
def test_the_interval_widens_with_the_distance_and_is_at_the_law(alpha, drop, floor):
    def of(n):
        return floor + drop * (n / 1e8) ** -alpha

    ends = [predict(ladder(of=of), n, 0.9)["original"].interval for n in (3e9, 3e10, 3e11)]
    widths = [end.high - end.low for end in ends]
    assert widths[0] < widths[1] < widths[2]
    # Nine in ten intervals hold the law; all are at most half their width from it.
    assert all(
        end.low - width / 2 <= of(n) <= end.high + width / 2
        for end, width, n in zip(ends, widths, (3e9, 3e10, 3e11), strict=True)
    )


def test_fewer_than_three_sizes_at_one_budget_are_refused():
    with pytest.raises(InputError, match="losses of 3 model sizes at one token budget, and there are 2: add runs"):
        predict(ladder((1e8, 1e9)), 1e10, 0.9)
    with pytest.raises(InputError, match="there are 2"):
        predict([*ladder((1e8, 1e9)), *ladder((3e9,), tokens=10**10)], 1e10, 0.9)


def test_sizes_whose_losses_are_of_different_languages_are_refused_and_not_left_blank():
    *others, last = (rung(n, {"original": law(n)}) for n in SIZES)
    with pytest.raises(InputError, match="no language has a loss at each of 4 sizes: state loss_original and"):
        predict([*others, rung(last.parameters, {"additional": 2.0})], 1e10, 0.9)


def test_the_largest_budget_that_three_sizes_share_is_used_with_this_sweeps_batch():
    short, long = ladder(tokens=10**9), ladder(SIZES[:3], tokens=8 * 10**9)
    assert [one.tokens for one in of_one_budget([*long, *short])] == [8 * 10**9] * 3
    other = ladder(batch=4 * 10**6)
    assert {one.batch for one in of_one_budget([*other, *short])} == {10**6}


@pytest.mark.slow
def test_the_interval_holds_the_truth_on_simulated_ladders():
    """Of 90 % intervals at 8 times the largest of four sizes that scatter by 0.01 nats."""
    random, inside, repeats = np.random.default_rng(0), 0, 60
    for _ in range(repeats):
        alpha, drop = random.uniform(0.1, 0.6), random.uniform(0.3, 1)

        def of(n, alpha=alpha, drop=drop):
            return 2 + drop * (n / 1e8) ** -alpha

        seen = {n: of(n) + 0.01 * random.standard_normal() for n in SIZES}
        found = predict(ladder(of=seen.__getitem__), 2.4e10, 0.9)["original"].interval
        inside += found.low <= of(2.4e10) + 0.01 * random.standard_normal() <= found.high
    assert inside / repeats >= 0.83
