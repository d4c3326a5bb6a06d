"""Trials that draw from a part of a corpus: the part, the record, and a trial that is resumed or repeated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from samples import local_content

from sweep.study import Ingredients, Study, Trial, preparation
from trainers import prepare
from trainers.data import corpus
from trainers.data.mixture import Mixture
from trainers.packing.blocks import LaunchBlocks
from trainers.trials import cpt

LENGTH = 32
PART = 10  # blocks


@pytest.fixture
def content(tmp_path: Path, small_model: Path, cache: Path) -> dict[str, Any]:
    return local_content(tmp_path, small_model)


def parted(content: dict[str, Any], blocks: int | None = PART) -> Study:
    """The study whose trials draw from `blocks` of the additional language."""
    corpora = content["corpora"]
    tokens = {"trial_tokens": blocks and blocks * LENGTH}
    return Study.model_validate(content | {"corpora": corpora | {"additional": corpora["additional"] | tokens}})


def rows(found: corpus.PackedCorpus) -> list[tuple[int, ...]]:
    return [tuple(row) for row in corpus.blocks(found.training, range(len(found.training))).tolist()]


def opened(study: Study) -> tuple[Ingredients, dict[str, corpus.PackedCorpus]]:
    made = prepare.prepare(study)
    return made, corpus.open_corpora(made)


def test_a_part_is_of_the_corpus_and_in_every_larger_part(content: dict[str, Any]) -> None:
    whole, small, large = (opened(parted(content, blocks))[1] for blocks in (None, 5, 20))
    all_rows = rows(whole["additional"])
    assert len(rows(small["additional"])) == 5 == small["additional"].facts.blocks
    assert set(rows(small["additional"])) < set(rows(large["additional"])) < set(all_rows)
    rest = iter(all_rows)
    assert all(row in rest for row in rows(large["additional"]))  # in its order
    assert rows(large["additional"]) != all_rows[:20]  # and not its beginning
    for name in ("original", "additional"):  # what losses are measured on is the same
        assert np.array_equal(*(corpus.held_out_blocks(one[name], 100) for one in (whole, small)))
    assert rows(whole["original"]) == rows(small["original"])


def test_a_part_as_large_as_the_corpus_is_the_corpus(content: dict[str, Any]) -> None:
    made, corpora = opened(parted(content, 10**6))
    assert corpora["additional"].facts.blocks == made.corpora["additional"].blocks == len(rows(corpora["additional"]))


def test_trials_of_every_almr_and_seed_read_the_same_part_again_and_again(content: dict[str, Any]) -> None:
    study = parted(content)
    _, corpora = opened(study)
    for almr, seed in ((0.5, 0), (0.9, 1)):
        mixture = Mixture.of(almr, seed, study.corpora, corpora)
        read = [slot.block for step in range(8) for slot in mixture.batch(step, 8) if slot.source == "additional"]
        assert set(read) == set(range(PART))
        assert mixture.epochs(64)["additional"] == len(read) / PART > 3


def test_the_record_has_the_passes_and_the_preparation_is_the_same(content: dict[str, Any], tmp_path: Path) -> None:
    study, plain = parted(content), parted(content, None)
    made = prepare.prepare(study)
    (tmp_path / "trial").mkdir()
    record = cpt.run_trial(study, Trial(almr=0.5, lr=1e-2, seed=0), made, tmp_path / "trial")
    assert record is not None
    assert record.epochs.additional == 32 / PART
    assert record.epochs.original == 32 / made.corpora["original"].blocks
    assert record.provenance["fingerprints"]["corpora.additional.trial_blocks"] == str(PART)
    assert made.contents() == prepare.prepare(plain).fingerprints()  # nothing is packed again
    assert preparation.path(study) == preparation.path(plain)
    assert study.fingerprint != plain.fingerprint


def test_a_launchs_packed_text_has_the_part_that_its_trial_drew_from(content: dict[str, Any]) -> None:
    study = parted(content | {"grid": {"almr": [0.9], "lr": [1e-3]}})
    made, corpora = opened(study)
    packed = LaunchBlocks.of(study, study.grid_trials[0], made)
    known = {*rows(corpora["original"]), *rows(corpora["additional"])}
    assert {tuple(row) for batch in packed.train() for row in batch.tolist()} <= known
    assert len(packed.corpora["additional"].training) == PART  # what Megatron's files hold
