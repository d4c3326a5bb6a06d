"""A trial whose languages have several sources each: mixture, losses of each source, and the record."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from samples import local_content, with_sources

from sweep.study import LANGUAGES, Record, Status, Study, Trial, preparation
from sweep.study.sections.recipe.training import Training
from trainers import prepare
from trainers.trials import cpt

PROSE = ("original-prose", "additional-prose")
NAMES = ["original-prose", "rhymes", "additional-prose", "poems"]
COST = {"seconds", "training_seconds", "tokens_per_second", "gpu_hours", "peak_memory_bytes"}


@pytest.fixture
def study(tmp_path: Path, small_model: Path, cache: Path) -> Study:
    return Study.model_validate(with_sources(local_content(tmp_path, small_model), tmp_path))


def run(study: Study, folder: Path, almr: float = 0.25) -> Record:
    folder.mkdir(exist_ok=True)
    record = cpt.run_trial(study, Trial(almr=almr, lr=1e-2, seed=0), prepare.prepare(study), folder)
    assert record is not None
    return record


def changed(study: Study, **training: Any) -> Study:
    content = study.training.model_dump() | training
    return study.model_copy(update={"training": Training.model_validate(content)})


def test_a_record_has_each_source_and_a_language_is_their_mean(study: Study, tmp_path: Path) -> None:
    record = run(study, tmp_path / "trial")
    assert record.status is Status.COMPLETE
    assert list(record.sources) == NAMES
    assert [result.weight for result in record.sources.values()] == [0.75, 0.25, 0.5, 0.5]
    facts = prepare.prepare(study).corpora
    for kind in ("loss", "base_loss"):
        for language in LANGUAGES:
            of = [one for one in record.sources.values() if one.language == language]
            mean = sum(one.weight * getattr(one, kind) for one in of)
            assert getattr(getattr(record, kind), language) == pytest.approx(mean, rel=1e-12)
    for name, result in record.sources.items():
        per_token = facts[name].held_out_bytes / facts[name].held_out_tokens
        assert result.bits_per_byte == pytest.approx(result.loss / math.log(2) / per_token)
        assert result.loss < result.base_loss
    mixed = sum(
        one.weight * facts[name].held_out_bytes / facts[name].held_out_tokens
        for name, one in record.sources.items()
        if one.language == "original"
    )
    assert record.bits_per_byte.original == pytest.approx(record.loss.original / math.log(2) / mixed)


def test_each_source_is_read_by_its_share_of_the_tokens(study: Study, tmp_path: Path) -> None:
    """64 blocks at ALMR 0.25: 48 of the original language, 36 and 12 of its sources, and 8 of each other one."""
    record, facts = run(study, tmp_path / "trial"), prepare.prepare(study).corpora
    drawn = {name: record.sources[name].epochs * facts[name].blocks for name in NAMES}
    assert drawn == pytest.approx({"original-prose": 36, "rhymes": 12, "additional-prose": 8, "poems": 8})
    assert record.almr_achieved == 0.25
    epochs = [result.epochs for result in record.sources.values()]
    assert (record.epochs.original, record.epochs.additional) == (max(epochs[:2]), max(epochs[2:]))


def test_the_log_and_the_horizons_have_each_source(study: Study, tmp_path: Path) -> None:
    wsd = {"schedule": {"name": "wsd", "warmup": 0.125, "decay": 0.25}, "horizons": [1024]}
    record = run(changed(study, **wsd), tmp_path / "trial")
    lines = [json.loads(line) for line in (tmp_path / "trial" / "metrics.jsonl").read_text().splitlines()]
    measured = [line["held_out"] for line in lines if "held_out" in line]
    assert [list(losses) for losses in measured] == [[*LANGUAGES, *NAMES]] * 3
    assert measured[0] == record.losses("base_loss")
    assert measured[-1] == record.losses()
    [horizon] = record.horizons
    assert {name: one.loss for name, one in horizon.sources.items()} == {n: measured[1][n] for n in NAMES}
    assert all(one.bits_per_byte and one.epochs is None for one in horizon.sources.values())


def test_the_same_trial_of_sources_gives_the_same_record_however_they_are_listed(study: Study, tmp_path: Path) -> None:
    content = study.model_dump(mode="json", by_alias=True)
    content["corpora"] = {language: listed[::-1] for language, listed in content["corpora"].items()}
    one, other = run(study, tmp_path / "one"), run(Study.model_validate(content), tmp_path / "other")
    assert other.model_dump(exclude=COST) == one.model_dump(exclude=COST)


def test_a_language_of_one_named_source_trains_as_one_language(study: Study, tmp_path: Path) -> None:
    content = study.model_dump(mode="json", by_alias=True)
    content["corpora"]["additional"] = content["corpora"]["additional"][0]
    record = run(Study.model_validate(content), tmp_path / "trial")
    assert list(record.sources) == NAMES[:3]
    assert record.sources["additional-prose"].loss == record.loss.additional
    assert record.sources["additional-prose"].weight == 1


def test_weights_change_what_is_trained_but_nothing_that_is_prepared(study: Study, tmp_path: Path) -> None:
    made = prepare.fetch(study)
    content = study.model_dump(mode="json", by_alias=True)
    content["corpora"]["original"][0]["weight"] = 1.0
    equal = Study.model_validate(content)
    state = preparation.state(equal)
    assert state.done
    assert state.record
    assert state.record.ingredients == made.ingredients
    before, after = run(study, tmp_path / "before"), run(equal, tmp_path / "after")
    assert before.base_loss.original != after.base_loss.original  # the mean of the same two losses
    assert before.losses("base_loss")["rhymes"] == after.losses("base_loss")["rhymes"]
    assert before.losses()["rhymes"] != after.losses()["rhymes"]


def test_what_is_prepared_is_named_by_source(study: Study) -> None:
    made = prepare.fetch(study)
    assert list(made.ingredients.folders) == list(made.ingredients.corpora) == NAMES
    assert [part for part in made.paths if part.startswith("corpora.")] == [f"corpora.{name}" for name in NAMES]
    poems = Path(study.corpora.by_name["poems"].spec.files[0]).parent / "00.txt"
    poems.write_text("poems that were not there before, " * 40, encoding="utf-8")
    assert preparation.state(study).outdated == {"corpora.poems": "its files have changed"}


def test_no_source_is_trained_on_what_another_of_its_language_holds_out(study: Study, tmp_path: Path) -> None:
    """A held-out document of one source lies among the others' documents: it is dropped there, and counted."""
    before = prepare.prepare(study)
    held_out = json.loads((Path(before.folders["rhymes"]) / "held_out.jsonl").read_text().splitlines()[0])["text"]
    (tmp_path / "original" / "99.txt").write_text(held_out, encoding="utf-8")
    (tmp_path / "poems" / "99.txt").write_text(held_out, encoding="utf-8")  # of the other language
    after = prepare.prepare(study).corpora
    assert after["original-prose"].copies == before.corpora["original-prose"].copies + 1
    assert after["poems"].copies == before.corpora["poems"].copies
    assert after["rhymes"].documents == before.corpora["rhymes"].documents


def test_what_is_packed_beside_others_is_as_complete_as_alone(study: Study) -> None:
    for folder in map(Path, prepare.prepare(study).folders.values()):
        facts = json.loads((folder / "facts.json").read_text())
        assert facts["fingerprint"] == folder.name
        assert [Path(file).parent for file in facts["files"]] == [folder]  # plain text, written as JSON Lines
        assert all(Path(file).is_file() for file in facts["files"])
