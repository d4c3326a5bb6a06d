"""All that is found in a base model's directory without computing with it: configuration, tokenizer, weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sweep.study import InputError, Study
from sweep.study.files import regular
from sweep.study.ingredients import BaseModelCheck
from sweep.study.sections.text.documents import Documents
from trainers.data.readers.opening import refuse_pointer
from trainers.data.readers.place import Place
from trainers.data.tokens.borders import Borders
from trainers.model.base import checkpoint, positions, structure, vocabulary
from trainers.model.base.checkpoint import WHERE, Checkpoint
from trainers.model.base.structure import Skeleton
from trainers.model.loading import AGAIN


@dataclass(frozen=True)
class Inspection:
    """`faults`: why the model cannot be used, one line each; none of them leaves `found` to be relied on."""

    found: BaseModelCheck
    faults: list[str] = field(default_factory=list)


def refuse_incomplete(folder: Path) -> None:
    """Raises InputError for a directory without configuration, for weights that are missing or cut off, for files of
    configuration or tokenizer that are pointers, and for pipes.
    """
    regular.refuse_pipes(folder, AGAIN)
    if not (folder / "config.json").exists() and any(folder.glob("*.safetensors")):
        raise InputError(f"{WHERE}: {folder} has no config.json: {AGAIN}")
    checkpoint.opened(folder)
    for file in sorted([*folder.glob("*.json"), *folder.glob("*.model")]):
        refuse_pointer(Place(WHERE, str(file)))


def inspect(study: Study, folder: Path, tokenizer: Any, every_weight: bool = True) -> Inspection:
    """`every_weight`: read all weights, to see that they are finite; else their names and shapes only.

    Raises InputError where one fault hides all others.
    """
    made = structure.skeleton(study.base_model, folder)
    weights = checkpoint.opened(folder)
    rows = _rows(made, weights)
    faults = [*_of_config(study, made, tokenizer, rows), *structure.faults(made, weights)]
    if every_weight and not faults:
        faults = _not_finite(weights)
    warning = positions.warning(positions.of_model(made.config, made.model), study.training.sequence_length)
    found = BaseModelCheck(
        rows=rows,
        tokens=len(tokenizer.get_vocab()),
        parameters=made.parameters,
        warnings=(warning,) if warning else (),
    )
    return Inspection(found, faults)


def of_config(study: Study, folder: Path, tokenizer: Any) -> list[str]:
    """The faults that the configuration alone shows, where the weights are not on this machine."""
    made = structure.skeleton(study.base_model, folder)
    return _of_config(study, made, tokenizer, made.model.get_input_embeddings().weight.shape[0])


def _of_config(study: Study, made: Skeleton, tokenizer: Any, rows: int) -> list[str]:
    base = study.base_model
    where = f"base_model.{'tokenizer' if base.tokenizer else 'pretrained' if base.pretrained else 'embedded'}"
    found = [
        _borders(tokenizer, study.documents),
        vocabulary.fault(tokenizer, rows, where, may_grow=base.new_rows is not None),
        positions.fault(positions.of_model(made.config, made.model), study.training.sequence_length),
    ]
    return [fault for fault in found if fault]


def _borders(tokenizer: Any, documents: Documents) -> str | None:
    try:
        Borders.of(tokenizer, documents)
    except InputError as error:
        return str(error)
    return None


def _not_finite(weights: Checkpoint) -> list[str]:
    bad = weights.not_finite()
    if not bad:
        return []
    more = f", and in {len(bad) - 1:,} more tensors" if bad[1:] else ""
    return [f"{WHERE}: NaN or infinite values in {bad[0]}{more}: {AGAIN}"]


def _rows(made: Skeleton, weights: Checkpoint) -> int:
    """Rows of the embedding, as stored; as the configuration says where it has another name in the checkpoint."""
    shape = next((shape for name, shape in weights.shapes.items() if made.embedding.endswith(name)), None)
    return shape[0] if shape else int(made.model.get_input_embeddings().weight.shape[0])
