"""A checkpoint of any origin: where its files are, what identifies them, and the model in memory."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import torch

from sweep.study import InputError
from sweep.study.errors import shown
from sweep.study.files.atomic import sha256
from sweep.study.files.layout import TrialFiles
from sweep.study.sections.text.corpora import BaseModelSource, Embedded
from trainers import tiny
from trainers.benchmarks import outcome
from trainers.data.origins import hub
from trainers.model import smollm, snapshot
from trainers.model.base import inspection
from trainers.model.loading import load_complete, load_tokenizer

Progress = Callable[[str, float | None], None]
HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?(@[\w./-]+)?")
READ = (*snapshot.DESCRIPTIONS, ".safetensors", ".bin")  # the files that decide what a model answers
FIELD = "base_model.pretrained: "  # of a study, which a model that is named on the command line has none of
PLACES = ("cpu", "cuda", "auto")
EVERY_GPU = "auto"


@dataclass(frozen=True)
class FoundModel:
    """A model on this machine. `name`: as the user named it; `commit`: of one from the hub."""

    name: str
    folder: Path
    commit: str | None = None

    @cached_property
    def files(self) -> dict[str, str]:
        """The sha256 of its configuration, tokenizer and weights, by file name."""
        paths = sorted(path for path in self.folder.iterdir() if path.suffix in READ and path.is_file())
        return {path.name: sha256(path.resolve()) for path in paths}

    @property
    def fingerprint(self) -> str:
        """The sha256 of all that `files` has: of a copy in another place it is the same."""
        return outcome.sha256(part for pair in self.files.items() for part in pair)


@dataclass(frozen=True)
class OpenModel:
    """A model in memory, ready to answer, with its tokenizer."""

    model: Any = field(repr=False)
    tokenizer: Any = field(repr=False)


def locate(name: str, progress: Progress = lambda phase, share: None) -> FoundModel:
    """A Hugging Face directory, a trial of a run with a saved model, an embedded model, or an id of the hub, which is
    downloaded: `owner/name`, or `owner/name@revision`.

    Raises InputError where there is none of this name, or where its files are not whole.
    """
    if Path(name).exists():
        found = FoundModel(name, _folder(Path(name)))
    elif name in get_args(Embedded):
        found = FoundModel(name, smollm.build() if name.startswith("smollm2") else tiny.build_named(name, progress))
    elif HUB_ID.fullmatch(name):
        found = _of_the_hub(name, progress)
    else:
        raise InputError(f"{shown(name)}: no such folder: give a Hugging Face directory, or an id of the hub")
    try:
        inspection.refuse_incomplete(found.folder)
    except InputError as error:
        raise InputError(f"{name}: {_own_words(error)}") from None
    return found


def _folder(path: Path) -> Path:
    saved = TrialFiles(path).model
    if (saved / "config.json").is_file():
        return saved
    if TrialFiles(path).request.is_file():
        raise InputError(
            f"{path}: this trial kept no model: add keep: best (or all) to its study and run it under another name"
        )
    if not (path / "config.json").is_file():
        raise InputError(f"{path}: no model (it has no config.json): give a directory that save_pretrained wrote")
    return path


def _of_the_hub(name: str, progress: Progress) -> FoundModel:
    repository, _, revision = name.partition("@")
    source = BaseModelSource(pretrained=repository, revision=revision or None)
    try:
        progress(f"looking for {repository} on the hub", None)
        commit = hub.commit(snapshot.repository(source))
        if commit is None:
            raise InputError("no directory, and no name on the hub: correct it")
        folder = snapshot.find(source, commit) or snapshot.download(source, commit, progress)
    except InputError as error:
        raise InputError(f"{name}: {_own_words(error)}") from None
    return FoundModel(name, folder, commit)


def _own_words(error: InputError) -> str:
    return str(error).replace(FIELD, "")


def opened(found: FoundModel, precision: str, device: str) -> OpenModel:
    """The model with its weights in `precision` (float32, bfloat16) on a device of torch; `auto` spreads it over all
    GPUs. What its `generation_config.json` says of sampling is left out: it would be a hidden difference.

    Raises InputError where it cannot be loaded, or where weights are missing.
    """
    from transformers import GenerationConfig

    source = BaseModelSource(pretrained=str(found.folder))
    spread: dict[str, Any] = {"device_map": "auto"} if device == EVERY_GPU else {}
    try:
        tokenizer = load_tokenizer(source, str(found.folder))
        model = load_complete(source, str(found.folder), getattr(torch, precision), **spread)
    except InputError as error:
        raise InputError(f"{found.name}: {_own_words(error)}") from None
    own = model.generation_config
    ids = {name: getattr(own, name, None) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    model.generation_config = GenerationConfig(**ids)  # type: ignore[no-untyped-call]
    return OpenModel((model if spread else model.to(device)).eval(), tokenizer)


def place(named: str | None) -> str:
    """The device to score on: the one that is named, else a GPU where there is one. Raises InputError for others."""
    if named is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, number = named.partition(":")
    if kind not in PLACES or (number and not (kind == "cuda" and number.isdigit())):
        raise InputError(f"--device {shown(named)}: write cpu, cuda, cuda:1, or auto for all GPUs of this machine")
    if kind != "cpu" and not torch.cuda.is_available():
        raise InputError(f"--device {named}: torch sees no GPU here: write cpu, or leave it out")
    if number and int(number) >= torch.cuda.device_count():
        raise InputError(f"--device {named}: this machine has {torch.cuda.device_count()} GPUs: name one from cuda:0")
    return named
