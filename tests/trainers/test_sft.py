"""A trial of supervised fine-tuning: its tokens, targets and losses against a computation by transformers alone."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from conversations import sft_content
from transformers import AutoModelForCausalLM, AutoTokenizer

from sweep.study import Ingredients, InputError, Study, Trial, study_file
from sweep.study.files.layout import TrialFiles
from trainers import prepare
from trainers.data import corpus
from trainers.data.hold_out.held_out_texts import FILE
from trainers.loop.checkpoint import Checkpoints
from trainers.model.base import chat
from trainers.trials import cpt

END = "<|im_end|>"


@pytest.fixture(scope="module")
def made(small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("sft")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALMR_CACHE", str(folder / "cache"))
        study = Study.model_validate(sft_content(folder, small_model) | {"keep": "all"})
        yield study, prepare.prepare(study), folder


def trained(study: Study, made: Ingredients, folder: Path, **training: Any) -> Any:
    changed = study.model_copy(update={"training": study.training.model_copy(update=training)})
    folder.mkdir()
    return cpt.run_trial(changed, Trial(almr=0.5, lr=3e-3, seed=0), made, folder)


def by_hand(model: Any, tokenizer: Any, conversations: list[Any]) -> float:
    """The mean loss of the assistant's turns with their ends, each conversation alone, in nats per target."""
    total = count = 0.0
    for messages in conversations:
        ids = tokenizer.apply_chat_template(messages, return_dict=True)["input_ids"]
        labels, end, inside = [-100] * len(ids), tokenizer.convert_tokens_to_ids(END), False
        for at in range(len(ids)):
            if tokenizer.decode(ids[:at]).endswith("<|im_start|>assistant\n"):
                inside = True
            if inside:
                labels[at] = ids[at]
            if ids[at] == end:
                inside = False
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([ids])).logits[0, :-1]
        wanted = torch.tensor(labels[1:])
        total += float(torch.nn.functional.cross_entropy(logits, wanted, ignore_index=-100, reduction="sum"))
        count += int((wanted != -100).sum())
    return total / count


def test_losses_are_those_of_the_targets_of_whole_conversations(made: Any, tmp_path: Path) -> None:
    study, ingredients, _ = made
    record = trained(study, ingredients, tmp_path / "trial")
    saved = TrialFiles(tmp_path / "trial").model
    for path, found in ((Path(ingredients.base_model), record.base_loss), (saved, record.loss)):
        model, tokenizer = AutoModelForCausalLM.from_pretrained(path), AutoTokenizer.from_pretrained(path)
        for language, folder in ingredients.folders.items():
            held_out = [json.loads(line)["messages"] for line in (Path(folder) / FILE).read_text().splitlines()]
            assert getattr(found, language) == pytest.approx(by_hand(model, tokenizer, held_out), abs=1e-4)
    assert record.loss.original < record.base_loss.original
    assert record.almr_achieved == 0.5
    assert record.tokens == study.training.tokens


def test_the_saved_model_writes_and_ends_turns_by_the_template(made: Any, tmp_path: Path) -> None:
    study, ingredients, _ = made
    trained(study, ingredients, tmp_path / "trial")
    saved = TrialFiles(tmp_path / "trial").model
    tokenizer, model = AutoTokenizer.from_pretrained(saved), AutoModelForCausalLM.from_pretrained(saved)
    end = tokenizer.convert_tokens_to_ids(END)
    assert tokenizer.eos_token == END
    assert model.generation_config.eos_token_id[0] == end
    assert end < model.get_input_embeddings().weight.shape[0]
    asked = [{"role": "user", "content": "where does fox 3 jump?"}]
    prompt = tokenizer.apply_chat_template(asked, add_generation_prompt=True, tokenize=False)
    assert prompt == "<|im_start|>user\nwhere does fox 3 jump?<|im_end|>\n<|im_start|>assistant\n"


def test_a_step_learns_the_mean_over_the_targets_of_its_batch(made: Any, tmp_path: Path) -> None:
    """Also from micro-batches of one sequence, which have other numbers of targets each."""
    study, ingredients, _ = made
    losses = []
    for size in (1, 4):
        trained(study, ingredients, tmp_path / str(size), micro_batch_sequences=size, log_every=1)
        lines = TrialFiles(tmp_path / str(size)).metrics.read_text().splitlines()
        losses.append([step["loss"] for step in map(json.loads, lines) if "loss" in step])
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)
    first = _first_batch(study, ingredients)
    model = AutoModelForCausalLM.from_pretrained(ingredients.base_model)
    ids, targets = torch.tensor(first[..., 0]), torch.tensor(first[..., 1])
    labels = ids.where(targets > 0, -100)
    positions = torch.tensor(first[..., 2])
    with torch.no_grad():
        logits = model(input_ids=ids, position_ids=positions, use_cache=False).logits[:, :-1]
    wanted = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100)
    assert losses[0][0] == pytest.approx(float(wanted), abs=1e-4)


def test_a_trial_that_was_killed_resumes_to_the_same_losses(
    made: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, ingredients, _ = made
    often = study.model_copy(update={"execution": study.execution.model_copy(update={"checkpoint_minutes": 1e-9})})
    whole = trained(often, ingredients, tmp_path / "whole")
    saved, calls = Checkpoints.save, []

    def save(*arguments: Any) -> None:
        saved(*arguments)
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoints, "save", save)
    with pytest.raises(KeyboardInterrupt):
        trained(often, ingredients, tmp_path / "killed")
    again = cpt.run_trial(often, Trial(almr=0.5, lr=3e-3, seed=0), ingredients, tmp_path / "killed")
    assert again
    assert again.provenance["execution"]["gone_on_from_steps"] == [2]
    assert again.loss == whole.loss


def _first_batch(study: Study, ingredients: Ingredients) -> Any:
    from trainers.data.mixture import BatchReader, Mixture

    packed = corpus.open_corpora(ingredients)
    mixture = Mixture.of(0.5, 0, study.corpora, packed)
    return next(BatchReader(packed, mixture, study.training.batch_sequences).read(range(1))).numpy()


def test_a_template_may_be_a_link_and_an_empty_or_missing_one_is_refused(tmp_path: Path, small_model: Path) -> None:
    (tmp_path / "blob").write_text("\ufeff" + chat.TEMPLATE, encoding="utf-8")
    (tmp_path / "chat.jinja").symlink_to("blob")
    content = sft_content(tmp_path, small_model) | {"documents": {"chat_template": "chat.jinja"}}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(content))
    study = study_file.load(tmp_path / "study.yaml")
    assert study.documents.template_file == tmp_path / "chat.jinja"
    made = chat.build(study.documents, study.base_model, small_model, "key")[0]
    assert AutoTokenizer.from_pretrained(made).chat_template == chat.TEMPLATE  # without the byte order mark
    for text, fault in (
        ("", "chat.jinja: is empty: give a template"),
        (None, "chat.jinja: is a link to blob, which is"),
    ):
        (tmp_path / "blob").write_text(text) if text is not None else (tmp_path / "blob").unlink()
        with pytest.raises(InputError, match=fault):
            chat.build(study.documents, study.base_model, small_model, "key")
    os.mkfifo(tmp_path / "blob")
    with pytest.raises(InputError, match=r"chat\.jinja: is a pipe or a device, not a file; give a template"):
        chat.build(study.documents, study.base_model, small_model, "key")
