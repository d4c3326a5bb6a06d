"""The files of the corpora, the corpora as arguments of `datasets.load_dataset`, and the scripts that read them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from analysis.launch.formats.format import TEMPLATES, write_json
from analysis.launch.plan.launch_plan import LaunchPlan
from analysis.launch.plan.source import LaunchCorpus
from sweep.study import InputError
from sweep.study.files import patterns

HELD_OUT = "held_out_{}"  # the name of the set that a source or a language is evaluated on
CODE = "hold_out"  # the folder of a format with the trials' modules that find near-copies
BUILDERS = {".jsonl": "json", ".json": "json", ".parquet": "parquet", ".txt": "text"}


def sources(plan: LaunchPlan, folder: Path) -> dict[str, dict[str, Any]]:
    """{name: {"load": arguments of load_dataset, "field": column of the text, "near_copies": whether those of held-out
    text are left out}} for the corpora in use.

    A small (embedded) corpus is copied into the folder and named relative to it.
    """
    return {
        source.name: {
            "load": _arguments(source, folder),
            "field": source.field,
            "near_copies": source.spec.near_copies == "drop",
        }
        for source in plan.used
    }


def held_out(plan: LaunchPlan) -> dict[str, dict[str, Any]]:
    """The sets that the launch is evaluated on, as `sources`."""
    load = {"path": "json", "split": "train"}
    return {
        name: {"load": load | {"data_files": [file]}, "field": "text", "near_copies": False}
        for name, file in plan.evaluation_files.items()
    }


def content(plan: LaunchPlan, folder: Path) -> dict[str, Any]:
    """corpora.json, from which write_jsonl.py writes the documents to train and evaluate on."""
    return {**tokenizer(plan), "train": sources(plan, folder), "held_out": held_out(plan)}


def tokenizer(plan: LaunchPlan) -> dict[str, Any]:
    """What a script needs to begin documents as in the trials."""
    trusted = plan.study.base_model.trust_remote_code
    return {"tokenizer": plan.launch.model, "trust_remote_code": trusted, "bos": plan.bos}


def write_scripts(plan: LaunchPlan, folder: Path, script: str | None = None) -> None:
    """Write the held-out texts, launch_text.py, which leaves out what repeats them, and the script that uses it."""
    plan.held_out.copy(folder)
    write_json(folder / "held_out.json", plan.excluded)
    for name in ("launch_text", *([script] if script else [])):
        shutil.copyfile(TEMPLATES / f"{name}.txt", folder / f"{name}.py")
    (folder / CODE).mkdir()
    for module in plan.held_out.modules:
        code = module.read_text(encoding="utf-8").replace(f"trainers.data.{CODE}", CODE)
        (folder / CODE / module.name).write_text(code, encoding="utf-8")


def refuse_no_eos(plan: LaunchPlan, trainer: str) -> None:
    """Raises InputError where the trials' documents had no end-of-text, which the trainer always adds."""
    if not plan.eos:
        raise InputError(
            f"documents.eos: false: {trainer} ends each document with end-of-text, the trials did not: export for "
            f"native, megatron or torchtitan"
        )


def special_strings(plan: LaunchPlan, trainer: str) -> list[str]:
    """A warning where the text contains strings that the trainer reads as special tokens."""
    known = {plan.label(source): source.facts.special_strings for source in plan.used if source.facts}
    counts = {name: count for name, count in known.items() if count}
    told = ", ".join(f"{count:,} in {name}" for name, count in counts.items())
    return [f"{trainer} reads special tokens in the text as such, the trials read them as text: {told}"] if told else []


def _arguments(source: LaunchCorpus, folder: Path) -> dict[str, Any]:
    spec = source.spec
    if spec.dataset and not source.rewritten:
        named = {"name": spec.config, "revision": spec.revision}
        return {"path": spec.dataset, "split": spec.split} | {k: v for k, v in named.items() if v}
    files = [copied(source, folder)] if spec.embedded else paths(source)
    builders = {_builder(file, source.name) for file in files}
    if len(builders) > 1:
        raise InputError(f"corpora.{source.name}.files: several kinds ({', '.join(sorted(builders))}): give one kind")
    encoding = {} if source.rewritten or builders == {"parquet"} else {"encoding": spec.encoding}
    if encoding.get("encoding", "utf-8").lower().replace("-", "") == "utf8":
        encoding = {}
    return {"path": builders.pop(), "data_files": files, "split": "train"} | encoding


def _builder(file: str, name: str) -> str:
    kind = patterns.suffix(file)
    if kind not in BUILDERS:
        raise InputError(f"corpora.{name}.files: no trainer reads {file}: give {', '.join(BUILDERS)}")
    return BUILDERS[kind]


def paths(source: LaunchCorpus) -> list[str]:
    """The absolute paths of a corpus' files. Raises InputError where the run did not record them."""
    if not source.files:
        raise InputError(f"ingredients.json has no files of the {source.name} corpus: run the study again")
    return [os.path.abspath(file) for file in source.files]


def copied(source: LaunchCorpus, folder: Path) -> str:
    """Copy a small corpus into the bundle as one file; returns its name in the folder."""
    name, known = f"texts/{source.name}.jsonl", paths(source)
    if missing := [file for file in known if not os.path.isfile(file)]:
        raise InputError(
            f"{missing[0]}: this text is gone from the cache: run almr prepare STUDY, then almr export RUN"
        )
    (folder / "texts").mkdir(exist_ok=True)
    with (folder / name).open("wb") as copy:
        for file in known:
            with open(file, "rb") as original:
                shutil.copyfileobj(original, copy)
    return name
