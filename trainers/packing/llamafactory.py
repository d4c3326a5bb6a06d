"""LLaMA-Factory: `tokenized/`, a `DatasetDict` for its `tokenized_path`, and `model/`, the base model with a tokenizer
that suits it.

LLaMA-Factory 0.9.5 makes EOS the pad token where there is none (`data/template.py`), and the collator of transformers
leaves every pad token out of the loss. So the tokenizer has as pad token one that is nowhere in the text.

With `document_masking` the loss takes its targets from the column `shift_labels` (`ForCausalLMLoss`), and attention
keeps documents apart by `position_ids`, if there is no `attention_mask` (`masking_utils.py`): the tokenizer makes none.
Then the labels only count the targets, which is nearest with a border as pad token: a document has one, and one token
that is no target.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sweep.study import InputError
from sweep.study.files.atomic import write_atomically
from trainers.data.conversations import rows as conversations
from trainers.model.loading import load_tokenizer
from trainers.packing import arrow
from trainers.packing.blocks import NO_TARGET, LaunchBlocks, Rows
from trainers.packing.writer import Written

TOKENIZED, MODEL = "tokenized", "model"
VALIDATION = "validation_{}"
CONFIG, SPECIAL = "tokenizer_config.json", "special_tokens_map.json"


def write(blocks: LaunchBlocks, folder: Path, written: Written) -> None:
    used = np.zeros(len(blocks.tokenizer.tokenizer), bool)

    def columns(rows: Rows) -> arrow.Columns:
        used[conversations.ids(rows).reshape(-1)] = True
        return _columns(blocks, rows)

    tokenized = folder / TOKENIZED
    arrow.write_launch(blocks, tokenized, VALIDATION, columns, written)
    splits = [arrow.TRAIN, *map(VALIDATION.format, blocks.held_out)]
    write_atomically(tokenized / "dataset_dict.json", json.dumps({"splits": splits}))
    if blocks.study.training.stage == "sft":
        blocks.link_model(folder / MODEL)  # its collator for stage sft leaves out what has no label, not pad tokens
    else:
        _write_model(blocks, folder / MODEL, used)


def size(blocks: LaunchBlocks) -> float:
    """4 bytes a token, or with its position and target, or with mask and label, 12."""
    held_out = sum(len(rows) for rows in blocks.held_out.values())
    return (
        (12 if blocks.document_masking or blocks.study.training.stage == "sft" else 4)
        * (blocks.sequence_length + 1)
        * (blocks.rows + held_out)
    )


def _columns(blocks: LaunchBlocks, rows: Rows) -> arrow.Columns:
    found = {"input_ids": np.ascontiguousarray(conversations.ids(rows).astype(np.int32))}
    if conversations.are(rows):
        return found | {"attention_mask": _conversation_numbers(blocks, rows), "labels": blocks.labels(rows)}
    if not blocks.document_masking:
        return found
    positions, labels = arrow.documents_apart(rows, blocks.starts(rows))
    shifted = np.full_like(labels, NO_TARGET)  # what each token predicts: the last of a block nothing
    shifted[:, :-1] = labels[:, 1:]
    return found | {"position_ids": positions, "shift_labels": shifted}


def _conversation_numbers(blocks: LaunchBlocks, rows: Rows) -> NDArray[np.int32]:
    """From 1 in each row, by which `neat_packing` keeps conversations apart; 1 everywhere where they are not."""
    starts = blocks.starts(rows)
    return starts.cumsum(axis=1, dtype=np.int32) if blocks.document_masking else np.ones(starts.shape, np.int32)


def _write_model(blocks: LaunchBlocks, folder: Path, used: NDArray[np.bool_]) -> None:
    """Links to the base model's files, and a configuration of its tokenizer with another pad token."""
    folder.mkdir()
    own = (CONFIG, SPECIAL)
    for file in blocks.model.iterdir():
        if file.name not in own:
            (folder / file.name).symlink_to(file.resolve())
    for pad in _pad_tokens(blocks, used):
        changed: dict[str, object] = {"pad_token": blocks.tokenizer.tokenizer.convert_ids_to_tokens(pad)}
        changed |= {"model_input_names": ["input_ids"]} if blocks.document_masking else {}
        for name in own:
            if (file := blocks.model / name).is_file() or name == CONFIG:
                content = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
                write_atomically(folder / name, json.dumps(content | changed, indent=2, ensure_ascii=False))
        found = load_tokenizer(blocks.study.base_model, str(folder))
        if found.pad_token_id == pad and len(found) == len(used):
            return
    raise InputError(
        f"{blocks.model}: every token of its tokenizer is in the text, and LLaMA-Factory leaves its pad token out of "
        f"the loss: give the tokenizer a pad token of its own, or train with another format"
    )


def _pad_tokens(blocks: LaunchBlocks, used: NDArray[np.bool_]) -> Iterable[int]:
    """The tokens that may be the pad token, the best first."""
    if blocks.document_masking:
        return blocks.borders.ids[-1:]
    tokenizer = blocks.tokenizer.tokenizer
    ends = {tokenizer.bos_token_id, tokenizer.eos_token_id}
    named = [tokenizer.pad_token_id, *sorted({*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder} - ends)]
    others = np.flatnonzero(~used)[::-1].tolist()
    return [pad for pad in dict.fromkeys([*named, *others]) if pad is not None and pad < len(used) and not used[pad]]
