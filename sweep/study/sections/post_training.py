"""`post_training`: the stages after a launch, each from the model that the one before left, as a file of its own."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from sweep.study.fields import Name, Section, exactly_one
from sweep.study.sections.benchmarks import Benchmarks

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
