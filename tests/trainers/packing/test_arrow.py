"""What is packed for LLaMA-Factory and axolotl: the blocks, the targets of each, and a pad token that hides none."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from transformers import AutoTokenizer

from sweep.study import InputError, Study
from trainers.packing import arrow, axolotl, llamafactory
from trainers.packing.blocks import LaunchBlocks

MASKED = {"document_masking": True}


def column(table: datasets.Dataset, name: str) -> NDArray[np.int64]:
    return np.asarray(table[name][:], dtype=np.int64)


def joined(blocks: LaunchBlocks) -> NDArray[Any]:
    return np.concatenate(list(blocks.train())).astype(np.int64)


def targets(blocks: LaunchBlocks, rows: NDArray[Any]) -> NDArray[np.int64]:
    """What each token predicts in the trials: -100 at the end of a document and of a block."""
    found = np.full(rows.shape, -100)
    found[:, :-1] = rows[:, 1:]
    if blocks.document_masking:
        found[:, :-1][rows[:, :-1] == blocks.borders.after[-1]] = -100
    return found


@pytest.mark.parametrize("fields", [{}, MASKED], ids=["unmasked", "masked"])
def test_llamafactory_reads_the_blocks_with_their_targets(
    blocks: Callable[..., LaunchBlocks], packed: Callable[..., Path], fields: dict[str, Any]
) -> None:
    made = blocks(**fields)
    folder = packed(llamafactory, made)
    found = datasets.load_from_disk(str(folder / "tokenized"))
    assert set(found) == {"train", "validation_original", "validation_additional"}
    parts = {"train": joined(made), **{f"validation_{name}": rows for name, rows in made.held_out.items()}}
    for part, rows in parts.items():
        np.testing.assert_array_equal(column(found[part], "input_ids"), rows)
        if not fields:
            assert found[part].column_names == ["input_ids"]
            continue
        np.testing.assert_array_equal(column(found[part], "shift_labels"), targets(made, rows.astype(np.int64)))
        restarts = column(found[part], "position_ids") == 0
        np.testing.assert_array_equal(restarts, made.starts(rows.astype(np.uint32)))


@pytest.mark.parametrize("fields", [{}, MASKED], ids=["unmasked", "masked"])
def test_axolotl_reads_the_blocks_with_their_targets(
    blocks: Callable[..., LaunchBlocks], packed: Callable[..., Path], fields: dict[str, Any]
) -> None:
    made = blocks(**fields)
    folder = packed(axolotl, made)
    parts = {"train": joined(made), **{f"held_out_{name}": rows for name, rows in made.held_out.items()}}
    for part, rows in parts.items():
        found = datasets.load_from_disk(str(folder / part))
        np.testing.assert_array_equal(column(found, "input_ids"), rows)
        labels = column(found, "labels")  # before they are shifted, over a micro-batch of blocks that follow each other
        if not fields:
            np.testing.assert_array_equal(labels, rows)
            continue
        assert (labels[:, 0] == -100).all()
        np.testing.assert_array_equal(labels[:, 1:], targets(made, rows.astype(np.int64))[:, :-1])
        assert column(found, "length").tolist() == [made.sequence_length] * len(rows)
        assert "attention_mask" not in found.column_names
        np.testing.assert_array_equal(column(found, "position_ids") == 0, made.starts(rows.astype(np.uint32)))


@given(st.lists(st.lists(st.booleans(), min_size=6, max_size=6), min_size=1, max_size=4))
def test_positions_count_from_the_start_of_each_document(given_starts: list[list[bool]]) -> None:
    starts = np.array(given_starts)
    starts[:, 0] = True
    rows = np.arange(starts.size, dtype=np.uint32).reshape(starts.shape)
    positions, labels = arrow.documents_apart(rows, starts)
    for row in range(len(rows)):
        since = 0
        for at in range(6):
            since = 0 if starts[row, at] else since + 1
            assert positions[row, at] == since
            assert labels[row, at] == (-100 if starts[row, at] else rows[row, at])


def test_the_pad_token_of_llamafactory_is_in_no_block(
    blocks: Callable[..., LaunchBlocks], packed: Callable[..., Path]
) -> None:
    """With EOS as pad token, which LLaMA-Factory makes where there is none, no end of a document would be trained."""
    made = blocks()
    assert made.tokenizer.tokenizer.pad_token_id is None
    folder = packed(llamafactory, made)
    read = AutoTokenizer.from_pretrained(folder / "model")
    assert read.pad_token_id not in joined(made)
    assert read.eos_token_id == made.tokenizer.tokenizer.eos_token_id
    assert len(read) == len(made.tokenizer.tokenizer)
    weights = folder / "model" / "model.safetensors"
    assert weights.is_symlink()
    assert weights.read_bytes() == (made.model / "model.safetensors").read_bytes()


def test_with_masks_the_tokenizer_makes_none_of_its_own(
    blocks: Callable[..., LaunchBlocks], packed: Callable[..., Path]
) -> None:
    """Attention keeps documents apart by their positions only where no other mask is given."""
    made = blocks(**MASKED)
    read = AutoTokenizer.from_pretrained(packed(llamafactory, made) / "model")
    assert list(read.pad([{"input_ids": [1, 2]}, {"input_ids": [3, 4]}])) == ["input_ids"]
    assert read.pad_token_id == made.borders.after[-1]


def test_a_pad_token_of_the_tokenizers_own_stays(
    launch: Callable[..., Study],
    blocks: Callable[..., LaunchBlocks],
    packed: Callable[..., Path],
    tmp_path: Path,
) -> None:
    made = blocks()
    own = tmp_path / "own"
    shutil.copytree(made.model, own)
    config = json.loads((own / "tokenizer_config.json").read_text())
    (own / "tokenizer_config.json").write_text(json.dumps(config | {"pad_token": "the"}))
    unused = AutoTokenizer.from_pretrained(own)
    if unused.pad_token_id in joined(made):
        unused = None
    changed = replace(made, model=own, tokenizer=replace(made.tokenizer, tokenizer=AutoTokenizer.from_pretrained(own)))
    read = AutoTokenizer.from_pretrained(packed(llamafactory, changed) / "model")
    assert read.pad_token_id not in joined(made)
    assert unused is None or read.pad_token_id == unused.pad_token_id


def test_a_text_with_every_token_is_refused(
    blocks: Callable[..., LaunchBlocks], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = blocks()
    every = np.resize(np.arange(len(made.tokenizer.tokenizer), dtype=np.uint32), (64, made.sequence_length))
    monkeypatch.setattr(LaunchBlocks, "train", lambda self: iter([every]))
    with pytest.raises(InputError, match="every token of its tokenizer is in the text"):
        llamafactory.write(made, tmp_path, lambda rows: None)


@pytest.mark.parametrize("fields", [{}, MASKED], ids=["unmasked", "masked"])
@pytest.mark.parametrize("writer", [llamafactory, axolotl], ids=["llamafactory", "axolotl"])
def test_it_takes_no_more_disk_than_was_said(
    blocks: Callable[..., LaunchBlocks],
    packed: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    writer: Any,
    fields: dict[str, Any],
) -> None:
    """In several files, which are read as one."""
    monkeypatch.setattr(arrow, "SHARD", 20_000)
    made = blocks(tokens=32_768, **fields)
    folder = packed(writer, made)
    train = next(path for path in (folder / "train", folder / "tokenized" / "train") if path.is_dir())
    assert len(list(train.glob("*.arrow"))) > 2
    np.testing.assert_array_equal(column(datasets.load_from_disk(str(train)), "input_ids"), joined(made))
    tokens = sum(path.stat().st_size for path in folder.rglob("*.arrow"))
    assert 0.7 * writer.size(made) < tokens < 1.3 * writer.size(made)
