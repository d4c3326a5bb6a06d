"""What a study says: its sections, in the order of the file."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from sweep.study.fields import Finite, Section
from sweep.study.sections.benchmarks import Benchmarks
from sweep.study.sections.grid import Grid, Search
from sweep.study.sections.launch import Launch
from sweep.study.sections.notify import Notify
from sweep.study.sections.objective import Objective
from sweep.study.sections.post_training import PostTraining
from sweep.study.sections.recipe.trainer import TrainerChoice
from sweep.study.sections.recipe.training import Training
from sweep.study.sections.resources import Execution, Resources, Tracking
from sweep.study.sections.text.corpora import BaseModelSource, Corpora
from sweep.study.sections.text.documents import Documents

GPU_KIND = ("gpu", "gpu_gigabytes")  # fields of `resources` and of `launch`


class Replay(Section):
    """Answer trials from a measured table instead of training."""

    table: str
    """CSV file of measured trials, as `trials.csv` of a run, relative to the study file."""
    pace: Annotated[Finite, Field(ge=0)] = 0.0
    """Share of each trial's measured time to wait."""


class StudyContent(Section):
    """The sections of a study, each valid by itself."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
    """Name of the run directory: letters, digits, `.`, `_` and `-`."""
    base_model: BaseModelSource
    """The model that every trial continues from."""
    corpora: Corpora
    """The text of the two languages that trials mix."""
    documents: Documents = Documents()
    """The special tokens between documents. Default: BOS where the tokenizer adds it, and end-of-text."""
    training: Training
    """The recipe that all trials share."""
    trainer: TrainerChoice = TrainerChoice()
    """What trains the trials. Default: our own trainer."""
    grid: Grid
    """The ALMRs, LRs and seeds."""
    search: Search = Search()
    """How trials are chosen from the grid. Default: all of it."""
    objective: Objective = Objective()
    """The loss that the winner minimises. Default: the mean of both languages."""
    resources: Resources = Resources()
    """What one trial takes of the cluster. Default: one CPU core."""
    execution: Execution = Execution()
    """Settings of speed and memory."""
    tracking: Tracking = Tracking()
    """Where training curves go."""
    notify: Notify | None = None
    """Who is told what becomes of the run. Default: nobody."""
    keep: Literal["none", "best", "all"] = "none"
    """Which trained models stay on disk."""
    benchmarks: Benchmarks | None = None
    """Benchmarks that trials are scored on. Default: none."""
    launch: Launch | None = None
    """The large run that the winner is exported to. Default: none, so there is no launch bundle."""
    post_training: PostTraining | None = None
    """Stages after the launch, which its bundle has configurations for. Default: none."""
    replay: Replay | None = None
    """Answer trials from a measured table instead of training. Default: train."""

    @model_validator(mode="before")
    @classmethod
    def _launch_has_the_trials_machines(cls, content: Any) -> Any:
        """What the launch does not state of its machines is that of `resources`: nodes, GPUs a node and their kind."""
        parts = content if isinstance(content, dict) else {}
        launch, resources = parts.get("launch"), parts.get("resources")
        if not (isinstance(launch, dict) and isinstance(resources, dict)):
            return content
        stated = {name: value for name, value in launch.items() if value is not None}
        kind = () if {*GPU_KIND} & stated.keys() else GPU_KIND
        inherited = {name: resources[name] for name in ("nodes", "gpus_per_node", *kind) if resources.get(name)}
        return parts | {"launch": launch | inherited | stated}

    @property
    def price_per_gpu_hour(self) -> float | None:
        """Of the GPUs that trials take: as stated, else that of the launch, where that is not for another GPU."""
        stated, launch = self.resources.price_per_gpu_hour, self.launch
        other = launch and launch.gpu and self.resources.gpu and launch.gpu != self.resources.gpu
        return stated or (launch.price_per_gpu_hour if launch and not other else None)
