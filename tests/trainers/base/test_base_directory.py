"""A base model's directory is looked at before the first trial: whatever is wrong is one line that names it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from base_models import EMBEDDING, HEAD, changed, copied, study_of, weights, with_weights
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    BloomConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    MistralConfig,
    OPTConfig,
    T5Config,
    T5ForConditionalGeneration,
)

from sweep.preflight import inputs
from sweep.study import InputError, Study
from trainers.model.base import checkpoint, inspection, positions, structure
from trainers.model.base.inspection import Inspection
from trainers.model.loading import load_tokenizer

pytestmark = pytest.mark.usefixtures("cache")


def inspected(model: Path, tmp_path: Path, **training: Any) -> Inspection:
    study = study_of(tmp_path / "study", model, **training)
    inspection.refuse_incomplete(model)
    return inspection.inspect(study, model, load_tokenizer(study.base_model, str(model)))


def tokens_of(model: Path) -> dict[str, int]:
    found: dict[str, int] = AutoTokenizer.from_pretrained(model).get_vocab()
    return found


def refused(model: Path, tmp_path: Path, **training: Any) -> str:
    """The one line that refuses a model."""
    try:
        [line] = inspected(model, tmp_path, **training).faults
    except InputError as error:
        line = str(error)
    assert "\n" not in line
    return line


def test_a_sound_model_is_described(trained: Path, tmp_path: Path) -> None:
    found = inspected(trained, tmp_path)
    assert found.faults == []
    assert (found.found.rows, found.found.tokens, found.found.warnings) == (300, len(tokens_of(trained)), ())
    assert found.found.parameters == sum(tensor.numel() for tensor in weights(trained).values())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_values_that_are_not_finite_are_named_with_their_tensor(
    trained: Path, tmp_path: Path, value: float, dtype: torch.dtype
) -> None:
    tensors = {name: tensor.to(dtype) for name, tensor in weights(trained).items()}
    tensors["model.layers.1.mlp.up_proj.weight"][3, 5] = value
    model = with_weights(copied(trained, tmp_path / "model"), tensors)
    expected = "NaN or infinite values in model.layers.1.mlp.up_proj.weight (model.safetensors: 1 value)"
    assert expected in refused(model, tmp_path)


def test_a_large_tensor_is_read_in_parts(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "AT_ONCE", 64)
    tensors = weights(trained)
    tensors[EMBEDDING][-1, -1] = float("nan")
    tensors["model.norm.weight"][-1] = float("inf")
    model = with_weights(copied(trained, tmp_path / "model"), tensors)
    assert "1 value), and in 1 more tensors" in refused(model, tmp_path)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 0.999))
def test_a_file_that_is_cut_off_anywhere_is_named(trained: Path, tmp_path_factory: Any, share: float) -> None:
    whole = (trained / "model.safetensors").read_bytes()
    folder = tmp_path_factory.mktemp("cut")
    (folder / "config.json").write_bytes((trained / "config.json").read_bytes())
    (folder / "model.safetensors").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(InputError, match=r"model.safetensors is damaged or cut off: download or save"):
        checkpoint.opened(folder)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200), name=st.sampled_from(["model.safetensors", "pytorch_model.bin"]))
def test_random_bytes_are_no_weights(tmp_path_factory: Any, content: bytes, name: str) -> None:
    folder = tmp_path_factory.mktemp("bytes")
    (folder / name).write_bytes(content)
    with pytest.raises(InputError, match=name):
        checkpoint.opened(folder)


def _shards(trained: Path, folder: Path) -> Path:
    tensors, files = weights(copied(trained, folder)), {}
    (folder / "model.safetensors").unlink()
    for number, (name, tensor) in enumerate(tensors.items()):
        files[name] = f"model-{number:02}.safetensors"
        save_file({name: tensor}, folder / files[name], metadata={"format": "pt"})
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": files}))
    return folder


def test_weights_in_several_files_are_read_and_a_missing_one_is_named(trained: Path, tmp_path: Path) -> None:
    model = _shards(trained, tmp_path / "model")
    assert inspected(model, tmp_path).faults == []
    last = sorted(model.glob("model-*.safetensors"))[-1]
    last.unlink()
    with pytest.raises(InputError, match=f"lacks {last.name}, of "):
        inspection.refuse_incomplete(model)
    (model / "model.safetensors.index.json").write_text("{")
    with pytest.raises(InputError, match=r"index.json is damaged or cut off"):
        inspection.refuse_incomplete(model)


def test_a_pipe_among_its_files_is_not_waited_for(trained: Path, tmp_path: Path) -> None:
    model = copied(trained, tmp_path / "model")
    os.mkfifo(model / "chat_template.jinja")
    with pytest.raises(InputError, match=r"chat_template\.jinja: is a pipe or a device, not a file"):
        inspection.refuse_incomplete(model)


def test_weights_that_torch_pickled_are_read_without_unpickling_objects(trained: Path, tmp_path: Path) -> None:
    model = copied(trained, tmp_path / "model")
    tensors = weights(model)
    (model / "model.safetensors").unlink()
    torch.save(tensors, model / "pytorch_model.bin")
    assert inspected(model, tmp_path).faults == []
    torch.save({"weight": Path("/")}, model / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"pytorch_model\.bin is damaged"):
        inspection.refuse_incomplete(model)


@pytest.mark.parametrize(
    ("files", "line"),
    [
        ({}, "is empty"),
        ({"config.json": "{}"}, "contains no weights"),
        ({"adapter_config.json": "{}"}, "is an adapter without its base model: merge"),
        ({"config.json": "{}", "model.safetensors": "version https://git-lfs.github.com/spec/v1\n"}, "only a pointer"),
    ],
)
def test_a_directory_that_holds_no_model_says_what_it_is(tmp_path: Path, files: dict[str, str], line: str) -> None:
    (tmp_path / "model").mkdir()
    for name, content in files.items():
        (tmp_path / "model" / name).write_text(content)
    assert line in refused(tmp_path / "model", tmp_path)


def test_a_tied_model_with_an_output_layer_of_its_own_is_refused(trained: Path, tmp_path: Path) -> None:
    """transformers would not tie them, whatever the configuration says."""
    model = copied(trained, tmp_path / "model")
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": True}))
    assert "output layer (lm_head.weight) is not its embedding" in refused(model, tmp_path)


def test_a_tied_model_that_stores_both_copies_is_fine(trained: Path, tmp_path: Path) -> None:
    model = copied(trained, tmp_path / "model")
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": True}))
    tensors = weights(model)
    with_weights(model, tensors | {HEAD: tensors[EMBEDDING].clone()})
    assert inspected(model, tmp_path).faults == []


@pytest.mark.parametrize(
    ("lost", "line"),
    [
        (HEAD, "lm_head.weight is not in the checkpoint, and would be random: write tie_word_embeddings: true"),
        ("model.layers.0.self_attn.q_proj.weight", "model.layers.0.self_attn.q_proj.weight is not in the checkpoint"),
        ("model.layers.1.", "and 8 more weights are not in the checkpoint"),
    ],
)
def test_weights_that_the_checkpoint_lacks_are_named(trained: Path, tmp_path: Path, lost: str, line: str) -> None:
    tensors = {name: tensor for name, tensor in weights(trained).items() if not name.startswith(lost)}
    assert line in refused(with_weights(copied(trained, tmp_path / "model"), tensors), tmp_path)


def test_layers_that_the_configuration_leaves_out_are_named(trained: Path, tmp_path: Path) -> None:
    folder = copied(trained, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 1}))
    assert "describes a model without model.layers.1." in refused(folder, tmp_path)


@pytest.mark.parametrize(
    ("changes", "fix"),
    [
        ({"model_type": "none", "auto_map": {"AutoConfig": "a.B"}}, "write base_model.trust_remote_code: true if"),
        ({"model_type": "none"}, "install a newer transformers"),
    ],
)
def test_a_configuration_of_another_library_or_version_has_its_own_fix(
    trained: Path, tmp_path: Path, changes: dict[str, Any], fix: str
) -> None:
    folder = copied(trained, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))
    assert fix in refused(folder, tmp_path)


def test_weights_of_another_shape_are_named(trained: Path, tmp_path: Path) -> None:
    tensors = weights(trained)
    tensors["model.norm.weight"] = torch.ones(16)
    line = refused(with_weights(copied(trained, tmp_path / "model"), tensors), tmp_path)
    assert "model.norm.weight is 16 in the checkpoint and 32 by config.json" in line


def _other_kind(source: Path, folder: Path, model: Any) -> Path:
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(source).save_pretrained(folder)
    return folder


T5 = {"d_model": 32, "d_ff": 32, "num_layers": 1, "num_heads": 2}
SMALL = {"vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (
            lambda: T5ForConditionalGeneration(
                T5Config(vocab_size=300, d_model=32, d_ff=32, num_layers=1, num_heads=2)
            ),
            "is an encoder-decoder model (t5)",
        ),
        (lambda: BertForMaskedLM(BertConfig(**SMALL, intermediate_size=32)), "is a BertForMaskedLM, no causal"),
    ],
)
def test_models_that_are_no_causal_language_models_are_refused(
    trained: Path, tmp_path: Path, make: Callable[[], Any], line: str
) -> None:
    assert line in refused(_other_kind(trained, tmp_path / "model", make()), tmp_path)


def test_a_configuration_that_cannot_be_read_is_named(trained: Path, tmp_path: Path) -> None:
    model = copied(trained, tmp_path / "model")
    for content in ("", "{", '{"model_type": "no-such"}', '{"model_type": "llama", "hidden_size": "many"}', "[]"):
        (model / "config.json").write_text(content)
        study = study_of(tmp_path / f"study{len(content)}", model)
        with pytest.raises(InputError, match=r"config.json"):
            structure.skeleton(study.base_model, model)


def test_learned_positions_are_a_limit(trained: Path, tmp_path: Path) -> None:
    config = GPT2Config(vocab_size=300, n_positions=64, n_embd=32, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0)
    model = _other_kind(trained, tmp_path / "model", GPT2LMHeadModel(config))
    line = refused(model, tmp_path, sequence_length=128, global_batch_tokens=256)
    assert "128 tokens, and the base model has 64 learned positions: write at most 64" in line
    study = study_of(tmp_path / "fits", model, sequence_length=64)
    assert inspection.inspect(study, model, load_tokenizer(study.base_model, str(model))).faults == []


def _positions(config: Any) -> positions.Positions:
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        return positions.of_model(config, AutoModelForCausalLM.from_config(config))


LLAMA: dict[str, Any] = SMALL | {"intermediate_size": 32, "max_position_embeddings": 64}


@pytest.mark.parametrize(
    ("config", "longest", "learned"),
    [
        (LlamaConfig(**LLAMA), 64, False),
        (LlamaConfig(**LLAMA, rope_parameters={"rope_type": "linear", "factor": 4.0, "rope_theta": 1e4}), 256, False),
        (LlamaConfig(**LLAMA, rope_parameters={"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}), 128, False),
        (
            LlamaConfig(
                **LLAMA | {"max_position_embeddings": 256},
                rope_parameters={
                    "rope_type": "yarn",
                    "factor": 4.0,
                    "original_max_position_embeddings": 64,
                    "rope_theta": 1e4,
                },
            ),
            256,
            False,
        ),
        (MistralConfig(**LLAMA, sliding_window=16), 64, False),
        (OPTConfig(**SMALL, ffn_dim=32, max_position_embeddings=64, word_embed_proj_dim=32), 64, True),
        (BloomConfig(vocab_size=300, hidden_size=32, n_layer=1, n_head=2), None, False),
    ],
    ids=lambda value: type(value).__name__ if hasattr(value, "to_dict") else str(value),
)
def test_how_long_a_sequence_a_model_was_made_for(config: Any, longest: int | None, learned: bool) -> None:
    assert _positions(config) == positions.Positions(longest, learned)


def test_rotary_positions_beyond_the_longest_are_warned_of() -> None:
    rotary = positions.Positions(64)
    assert positions.fault(rotary, 65) is None
    assert positions.warning(rotary, 64) is None
    assert "was made for at most 64" in (positions.warning(rotary, 65) or "")
    assert positions.warning(positions.Positions(None), 10**6) is None


def test_tokens_without_a_row_are_named_with_the_fix(trained: Path, tmp_path: Path) -> None:
    fill = [f"<{i}>" for i in range(300 - len(tokens_of(trained)))]
    added = [*fill, "天下大势", "合久必分"]
    model = changed(trained, tmp_path / "model", lambda model, tokenizer: tokenizer.add_tokens(added) and None)
    line = refused(model, tmp_path)
    assert "has 2 tokens without a row in the model's embedding of 300 rows: '天下大势', '合久必分'" in line
    assert "write base_model.new_rows: mean" in line


def test_more_rows_than_tokens_are_fine(trained: Path, tmp_path: Path) -> None:
    """Many models have an embedding that is padded to a multiple of 64 rows."""
    model = changed(trained, tmp_path / "model", lambda model, tokenizer: model.resize_token_embeddings(320) and None)
    found = inspected(model, tmp_path)
    assert (found.faults, found.found.rows) == ([], 320)


def test_a_tokenizer_without_an_end_of_text_token_is_refused(trained: Path, tmp_path: Path) -> None:
    model = copied(trained, tmp_path / "model")
    settings = json.loads((model / "tokenizer_config.json").read_text())
    (model / "tokenizer_config.json").write_text(json.dumps({k: v for k, v in settings.items() if k != "eos_token"}))
    for name in ("special_tokens_map.json",):
        (model / name).unlink(missing_ok=True)
    assert "no end-of-text token to separate documents with: set" in refused(model, tmp_path)


def test_a_damaged_tokenizer_is_named(trained: Path, tmp_path: Path) -> None:
    model = copied(trained, tmp_path / "model")
    (model / "tokenizer.json").write_text("{}")
    assert "the tokenizer of " in refused(model, tmp_path)


def test_a_study_states_no_field_of_a_new_vocabulary_in_older_recipes(local_study: Study) -> None:
    assert not {"tokenizer", "new_rows"} & local_study.recipe()["base_model"].keys()
    base = local_study.base_model.model_copy(update={"new_rows": "mean"})
    assert local_study.model_copy(update={"base_model": base}).recipe()["base_model"]["new_rows"] == "mean"


@pytest.mark.parametrize("name", ["tokenizer.json", "config.json"])
def test_a_pointer_in_place_of_a_description_is_named(trained: Path, tmp_path: Path, name: str) -> None:
    folder = copied(trained, tmp_path / "model")
    (folder / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(InputError, match=rf"{name}: is only a pointer to a file in Git LFS: fetch its content"):
        inspection.refuse_incomplete(folder)


def test_a_path_without_a_model_is_one_line_of_the_check(trained: Path, tmp_path: Path) -> None:
    for path in (tmp_path / "none", trained / "config.json"):
        study = study_of(tmp_path / f"study-{path.name}", path)
        [result] = inputs.model(study)
        assert not result.ok
        assert "is no directory, and no name on the hub: correct it" in result.detail
