"""What is packed for Megatron-LM: documents as core reads them, and weights that come back as they were."""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as some
from safetensors.torch import load_file, save_file

from sweep.study import InputError
from trainers.data.corpus import blocks as read_blocks
from trainers.packing import megatron, megatron_index
from trainers.packing.blocks import LaunchBlocks
from trainers.packing.megatron_weights import to_megatron
from trainers.packing.to_huggingface import LATEST, Heads, to_huggingface

SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "vocab_size": 40}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2}


def read(prefix: Path) -> list[np.ndarray]:
    """The documents of an indexed dataset, by the layout that core/datasets/indexed_dataset.py describes."""
    index, tokens = Path(f"{prefix}.idx").read_bytes(), np.fromfile(f"{prefix}.bin", "<i4")
    magic, version, code, sequences, documents = struct.unpack_from("<9sQBQQ", index)
    assert (magic, version, code, documents) == (b"MMIDIDX\x00\x00", 1, 4, sequences + 1)
    lengths = np.frombuffer(index, "<i4", sequences, 34)
    starts = np.frombuffer(index, "<i8", sequences, 34 + 4 * sequences)
    ends = np.frombuffer(index, "<i8", documents, 34 + 12 * sequences)
    assert len(index) == 34 + 12 * sequences + 8 * documents
    assert ends.tolist() == list(range(documents))
    return [tokens[start // 4 : start // 4 + length] for start, length in zip(starts, lengths, strict=True)]


@given(some.lists(some.lists(some.integers(0, 2**31 - 1), min_size=1), min_size=1), some.integers(1, 7))
def test_documents_come_back_however_the_stream_is_cut(tmp_path_factory: Any, documents: Any, size: int) -> None:
    prefix = tmp_path_factory.mktemp("index") / "x"
    stream = np.array([token for document in documents for token in document], np.int64)
    begin = np.array([i == 0 for document in documents for i in range(len(document))])
    cuts = range(size, len(stream), size)
    megatron_index.write(prefix, zip(np.split(stream, cuts), np.split(begin, cuts), strict=True))
    assert [document.tolist() for document in read(prefix)] == documents


@pytest.fixture
def folder(blocks: Callable[..., LaunchBlocks], packed: Callable[..., Path]) -> tuple[LaunchBlocks, Path]:
    of = blocks()
    return of, packed(megatron, of)


def test_a_corpus_is_cut_at_its_borders(folder: tuple[LaunchBlocks, Path]) -> None:
    of, packed = folder
    for name, corpus in of.corpora.items():
        documents = read(packed / megatron.TRAIN.format(name))
        stream = read_blocks(corpus.training, range(len(corpus.training))).reshape(-1)
        assert (np.concatenate(documents) == stream).all()
        end = of.borders.after[-1]
        assert all((document[:-1] != end).all() for document in documents)
        assert all(document[-1] == end for document in documents[:-1])


def test_a_held_out_set_fills_whole_batches_with_rows_that_are_no_text(folder: tuple[LaunchBlocks, Path]) -> None:
    of, packed = folder
    length, batch = of.sequence_length, of.study.training.batch_sequences
    for name, rows in of.held_out.items():
        [document] = read(packed / megatron.HELD_OUT.format(name))
        assert len(document) % length == 1
        found = document[:-1].reshape(-1, length)
        assert len(found) % batch == 0
        assert len(found) < len(rows) + batch
        assert (found[: len(rows)] == rows).all()
        assert (found[len(rows) :] == megatron.FILLER).all()


def model(kind: str, folder: Path, **fields: Any) -> Path:
    """A Hugging Face folder with random weights."""
    config = transformers.AutoConfig.for_model(kind, **SIZES, **HEADS, **fields)
    made = transformers.AutoModelForCausalLM.from_config(config)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter)
    made.save_pretrained(folder, max_shard_size="20kB")
    return folder


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3"])
def test_weights_go_to_megatron_and_back(tmp_path: Path, kind: str, tied: bool) -> None:
    original = model(kind, tmp_path / "model", tie_word_embeddings=tied)
    to_megatron(original, tmp_path / "base")
    to_huggingface(tmp_path / "base", original, tmp_path / "back")
    wanted, found = ({k: v for path in f.glob("*.safetensors") for k, v in load_file(path).items()}
                     for f in (original, tmp_path / "back"))  # fmt: skip
    assert wanted.keys() == found.keys()
    assert all(torch.equal(wanted[name], found[name]) for name in wanted)
    transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "back")


def test_a_groups_queries_key_and_value_follow_each_other() -> None:
    """Two groups of two query heads, of one row each: core/transformer/attention.py, get_query_key_value_tensors."""
    heads = Heads(queries=4, keys=2)
    parts = [torch.tensor(rows)[:, None] for rows in ([0, 1, 2, 3], [10, 11], [20, 21])]
    joined = heads.join(parts)
    assert joined[:, 0].tolist() == [0, 1, 10, 20, 2, 3, 11, 21]
    assert all(torch.equal(a, b) for a, b in zip(heads.split(joined), parts, strict=True))


def test_weights_that_cannot_be_converted_are_refused(tmp_path: Path) -> None:
    original = model("llama", tmp_path / "model")
    for path in original.glob("*.safetensors"):
        path.unlink()
    with pytest.raises(InputError, match=r"has no \*\.safetensors"):
        to_megatron(original, tmp_path / "base")


def test_mixed_types_are_written_as_the_wider(tmp_path: Path) -> None:
    original = model("llama", tmp_path / "model")
    for path in original.glob("*.safetensors"):
        half = {name: t.bfloat16() if "norm" not in name else t for name, t in load_file(path).items()}
        save_file(half, path, {"format": "pt"})
    to_megatron(original, tmp_path / "base")
    to_huggingface(tmp_path / "base", original, tmp_path / "back")
    types = {v.dtype for path in (tmp_path / "back").glob("*.safetensors") for v in load_file(path).values()}
    assert types == {torch.float32}


def test_another_format_of_checkpoints_is_refused(tmp_path: Path) -> None:
    (tmp_path / "iter_0000010").mkdir()
    (tmp_path / LATEST).write_text("10")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match="iter_0000010 is no checkpoint of the format torch_dist"):
        to_huggingface(tmp_path, tmp_path, tmp_path / "out")


def test_the_way_back_is_a_script_that_needs_nothing_of_ours(folder: tuple[LaunchBlocks, Path]) -> None:
    _, packed = folder
    script = (packed / megatron.BACK).read_text(encoding="utf-8")
    own = {line.split()[1].split(".")[0] for line in script.splitlines() if line.startswith(("import ", "from "))}
    assert own - set(sys.stdlib_module_names) == {"torch", "safetensors"}
    assert json.loads((packed / megatron.MODEL / "config.json").read_text())["model_type"] == "llama"
