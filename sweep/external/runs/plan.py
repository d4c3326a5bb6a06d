"""A trial of the small model as a launch: what each format's trainer is given to train it."""

from __future__ import annotations

from analysis.launch.plan import make_plan
from analysis.launch.plan.launch_plan import LaunchPlan
from analysis.launch.plan.layout import LaunchHardware
from sweep.planning import model_shape
from sweep.study import CorpusFacts, Study, Trial
from sweep.study.fields import largest_divisor
from sweep.study.sections.launch import Format, Launch

CHECKPOINTS = 2  # the first is half-way


def of_study(
    study: Study, trial: Trial, name: Format, corpora: dict[str, CorpusFacts], checkpoints: int = CHECKPOINTS
) -> LaunchPlan:
    """The launch that trains as the trial did, of a study whose base model is a folder, by a format's trainer."""
    launched = study.model_copy(update={"launch": launch(study, name, checkpoints)})
    assert launched.launch
    target = model_shape.launch_hardware(launched, (name,)) if launched.launch.gpus_per_node else LaunchHardware()
    return make_plan.of_trial(launched, launched.launch, trial, corpora, target)


def launch(study: Study, name: Format, checkpoints: int = CHECKPOINTS) -> Launch:
    """The trial's training as a launch on its nodes, on as many of its GPUs there as divide its batch."""
    training, resources = study.training, study.resources
    each = training.batch_sequences // resources.nodes
    gpus = largest_divisor(each, resources.gpus_per_node)
    own = each // (gpus or 1)
    return Launch(
        model=study.base_model.pretrained or "",
        tokens=training.tokens,
        global_batch_tokens=training.global_batch_tokens,
        sequence_length=training.sequence_length,
        corpora=study.corpora,
        nodes=resources.nodes,
        gpus_per_node=gpus,
        micro_batch_sequences=largest_divisor(own, min(training.micro_batch_sequences or own, own)),
        checkpoints=checkpoints,
        evaluations=1,
        gpu=resources.gpu,
        gpu_gigabytes=resources.gpu_gigabytes,
        shape=study.base_model.shape,
        formats=(name,),
    )
