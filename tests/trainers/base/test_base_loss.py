"""The base model's loss before the first trial: a broken model is refused with its cause, a sound one measured."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from base_models import changed, copied, study_of, weights, with_weights
from samples import CHINESE, ENGLISH
from transformers import BertConfig, BertLMHeadModel

from sweep.study import LANGUAGES, InputError
from sweep.study.files import cache as cache_files
from sweep.study.sections.launch import Launch
from trainers import prepare
from trainers.data.corpus import open_corpora
from trainers.data.tokens.borders import Borders
from trainers.data.tokens.text_tokenizer import TextTokenizer
from trainers.loop.base import check, faults, measured, rows
from trainers.loop.base.loss import Patient, Probe, Sample
from trainers.loop.base.rows import UntrainedRows
from trainers.loop.held_out import HeldOut
from trainers.loop.out_of_memory import MicroBatch
from trainers.model.base import resizing
from trainers.model.loading import load_tokenizer
from trainers.model.token_loss import TokenLoss
from trainers.workers.group import ALONE

pytestmark = pytest.mark.usefixtures("cache")
NEW = ["天下大势", "分久必合", "合久必分", "quick brown"]


def refused(model: Path, tmp_path: Path, **base: Any) -> str:
    study = study_of(tmp_path / "study", model)
    study = study.model_copy(update={"base_model": study.base_model.model_copy(update=base)})
    with pytest.raises(InputError) as error:
        prepare.prepare(study)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_the_losses_are_those_that_a_trial_measures(trained: Path, tmp_path: Path) -> None:
    study = study_of(tmp_path / "study", trained, evaluation_tokens=2048)
    made = prepare.prepare(study)
    assert made.base_check
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(trained).eval()
    tokenizer = load_tokenizer(study.base_model, str(trained))
    borders = Borders.of(tokenizer, study.documents) if study.training.document_masking else None
    held_out = HeldOut.of(open_corpora(made), study, ALONE, MicroBatch(8))
    losses = held_out.losses(TokenLoss(model, borders=borders))
    bits = held_out.bits_per_byte(losses)
    for language in LANGUAGES:
        found = made.base_check.losses[language]
        assert found.loss == pytest.approx(losses[language], abs=1e-4)
        assert found.bits_per_byte == pytest.approx(bits[language], abs=1e-4)
        assert found.loss < math.log(300)
    assert made.base_check.warnings == ()


def test_what_was_found_is_not_looked_for_again(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = study_of(tmp_path / "study", trained)
    record = prepare.fetch(study)
    monkeypatch.setattr(measured, "check", lambda *arguments: pytest.fail("measured again"))
    monkeypatch.setattr(check.inspection, "inspect", lambda *arguments: pytest.fail("looked at again"))
    assert prepare.fetch(study) == record
    assert prepare.prepare(study) == record.ingredients


def test_a_broken_model_is_looked_at_again_once_it_is_mended(trained: Path, tmp_path: Path) -> None:
    model = copied(trained, tmp_path / "model")
    sound = weights(model)
    with_weights(model, sound | {"model.norm.weight": torch.full((32,), float("nan"))})
    study = study_of(tmp_path / "study", model)
    for _ in range(2):
        with pytest.raises(InputError, match=r"NaN or infinite values in model\.norm\.weight"):
            prepare.prepare(study)
    with_weights(model, sound)
    assert prepare.prepare(study).base_check


def _with_new_rows(fill: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Any, Any], None]:
    def change(model: Any, tokenizer: Any) -> None:
        tokenizer.add_tokens(NEW)
        model.resize_token_embeddings(300 + len(NEW), mean_resizing=False)
        for table in (model.get_input_embeddings().weight, model.get_output_embeddings().weight):
            ids = tokenizer.convert_tokens_to_ids(NEW)
            table[ids] = fill(table[ids])

    return change


@pytest.mark.parametrize("scale", [1.0, 3.0, 100.0])
def test_untrained_rows_are_named(trained: Path, tmp_path: Path, scale: float) -> None:
    torch.manual_seed(0)
    model = changed(trained, tmp_path / "model", _with_new_rows(lambda table: scale * torch.randn_like(table)))
    line = refused(model, tmp_path)
    assert "= ln(vocabulary): the embedding rows of 4 tokens in the text look untrained" in line
    assert all(repr(token) in line for token in NEW)
    assert "base_model.new_rows: mean" in line


@pytest.mark.parametrize("fill", [torch.zeros_like, lambda table: 1e-4 * torch.ones_like(table)], ids=["zero", "alike"])
def test_untrained_rows_that_do_not_break_the_model_are_warned_of(
    trained: Path, tmp_path: Path, fill: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    model = changed(trained, tmp_path / "model", _with_new_rows(fill))
    try:
        made = prepare.prepare(study_of(tmp_path / "study", model))
    except InputError as error:
        said = str(error)
    else:
        assert made.base_check
        said = " ".join(made.base_check.warnings)
    assert "look untrained" in said
    assert "天下大势" in said


@pytest.mark.parametrize(
    ("share", "added", "warned"),
    [(0.01, 0.5, True), (0.0009, 0.5, False), (0.01, 0.05, False), (0.001, 0.081, True)],
)
def test_rows_are_warned_of_where_they_matter_for_text_and_loss(share: float, added: float, warned: bool) -> None:
    found = UntrainedRows("'^', '|'", "2 tokens", share, loss=4.0, added=added, repaired=3.9)
    assert bool(found.warning) == warned
    if warned:
        assert f"add {added:.2f} to its loss of 4.00: if they were added to the tokenizer, train" in str(found.warning)
        assert "else leave out the text that has them" in str(found.warning)


def test_what_rows_add_to_the_loss_is_measured_with_the_mean_in_their_place(trained: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    path = changed(trained, tmp_path / "model", _with_new_rows(lambda table: 3 * torch.randn_like(table)))
    study = study_of(tmp_path / "study", path)
    patient = measured._opened(study, str(path), torch.device("cpu"))
    borders = Borders.of(patient.tokenizer, study.documents)
    sample = Sample.of_texts("x", [ENGLISH, CHINESE], TextTokenizer(patient.tokenizer, borders), 32)
    assert sample
    losses = patient.probe.losses(sample.tokens)
    found = rows.untrained(patient, sample, losses)
    assert found
    ids = torch.tensor(patient.tokenizer.convert_tokens_to_ids(NEW))
    here = torch.isin(losses.targets, ids)
    assert found.share == pytest.approx(float(here.sum()) / losses.count())
    by_chance = losses.mean() - float(losses.values[~here & (losses.targets >= 0)].mean())
    assert found.added >= by_chance - 1e-4
    again = patient.probe.losses(sample.tokens)
    assert torch.equal(again.values, losses.values), "the model's own rows are put back"


def test_a_model_that_overflows_is_refused(trained: Path, tmp_path: Path) -> None:
    tensors = weights(trained)
    tensors["lm_head.weight"] = 1e38 * tensors["lm_head.weight"] / tensors["lm_head.weight"].abs().max()
    line = refused(with_weights(copied(trained, tmp_path / "model"), tensors), tmp_path)
    assert "the weights are finite, the model's output is not" in line


def turned_ids(model: Path) -> None:
    """The model's tokens, except for its end token, under other ids."""
    content = json.loads((model / "tokenizer.json").read_text())
    vocabulary = content["model"]["vocab"]
    others = len(vocabulary) - 1
    turned = {token: 1 + (number + 96) % others for token, number in vocabulary.items()}
    content["model"]["vocab"] = turned | {"<end>": vocabulary["<end>"]}
    (model / "tokenizer.json").write_text(json.dumps(content))


def test_the_tokenizer_of_another_model_of_the_same_size_is_refused(trained: Path, tmp_path: Path) -> None:
    model = copied(trained, tmp_path / "model")
    turned_ids(model)
    line = refused(model, tmp_path)
    assert "most likely the tokenizer is not the one that the model was trained with" in line


def test_rows_that_stand_out_are_not_blamed_for_a_wrong_tokenizer(trained: Path, tmp_path: Path) -> None:
    """Rare tokens have rows of an unusual length, whose repair changes the loss but does not mend the model."""
    model, tensors = copied(trained, tmp_path / "model"), weights(trained)
    turned_ids(model)
    often = load_tokenizer(study_of(tmp_path / "any", model).base_model, str(model)).convert_tokens_to_ids(["e", "t"])
    tensors["lm_head.weight"][often] *= 30
    line = refused(with_weights(model, tensors), tmp_path)
    likely, tried = line.index("most likely the tokenizer is not the one"), line.index("(the loss is still ")
    assert likely < tried < line.index("with the mean row for 'e', 't'")
    assert "train them first" not in line


def test_random_weights_are_refused(trained: Path, tmp_path: Path) -> None:
    def forget(model: Any, tokenizer: Any) -> Any:
        torch.manual_seed(1)
        return type(model)(model.config)

    assert "as with random weights" in refused(changed(trained, tmp_path / "model", forget), tmp_path)


def test_an_encoder_that_loads_as_a_causal_model_is_refused(trained: Path, tmp_path: Path) -> None:
    def encoder(model: Any, tokenizer: Any) -> Any:
        config = BertConfig(
            vocab_size=300, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
        )
        return BertLMHeadModel(config)

    assert "sees the tokens that it has to predict" in refused(changed(trained, tmp_path / "m", encoder), tmp_path)


class NeedsBos(torch.nn.Module):
    """Predicts the next token, which is always one more, if BOS is in front; else it is sure of a wrong one."""

    def __init__(self, rows: int, bos: int) -> None:
        super().__init__()
        self.bos, self.table = bos, torch.nn.Embedding(rows, 4)

    def get_output_embeddings(self) -> Any:
        return self.table

    get_input_embeddings = get_output_embeddings

    def forward(self, input_ids: torch.Tensor, **more: Any) -> Any:
        right = (input_ids[:, :1] == self.bos).long()
        wanted = (input_ids + 2 - right) % len(self.table.weight)
        return SimpleNamespace(logits=8.0 * torch.nn.functional.one_hot(wanted, len(self.table.weight)).float())


def _needs_bos(bos: int | None) -> Patient:
    tokenizer = SimpleNamespace(bos_token_id=bos, all_special_ids=[], get_added_vocab=dict, decode=str)
    return Patient(Probe(NeedsBos(50, 0), None), tokenizer, torch.tensor([], dtype=torch.long))


def test_a_missing_bos_is_named_with_both_losses() -> None:
    patient, sample = _needs_bos(0), Sample("English", (torch.arange(1, 31) % 50).repeat(3, 1), 4.0)
    line = faults.cause(patient, sample, patient.probe.losses(sample.tokens), sample.tokens)
    right = math.log(1 + 49 * math.exp(-8))
    assert line.startswith("the model needs BOS before its text: ")
    assert f"with it the loss is {right:.2f}, without it {8 + right:.2f}: write `documents: {{bos: true}}`" in line
    begins_with_it = Sample("English", torch.cat([torch.zeros(3, 1, dtype=torch.long), sample.tokens], 1), 4.0)
    assert faults.missing_bos(patient, begins_with_it) is None
    assert faults.missing_bos(_needs_bos(None), sample) is None


def test_a_large_model_of_a_study_with_gpus_is_left_to_the_first_gpu(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "LARGEST_ON_A_CPU", 1000)
    study = study_of(tmp_path / "study", trained)
    gpu = study.resources.model_copy(update={"gpus_per_node": 1})
    made = prepare.prepare(study.model_copy(update={"resources": gpu}))
    assert made.base_check
    assert (made.base_check.losses, made.base_check.unmeasured) == ({}, check.LATER)
    found = check.measure(study, made, torch.device("cpu"))
    assert found.losses.keys() == set(LANGUAGES)
    assert found.unmeasured is None
    measured_before = made.model_copy(update={"base_check": found})
    assert prepare.prepare(study.model_copy(update={"resources": gpu}), earlier=measured_before) == measured_before


# A new vocabulary


def extended(trained: Path, tmp_path: Path, tokens: list[str] = NEW) -> Path:
    """The directory of a tokenizer with more tokens."""
    tokenizer = load_tokenizer(study_of(tmp_path / "any", trained).base_model, str(trained))
    tokenizer.add_tokens(tokens)
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    return tmp_path / "tokenizer"


def with_vocabulary(tmp_path: Path, model: Path, **base: Any) -> Any:
    study = study_of(tmp_path / "study", model)
    return study.model_copy(update={"base_model": study.base_model.model_copy(update=base)})


def test_new_rows_are_the_mean_and_all_others_stay(trained: Path, tmp_path: Path) -> None:
    study = with_vocabulary(tmp_path, trained, tokenizer=str(extended(trained, tmp_path)), new_rows="mean")
    made = prepare.prepare(study)
    before, after = weights(trained), weights(Path(made.base_model))
    tokenizer = load_tokenizer(study.base_model, made.base_model)
    old = load_tokenizer(study.base_model, str(trained)).get_vocab()
    ids = tokenizer.convert_tokens_to_ids(NEW)
    for table in ("model.embed_tokens.weight", "lm_head.weight"):
        mean = before[table][sorted(old.values())].mean(dim=0)
        assert torch.allclose(after[table][ids], mean.expand(len(ids), -1), atol=1e-6)
        assert torch.equal(after[table][sorted(old.values())], before[table][sorted(old.values())])
    others = before.keys() - {"model.embed_tokens.weight", "lm_head.weight"}
    assert all(torch.equal(before[name], after[name]) for name in others)
    assert made.base_check
    assert made.base_check.new_rows == len(NEW)


def test_a_new_vocabulary_is_measured_in_bits_per_byte_before_and_after(trained: Path, tmp_path: Path) -> None:
    plain = prepare.prepare(study_of(tmp_path / "plain", trained)).base_check
    study = with_vocabulary(tmp_path, trained, tokenizer=str(extended(trained, tmp_path)), new_rows="mean")
    found = prepare.prepare(study).base_check
    assert plain
    assert found
    for language in LANGUAGES:
        before = found.losses[language].bits_per_byte_before
        assert before == pytest.approx(plain.losses[language].bits_per_byte, rel=0.2)
    lines = found.lines(str)
    own = [line for line in lines if "bits per byte; with its own tokenizer " in line]
    assert [line.split(" loss of ")[1].split()[0] for line in own] == [*LANGUAGES]
    assert max(map(len, own)) < 120
    [line] = [line for line in lines if "new rows, the mean of all;" in line]
    assert "losses per token of two tokenizers do not compare, bits per byte do" in line
    assert any("have new rows, the mean of all: the base model predicts them by chance" in w for w in found.warnings)


def test_a_token_keeps_its_row_where_its_id_moves(trained: Path, tmp_path: Path) -> None:
    """The same vocabulary in another order is the same model."""
    tokens = copied(trained, tmp_path / "tokenizer")
    content = json.loads((tokens / "tokenizer.json").read_text())
    vocabulary = content["model"]["vocab"]
    turned = {token: 1 + (number + 40) % (len(vocabulary) - 1) for token, number in vocabulary.items()}
    content["model"]["vocab"] = turned | {"<end>": 0}
    (tokens / "tokenizer.json").write_text(json.dumps(content))
    plain = prepare.prepare(study_of(tmp_path / "plain", trained)).base_check
    moved = prepare.prepare(with_vocabulary(tmp_path, trained, tokenizer=str(tokens), new_rows="mean")).base_check
    assert plain
    assert moved
    assert moved.new_rows == 0
    for language in LANGUAGES:
        assert moved.losses[language].loss == pytest.approx(plain.losses[language].loss, abs=1e-4)


def test_a_tokenizer_that_moves_ids_is_refused_without_new_rows(trained: Path, tmp_path: Path) -> None:
    tokens = copied(trained, tmp_path / "tokenizer")
    content = json.loads((tokens / "tokenizer.json").read_text())
    content["model"]["vocab"] |= {"a": content["model"]["vocab"]["b"], "b": content["model"]["vocab"]["a"]}
    (tokens / "tokenizer.json").write_text(json.dumps(content))
    line = refused(trained, tmp_path, tokenizer=str(tokens))
    assert "gives other ids than the model's own tokenizer to 2 tokens: 'a', 'b'" in line


def test_a_tokenizer_with_more_tokens_is_refused_without_new_rows(trained: Path, tmp_path: Path) -> None:
    fill = [f"<{i}>" for i in range(300)]
    line = refused(trained, tmp_path, tokenizer=str(extended(trained, tmp_path, fill)))
    assert "base_model.tokenizer: the tokenizer has" in line
    assert "write base_model.new_rows: mean" in line


def test_a_tokenizer_of_another_family_is_refused(trained: Path, tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"<end>": 0, "fox": 1, "dog": 2}, unk_token="<end>"))
    PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<end>").save_pretrained(tmp_path / "other")
    line = refused(trained, tmp_path, tokenizer=str(tmp_path / "other"), new_rows="mean")
    assert "give an extension of the model's own tokenizer" in line


def test_the_models_own_added_tokens_get_rows(trained: Path, tmp_path: Path) -> None:
    """`new_rows` without `tokenizer`: what the refusal of such a model names as its fix."""
    added = [f"<{i}>" for i in range(300)] + NEW
    model = changed(trained, tmp_path / "model", lambda model, tokenizer: tokenizer.add_tokens(added) and None)
    assert "without a row" in refused(model, tmp_path)
    (tmp_path / "study").rename(tmp_path / "before")
    made = prepare.prepare(with_vocabulary(tmp_path, model, new_rows="mean"))
    assert made.base_check
    assert made.base_check.rows == made.base_check.tokens
    assert resizing.resized(Path(made.base_model)).new


def test_the_resized_model_is_made_once(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = with_vocabulary(tmp_path, trained, tokenizer=str(extended(trained, tmp_path)), new_rows="mean")
    made = prepare.fetch(study).ingredients
    monkeypatch.setattr(resizing, "_build", lambda *arguments: pytest.fail("resized again"))
    assert prepare.prepare(study) == made
    assert Path(made.base_model).parent == cache_files.root() / "models"


def test_texts_of_a_sample_are_its_documents(trained: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(study_of(tmp_path / "any", trained).base_model, str(trained))
    borders = Borders((), (tokenizer.eos_token_id,))
    sample = Sample.of_texts("x", [ENGLISH, CHINESE], TextTokenizer(tokenizer, borders), 16)
    assert sample
    joined = "".join(measured._texts(sample, tokenizer, borders))
    assert joined.startswith(ENGLISH)


def test_a_launch_model_gets_the_same_rows_by_command(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = extended(trained, tmp_path)
    monkeypatch.setattr("sys.argv", ["resizing", str(trained), str(tokens), str(tmp_path / "made")])
    resizing.main()
    study = with_vocabulary(tmp_path, trained, tokenizer=str(tokens), new_rows="mean")
    made, by_study = weights(tmp_path / "made"), weights(Path(prepare.prepare(study).base_model))
    assert made.keys() == by_study.keys()
    assert all(torch.equal(made[name], by_study[name]) for name in made)
    launch = {"model": "someone/large", "tokens": 4096, "global_batch_tokens": 512, "sequence_length": 64}
    plain = Launch.model_validate(launch)
    of_another = study.model_copy(update={"launch": plain})
    fault = of_another.vocabulary_fault(("native", "megatron", "axolotl"), None) or ""
    assert fault.startswith("megatron, axolotl: launch.model someone/large lacks the rows of base_model.tokenizer, ")
    assert "python -m trainers.model.base.resizing MODEL TOKENIZER FOLDER" in fault
    assert of_another.vocabulary_fault(("native",), None) is None
    resized = study.model_copy(update={"launch": plain.model_copy(update={"model": str(tmp_path / "made")})})
    assert resized.vocabulary_fault(("native", "megatron"), None) is None


def test_the_command_says_what_it_made_and_tells_bad_input_in_one_line(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def status(*arguments: str) -> int:
        monkeypatch.setattr("sys.argv", ["resizing", *arguments])
        with pytest.raises(SystemExit) as ended:
            resizing.main()
        return int(ended.value.code or 0)

    tokens, made = str(extended(trained, tmp_path)), tmp_path / "new" / "made"
    monkeypatch.setattr("sys.argv", ["resizing", str(trained), tokens, str(made)])
    resizing.main()
    said = capsys.readouterr().out
    assert said.startswith(f"{made}: the model with 4 new rows, the mean of all, of ")
    assert said.count("\n") == 1
    assert status("--help") == 0
    assert "MODEL TOKENIZER FOLDER" in capsys.readouterr().out
    assert status(str(trained), tokens) == 2
    assert "usage: python -m trainers.model.base.resizing" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    bad = [(str(tmp_path / "no"), tokens), (str(tmp_path / "empty"), tokens), (str(trained), str(tmp_path / "empty"))]
    for number, (model, tokenizer) in enumerate(bad):
        folder = tmp_path / f"bad{number}"
        assert status(model, tokenizer, str(folder)) == 2
        fault = capsys.readouterr().err
        assert fault.startswith("almr: ")
        assert fault.count("\n") == 1
        assert "base_model" not in fault
        assert not folder.exists()
    assert status(str(trained), tokens, str(made)) == 2
    assert "exists: give a new name" in capsys.readouterr().err


def test_weights_of_zero_are_refused_though_rounding_may_put_their_loss_below(trained: Path, tmp_path: Path) -> None:
    def zero(model: Any, tokenizer: Any) -> None:
        model.get_output_embeddings().weight.mul_(1e-4)

    with pytest.raises(InputError, match="the model knows nothing of this text, as with random weights"):
        prepare.prepare(study_of(tmp_path / "study", changed(trained, tmp_path / "zero", zero)))
