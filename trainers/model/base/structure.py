"""Whether a checkpoint holds the weights that its configuration describes, without loading them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from sweep.study import InputError
from sweep.study.errors import one_line
from sweep.study.sections.text.corpora import BaseModelSource
from trainers.model.base.checkpoint import WHERE, Checkpoint
from trainers.model.loading import AGAIN, missing_line, quiet

HEADS = {
    name
    for names in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values()
    for name in ([names] if isinstance(names, str) else names)
}

NUMBER = re.compile(r"(?<=\.)\d+(?=\.)")  # of a layer or an expert, in the name of a weight


@dataclass(frozen=True)
class Skeleton:
    """A model without the values of its weights, and the names of its two tables: the input embedding, and the output
    layer's (`head`).
    """

    config: Any
    model: Any

    @property
    def embedding(self) -> str:
        return self._name(self.model.get_input_embeddings())

    @property
    def head(self) -> str:
        return self._name(self.model.get_output_embeddings())

    @property
    def tied(self) -> bool:
        return bool(self.model.get_output_embeddings().weight is self.model.get_input_embeddings().weight)

    @property
    def parameters(self) -> int:
        return sum(weight.numel() for weight in self.model.parameters())

    @property
    def weights(self) -> dict[str, torch.Tensor]:
        """Parameters and buffers that a checkpoint holds, by name; tied ones under each of their names."""
        every = dict(self.model.named_parameters(remove_duplicate=False)) | dict(self.model.named_buffers())
        return {name: every[name] for name in self.model.state_dict() if name in every}

    def _name(self, wanted: Any) -> str:
        name: str = next(name for name, module in self.model.named_modules() if module is wanted)
        return f"{name}.weight"


def skeleton(base: BaseModelSource, folder: Path) -> Skeleton:
    """Raises InputError for a configuration that cannot be read, and for what is no causal language model."""
    options: dict[str, Any] = {"trust_remote_code": base.trust_remote_code}
    try:
        with quiet():
            config = AutoConfig.from_pretrained(folder, **options)
    except Exception as error:  # configurations raise whatever their values make them
        raise InputError(f"{WHERE}: {folder}/config.json cannot be read ({one_line(error)}): {_fix(error)}") from None
    if fault := _not_causal(config):
        raise InputError(f"{WHERE}: {folder} {fault}: give a decoder-only language model, as it was pre-trained")
    try:
        with quiet(), torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config, **options)  # type: ignore[no-untyped-call]
    except Exception as error:  # the same of models
        raise InputError(
            f"{WHERE}: {folder}/config.json describes no model ({one_line(error)}): {_fix(error)}"
        ) from None
    return Skeleton(config, model)


def _fix(error: Exception) -> str:
    """What to do about a configuration that transformers refuses."""
    if "custom code" in str(error):
        return "write base_model.trust_remote_code: true if you trust the Python code in it, or give another model"
    if "does not recognize this architecture" in str(error):
        return "install a newer transformers, correct model_type, or give another model"
    return AGAIN


def _not_causal(config: Any) -> str | None:
    """What the model is, where it is no causal language model. Encoders that load as one are found by what they see:
    `trainers.loop.base.loss`.
    """
    if getattr(config, "is_encoder_decoder", False):
        return f"is an encoder-decoder model ({config.model_type})"
    own_code = "AutoModelForCausalLM" in (getattr(config, "auto_map", None) or {})
    stated = getattr(config, "architectures", None) or []
    if stated and not own_code and not HEADS.intersection(stated):
        return f"is a {', '.join(stated)}, no causal language model"
    return None


def faults(made: Skeleton, checkpoint: Checkpoint) -> list[str]:
    """One line for each way in which the checkpoint is not what the configuration describes."""
    known = _known(made, checkpoint)
    rules = (_shapes, _head, _missing, _left_over)
    return [line for rule in rules for line in rule(made, checkpoint, known)]


def _known(made: Skeleton, checkpoint: Checkpoint) -> dict[str, str]:
    """The checkpoint's name of each weight that both have: it may lack the prefix of the model without a head, or add
    it.
    """
    prefix = f"{made.model.base_model_prefix}."
    found = {}
    for name in made.model.state_dict():
        for other in (name, name.removeprefix(prefix), prefix + name):
            if other in checkpoint.files:
                found[name] = other
                break
    return found


def _shapes(made: Skeleton, checkpoint: Checkpoint, known: dict[str, str]) -> list[str]:
    weights = made.model.state_dict()
    wrong = [name for name, other in known.items() if tuple(weights[name].shape) != checkpoint.shapes[other]]
    if not wrong:
        return []
    first, more = wrong[0], f"; {len(wrong) - 1} more weights differ" if wrong[1:] else ""
    stated, found = _text(weights[first].shape), _text(checkpoint.shapes[known[first]])
    sizes = f"{found} in the checkpoint and {stated} by config.json"
    return [f"{WHERE}: {first} is {sizes}{more}: correct config.json, or {AGAIN}"]


def _text(shape: Any) -> str:
    return " x ".join(map(str, shape)) or "a scalar"


def _head(made: Skeleton, checkpoint: Checkpoint, known: dict[str, str]) -> list[str]:
    """A tied model whose checkpoint has an output layer of its own."""
    embedding, head = known.get(made.embedding), known.get(made.head)
    if not made.tied or not embedding or not head or not checkpoint.differ(embedding, head):
        return []
    return [
        f"{WHERE}: the checkpoint's output layer ({head}) is not its embedding ({embedding}), but config.json ties the "
        f"two: write tie_word_embeddings: false in config.json, or remove the one that was not trained"
    ]


def _missing(made: Skeleton, checkpoint: Checkpoint, known: dict[str, str]) -> list[str]:
    """Weights that transformers would fill with random numbers. Where the checkpoint has other names instead, loading
    may know them under those, and says so itself.
    """
    there = {id(weight) for name, weight in made.weights.items() if name in known}  # a tied weight is stored once
    missing = [name for name, weight in made.weights.items() if id(weight) not in there]
    renamed = checkpoint.files.keys() - set(known.values())
    if not missing or (renamed and made.head not in missing):
        return []
    fix = "write tie_word_embeddings: true in config.json if the two are one, or " if made.head in missing else ""
    return [missing_line(missing, fix)]


def _left_over(made: Skeleton, checkpoint: Checkpoint, known: dict[str, str]) -> list[str]:
    """Weights of the checkpoint like those of the model, of further layers or experts: the model would run without."""
    used = set(known.values())
    like = {NUMBER.sub("", name) for name in used}
    skipped = [re.compile(name) for name in getattr(made.model, "_keys_to_ignore_on_load_unexpected", None) or ()]
    more = [name for name in checkpoint.files if name not in used and NUMBER.sub("", name) in like]
    more = [name for name in more if not any(pattern.search(name) for pattern in skipped)]
    if not more:
        return []
    others = f" and {len(more) - 1:,} more weights" if more[1:] else ""
    return [
        f"{WHERE}: config.json describes a model without {more[0]}{others} of the checkpoint: correct its number of "
        f"layers, or {AGAIN}"
    ]
