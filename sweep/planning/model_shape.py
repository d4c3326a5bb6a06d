"""Finds a model's shape: stated in the study, in its directory, in the tables of known models, or on the hub."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import pydantic

from analysis.launch.plan import layout_choice
from analysis.launch.plan.layout import LaunchHardware
from sweep.study import Study
from sweep.study.sections.corpora import BaseModelSource
from sweep.study.sections.launch import Format
from sweep.study.sizes.family import FAMILIES
from sweep.study.sizes.known import EMBEDDED, KNOWN
from sweep.study.sizes.shape import Shape

STATE_IT = "state base_model.shape (hidden_size, num_hidden_layers, ...) to plan memory and FLOPs"


class ShapeLookup(NamedTuple):
    """A shape, or the one line that says why there is none."""

    shape: Shape | None
    why_not: str | None = None


def find(base: BaseModelSource) -> ShapeLookup:
    """Asks the hub only as a last resort. Loads no weights and no transformers."""
    if base.shape:
        return _of_a_known_family(base.shape, "base_model.shape")
    if base.pretrained is None:
        assert base.embedded
        return ShapeLookup(EMBEDDED[base.embedded].shape)
    if (Path(base.pretrained) / "config.json").is_file():
        return _read(Path(base.pretrained) / "config.json")
    if base.pretrained in KNOWN:
        return ShapeLookup(KNOWN[base.pretrained].shape)
    return _ask_the_hub(base.pretrained, base.revision)


def _unknown(why: str) -> ShapeLookup:
    return ShapeLookup(None, f"{why}: {STATE_IT}")


def _ask_the_hub(model: str, revision: str | None) -> ShapeLookup:
    from huggingface_hub import hf_hub_download

    try:
        path = hf_hub_download(model, "config.json", revision=revision, etag_timeout=5)
    except Exception as error:  # of several network libraries
        return _unknown(f"the shape of {model} is not known, and the hub did not answer ({type(error).__name__})")
    return _read(Path(path))


def _read(config: Path) -> ShapeLookup:
    try:
        return _of_a_known_family(Shape.of_config(json.loads(config.read_text(encoding="utf-8"))), f"{config}")
    except (OSError, ValueError, AttributeError) as error:  # pydantic.ValidationError is a ValueError
        return _unknown(f"base_model: {config} does not describe a Llama-like model ({_missing(error)})")


def _of_a_known_family(shape: Shape, where: str) -> ShapeLookup:
    """The memory of other families' layers is not known, and would be planned too small."""
    if shape.model_type in FAMILIES:
        return ShapeLookup(shape)
    why = f"{where}: memory and FLOPs of the model_type {shape.model_type!r} are not known"
    return ShapeLookup(None, f"{why}: state base_model.shape with the most alike of {', '.join(FAMILIES)}")


def _missing(error: Exception) -> str:
    if isinstance(error, pydantic.ValidationError):
        return ", ".join(str(e["loc"][0]) if e["loc"] else e["msg"] for e in error.errors())
    return " ".join(str(error).split())[:100]


def launch_hardware(study: Study, formats: tuple[Format, ...]) -> LaunchHardware:
    """The hardware of a study with a launch, with a layout for each format."""
    shape, why_not = _launch_shape(study)
    return LaunchHardware(shape, {name: layout_choice.choose(name, study, shape, why_not) for name in formats})


def _launch_shape(study: Study) -> ShapeLookup:
    launch = study.launch
    assert launch
    if launch.shape:
        return _of_a_known_family(launch.shape, "launch.shape")
    if launch.model == study.base_model.embedded:
        return ShapeLookup(None, "memory of the embedded model is not planned")
    found = find(BaseModelSource(pretrained=launch.model))
    return found if found.shape else ShapeLookup(None, f"the shape of {launch.model} is not known: state launch.shape")
