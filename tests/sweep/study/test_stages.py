"""`training.stage`: what a study may say beside it, and that older studies and their files stay as they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from samples import make_study, study_content

from sweep.study import InputError, Study, study_file
from sweep.study.sections.text import stages

CONVERSATIONS = {"original": {"files": "en.jsonl"}, "additional": {"files": "zh.jsonl"}}


@pytest.fixture(autouse=True)
def _every_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "CARRIED_OUT", ("cpt", "sft", "dpo"))


def staged(stage: str, **changes: Any) -> dict[str, Any]:
    content = study_content(corpora=CONVERSATIONS)
    training = content["training"] | {"stage": stage} | changes.pop("training", {})
    return content | {"training": training} | changes


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (staged("rlhf"), "training.stage: expected 'cpt', 'sft' or 'dpo', found 'rlhf'"),
        (staged("sft", training={"dpo": {}}), "training: dpo: stage sft compares no answers: write stage: dpo"),
        (staged("dpo", training={"dpo": {"beta": 0}}), "training.dpo.beta is 0: must be above 0"),
        (
            study_content(documents={"chat_template": "chatml"}),
            "documents.chat_template: stage cpt trains on plain text",
        ),
        (
            staged("sft", documents={"chat_template": "llama"}),
            "chat_template: llama: write chatml, or the path of a .jinja",
        ),
        (
            staged("sft", corpora=study_content()["corpora"]),
            "corpora.original.embedded: shakespeare is plain text, and stage sft trains on conversations",
        ),
        (
            staged("dpo", corpora=study_content()["corpora"] | {"original": {"embedded": "shakespeare-questions"}}),
            "corpora.original.embedded: shakespeare-questions is conversations, and stage dpo trains on pairs",
        ),
        (
            study_content(corpora=CONVERSATIONS | {"additional": {"embedded": "three-kingdoms-preferences"}}),
            "corpora.additional.embedded: three-kingdoms-preferences is pairs of answers, and stage cpt trains on",
        ),
        (
            staged("dpo", training={"tokens": 4096, "global_batch_tokens": 96}),
            "training.global_batch_tokens 96 is 3 sequences, and a pair of answers takes two: write 128",
        ),
        (
            staged("dpo", training={"document_masking": True}),
            "training.document_masking: stage dpo has no such thing: remove it",
        ),
        (staged("dpo", trainer="axolotl"), "trainer: axolotl trains no trials of stage dpo"),
        (staged("sft", benchmarks={"suite": "embedded"}), "benchmarks.suite: embedded asks about plain text"),
    ],
)
def test_what_does_not_suit_the_stage_is_refused_by_its_field(
    tmp_path: Path, content: dict[str, Any], expected: str
) -> None:
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(InputError) as raised:
        study_file.load(tmp_path / "study.yaml")
    assert expected in str(raised.value)


def test_a_stage_that_nothing_carries_out_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "CARRIED_OUT", ("cpt", "sft"))
    with pytest.raises(ValueError, match=r"training\.stage: dpo cannot be trained by this version: write cpt or sft"):
        Study.model_validate(staged("dpo"))


def test_the_first_stage_is_not_named_in_recipe_or_file() -> None:
    study = make_study()
    assert study == make_study(training=study_content()["training"] | {"stage": "cpt"})
    assert study.training.recipe().keys().isdisjoint({"stage", "dpo"})
    assert not {"stage", "dpo"} & yaml.safe_load(study_file.dump(study))["training"].keys()
    ends = make_study(documents={"eos": False}).recipe()["documents"]
    assert ends == {"bos": "auto", "eos": False}


def test_stage_beta_and_template_are_part_of_the_recipe() -> None:
    plain, cold = (
        Study.model_validate(staged("dpo")),
        Study.model_validate(staged("dpo", training={"dpo": {"beta": 1}})),
    )
    assert plain.training.recipe()["dpo"] == {"beta": 0.1}
    chatml = Study.model_validate(staged("sft", documents={"chat_template": "chatml"}))
    own = Study.model_validate(staged("sft"))
    assert len({study.fingerprint for study in (plain, cold, chatml, own)}) == 4


def test_a_template_is_found_beside_the_study(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(staged("sft", documents={"chat_template": "own.jinja"})))
    study = study_file.load(path)
    assert study.documents.template_file == tmp_path / "own.jinja"
    copied = tmp_path / "elsewhere.yaml"
    copied.write_text(study_file.dump(study))
    assert study_file.load(copied) == study
