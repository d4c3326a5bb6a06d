"""The architecture of a model in Megatron's arguments, and what Megatron cannot express."""

from __future__ import annotations

from typing import Any

import pytest

from sweep.study import InputError
from sweep.study.sizes.megatron_model import architecture

LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
LLAMA31 = {
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "rms_norm_eps": 1e-5,
    "rope_theta": 500000.0,
    "rope_scaling": LLAMA3 | {"rope_type": "llama3"},
}


def given(**changed: Any) -> dict[str, str | None]:
    """Arguments of a changed Llama 3.1; those without a value have None."""
    return {name: (values or [None])[0] for name, *values in architecture(LLAMA31 | changed, 8192)}


def test_nothing_of_llama_31_is_left_to_a_default() -> None:
    assert given() == {
        "--num-layers": "32",
        "--hidden-size": "4096",
        "--ffn-hidden-size": "14336",
        "--num-attention-heads": "32",
        "--num-query-groups": "8",
        "--kv-channels": "128",
        "--norm-epsilon": "1e-05",
        "--padded-vocab-size": "128256",
        "--normalization": "RMSNorm",
        "--position-embedding-type": "rope",
        "--rotary-percent": "1.0",
        "--rotary-base": "500000",
        "--use-rope-scaling": None,
        "--group-query-attention": None,
        "--swiglu": None,
        "--disable-bias-linear": None,
        "--untie-embeddings-and-output-weights": None,
    }


def test_each_family_has_what_it_adds() -> None:
    assert "--add-qkv-bias" in given(model_type="qwen2")
    assert "--qk-layernorm" in given(model_type="qwen3")
    assert given(model_type="qwen3")["--kv-channels"] == "128"
    assert given(model_type="mistral", sliding_window=8192).keys() == given().keys()
    assert "--untie-embeddings-and-output-weights" not in given(tie_word_embeddings=True)


def test_rope_is_read_as_either_version_of_transformers_writes_it() -> None:
    newer = {"rope_theta": None, "rope_scaling": None}
    newer |= {"rope_parameters": LLAMA3 | {"rope_theta": 500000.0, "rope_type": "llama3"}}
    assert given(**newer) == given()
    plain = given(rope_scaling=None)
    assert "--use-rope-scaling" not in plain
    assert plain["--rotary-base"] == "500000"
    assert given(rope_theta=None, rope_scaling=None)["--rotary-base"] == "10000"


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"model_type": "gemma2"}, "the architecture 'gemma2' is not among llama, mistral, qwen2, qwen3"),
        ({"model_type": "olmo2"}, "the architecture 'olmo2'"),
        ({"rope_scaling": LLAMA3 | {"rope_type": "llama3", "factor": 32.0}}, "with factor 8 only, the model has 32.0"),
        ({"rope_scaling": {"type": "yarn", "factor": 4.0}}, "the RoPE scaling 'yarn'"),
        ({"rope_theta": 1234.5}, "rope_theta 1234.5 is no whole number"),
        ({"sliding_window": 4096}, "sliding_window 4096 is shorter than the sequences of 8192"),
        ({"attention_bias": True}, "attention_bias true"),
        ({"mlp_bias": True}, "mlp_bias true"),
        ({"attention_dropout": 0.1}, "attention_dropout 0.1"),
        ({"quantization_config": {"bits": 4}}, "quantization_config"),
        ({"hidden_act": "gelu"}, "hidden_act 'gelu'"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor 0.5"),
        ({"hidden_size": None}, "config.json has not the sizes"),
    ],
)
def test_what_megatron_cannot_express_is_refused_in_one_line(changed: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match="choose another format") as refused:
        given(**changed)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)
