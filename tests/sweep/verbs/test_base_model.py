"""A broken base model ends `plan --check`, `prepare` and `run` with one line and exit status 2, before any trial."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from base_models import changed, study_of, weights, with_weights
from transformers import GPT2Config, GPT2LMHeadModel
from typer.testing import CliRunner

from sweep import cli, controller
from sweep.study import InputError, Study, study_file

pytestmark = pytest.mark.usefixtures("cache")
NEW = ["天下大势", "分久必合", "合久必分", "lazy dog"]


def added_tokens(model: Any, tokenizer: Any) -> None:
    tokenizer.add_tokens([*(f"<{i}>" for i in range(300 - len(tokenizer))), *NEW])


def untrained_rows(model: Any, tokenizer: Any) -> None:
    added_tokens(model, tokenizer)
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    torch.manual_seed(0)
    for table in (model.get_input_embeddings().weight, model.get_output_embeddings().weight):
        table[-4:] = 3 * torch.randn_like(table[-4:])


def nan_weight(model: Any, tokenizer: Any) -> None:
    next(p for n, p in model.named_parameters() if "down_proj" in n)[0, 0] = float("nan")


def short_positions(model: Any, tokenizer: Any) -> Any:
    return GPT2LMHeadModel(GPT2Config(vocab_size=300, n_positions=16, n_embd=32, n_layer=1, n_head=2))


CASES: dict[Callable[[Any, Any], Any], str] = {
    added_tokens: "tokens without a row in the model's embedding of 300 rows: ",
    untrained_rows: "= ln(vocabulary): the embedding rows of 4 tokens in the text look untrained: ",
    nan_weight: "NaN or infinite values in model.layers.0.mlp.down_proj.weight (model.safetensors: 1 value)",
    short_positions: "sequence_length: 32 tokens, and the base model has 16 learned positions: write at most 16",
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_no_trial_of_a_broken_base_model_starts(
    case: Callable[[Any, Any], Any], small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(controller, "run_trials", lambda *arguments: pytest.fail("a trial started"))
    name = _written(study_of(tmp_path / "study", changed(small_model, tmp_path / "model", case)), tmp_path)
    runs = ["--runs", str(tmp_path / "runs")]
    checked = CliRunner().invoke(cli.app, ["plan", name, "--check", "--json", *runs])
    faults = [found["detail"] for found in json.loads(checked.stdout)["checks"] if not found["ok"]]
    assert checked.exit_code == 2
    for command in (["prepare", name], ["run", name, *runs]):
        error = CliRunner().invoke(cli.app, command).exception
        assert isinstance(error, InputError)  # which the command line shows, with exit status 2
        faults.append(str(error))
    assert len(faults) == 3
    for line in faults:
        assert CASES[case] in line
        assert "\n" not in line
        assert all(repr(token) in line for token in (NEW if case is untrained_rows else []))


def test_what_was_found_is_shown_by_prepare_and_plan(small_model: Path, tmp_path: Path) -> None:
    name = _written(study_of(tmp_path / "study", small_model), tmp_path)
    assert _invoked("plan", name)["base_model"] is None
    found = _invoked("prepare", name)["base_model"]
    assert found["losses"].keys() == {"original", "additional"}
    assert found["warnings"] == []
    assert _invoked("plan", name)["base_model"] == found
    text = CliRunner().invoke(cli.app, ["prepare", name]).stdout
    loss = found["losses"]["original"]
    assert f"base model: loss of original {loss['loss']:.3f} nats per token ({loss['bits_per_byte']:.3f} bits" in text


def test_a_plan_says_which_formats_export_will_refuse(small_model: Path, tmp_path: Path) -> None:
    """`new_rows` alone matters only where the model lacks rows for its own tokenizer."""
    lacking = changed(small_model, tmp_path / "lacking", lambda model, tokenizer: added_tokens(model, tokenizer))
    launch = {"model": "someone/large", "tokens": 4096, "global_batch_tokens": 512, "sequence_length": 64}
    launch |= {"formats": ["native", "megatron", "axolotl"]}
    fields: list[tuple[Path, dict[str, str], str | None]] = [
        (small_model, {"tokenizer": str(lacking)}, "tokenizer"),
        (lacking, {}, "new_rows"),
        (small_model, {}, None),
    ]
    for number, (model, vocabulary, field) in enumerate(fields):
        content = study_of(tmp_path / str(number), model).model_dump(mode="json", by_alias=True)
        content["base_model"] |= {"new_rows": "mean", **vocabulary}
        study = Study.model_validate(content | {"launch": launch})
        (tmp_path / f"plan{number}").mkdir()
        name = _written(study, tmp_path / f"plan{number}")
        said = [line for line in _invoked("plan", name)["warnings"] if "almr export" in line]
        start = "almr export will refuse this for megatron, axolotl: launch.model someone/large lacks the rows of"
        assert [line.startswith(f"{start} base_model.{field}, ") for line in said] == ([True] if field else [])


def _invoked(*arguments: str) -> dict[str, Any]:
    done = CliRunner().invoke(cli.app, [*arguments, "--json"], catch_exceptions=False)
    assert done.exit_code == 0
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _written(study: Study, folder: Path) -> str:
    (folder / "study.yaml").write_text(study_file.dump(study))
    return str(folder / "study.yaml")


@pytest.mark.parametrize("broken", [False, True])
def test_a_node_measures_what_the_preparation_did_not(small_model: Path, tmp_path: Path, broken: bool) -> None:
    """As it does on a GPU; here in this process."""
    from sweep.controller import base_model
    from trainers import prepare

    model = changed(small_model, tmp_path / "model", lambda model, tokenizer: None)
    study = study_of(tmp_path / "study", model)
    made = prepare.prepare(study)
    assert made.base_check
    unmeasured = made.base_check.model_copy(update={"losses": {}, "unmeasured": "later"})
    if broken:
        tensors = weights(model)
        with_weights(model, tensors | {"lm_head.weight": -tensors["lm_head.weight"] * 9})
        made = made.model_copy(update={"base_model_fingerprint": "other"})
    answer, fault = base_model._measure(
        study.model_dump_json(by_alias=True), made.model_copy(update={"base_check": unmeasured}).model_dump_json()
    )
    assert bool(fault) == broken
    assert ("where a model that knows nothing has" in fault) == broken
    assert bool(answer) != broken
