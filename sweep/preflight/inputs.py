"""Checks that a study's model, tokenizer and corpora can be read, without reading all of the corpora or the weights."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from sweep.preflight.checks import CheckResult, results
from sweep.study import InputError, Study
from sweep.study.errors import one_line, shown
from sweep.study.numbers import size
from sweep.study.preparation import PreparationState
from sweep.study.sections.recipe.training import Stage
from sweep.study.sections.text.corpora import Corpus
from trainers.benchmarks import fetching

QUICKLY_READ = 2e9  # bytes of a model that is read completely


def inputs(study: Study, state: PreparationState) -> list[CheckResult]:
    """What was prepared is not looked for on the hub again."""
    if study.replay:
        table = study.replay.table
        return results("replay.table", [] if Path(table).is_file() else [f"{table}: no such file"], table)
    found = prepared(state) if state.record else {}
    sources, stage = study.corpora.by_name.values(), study.training.stage
    return [
        *(found.get("base_model") or model(study)),
        *(result for one in sources for result in found.get(one.where) or corpus(one.spec, one.where, stage)),
        preparation_result(study, state),
    ]


def prepared(state: PreparationState) -> dict[str, list[CheckResult]]:
    """The results for what `almr prepare` has left and still holds, by the study's field."""
    assert state.record
    made = state.record.ingredients
    checked = f"{made.base_model}{', checked' if made.base_check else ''}"
    details = {"base_model": _at(checked, made.commits.get("base_model"))}
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
        return _directory(study, Path(base.pretrained))
    if fault := _unreachable("model", base.pretrained, base.revision):
        return results("base model", fault, "")
    return _of_the_hub(study)


def _directory(study: Study, folder: Path) -> list[CheckResult]:
    """All that is found without packing a corpus; of weights that take long to read, only their names and shapes."""
    from trainers.loop.base import check
    from trainers.model.base import inspection

    try:
        inspection.refuse_incomplete(folder)
        tokenizer = _tokenizer(study, str(folder))
        small = sum(file.stat().st_size for file in folder.iterdir()) <= QUICKLY_READ
        inspected = inspection.inspect(study, folder, tokenizer, every_weight=small)
        as_it_is = not (study.base_model.tokenizer or study.base_model.new_rows) and study.training.stage == "cpt"
        if not inspected.faults and small and as_it_is:
            found = check.glance(study, inspected.found, tokenizer, _beginnings(study))
        else:
            found = inspected.found
    except InputError as error:
        return results("base model", str(error).splitlines(), "")
    warned = [CheckResult("base model", True, warning, note=True) for warning in found.warnings]
    return [*_model_and_tokenizer(study, inspected.faults, tokenizer), *warned]


def _model_and_tokenizer(study: Study, faults: list[str], tokenizer: Any) -> list[CheckResult]:
    if faults:
        return results("base model", faults, "")
    fine = CheckResult("base model", True, str(study.base_model.pretrained))
    return [fine, _tokenizer_result(study, tokenizer)]


def _tokenizer_result(study: Study, tokenizer: Any) -> CheckResult:
    """Its size, and what it puts between documents, or whether it writes conversations."""
    from trainers.data.conversations.rendering import ChatRenderer
    from trainers.data.tokens.borders import Borders

    try:
        if study.training.stage != "cpt":
            template = study.documents.chat_template or (ChatRenderer.of(tokenizer) and "its own")
            return CheckResult("tokenizer", True, f"{len(tokenizer.get_vocab()):,} tokens; chat template: {template}")
        begins = "begins" if Borders.of(tokenizer, study.documents).before else "does not begin"
    except InputError as error:
        return CheckResult("tokenizer", False, str(error))
    return CheckResult("tokenizer", True, f"{len(tokenizer.get_vocab()):,} tokens; {begins} documents with BOS")


def _beginnings(study: Study) -> dict[str, list[str]]:
    """Some documents of each source whose files are here. What is wrong with text is said of the corpus."""
    from trainers.data.documents import beginnings

    found = {}
    for name, source in study.corpora.by_name.items():
        with contextlib.suppress(InputError):
            found[name] = beginnings(source.spec, source.where)[1] if source.spec.files else []
    return found


def _tokenizer(study: Study, path: str) -> Any:
    from trainers.model.loading import load_own_tokenizer, load_tokenizer

    base = study.base_model
    return load_own_tokenizer(base, None) if base.tokenizer else load_tokenizer(base, path)


def _of_the_hub(study: Study) -> list[CheckResult]:
    """What the configuration and the tokenizer show, which are small: the weights are not on this machine."""
    from huggingface_hub import hf_hub_download

    from trainers.model.base import inspection

    base = study.base_model
    assert base.pretrained
    try:
        tokenizer = _tokenizer(study, base.pretrained)
        config = hf_hub_download(base.pretrained, "config.json", revision=base.revision)
        faults = inspection.of_config(study, Path(config).parent, tokenizer)
    except InputError as error:
        return [CheckResult("base model", False, str(error))]
    except Exception as error:  # of several network libraries
        return [CheckResult("base model", False, _explain("model", base.pretrained, error))]
    return _model_and_tokenizer(study, faults, tokenizer)


def corpus(spec: Corpus, where: str, stage: Stage = "cpt") -> list[CheckResult]:
    if spec.embedded:
        return [CheckResult(where, True, f"{spec.embedded}, embedded, downloaded on first use")]
    if spec.dataset:
        return results(where, _unreachable("dataset", spec.dataset, spec.revision), spec.dataset)
    from trainers.data.documents import look
    from trainers.prepare.sources import READ_AS

    try:
        how = READ_AS.get(stage)
        files = look(spec, where, how and how(spec))
        return [CheckResult(where, True, "1 file" if files == 1 else f"{files} files")]
    except InputError as error:
        return [CheckResult(where, False, str(error).partition(": ")[2])]


def _unreachable(kind: str, name: str, revision: str | None) -> list[str]:
    """Why the hub does not serve a model or data set; empty where it does, or where this machine has cached a copy."""
    from huggingface_hub import HfApi, try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        getattr(HfApi(), f"{kind}_info")(name, revision=revision, timeout=20)
    except HFValidationError:
        return [f"{shown(name)} is no directory, and no name on the hub: correct it"]
    except Exception as error:  # of several network libraries
        if kind == "model" and isinstance(try_to_load_from_cache(name, "config.json", revision=revision), str):
            return []
        return [_explain(kind, name, error)]
    return []


def _explain(kind: str, name: str, error: Any) -> str:
    reason = f"{type(error).__name__}: {one_line(error, 150)}"
    return f"{name} cannot be reached on the hub ({reason}): check its name, the network and HF_TOKEN"
