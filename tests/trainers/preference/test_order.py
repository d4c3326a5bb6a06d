from __future__ import annotations

import numpy as np
import pytest

from sweep.study.sections.text.corpora import Corpora
from trainers.preference.order import PairOrder, epochs, share_of_additional

SIZES = {
    "original": np.random.default_rng(0).integers(20, 200, 50),
    "additional": np.random.default_rng(1).integers(40, 400, 30),
}
LONGEST = 400


def sources(**changes: object) -> tuple:  # type: ignore[type-arg]
    content = {"original": {"files": "a.jsonl"}, "additional": {"files": "b.jsonl"}} | changes
    return tuple(Corpora.model_validate(content).by_name.values())


@pytest.mark.parametrize("almr", [0.0, 0.05, 0.3, 0.5, 0.77, 1.0])
def test_every_prefix_has_the_almr_to_within_half_a_pair(almr: float) -> None:
    drawn = PairOrder(almr, 0, sources(), SIZES).first(300)
    total = additional = 0
    for one in drawn:
        total += one.tokens
        additional += one.tokens if one.language == "additional" else 0
        assert abs(additional - almr * total) <= LONGEST / 2
        assert one.tokens == SIZES[one.slot.source][one.slot.block]
    assert share_of_additional(drawn) == additional / total


def test_pairs_of_a_language_come_in_the_same_order_at_every_almr() -> None:
    def of(almr: float, language: str) -> list[int]:
        drawn = PairOrder(almr, 3, sources(), SIZES).first(200)
        return [one.slot.block for one in drawn if one.language == language]

    few, many = of(0.2, "additional"), of(0.8, "additional")
    assert few
    assert many[: len(few)] == few
    assert of(0.8, "original") == of(0.2, "original")[: len(of(0.8, "original"))]


def test_every_pair_is_read_once_before_any_is_read_again() -> None:
    drawn = PairOrder(1.0, 0, sources(), SIZES).first(45)
    first = [one.slot.block for one in drawn[:30]]
    assert sorted(first) == list(range(30))
    assert epochs(drawn, SIZES) == {"original": 0.0, "additional": 1.5}


def test_sources_of_a_language_have_their_shares_of_its_tokens() -> None:
    two = sources(
        additional=[
            {"files": "b.jsonl", "name": "short", "weight": 3},
            {"files": "c.jsonl", "name": "long", "weight": 1},
        ]
    )
    sizes = {"original": SIZES["original"], "short": np.full(9, 20), "long": np.full(9, 200)}
    drawn = PairOrder(0.5, 0, two, sizes).first(400)
    tokens = {name: sum(one.tokens for one in drawn if one.slot.source == name) for name in sizes}
    assert tokens["short"] / (tokens["short"] + tokens["long"]) == pytest.approx(0.75, abs=0.02)
    passes = epochs(drawn, sizes)
    assert passes["additional"] == max(passes["short"], passes["long"])
