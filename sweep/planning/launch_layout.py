"""The layout of a study's launch, once the shape of its model is looked up."""

from __future__ import annotations

from analysis.launch.plan import layout_choice
from analysis.launch.plan.layout import LaunchHardware
from sweep.planning.model_shape import ShapeLookup, find
from sweep.study import Study
from sweep.study.sections.corpora import BaseModelSource
from sweep.study.sections.launch import Format


def target(study: Study, formats: tuple[Format, ...]) -> LaunchHardware:
    """The hardware of a study with a launch, with a layout for each format."""
    shape, why_not = _shape(study)
    return LaunchHardware(shape, {name: layout_choice.choose(name, study, shape, why_not) for name in formats})


def _shape(study: Study) -> ShapeLookup:
    launch = study.launch
    assert launch
    if launch.shape:
        return ShapeLookup(launch.shape)
    if launch.model == study.base_model.embedded:
        return ShapeLookup(None, "memory of the embedded model is not planned")
    found = find(BaseModelSource(pretrained=launch.model))
    return found if found.shape else ShapeLookup(None, f"the shape of {launch.model} is not known: state launch.shape")
