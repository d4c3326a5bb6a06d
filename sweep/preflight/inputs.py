"""Checks that a study's model, tokenizer and corpora can be read, without reading all of the corpora or the weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sweep.preflight.checks import CheckResult, results
from sweep.study import InputError, Study
from sweep.study.errors import one_line
from sweep.study.numbers import size
from sweep.study.preparation import PreparationState
from sweep.study.sections.corpora import Corpus
from trainers.benchmarks import fetching

WEIGHTS = ("*.safetensors", "*.bin", "*.gguf")


def inputs(study: Study, state: PreparationState) -> list[CheckResult]:
    """What was prepared is not looked for on the hub again."""
    if study.replay:
        table = study.replay.table
        return results("replay.table", [] if Path(table).is_file() else [f"{table}: no such file"], table)
    found = prepared(state) if state.record else {}
    sources = study.corpora.by_name.values()
    return [
        *(found.get("base_model") or model(study)),
        *(result for one in sources for result in found.get(one.where) or corpus(one.spec, one.where)),
        preparation_result(study, state),
    ]


def prepared(state: PreparationState) -> dict[str, list[CheckResult]]:
    """The results for what `almr prepare` has left and still holds, by the study's field."""
    assert state.record
    made = state.record.ingredients
    details = {"base_model": _at(made.base_model, made.commits.get("base_model"))}
    for name, facts in made.corpora.items():
        details[f"corpora.{name}"] = _at(f"{facts.tokens:,} tokens", made.commits.get(name))
    names = {"base_model": "base model"}
    return {
        where: [CheckResult(names.get(where, where), True, f"prepared: {detail}")]
        for where, detail in details.items()
        if where not in state.outdated
    }


def _at(what: str, commit: str | None) -> str:
    return f"{what}, commit {commit}" if commit else what


def preparation_result(study: Study, state: PreparationState) -> CheckResult:
    """Whether `almr prepare` has left all that a run needs. A run without it is no fault: it prepares itself."""
    absent = list(fetching.missing(study.benchmarks)) if study.benchmarks else []
    tasks = f"; no data of {', '.join(absent)}" if absent and not state.outdated.get("benchmarks") else ""
    if state.done and state.record:
        return CheckResult("preparation", True, f"done, {size(sum(state.record.sizes.values()))} on disk{tasks}")
    why = f" ({state.reason})" if state.reason else ""
    return CheckResult(
        "preparation",
        True,
        f"not done: {', '.join(state.missing)}{why}{tasks}: almr run does it first; almr prepare does it without GPUs",
        note=True,
    )


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
        files = look(spec, where)
        return [CheckResult(where, True, "1 file" if files == 1 else f"{files} files")]
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
    reason = f"{type(error).__name__}: {one_line(error, 150)}"
    return f"{name} cannot be reached on the hub ({reason}): check its name, the network and HF_TOKEN"
