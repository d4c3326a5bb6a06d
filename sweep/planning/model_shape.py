"""The base model's shape: as the study states it, as its directory says, from a table, or from the hub."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import pydantic

from sweep.study.sections.corpora import BaseModelSource
from sweep.study.sizes.models import KNOWN
from sweep.study.sizes.shape import Shape

EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts")
STATE_IT = "state base_model.shape (hidden_size, num_hidden_layers, ...) to plan memory and FLOPs"


class ShapeLookup(NamedTuple):
    """A shape, or the one line that says why there is none."""

    shape: Shape | None
    why_not: str | None = None


def find(base: BaseModelSource) -> ShapeLookup:
    """Asks the hub only for a model that nothing here knows; loads no weights and no transformers."""
    if base.shape:
        return ShapeLookup(base.shape)
    if base.pretrained is None:
        return ShapeLookup(None, f"base_model: the shape of the embedded model is not planned with; {STATE_IT}")
    if (Path(base.pretrained) / "config.json").is_file():
        return _read(Path(base.pretrained) / "config.json", base.pretrained)
    if base.pretrained in KNOWN:
        return ShapeLookup(KNOWN[base.pretrained].shape)
    return _ask_the_hub(base.pretrained, base.revision)


def _ask_the_hub(model: str, revision: str | None) -> ShapeLookup:
    from huggingface_hub import hf_hub_download

    try:
        path = hf_hub_download(model, "config.json", revision=revision, etag_timeout=5)
    except Exception as error:  # the errors of several network libraries come through
        reason = type(error).__name__
        return ShapeLookup(
            None, f"base_model.pretrained: the shape of {model} is not known here ({reason}); {STATE_IT}"
        )
    return _read(Path(path), model)


def _read(config: Path, model: str) -> ShapeLookup:
    try:
        content = json.loads(config.read_text(encoding="utf-8"))
        if any(content.get(name) for name in EXPERTS):
            return ShapeLookup(
                None, f"base_model: {model} is a mixture of experts, which is not planned for; {STATE_IT}"
            )
        return ShapeLookup(_shape(content))
    except (OSError, ValueError, AttributeError) as error:  # pydantic's own is a ValueError
        missing = _missing(error)
        return ShapeLookup(None, f"base_model: {config} is not of the Llama kind ({missing}); {STATE_IT}")


def _shape(content: dict[str, Any]) -> Shape:
    known = {name: content[name] for name in Shape.model_fields if content.get(name) is not None}
    return Shape.model_validate(known)


def _missing(error: Exception) -> str:
    if isinstance(error, pydantic.ValidationError):
        return ", ".join(str(e["loc"][0]) if e["loc"] else e["msg"] for e in error.errors())
    return " ".join(str(error).split())[:100]
