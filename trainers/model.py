"""The base model and its tokenizer: the embedded tiny one, or any causal language model of transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from sweep.resources import Execution
from sweep.study import BaseModel, InputError, fingerprint_of
from trainers import cache

PRECISION = {"float32": torch.float32, "bfloat16": torch.bfloat16}


logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # ours is the only display


def load_tokenizer(base: BaseModel, path: str) -> Any:
    return _from_pretrained(AutoTokenizer, base, path)


def load_model(base: BaseModel, path: str, execution: Execution, device: torch.device) -> Any:
    """The base model in float32 master weights, on `device`; bfloat16 is a matter of autocast (see trainers.loop)."""
    model = _from_pretrained(AutoModelForCausalLM, base, path, dtype=torch.float32).to(device)
    model.config.use_cache = False
    if execution.activation_checkpointing != "none":
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return model


def fingerprint(base: BaseModel, path: str) -> str:
    """Stands for the content of the base model: a directory's files, or the commit that a Hugging Face id leads to."""
    if not Path(path).is_dir():
        config = _from_pretrained(AutoConfig, base, path)
        return fingerprint_of([path, getattr(config, "_commit_hash", None)])
    files = sorted(file for file in Path(path).rglob("*") if file.is_file())
    return fingerprint_of([[str(file.relative_to(path)), cache.sha256(file)] for file in files])


def _from_pretrained(loader: Any, base: BaseModel, path: str, **options: Any) -> Any:
    try:
        return loader.from_pretrained(path, revision=base.revision, trust_remote_code=base.trust_remote_code, **options)
    except (OSError, ValueError) as error:
        raise InputError(
            f"base_model.pretrained: {path} could not be loaded ({' '.join(str(error).split())[:300]}); give a "
            f"directory that save_pretrained wrote, or the id of a causal language model that this machine can reach"
        ) from None


def parameters(model: torch.nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())
