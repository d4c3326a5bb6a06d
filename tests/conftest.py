"""Fixtures of several rooms: a cache of the test's own, a small model on disk, a study that trains in seconds."""

from __future__ import annotations

from pathlib import Path

import pytest
from samples import CHINESE, ENGLISH, local_content

from sweep.study import Study


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the test's own."""
    monkeypatch.setenv("ALMR_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama of some 50k parameters with a byte-level tokenizer, as a Hugging Face directory."""
    import torch
    from tokenizers import ByteLevelBPETokenizer
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("model")
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator([ENGLISH, CHINESE], 300, special_tokens=["<end>"], show_progress=False)
    trained.save(str(folder / "tokenizer.json"))
    PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), eos_token="<end>").save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, vocab_size=300
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture
def local_study(tmp_path: Path, small_model: Path, cache: Path) -> Study:
    """A study of the small model on local files: trains in a second or two."""
    return Study.model_validate(local_content(tmp_path, small_model))
