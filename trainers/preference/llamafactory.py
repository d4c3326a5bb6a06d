"""LLaMA-Factory's files of preference pairs: `tokenized/`, a `DatasetDict` for its `tokenized_path` with the columns
that its pairwise processor makes, and `model/`, the base model in float32.

LLaMA-Factory 0.9.5 loads model and reference in the type that the model's configuration names
(`model/loader.py`, `torch_dtype="auto"`), and raises the one that is trained to float32 alone (`model/adapter.py`). The
reference would be in another type than the model, and the first loss not ln 2: so the configuration names float32.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets

from sweep.study.files.atomic import write_atomically
from trainers.preference import exported, prepared
from trainers.preference.exported import AT_ONCE, LaunchPairs
from trainers.preference.prepared import FEATURES, IDS

TOKENIZED, VALIDATION = "tokenized", "validation_{}"
CONFIG, TYPES = "config.json", ("dtype", "torch_dtype")  # as transformers 5 and 4 name it
NO_TARGET = -100
ANSWERS = ("chosen", "rejected")
MEDIA = ("images", "videos", "audios")  # its collator asks for them; None of a text
BYTES = 9  # of a token: id and label of 4 bytes each, and its mask


def _features() -> datasets.Features:
    found: dict[str, Any] = dict.fromkeys(MEDIA, datasets.Value("null"))
    for answer in ANSWERS:
        found |= {f"{answer}_{part}": FEATURES[IDS[0]] for part in ("input_ids", "labels")}
        found[f"{answer}_attention_mask"] = datasets.Sequence(datasets.Value("int8"))
    return datasets.Features(found)


def write(pairs: LaunchPairs, folder: Path, written: Callable[[int], None]) -> None:
    """Fill an empty folder."""
    tables = {"train": prepared.in_order(pairs.order, pairs.corpora)}
    for name, examples in pairs.held_out.items():
        columns = {column: [one[column] for one in examples] for column in FEATURES}
        tables[VALIDATION.format(name)] = datasets.Dataset.from_dict(columns, FEATURES)
    made = {name: _pairwise(table) for name, table in tables.items()}
    datasets.DatasetDict(made).save_to_disk(str(folder / TOKENIZED))
    written(pairs.rows)
    exported.link_model(pairs.model, folder / exported.MODEL)
    _state_float32(folder / exported.MODEL / CONFIG)


def size(pairs: LaunchPairs) -> float:
    """Of a pair no more than its two rows."""
    return BYTES * pairs.sequence_length * (pairs.rows + pairs.held_out_rows)


def _pairwise(table: datasets.Dataset) -> datasets.Dataset:
    columns = table.column_names
    return table.map(
        _columns,
        batched=True,
        batch_size=AT_ONCE,
        remove_columns=columns,
        features=_features(),
        keep_in_memory=True,
        load_from_cache_file=False,
    )


def _columns(rows: dict[str, list[list[int]]]) -> dict[str, list[Any]]:
    """Each answer after its prompt, whose tokens are no targets."""
    prompts = rows["prompt_ids"]
    found: dict[str, list[Any]] = {name: [None] * len(prompts) for name in MEDIA}
    for answer in ANSWERS:
        both = list(zip(prompts, rows[f"{answer}_ids"], strict=True))
        found[f"{answer}_input_ids"] = [[*prompt, *ids] for prompt, ids in both]
        found[f"{answer}_labels"] = [[NO_TARGET] * len(prompt) + [*ids] for prompt, ids in both]
        found[f"{answer}_attention_mask"] = [[1] * (len(prompt) + len(ids)) for prompt, ids in both]
    return found


def _state_float32(config: Path) -> None:
    content = json.loads(config.read_text(encoding="utf-8"))
    stated = {key: value for key, value in content.items() if key not in TYPES} | {TYPES[0]: "float32"}
    config.unlink()  # the link, not the model's own file
    write_atomically(config, json.dumps(stated, indent=2, ensure_ascii=False))
