"""A trial of stage dpo by TRL, against what is known beforehand."""

from __future__ import annotations

import importlib.util
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from preference_pairs import PAIRS_A_STEP, SEQUENCE, dpo_content, dpo_study, pairs, written
from transformers import AutoModelForCausalLM

from sweep.study import InputError, Record, Status, Study, Trial
from sweep.study.sections.resources import Resources
from trainers import prepare
from trainers.preference import prepared
from trainers.preference.requirements import fault
from trainers.trials import of_stage

pytest.importorskip("trl")

pytestmark = pytest.mark.slow
TIMINGS = {"seconds", "training_seconds", "tokens_per_second", "gpu_hours", "peak_memory_bytes"}


@pytest.fixture
def study(tmp_path: Path, small_model: Path, cache: Path) -> Study:
    return dpo_study(tmp_path, small_model)


def run(study: Study, folder: Path, lr: float, almr: float = 0.5) -> Record:
    folder.mkdir()
    record = of_stage.run_trial(study, Trial(almr=almr, lr=lr, seed=0), prepare.prepare(study), folder, 1)
    assert record
    return record


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_an_lr_of_almost_nothing_keeps_ln_2(study: Study, tmp_path: Path) -> None:
    record = run(study, tmp_path / "trial", lr=1e-30)
    assert (record.loss.original, record.loss.additional) == (math.log(2), math.log(2))
    assert record.base_loss == record.loss
    assert record.provenance["accuracy"] == {"original": 0.5, "additional": 0.5}
    assert [line["loss"] for line in lines(tmp_path / "trial") if "loss" in line] == pytest.approx([math.log(2)] * 6)


def test_pairs_that_can_be_learnt_are_learnt_in_their_shares(study: Study, tmp_path: Path) -> None:
    study = study.model_copy(update={"keep": "all"})
    record = run(study, tmp_path / "trial", lr=3e-3, almr=0.3)
    assert record.status is Status.COMPLETE
    assert max(record.loss.original, record.loss.additional) < 0.9 * math.log(2)
    assert min(record.provenance["accuracy"].values()) > 0.9
    _audit(study, record)
    written_lines = lines(tmp_path / "trial")
    steps = [line for line in written_lines if "loss" in line]
    assert [line["step"] for line in steps] == list(range(1, 7))
    assert [line["tokens"] for line in steps][-1] == record.tokens
    shares = study.training.lr_schedule(6).share
    assert [line["lr"] for line in steps] == pytest.approx([3e-3 * shares(step) for step in range(6)])
    assert {tuple(line["accuracy"]) for line in written_lines if "held_out" in line} == {("original", "additional")}
    saved = AutoModelForCausalLM.from_pretrained(tmp_path / "trial" / "model")
    assert sum(p.numel() for p in saved.parameters()) == record.provenance["parameters"]
    assert "<|im_start|>" in (tmp_path / "trial" / "model" / "chat_template.jinja").read_text()
    assert not list((tmp_path / "trial").glob(".*"))


def _audit(study: Study, record: Record) -> None:
    """The tokens of the trial, counted anew from the prepared ids of the pairs that it must have read."""
    counted = {}
    corpora = prepared.opened(prepare.prepare(study))
    for language, corpus in corpora.items():
        number = round(record.epochs.model_dump()[language] * len(corpus.training))
        order = np.random.default_rng((0, ["original", "additional"].index(language), 0))
        rows = order.permutation(len(corpus.training))[:number].tolist()
        ids = [corpus.training[row] for row in rows]
        counted[language] = sum(
            2 * len(one["prompt_ids"]) + len(one["chosen_ids"]) + len(one["rejected_ids"]) for one in ids
        )
    assert record.tokens == sum(counted.values())
    assert record.almr_achieved == counted["additional"] / record.tokens
    assert abs(record.almr_achieved - record.almr) * record.tokens <= SEQUENCE


def test_the_same_trial_gives_the_same_record_in_smaller_passes(
    study: Study, tmp_path: Path, small_model: Path
) -> None:
    one, again = (run(study, tmp_path / name, lr=1e-3) for name in ("one", "again"))
    assert one.model_dump(exclude=TIMINGS) == again.model_dump(exclude=TIMINGS)
    (tmp_path / "small").mkdir()
    in_parts = dpo_study(tmp_path / "small", small_model, micro_batch_sequences=2)
    parts = run(in_parts, tmp_path / "parts", lr=1e-3)
    assert parts.provenance["execution"]["pairs_at_once"] == 1
    assert parts.loss.original == pytest.approx(one.loss.original, abs=1e-4)
    assert parts.loss.additional == pytest.approx(one.loss.additional, abs=1e-4)


def test_the_first_losses_are_those_of_a_hand_computation(study: Study, tmp_path: Path) -> None:
    """Two steps on the first pairs, by plain torch: log-probabilities, the loss, AdamW."""
    record = run(study, tmp_path / "trial", lr=1e-3)
    logged = [line for line in lines(tmp_path / "trial") if "loss" in line]
    batches = _batches(study)
    path = prepare.prepare(study).base_model
    model, reference = (AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32) for _ in range(2))
    optimizer = torch.optim.AdamW(
        [{"params": [p], "weight_decay": 0.1 if p.ndim >= 2 else 0.0} for p in model.parameters()],
        lr=logged[0]["lr"],
        betas=(0.9, 0.95),
    )
    for step in range(2):
        loss = torch.stack([_loss(model, reference, pair) for pair in batches[step]]).mean()
        assert loss.item() == pytest.approx(logged[step]["loss"], abs=2e-5)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        assert norm.item() == pytest.approx(logged[step]["grad_norm"], rel=1e-3)
        optimizer.step()
        optimizer.zero_grad()
    assert record.steps == 6


def _batches(study: Study) -> list[list[dict[str, list[int]]]]:
    from trainers.preference.order import PairOrder

    corpora = prepared.opened(prepare.prepare(study))
    sizes = {name: corpus.sizes for name, corpus in corpora.items()}
    drawn = PairOrder(0.5, 0, tuple(study.corpora.by_name.values()), sizes).first(2 * PAIRS_A_STEP)
    rows = [corpora[one.slot.source].training[one.slot.block] for one in drawn]
    return [rows[:PAIRS_A_STEP], rows[PAIRS_A_STEP:]]


def _loss(model: Any, reference: Any, pair: dict[str, list[int]]) -> torch.Tensor:
    def log_prob(of: Any, answer: list[int]) -> torch.Tensor:
        ids = torch.tensor([pair["prompt_ids"] + answer])
        found = torch.log_softmax(of(ids).logits[0, :-1], -1).gather(1, ids[0, 1:, None])[:, 0]
        return found[len(pair["prompt_ids"]) - 1 :].sum()

    with torch.no_grad():
        before = log_prob(reference, pair["chosen_ids"]) - log_prob(reference, pair["rejected_ids"])
    margin = log_prob(model, pair["chosen_ids"]) - log_prob(model, pair["rejected_ids"]) - before
    return -torch.nn.functional.logsigmoid(0.1 * margin)


def test_an_lr_that_diverges_is_a_result(study: Study, tmp_path: Path) -> None:
    record = run(study, tmp_path / "trial", lr=1e30)
    assert record.status is Status.DIVERGED
    assert "not finite" in record.reason


def test_held_out_prompts_and_their_near_copies_are_not_trained_on(
    tmp_path: Path, small_model: Path, cache: Path
) -> None:
    content = dpo_content(tmp_path, small_model)
    long = "tell me of the king and the queen"
    same = [{"prompt": f"{long} {n // 4}", "chosen": f"yes {n}", "rejected": f"no {n}"} for n in range(24)]
    written(tmp_path / "original.jsonl", [*pairs("original"), *same])
    study = Study.model_validate(content)
    made = prepare.prepare(study)
    facts = made.corpora["original"]
    corpus = prepared.open_pairs(Path(made.folders["original"]))
    held_out = {tuple(row["prompt_ids"]) for row in corpus.held_out}
    trained = {tuple(row["prompt_ids"]) for row in corpus.training}
    assert not held_out & trained
    assert facts.copies + facts.near_copies > 0
    assert facts.documents + facts.held_out_documents + facts.copies + facts.near_copies == 64
    assert len(corpus.training) == facts.documents == facts.blocks // 2


def test_pairs_that_do_not_fit_are_left_out_or_refused(
    tmp_path: Path, small_model: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content = dpo_content(tmp_path, small_model)
    long = {"prompt": "king " * 200, "chosen": "yes", "rejected": "no"}
    written(tmp_path / "original.jsonl", [*pairs("original"), long])
    prepare.prepare(Study.model_validate(content))
    assert f"1 of 41 pairs (2 %) are longer than training.sequence_length {SEQUENCE} and are left out" in caplog.text
    written(tmp_path / "original.jsonl", [long, long | {"chosen": "aye"}])
    with pytest.raises(InputError, match=r"its 2 pairs all are longer than training\.sequence_length"):
        prepare.prepare(Study.model_validate(content))


def test_without_trl_or_template_one_line_names_the_fix(
    study: Study, tmp_path: Path, small_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fault(study) is None
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "trl" else find(name, *rest))
    assert fault(study) == (
        "training.stage: dpo is trained by TRL, which is not installed: pip install 'almr-sweep[post]'"
    )
    monkeypatch.undo()
    several = study.model_copy(update={"resources": Resources(processes=2)})
    assert (
        fault(several)
        == "resources: stage dpo trains each trial in one process, not in 2: write nodes: 1 and processes: 1"
    )
    bare = Study.model_validate(dpo_content(tmp_path, small_model) | {"documents": {}})
    with pytest.raises(InputError, match=r"documents.chat_template: the base model's tokenizer has no chat template"):
        prepare.prepare(bare)
