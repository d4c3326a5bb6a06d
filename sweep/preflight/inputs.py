"""Checks that a study's model, tokenizer and corpora can be read, without reading all of the corpora or the weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sweep.preflight.checks import CheckResult, results
from sweep.study import LANGUAGES, InputError, Study
from sweep.study.sections.corpora import Corpus

WEIGHTS = ("*.safetensors", "*.bin", "*.gguf")


def inputs(study: Study) -> list[CheckResult]:
    if study.replay:
        table = study.replay.table
        return results("replay.table", [] if Path(table).is_file() else [f"{table}: no such file"], table)
    corpora = [result for name in LANGUAGES for result in corpus(getattr(study.corpora, name), f"corpora.{name}")]
    return [*model(study), *corpora]


def model(study: Study) -> list[CheckResult]:
    base = study.base_model
    if base.pretrained is None:
        return [CheckResult("base model", True, "embedded, built on first use")]
    if Path(base.pretrained).is_dir():
        there = any(file for pattern in WEIGHTS for file in Path(base.pretrained).glob(pattern))
        fault = [] if there else [f"{base.pretrained} contains no weights ({', '.join(WEIGHTS)}): correct the path"]
    else:
        fault = _unreachable("model", base.pretrained, base.revision)
    return [*results("base model", fault, base.pretrained), *([] if fault else tokenizer(study))]


def tokenizer(study: Study) -> list[CheckResult]:
    from trainers.model.loading import load_tokenizer

    assert study.base_model.pretrained
    try:
        loaded = load_tokenizer(study.base_model, study.base_model.pretrained)
    except InputError as error:
        return [CheckResult("tokenizer", False, str(error))]
    if loaded.eos_token_id is None:
        fault = "no end-of-text token to separate documents with: set eos_token in tokenizer_config.json"
        return [CheckResult("tokenizer", False, fault)]
    return [CheckResult("tokenizer", True, f"{len(loaded):,} tokens")]


def corpus(spec: Corpus, where: str) -> list[CheckResult]:
    if spec.embedded:
        return [CheckResult(where, True, f"{spec.embedded}, embedded, downloaded on first use")]
    if spec.dataset:
        return results(where, _unreachable("dataset", spec.dataset, spec.revision), spec.dataset)
    from trainers.data.documents import look

    try:
        return [CheckResult(where, True, f"{look(spec, where)} files")]
    except InputError as error:
        return [CheckResult(where, False, str(error).partition(": ")[2])]


def _unreachable(kind: str, name: str, revision: str | None) -> list[str]:
    """Why the hub does not serve a model or data set; empty where it does, or where this machine has cached a copy."""
    from huggingface_hub import HfApi, try_to_load_from_cache

    try:
        getattr(HfApi(), f"{kind}_info")(name, revision=revision, timeout=20)
    except Exception as error:  # of several network libraries
        if kind == "model" and isinstance(try_to_load_from_cache(name, "config.json", revision=revision), str):
            return []
        return [_explain(kind, name, error)]
    return []


def _explain(kind: str, name: str, error: Any) -> str:
    reason = f"{type(error).__name__}: {' '.join(str(error).split())[:150]}"
    return f"{name} cannot be reached on the hub ({reason}): check its name, the network and HF_TOKEN"
