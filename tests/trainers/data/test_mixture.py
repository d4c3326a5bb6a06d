from __future__ import annotations

from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweep.study.sections.text.corpora import Corpora
from trainers.data.mixture import Mixture, Slot, additional_blocks
from trainers.data.source_order import SourceOrder

ONE_EACH = tuple(Corpora(original={"files": "o"}, additional={"files": "a"}).by_name.values())
SIZES = ("original", "additional")
ratios = st.floats(0, 1)
sizes = st.integers(1, 60)


def mixture(almr: float, seed: int = 0, original: int = 40, additional: int = 30) -> Mixture:
    return Mixture(almr, seed, ONE_EACH, {"original": original, "additional": additional})


@given(ratios, st.integers(0, 400))
def test_every_prefix_has_its_exact_share(almr: float, n: int) -> None:
    counted = Counter(mixture(almr).slot(i).source for i in range(n))
    assert counted["additional"] == round(n * almr)


@given(st.floats(0, 1), st.integers(0, 10**9))
def test_each_position_adds_one_block_at_most(almr: float, n: int) -> None:
    assert additional_blocks(n + 1, almr) - additional_blocks(n, almr) in (0, 1)


@given(ratios, ratios, st.integers(0, 3), sizes, sizes)
def test_trials_of_a_seed_read_each_corpus_in_the_same_order(a: float, b: float, seed: int, m: int, n: int) -> None:
    orders = []
    for almr in (a, b):
        slots = [mixture(almr, seed, m, n).slot(i) for i in range(100)]
        orders.append({name: [s.block for s in slots if s.source == name] for name in ("original", "additional")})
    for one, two in zip(orders[0].values(), orders[1].values(), strict=True):
        shared = min(len(one), len(two))
        assert one[:shared] == two[:shared]


@given(ratios, st.integers(0, 50), st.integers(1, 16))
def test_a_step_needs_nothing_but_its_number(almr: float, step: int, sequences: int) -> None:
    run = mixture(almr)
    expected = [run.slot(i) for i in range((step + 1) * sequences)][-sequences:]
    assert mixture(almr).batch(step, sequences) == expected


@given(sizes, st.integers(0, 3))
def test_a_corpus_is_used_up_before_a_block_comes_again(size: int, seed: int) -> None:
    blocks = [mixture(1.0, seed, additional=size).slot(i).block for i in range(2 * size)]
    assert sorted(blocks[:size]) == sorted(blocks[size:]) == list(range(size))


def test_epochs_have_different_orders_and_so_have_seeds() -> None:
    blocks = [mixture(1.0).slot(i).block for i in range(60)]
    assert blocks[:30] != blocks[30:]
    assert blocks[:30] != [mixture(1.0, seed=1).slot(i).block for i in range(30)]


@pytest.mark.parametrize(("almr", "language"), [(0.0, "original"), (1.0, "additional")])
def test_the_ends_are_one_language(almr: float, language: str) -> None:
    assert {mixture(almr).slot(i).source for i in range(100)} == {language}


def test_epochs_count_what_was_drawn() -> None:
    assert mixture(0.25).epochs(80) == {"original": 60 / 40, "additional": 20 / 30}


def test_corpora_without_names_keep_their_order() -> None:
    """Else finished runs could not be resumed."""
    orders = {name: np.random.default_rng((3, number, 0)).permutation(40) for number, name in enumerate(SIZES)}
    drawn = [mixture(0.4, 3, 40, 40).slot(i) for i in range(40)]
    for name, order in orders.items():
        blocks = [slot.block for slot in drawn if slot.source == name]
        assert blocks == order[: len(blocks)].tolist()


shares = st.lists(st.integers(1, 300), min_size=1, max_size=7).map(
    lambda weights: tuple(Fraction(weight, sum(weights)) for weight in weights)
)
long_shares = st.lists(st.floats(1e-3, 1e3), min_size=2, max_size=5).map(
    lambda weights: tuple(Fraction(str(w)) / sum(Fraction(str(x)) for x in weights) for w in weights)
)


@settings(max_examples=40)
@given(shares | long_shares)
def test_every_prefix_of_a_language_has_each_source_within_one_block(shares: tuple[Fraction, ...]) -> None:
    order, counts = SourceOrder(shares), [0] * len(shares)
    for position in range(200):
        assert all(abs(count - position * share) < 1 for count, share in zip(counts, shares, strict=True))
        assert order.drawn(position) == counts
        source, block = order.at(position)
        assert block == counts[source]
        counts[source] += 1


@settings(max_examples=40)
@given(shares, st.integers(0, 10**15))
def test_the_order_is_a_function_of_the_position(shares: tuple[Fraction, ...], position: int) -> None:
    order = SourceOrder(shares)
    source, block = order.at(position)
    before, after = SourceOrder(shares).drawn(position), SourceOrder(shares).drawn(position + 1)
    assert [b - a for a, b in zip(before, after, strict=True)] == [int(i == source) for i in range(len(shares))]
    assert block == before[source]


def sources(**weights: float) -> Corpora:
    """web, code and maths are the original language; poems and novels the additional one."""
    each = {name: {"files": name, "name": name, "weight": weight} for name, weight in weights.items()}
    additional = [each.pop(name) for name in ("poems", "novels") if name in each]
    return Corpora(original=list(each.values()), additional=additional or {"files": "a"})


def mixed(almr: float, seed: int = 0, corpora: Corpora | None = None, **sizes: int) -> Mixture:
    corpora = corpora or sources(web=6, code=3, maths=1, poems=1, novels=2)
    found = dict.fromkeys(corpora.source_names(), 30) | sizes
    return Mixture(almr, seed, tuple(corpora.by_name.values()), found)


@settings(max_examples=40)
@given(ratios, st.integers(0, 400))
def test_every_prefix_has_each_source_within_one_and_a_half_blocks_of_its_share(almr: float, n: int) -> None:
    run = mixed(almr)
    counted = Counter(run.slot(i).source for i in range(n))
    assert run.drawn(n) == {source.name: counted[source.name] for source in run.sources}
    assert counted["poems"] + counted["novels"] == additional_blocks(n, almr)
    for source in run.sources:
        share = (almr if source.language == "additional" else 1 - almr) * source.share
        assert abs(counted[source.name] - n * share) < 1.5


@settings(max_examples=30)
@given(ratios, ratios, st.integers(0, 3))
def test_sources_come_in_the_same_order_in_every_trial_of_a_seed(a: float, b: float, seed: int) -> None:
    """Both the order of the sources within a language, and that of the blocks of a source."""
    for language in ("original", "additional"):
        one, other = (
            [slot for i in range(150) if (slot := run.slot(i)).source in names(run, language)]
            for run in (mixed(a, seed), mixed(b, seed))
        )
        shared = min(len(one), len(other))
        assert one[:shared] == other[:shared]


def names(run: Mixture, language: str) -> set[str]:
    return {source.name for source in run.sources if source.language == language}


def blocks_of(name: str, run: Mixture, n: int = 60) -> list[Slot]:
    return [slot for i in range(n) if (slot := run.slot(i)).source == name]


def test_the_blocks_of_a_source_do_not_depend_on_the_sources_beside_it() -> None:
    alone = blocks_of("web", mixed(0.0, corpora=sources(web=1)))
    for beside in (sources(web=1, code=1), sources(code=1, web=1), sources(code=5, web=5, maths=1)):
        found = blocks_of("web", mixed(0.0, corpora=beside))
        assert found == alone[: len(found)]
    assert blocks_of("web", mixed(0.0, seed=1, corpora=sources(web=1))) != alone


def test_the_order_in_which_a_study_lists_its_sources_does_not_matter() -> None:
    one, other = (mixed(0.3, corpora=sources(**listed)) for listed in ({"web": 2, "code": 1}, {"code": 1, "web": 2}))
    assert [one.slot(i) for i in range(90)] == [other.slot(i) for i in range(90)]


def test_a_source_smaller_than_a_batch_is_repeated_in_new_orders() -> None:
    run = mixed(0.0, code=3)
    blocks = [slot.block for slot in blocks_of("code", run, 60)]
    assert len(blocks) == 18
    assert all(sorted(blocks[first : first + 3]) == [0, 1, 2] for first in range(0, 18, 3))
    assert run.epochs(60)["code"] == 6


def test_a_source_of_a_tiny_weight_comes_late_but_comes() -> None:
    run = mixed(0.0, corpora=sources(web=9999, code=1))
    assert run.drawn(20_000) == {"web": 19_998, "code": 2, "additional": 0}
