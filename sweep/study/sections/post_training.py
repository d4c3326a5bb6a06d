"""`post_training`: the stages after a launch, each from the model that the one before left: of a chain or a study."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from sweep.study.fields import Name, Section, exactly_one
from sweep.study.sections.benchmarks import Benchmarks
from sweep.study.sections.launch import Format, Launch
from sweep.study.sections.recipe.training import Training
from sweep.study.sections.resources import Resources

ORDER = ("sft", "dpo")
OF_THE_CHAIN = ("name", "base_model", "launch", "replay", "post_training")  # fields of a study that no stage has
StageFields = dict[str, Any]


class PostTraining(Section):
    """The stages, in this order. Each has the fields of a study but `name`, `base_model`, `launch` and `replay`."""

    sft: StageFields | None = None
    """Supervised fine-tuning on conversations. Default: no such stage."""
    dpo: StageFields | None = None
    """Direct preference optimisation on pairs of answers. Default: no such stage."""

    @model_validator(mode="after")
    def _some_stage(self) -> Self:
        if not self.stages:
            raise ValueError(f"names no stage: give {' or '.join(ORDER)}, or both")
        return self

    @model_validator(mode="after")
    def _stages_leave_to_the_chain_what_is_its_own(self) -> Self:
        for stage, fields in self.stages.items():
            for name in OF_THE_CHAIN:
                if name in fields:
                    raise ValueError(f"{stage}.{name}: a stage has none, the chain sets it: remove it")
        return self

    @property
    def stages(self) -> dict[str, StageFields]:
        """The fields of each stage, in the order of training."""
        found = {stage: getattr(self, stage) for stage in ORDER}
        return {stage: fields for stage, fields in found.items() if fields is not None}


def stage_launch(
    model: str, training: Training, resources: Resources, launch: Launch, names: tuple[Format, ...]
) -> Launch:
    """A stage of one trial as a run on the machines that it states, else on those of `launch`.

    Raises pydantic.ValidationError, naming fields of `training`, where the machines cannot share its batch.
    """
    machines: Launch | Resources = resources if resources.gpus else launch
    step = machines.nodes * (machines.gpus_per_node or 1) * training.sequence_length
    micro = training.micro_batch_sequences
    return Launch(
        model=model,
        tokens=training.tokens,
        global_batch_tokens=training.global_batch_tokens,
        sequence_length=training.sequence_length,
        nodes=machines.nodes,
        gpus_per_node=machines.gpus_per_node,
        micro_batch_sequences=micro if micro and training.global_batch_tokens % (micro * step) == 0 else None,
        gpu=machines.gpu,
        gpu_gigabytes=machines.gpu_gigabytes,
        price_per_gpu_hour=machines.price_per_gpu_hour,
        image=launch.image,
        volume_claim=launch.volume_claim,
        formats=names,
    )


class ChainModel(Section):
    """The model that the first stage continues from: give `launch` or `pretrained`."""

    launch: Annotated[str, Field(min_length=1)] | None = None
    """A run: the model that its launch left. A launch on the CPU of this machine is trained first, where it was not."""
    pretrained: Annotated[str, Field(min_length=1)] | None = None
    """A Hugging Face id, or a directory (relative to the file)."""
    revision: str | None = None
    """Branch, tag or commit of the Hugging Face repository. Default: the newest."""

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        exactly_one(self, "launch", "pretrained")
        return self


class Chain(Section):
    """A chain: a model, and the stages that it goes through."""

    name: Name
    """Name of the folder with what the chain found; its stages are the runs NAME-sft and NAME-dpo."""
    model: ChainModel
    """The model that the first stage continues from."""
    post_training: PostTraining
    """The stages."""
    benchmarks: Benchmarks | None = None
    """What the table of gains asks the models. Default: no table."""

    @model_validator(mode="after")
    def _held_out_text_is_of_a_launch(self) -> Self:
        if self.benchmarks and self.benchmarks.suite == "embedded" and self.model.launch is None:
            raise ValueError(
                "benchmarks.suite: embedded asks about the held-out text of a launch's run: name model.launch, or give "
                "tasks"
            )
        return self
