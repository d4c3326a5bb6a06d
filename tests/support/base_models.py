"""Small base models that are right, or broken in one way."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from samples import CHINESE, ENGLISH, local_content
from transformers import AutoModelForCausalLM, AutoTokenizer

from sweep.study import Study

HEAD, EMBEDDING = "lm_head.weight", "model.embed_tokens.weight"


def copied(source: Path, folder: Path) -> Path:
    return Path(shutil.copytree(source, folder))


def changed(source: Path, folder: Path, change: Callable[[Any, Any], Any]) -> Path:
    """The model with `change(model, tokenizer)` applied, as another directory; what it returns is the model, if any."""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(source), AutoTokenizer.from_pretrained(source)
    with torch.no_grad():
        model = change(model, tokenizer) or model
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def weights(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def with_weights(folder: Path, tensors: dict[str, torch.Tensor]) -> Path:
    from safetensors.torch import save_file

    save_file({k: v.contiguous() for k, v in tensors.items()}, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def study_of(folder: Path, model: Path, **training: Any) -> Study:
    """A study of the model on small texts that are written into `folder`."""
    folder.mkdir()
    content = local_content(folder, model)
    content["training"] |= training
    content["grid"] = {"almr": [0.1, 0.5, 0.9], "lr": [1e-3, 3e-3, 1e-2]}
    return Study.model_validate(content)


def texts() -> list[str]:
    return [ENGLISH * 3, CHINESE * 3]


def teach(model: Any, tokenizer: Any, texts: list[str], steps: int = 12) -> None:
    """Some steps on the texts: enough to predict them better than by chance."""
    ids = tokenizer(tokenizer.eos_token.join([*texts, ""]), return_tensors="pt")["input_ids"]
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(steps):
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
