"""The models of a command line: `MODEL`, or `label=MODEL`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sweep.study import InputError
from sweep.study.errors import shown
from sweep.study.files.layout import RunFiles, TrialFiles

LABEL = re.compile(r"\w(?:[\w.+=@ -]{0,58}[\w+=@-])?")  # a folder is named so
STATED = re.compile(r"([^=/\\]+)=(.+)", re.DOTALL)
FILES = "gains."  # begins the names of the table's own files


@dataclass(frozen=True)
class NamedModel:
    """A model of the table. `model`: a folder, an id of the hub, or a trial of a run; `label`: the name of its column
    and of its folder; `reference`: it stands in the table, and nothing is compared with it.
    """

    label: str
    model: str
    reference: bool = False


def read(models: Sequence[str], references: Iterable[str] = ()) -> list[NamedModel]:
    """Raises InputError for a label that cannot name a folder, and for two models of one label."""
    named = [*(_one(text, False) for text in models), *(_one(text, True) for text in references)]
    refuse_alike(named)
    return named


def refuse_alike(named: Sequence[NamedModel]) -> None:
    """Raises InputError where two models have one label, also where a file system takes two spellings for one."""
    seen: dict[str, NamedModel] = {}
    for one in named:
        _refuse_label(one.label, one.model)
        if before := seen.get(one.label.casefold()):
            raise InputError(
                f"{shown(one.model)}: has the label {one.label}, as {shown(before.model)}: write label=MODEL"
            )
        seen[one.label.casefold()] = one


def _one(text: str, reference: bool) -> NamedModel:
    label, model = (_label(text), text) if Path(text).exists() else _stated(text) or (_label(text), text)
    return NamedModel(label, _of_a_run(model), reference)


def _of_a_run(model: str) -> str:
    """Of the folder of a run, the model that it left, as `almr serve` takes it."""
    path = Path(model)
    if (path / "config.json").is_file() or not RunFiles(path).study.is_file():
        return model
    from sweep.verbs.serving import named

    return named.find(model, model).source


def _stated(text: str) -> tuple[str, str] | None:
    """`label=MODEL`, of which both may have a `=`: parted where a file follows, so that a label with a slash is refused
    as one. None where there is no label.
    """
    for place in (found.end() for found in re.finditer("=", text)):
        if text[place:] and Path(text[place:]).exists():
            return text[: place - 1], text[place:]
    stated = STATED.fullmatch(text)
    return (stated[1], stated[2]) if stated else None


def _label(model: str) -> str:
    """The name of its folder; of a model in a trial's folder that of the trial, of the hub the repository's."""
    path = Path(model).absolute() if Path(model).exists() else Path(model.partition("@")[0])
    if path.name == TrialFiles(path.parent).model.name and path.parent.name:
        path = path.parent
    return path.name


def _refuse_label(label: str, model: str) -> None:
    if not LABEL.fullmatch(label) or label.casefold().startswith(FILES):
        raise InputError(
            f"{shown(model)}: the label {shown(label)} cannot name a folder: write label=MODEL, with a label of at "
            f"most 60 letters, digits and . _ - + = @"
        )
