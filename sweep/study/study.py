"""The study: one YAML file that says what is swept, on which model and text."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from sweep.study.errors import shown
from sweep.study.fields import LANGUAGES, Finite, Section, nearest_multiple
from sweep.study.ingredients import NEW_ROWS_FILE
from sweep.study.record import Trial
from sweep.study.sections.benchmarks import Benchmarks
from sweep.study.sections.grid import Grid, Search
from sweep.study.sections.launch import Launch
from sweep.study.sections.notify import Notify
from sweep.study.sections.objective import Objective
from sweep.study.sections.post_training import PostTraining
from sweep.study.sections.resources import Execution, Resources, Tracking
from sweep.study.sections.text import stages
from sweep.study.sections.text.corpora import TEXT, BaseModelSource, Corpora, Corpus
from sweep.study.sections.text.documents import Documents
from sweep.study.sections.trainer import TrainerChoice
from sweep.study.sections.training import Training

GPU_KIND = ("gpu", "gpu_gigabytes")  # fields of `resources` and of `launch`
LOSS_OF = {"cpt": "token", "sft": "target token", "dpo": "pair"}  # what a loss is the mean over, by stage
MINIMUM_TRIALS = 9  # a quadratic in two hyper-parameters has six coefficients; the others show the noise


class Replay(Section):
    """Answer trials from a measured table instead of training."""

    table: str
    """CSV file of measured trials, as `trials.csv` of a run, relative to the study file."""
    pace: Annotated[Finite, Field(ge=0)] = 0.0
    """Share of each trial's measured time to wait."""


class Study(Section):
    """One sweep of a small model, and the large run that it prepares."""

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

    @model_validator(mode="after")
    def _suits_its_stage(self) -> Self:
        parts = (self.training, self.corpora, self.documents, self.trainer.name, self.benchmarks)
        if fault := stages.fault(*parts):
            raise ValueError(fault)
        return self

    @model_validator(mode="after")
    def _objective_names_sources(self) -> Self:
        known = [*LANGUAGES, *(name for name in self.corpora.source_names() if name not in LANGUAGES)]
        for field, name in self.objective.named_losses:
            if name not in known:
                raise ValueError(
                    f"objective.{field}: {shown(name)} is no language or source: name one of {', '.join(known)}"
                )
        weighted = {name for name, share in self.objective.shares.items() if share}
        for name, source in self.corpora.by_name.items():
            if name != source.language and {name, source.language} <= weighted:
                raise ValueError(
                    f"objective.weights: {name} is a part of {source.language}: weight the language or its sources"
                )
        return self

    @model_validator(mode="after")
    def _searchable(self) -> Self:
        if self.search.proposes and len(self.grid.seeds) > 1:
            raise ValueError("search: a search runs one seed: give grid.seeds one value, or search.strategy: grid")
        self.search.refuse_bounds_inside(self.grid)
        if self.search.gpu_hours and not self.resources.gpus:
            raise ValueError(
                "search.gpu_hours: trials use no GPUs: give search.trials or search.tokens, or resources.gpus_per_node"
            )
        return self

    @model_validator(mode="after")
    def _notify_can_count(self) -> Self:
        of = self.notify
        if of and (of.gpu_hours or of.cost) and not self.resources.gpus:
            raise ValueError("notify: trials use no GPUs: remove gpu_hours and cost, or add resources.gpus_per_node")
        if of and of.cost and not self.price_per_gpu_hour:
            raise ValueError("notify.cost: no price is known: add resources.price_per_gpu_hour, or write gpu_hours")
        return self

    @model_validator(mode="after")
    def _batches_fill_the_workers(self) -> Self:
        sequences, workers = self.training.batch_sequences, self.resources.workers
        if sequences % workers:
            whole = nearest_multiple(sequences, workers) * self.training.sequence_length
            raise ValueError(
                f"training.global_batch_tokens {self.training.global_batch_tokens} is {sequences} sequences, which "
                f"{workers} workers cannot share equally: write {whole}"
            )
        return self

    @model_validator(mode="after")
    def _documents_have_borders(self) -> Self:
        if self.training.document_masking and self.documents.bos is False and not self.documents.eos:
            raise ValueError(
                "training.document_masking finds documents by the tokens between them: write documents: {eos: true}"
            )
        return self

    @model_validator(mode="after")
    def _launch_learns(self) -> Self:
        if self.launch and (fault := self.training.schedule.fault(self.launch.steps)):
            raise ValueError(f"launch.tokens {self.launch.tokens}: training.{fault}")
        return self

    @model_validator(mode="after")
    def _stages_have_a_launch(self) -> Self:
        if self.post_training and self.launch is None:
            raise ValueError(
                "post_training: its stages continue from the launch's model: add launch, or write a chain, a file "
                "with name, model and post_training"
            )
        return self

    @model_validator(mode="after")
    def _ladder_has_rungs(self) -> Self:
        transfer = self.launch.transfer if self.launch else None
        if transfer and transfer.rule == "ladder" and not transfer.rungs and not self.training.horizons:
            raise ValueError(
                "launch.transfer: rule ladder needs rungs or training.horizons: name the runs of smaller sweeps, "
                "rungs: [{run: runs/small}]"
            )
        return self

    @model_validator(mode="after")
    def _launch_reads_all(self) -> Self:
        own = self.launch.corpora.by_name.values() if self.launch and self.launch.corpora else ()
        if any(one.spec.held_out != Corpus.model_fields["held_out"].default for one in own):
            raise ValueError(
                "launch.corpora: held_out: the launch leaves out the trials' held-out text and is measured on it: "
                "remove it"
            )
        if any(one.spec.trial_tokens for one in own):
            raise ValueError("launch.corpora: trial_tokens: trials read a part of corpora, not of this: remove it")
        return self

    @model_validator(mode="after")
    def _parts_hold_a_sequence(self) -> Self:
        length = self.training.sequence_length
        for source in self.corpora.by_name.values():
            if (source.spec.trial_tokens or length) < length:
                raise ValueError(
                    f"{source.where}.trial_tokens {source.spec.trial_tokens}: less than one sequence of "
                    f"training.sequence_length, {length} tokens, and trials read whole ones: raise it, or remove it"
                )
        return self

    @model_validator(mode="after")
    def _epochs_have_one_origin(self) -> Self:
        if not self.training.simulate_epochs:
            return self
        if self.launch is None:
            raise ValueError(
                "training.simulate_epochs: the launch's tokens are not known: add launch, or write trial_tokens in "
                "corpora instead"
            )
        if stated := [one.where for one in self.corpora.by_name.values() if one.spec.trial_tokens]:
            raise ValueError(f"{stated[0]}.trial_tokens: training.simulate_epochs sets it: remove one of them")
        return self

    @property
    def loss_unit(self) -> str:
        """The unit of its losses, as messages write it."""
        return f"nats per {LOSS_OF[self.training.stage]}"

    def language_name(self, language: str) -> str:
        """The user's own name of "original" or "additional", such as "English"; without one, the word itself."""
        sources = self.corpora.sources(language) if language in LANGUAGES else ()
        return next((source.language for source in sources if source.language), language)

    def source_label(self, name: str) -> str:
        """A source as messages name it: its name with its language, or the language where it has no name."""
        language = self.corpora.by_name[name].language
        return self.language_name(language) if name == language else f"{name} ({self.language_name(language)})"

    def includes(self, almr: float, lr: float, seed: int) -> bool:
        """Whether a trial belongs to this study: a point of its grid, or one that its search may propose."""
        if seed not in self.grid.seeds:
            return False
        return (almr in self.grid.almr and lr in self.grid.lrs) or self.search.may_propose(self.grid, almr, lr)

    @property
    def trial_resources(self) -> Resources:
        """What one trial takes of the cluster: a replayed one trains nothing, so one CPU core."""
        of = self.resources
        return Resources(concurrent=of.concurrent, retries=of.retries) if self.replay else of

    @property
    def price_per_gpu_hour(self) -> float | None:
        """Of the GPUs that trials take: as stated, else that of the launch, where that is not for another GPU."""
        stated, launch = self.resources.price_per_gpu_hour, self.launch
        other = launch and launch.gpu and self.resources.gpu and launch.gpu != self.resources.gpu
        return stated or (launch.price_per_gpu_hour if launch and not other else None)

    @property
    def trained_tokens(self) -> int:
        """Of one trial with its horizons: branches of its own run, or runs of their own by another trainer."""
        training = self.training
        if not self.trainer.external:
            return training.trained_tokens
        steps = training.steps + sum(map(training.steps_of, training.horizons))
        return steps * training.global_batch_tokens

    @property
    def grid_trials(self) -> list[Trial]:
        """Every point of the grid, seed by seed."""
        return [Trial(almr=almr, lr=lr, seed=seed) for almr, lr, seed in self.grid.points]

    def vocabulary_fault(self, formats: tuple[str, ...], new_rows: int | None) -> str | None:
        """Which of these formats, and why, would not train the launch on the trials' tokens, else None: only `native`
        gives the launch model the tokenizer and rows that `base_model` states. `new_rows`: how many the base model was
        given, if known.
        """
        base, others = self.base_model, [name for name in formats if name != "native"]
        needed = base.tokenizer or (base.new_rows and new_rows != 0)
        if not needed or not self.launch or not others or (Path(self.launch.model) / NEW_ROWS_FILE).is_file():
            return None
        rows, tokenizer = ("tokenizer", "TOKENIZER") if base.tokenizer else ("new_rows", "MODEL")
        return (
            f"{', '.join(others)}: launch.model {self.launch.model} lacks the rows of base_model.{rows}, which only "
            f"the format native adds: make them with python -m trainers.model.base.resizing MODEL {tokenizer} FOLDER "
            f"and write launch.model: FOLDER, or write launch.formats: native"
        )

    def recipe(self, with_text: bool = True) -> dict[str, Any]:
        """The fields that a trial's numbers depend on. All others may change while trials keep their records.

        `with_text`: also those that say where the text is.
        """
        recipe = self.model_dump(mode="json", include={"corpora", "replay"})
        recipe["base_model"] = self.base_model.recipe()
        recipe["training"] = self.training.recipe()
        recipe["corpora"] = {language: self._text_of(language, with_text) for language in LANGUAGES}
        if self.documents != Documents():  # older studies keep their fingerprint
            recipe["documents"] = self.documents.recipe()
        if self.trainer.external:
            recipe["trainer"] = self.trainer.recipe()
        if self.training.simulate_epochs and self.launch:
            recipe["launch"] = self.launch.text_recipe()
        return recipe

    def _text_of(self, language: str, with_text: bool) -> dict[str, Any]:
        """A language's text in the recipe. Of several sources it is by name, so that their order does not matter."""
        described = {"tokens", "language", "weight", *(() if with_text else TEXT)}
        several = {}
        for name in self.corpora.source_names(language):
            source = self.corpora.by_name[name]
            spec = source.spec.recipe(described | ({"name"} if name == language else set()))
            several[name] = spec | ({"weight": source.share} if source.fraction < 1 else {})
        return several if len(several) > 1 else next(iter(several.values()))

    @property
    def fingerprint(self) -> str:
        return fingerprint_of(self.recipe())


def fingerprint_of(content: Any) -> str:
    """16 hex digits of the sha256 of the content's canonical JSON."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
