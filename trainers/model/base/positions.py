"""A model's positions against the training's sequence length."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

LEARNED = ("position", "wpe", "pos_emb")  # parts of the names of position embeddings


class Positions(NamedTuple):
    """`longest`: tokens of a sequence that the model was made for; None: it has no limit. `learned`: each position has
    a row of its own, and there are no others.
    """

    longest: int | None
    learned: bool = False


def of_model(config: Any, model: torch.nn.Module) -> Positions:
    """From the configuration and the model's modules, whose weights are not looked at."""
    rows = [
        module.num_embeddings - getattr(module, "offset", 0)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Embedding) and any(word in name.rpartition(".")[2] for word in LEARNED)
    ]
    text = config.get_text_config()
    stated = getattr(text, "max_position_embeddings", None)
    if rows:
        return Positions(min([*rows, stated or rows[0]]), learned=True)
    ropes = _ropes(text)
    return Positions(_reach(stated, ropes) if stated and ropes else None)


def _ropes(config: Any) -> list[dict[str, Any]]:
    """The parameters of rotary embeddings: one set, or one for each kind of layer."""
    found = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    nested = [value for value in found.values() if isinstance(value, dict)] if isinstance(found, dict) else []
    if nested:
        return nested
    return [found] if found or getattr(config, "rope_theta", None) else []


def _reach(stated: int, ropes: list[dict[str, Any]]) -> int:
    """The longest sequence with scaling: a factor stretches the length of the pre-training, which the scaling states
    itself, or which is the stated one.
    """
    stretched = (
        rope["factor"] * (rope.get("original_max_position_embeddings") or stated)
        for rope in ropes
        if rope.get("factor") and rope.get("rope_type", rope.get("type")) != "default"
    )
    return int(max(stated, *stretched, 0))


def fault(positions: Positions, length: int) -> str | None:
    """Why a model with learned positions cannot read sequences of `length` tokens."""
    if not positions.learned or not positions.longest or length <= positions.longest:
        return None
    return (
        f"training.sequence_length: {length:,} tokens, and the base model has {positions.longest:,} learned positions: "
        f"write at most {positions.longest}, or choose another base model"
    )


def warning(positions: Positions, length: int) -> str | None:
    """What is said of a model that can read longer sequences than it was made for, but was not trained to."""
    if positions.learned or not positions.longest or length <= positions.longest:
        return None
    return (
        f"training.sequence_length: {length:,} tokens, and the base model was made for at most {positions.longest:,} "
        f"(max_position_embeddings, with its rope scaling): trials would first learn longer text, which moves the LR"
    )
