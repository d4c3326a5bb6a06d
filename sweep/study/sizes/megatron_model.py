"""A model's architecture as arguments of Megatron-LM, from its config.json. Nothing of it is left to a default.

Read in core 0.16.1: the names in training/arguments.py; the scaling of RoPE in core/models/common/embeddings/
rotary_pos_embedding.py, which is that of Llama 3.1 with fixed numbers, since gpt_builders.py does not pass on
`--rope-scaling-factor`; training/tokenizer/tokenizer.py, which pads the vocabulary by default: rows that are added
have a logit of 0 and take part in the softmax, so none are, and tensor parallelism must divide the vocabulary.
"""

from __future__ import annotations

from typing import Any

from sweep.study.errors import InputError
from sweep.study.sizes.shape import Shape

OWN = {"llama": (), "mistral": (), "qwen2": ("--add-qkv-bias",), "qwen3": ("--qk-layernorm",)}
LLAMA3 = {
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


def architecture(config: dict[str, Any], sequence_length: int) -> list[list[str]]:
    """Each argument with its value, from the `config.json` of a Hugging Face folder.

    Raises InputError for what Megatron's GPT cannot express.
    """
    try:
        shape = Shape.of_config(config)
    except ValueError as error:
        raise _refused(f"config.json has not the sizes of a Llama-like model ({error})".splitlines()[0]) from None
    _refuse(config, shape, sequence_length)
    tied = [] if shape.tie_word_embeddings else ["--untie-embeddings-and-output-weights"]
    values = {
        "num-layers": shape.num_hidden_layers,
        "hidden-size": shape.hidden_size,
        "ffn-hidden-size": shape.intermediate_size,
        "num-attention-heads": shape.num_attention_heads,
        "num-query-groups": shape.key_heads,
        "kv-channels": shape.query_size // shape.num_attention_heads,
        "norm-epsilon": repr(float(config.get("rms_norm_eps") or 1e-6)),
        "padded-vocab-size": shape.vocab_size,
        "normalization": "RMSNorm",
        "position-embedding-type": "rope",
        "rotary-percent": 1.0,
    }
    flags = ["--group-query-attention", "--swiglu", "--disable-bias-linear", *tied, *OWN[shape.model_type]]
    pairs = [[f"--{name}", str(value)] for name, value in values.items()]
    return [*pairs, *_rope(config), *([flag] for flag in flags)]


def _rope(config: dict[str, Any]) -> list[list[str]]:
    """The base, and Llama 3.1's scaling where the model has it. transformers 4 and 5 write them under other names."""
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    base = float(rope.get("rope_theta") or config.get("rope_theta") or 10_000)
    if base != int(base):
        raise _refused(f"rope_theta {base:g} is no whole number, which --rotary-base must be")
    found = [["--rotary-base", str(int(base))]]
    kind = rope.get("rope_type") or rope.get("type") or "default"
    if kind == "default":
        return found
    if kind != "llama3":
        raise _refused(f"the RoPE scaling {kind!r} is none that pretrain_gpt.py has for it")
    if other := {name: rope.get(name) for name, value in LLAMA3.items() if rope.get(name) != value}:
        name, value = next(iter(other.items()))
        raise _refused(f"pretrain_gpt.py scales RoPE with {name} {LLAMA3[name]:g} only, the model has {value}")
    return [*found, ["--use-rope-scaling"]]


def _refuse(config: dict[str, Any], shape: Shape, length: int) -> None:
    if shape.model_type not in OWN:
        raise _refused(f"the architecture {shape.model_type!r} is not among {', '.join(OWN)}")
    if config.get("hidden_act", "silu") != "silu":
        raise _refused(f"hidden_act {config['hidden_act']!r} is not silu")
    if config.get("attention_dropout"):
        raise _refused(
            f"attention_dropout {config['attention_dropout']}: the trials train with it, the launch would not"
        )
    if config.get("quantization_config"):
        raise _refused("quantization_config: quantised weights are not converted")
    for name in ("attention_bias", "mlp_bias"):
        if config.get(name):
            raise _refused(f"{name} true: its output projections have biases, which are off")
    if shape.sliding_window and shape.sliding_window < length:
        raise _refused(f"sliding_window {shape.sliding_window} is shorter than the sequences of {length}")
    partial = (config.get("rope_parameters") or config).get("partial_rotary_factor", 1.0)
    if partial != 1:
        raise _refused(f"partial_rotary_factor {partial} is not 1")


def _refused(why: str) -> InputError:
    return InputError(f"launch.formats: megatron: {why}: choose another format")
