"""Finds a model's shape: stated in the study, in its directory, known, in its prepared copy, or on the hub."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import NamedTuple

import pydantic

from analysis.launch.plan import layout_choice
from analysis.launch.plan.layout import LaunchHardware
from sweep.study import Study, preparation
from sweep.study.errors import one_line
from sweep.study.sections.launch import Format
from sweep.study.sections.text.corpora import BaseModelSource
from sweep.study.sizes.family import FAMILIES
from sweep.study.sizes.known import EMBEDDED, KNOWN
from sweep.study.sizes.shape import Shape

TIMEOUT_SECONDS = 5
STATE_IT = "state base_model.shape (hidden_size, num_hidden_layers, ...) to plan memory and FLOPs"


class ShapeLookup(NamedTuple):
    """A shape, or the one line that says why there is none."""

    shape: Shape | None
    why_not: str | None = None


def of_study(study: Study) -> ShapeLookup:
    """Of its base model. Raises NewerFileError for a record of a preparation of a newer version."""
    record = preparation.read(study)
    return find(study.base_model, record.ingredients.base_model if record else None)


def find(base: BaseModelSource, prepared: str | None = None) -> ShapeLookup:
    """Asks the hub only as a last resort. Loads no weights and no transformers. `prepared`: a folder with a copy."""
    if base.shape:
        return _of_a_known_family(base.shape, "base_model.shape")
    if base.pretrained is None:
        assert base.embedded
        return ShapeLookup(EMBEDDED[base.embedded].shape)
    if (Path(base.pretrained) / "config.json").is_file():
        return _read(Path(base.pretrained) / "config.json")
    if base.pretrained in KNOWN:
        return ShapeLookup(KNOWN[base.pretrained].shape)
    if prepared and (Path(prepared) / "config.json").is_file():
        return _read(Path(prepared) / "config.json")
    return _ask_the_hub(base.pretrained, base.revision)


def _unknown(why: str) -> ShapeLookup:
    return ShapeLookup(None, f"{why}: {STATE_IT}")


def _ask_the_hub(model: str, revision: str | None) -> ShapeLookup:
    """One try, before a download that would log and repeat each of its own; without an answer, a copy in its cache."""
    from huggingface_hub import HfApi, hf_hub_download, try_to_load_from_cache

    try:
        HfApi().model_info(model, revision=revision, timeout=TIMEOUT_SECONDS)
        path = hf_hub_download(model, "config.json", revision=revision, etag_timeout=TIMEOUT_SECONDS)
    except Exception as error:  # of several network libraries
        with contextlib.suppress(ValueError):  # not a name of the hub
            if isinstance(cached := try_to_load_from_cache(model, "config.json", revision=revision), str):
                return _read(Path(cached))
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
    return one_line(error, 100)


def launch_hardware(study: Study, formats: tuple[Format, ...]) -> LaunchHardware:
    """The hardware of a study with a launch, with a layout for each format."""
    shape, why_not = _launch_shape(study)
    return LaunchHardware(shape, {name: layout_choice.choose(name, study, shape, why_not) for name in formats})


def _launch_shape(study: Study) -> ShapeLookup:
    launch = study.launch
    assert launch
    if launch.shape:
        return _of_a_known_family(launch.shape, "launch.shape")
    if launch.model in EMBEDDED:
        return ShapeLookup(EMBEDDED[launch.model].shape)
    same = launch.model == study.base_model.pretrained
    found = of_study(study) if same else find(BaseModelSource(pretrained=launch.model))
    return found if found.shape else ShapeLookup(None, f"the shape of {launch.model} is not known: state launch.shape")
