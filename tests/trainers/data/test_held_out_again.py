"""A corpus that grew, moved or was compressed anew: the documents that a run held out are held out again."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from samples import ENGLISH, local_content, numbered

from sweep.study import Ingredients, InputError, Study
from sweep.study.ingredients import SameText
from trainers import prepare
from trainers.data.corpus import blocks, open_packed


def after(study: Study, old: Ingredients) -> Ingredients:
    """Prepare the study's text of now, where it is stated to be the same as before."""
    corpora = {name: facts.fingerprint for name, facts in old.corpora.items()}
    stated = SameText(reason="more shards", recipe="0" * 16, corpora=corpora, folders=old.folders)
    return prepare.prepare(study, earlier=old.model_copy(update={"same_text": (stated,)}))


def held_out(made: Ingredients, name: str) -> np.ndarray:
    corpus = open_packed(Path(made.folders[name]))
    return blocks(corpus.held_out, range(len(corpus.held_out)))


def grow(folder: Path) -> None:
    for i in range(12, 30):
        (folder / f"{i:02}.txt").write_text(numbered(i) + ENGLISH * 12, encoding="utf-8")


def test_of_a_corpus_that_grew_the_same_documents_are_held_out_and_the_others_trained_on(
    local_study: Study, tmp_path: Path
) -> None:
    old = prepare.prepare(local_study)
    grow(tmp_path / "original")
    plain, made = prepare.prepare(local_study), after(local_study, old)
    assert held_out(plain, "original").tolist() != held_out(old, "original").tolist()
    assert held_out(made, "original").tolist() == held_out(old, "original").tolist()
    assert made.corpora["original"].documents == 30 - old.corpora["original"].held_out_documents
    assert made.base_check
    assert old.base_check
    assert made.base_check.losses["original"] == old.base_check.losses["original"]
    assert made.corpora["additional"] == old.corpora["additional"]
    texts = [json.loads(line)["text"] for line in (Path(made.folders["original"]) / "held_out.jsonl").open()]
    assert len(texts) == old.corpora["original"].held_out_documents


def test_a_resumed_run_reads_the_same_without_the_statement_being_given_again(
    local_study: Study, tmp_path: Path
) -> None:
    old = prepare.prepare(local_study)
    grow(tmp_path / "original")
    made = after(local_study, old)
    again = prepare.prepare(local_study, earlier=made)
    assert again == made
    for file in sorted((tmp_path / "original").glob("*.txt")):  # another order of the same documents
        file.rename(file.with_name(f"{99 - int(file.stem):02}.txt"))
    other = after(local_study, made)
    assert {bytes(row) for row in held_out(other, "original")} != set()
    assert prepare.prepare(local_study, earlier=other) == other


def test_files_that_moved_or_were_compressed_anew_give_the_same_blocks(
    local_study: Study, tmp_path: Path, small_model: Path
) -> None:
    old = prepare.prepare(local_study)
    moved = tmp_path / "moved"
    moved.mkdir()
    content = local_content(moved, small_model)
    made = after(Study.model_validate(content), old)
    assert made.fingerprints() == old.fingerprints()
    for file in (moved / "original").glob("*.txt"):
        Path(f"{file}.gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()
    content["corpora"]["original"]["files"] = str(moved / "original" / "*.txt.gz")
    made = after(Study.model_validate(content), old)
    assert made.corpora["original"].fingerprint != old.corpora["original"].fingerprint
    assert held_out(made, "original").tolist() == held_out(old, "original").tolist()
    packed = [open_packed(Path(one.folders["original"])).training for one in (made, old)]
    assert blocks(packed[0], [0, 1]).tolist() == blocks(packed[1], [0, 1]).tolist()


def test_a_corpus_that_lost_some_held_out_documents_is_refused_with_their_number(
    local_study: Study, tmp_path: Path
) -> None:
    """Losses on the others would compare with nothing that the trials measured."""
    several = local_study.corpora.by_name["original"].spec.model_copy(update={"held_out": 0.3})
    study = local_study.model_copy(update={"corpora": local_study.corpora.model_copy(update={"original": several})})
    old = prepare.prepare(study)
    kept = Path(old.folders["original"]) / "held_out.jsonl"
    held = [json.loads(line)["text"] for line in kept.open(encoding="utf-8")]
    assert len(held) > 2
    gone = [file for file in (tmp_path / "original").glob("*.txt") if file.read_text(encoding="utf-8") in held[:2]]
    texts = [file.read_bytes() for file in gone]
    for number, file in enumerate(gone, 1):
        file.unlink()
        with pytest.raises(InputError) as error:
            after(study, old)
        what = f"corpora.original: {number} of the {len(held)} documents that were held out of the run's finished"
        assert str(error.value).startswith(what)
        assert f"put back those of {kept}" in str(error.value)
        assert "\n" not in str(error.value)
    for number, text in enumerate(texts):
        (tmp_path / "original" / f"again-{number}.txt").write_bytes(text)
    assert set(map(bytes, held_out(after(study, old), "original")))


def test_other_text_and_held_out_text_that_is_gone_are_refused(local_study: Study, tmp_path: Path) -> None:
    old = prepare.prepare(local_study)
    for file in (tmp_path / "original").glob("*.txt"):
        file.write_text(file.read_text(encoding="utf-8").replace("fox", "dog"), encoding="utf-8")
    count = old.corpora["original"].held_out_documents
    with pytest.raises(InputError, match=rf"corpora\.original: {count} of the {count} documents that were held out"):
        after(local_study, old)
    (Path(old.folders["original"]) / "held_out.jsonl").unlink()
    with pytest.raises(InputError, match=r"held_out\.jsonl, the held-out text of the run's finished trials, is gone"):
        after(local_study, old)
