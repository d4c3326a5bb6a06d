"""The launch plan: the settings of the large run that all trainer formats share."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from analysis.fit_file.findings import Finding
from analysis.fit_file.transfer import HISTORY, NEAR_EDGE, TOKENS
from analysis.launch.plan.estimate import LaunchEstimate, checkpoint_steps, confirmation, estimate, kept_checkpoints
from analysis.launch.plan.held_out import HeldOutText
from analysis.launch.plan.layout import LaunchHardware, ParallelLayout, plain
from analysis.launch.plan.predicted_losses import PredictedLosses
from analysis.launch.plan.source import LaunchCorpus, launch_corpora, repetition, unread
from analysis.launch.plan.text_estimate import text_lines
from sweep.study import LANGUAGES, CorpusFacts, Schema, Study
from sweep.study.sections.launch import Launch
from sweep.study.sections.recipe.lr_schedule import LrSchedule
from sweep.study.sections.text.corpora import Corpora

NOT_TRIED = "NOT TRIED: no parity run shows that this trainer trains as the trials did (almr export RUN --parity)"
NO_PARITY = "not possible for a replay: no trial was trained that could be repeated"
REPLAYED = f"NOT TRIED: no parity run shows that this trainer trains as the trials did ({NO_PARITY})"
PARITY_RUN = "A parity run: the small model is trained again as a trial was, to compare this trainer with the trials'"
TRIAL_RUN = "A trial of the sweep: the study names this trainer."
DATA = "data"  # the folder of a format with its packed text
MODEL = "model"  # in the folder of a stage's format: a link to the model that it continues from
TOKENIZER = "The launch model has the base model's tokenizer, with which the tokens per document were counted."


class AcceptedRisk(Schema):
    """The user's reason for the export of a refused winner."""

    reason: str
    refusals: tuple[Finding, ...]


@dataclass(frozen=True)
class StageOrigin:
    """What a stage after the launch continues from. `words`: the model in words; `left`: its folder, below that of the
    checkpoints, None where that is not known; `before`: what tells it from another model.
    """

    stage: str
    words: str
    left: str | None
    before: str

    @property
    def variable(self) -> str:
        """The environment variable that names its folder."""
        return f"ALMR_{self.stage.upper()}_MODEL"


@dataclass(frozen=True)
class LaunchPlan:
    """The large run, in optimizer steps. A format without a layout in `target` shards one copy over all GPUs.

    `sources` are those of the launch's text, by name; `counted`: the trials' counts, by the names of their sources.
    `precision`: of matrix products; weights, gradient sums and the optimizer are float32 in both. `data`: the folder
    with the packed text, relative to that of a format; where it is not `DATA`, another run has it.
    `parity`: what is known of each format's parity run, in a line. `newest_only`: no checkpoint is kept but the newest.
    `trained_by`: what trained the trials, with its version; empty for our own trainer. `origin`: of a stage after the
    launch, whose text is `text`.
    """

    study: Study
    launch: Launch
    almr: float
    lr: float
    accepted_risk: AcceptedRisk | None
    fit_warnings: tuple[str, ...]
    sources: dict[str, LaunchCorpus]
    target: LaunchHardware = field(default_factory=LaunchHardware)
    held_out: HeldOutText = field(default_factory=HeldOutText)
    predicted: PredictedLosses | None = None
    simulated: str | None = None
    counted: dict[str, CorpusFacts] = field(default_factory=dict)
    precision: Literal["bfloat16", "float32"] = "bfloat16"
    data: str = DATA
    parity: Mapping[str, str] = field(default_factory=dict)
    newest_only: bool = False
    trained_by: str = ""
    origin: StageOrigin | None = None
    text: Corpora | None = None

    @property
    def corpora(self) -> Corpora:
        return self.text or launch_corpora(self.study)

    @property
    def bundle(self) -> str:
        """The folder of the bundle, from that of a format."""
        return "../.." if self.origin else ".."

    @property
    def beside(self) -> str:
        """The folder that holds the bundle, which no export replaces, from that of a format."""
        return f"{self.bundle}/.."

    def layout(self, name: str) -> ParallelLayout:
        return self.target.layouts.get(name) or plain(self.launch, "its memory was not counted")

    @property
    def schedule(self) -> LrSchedule:
        """The trials' LR schedule over the launch's steps."""
        return self.study.training.schedule.over(self.steps)

    @property
    def steps(self) -> int:
        return self.launch.steps

    @property
    def tokens(self) -> int:
        """Tokens of the whole steps; `launch.tokens` is the requested number."""
        return self.steps * self.launch.global_batch_tokens

    @property
    def difference(self) -> str:
        """How `tokens` differs from the requested number, in words. A confirmation or parity run has its own."""
        whole = self.study.launch is not None and self.study.launch.tokens == self.launch.tokens
        stated = "training.tokens" if self.origin else "launch.tokens"
        requested, more = stated if whole else "the tokens of this run", self.tokens - self.launch.tokens
        if not more:
            return f"exactly {requested}"
        return f"{abs(more):,} {'more' if more > 0 else 'fewer'} than {requested}, {self.launch.tokens:,}"

    @property
    def seed(self) -> int:
        return self.study.grid.seeds[0]

    @property
    def min_lr(self) -> float:
        """The LR of the last step."""
        return self.schedule.min_lr * self.lr

    @property
    def evaluation_steps(self) -> int:
        """Steps between measurements of the held-out losses, rounded up."""
        return math.ceil(self.steps / self.launch.evaluations)

    @property
    def evaluation_files(self) -> dict[str, str]:
        """The text that the launch is evaluated on: of each language where the study states it, else the trials'
        held-out text of each source. Empty where there is neither.
        """
        stated = self.launch.evaluation
        if stated is None:
            return self.held_out.paths
        return {name: os.path.abspath(getattr(stated, name)) for name in LANGUAGES}

    @property
    def stated_evaluation(self) -> dict[str, str]:
        """The files that losses are measured on instead of the held-out part of the launch's own text, by name: those
        of `launch.evaluation` by language, or the trials' held-out text by source, where the launch reads other text.

        Paths are absolute or relative to a format's folder.
        """
        if self.launch.evaluation:
            return self.evaluation_files
        known = set(self.study.corpora.source_names()) <= self.held_out.paths.keys()
        return self.held_out.paths if self.corpora != self.study.corpora and known else {}

    @property
    def held_out_sets(self) -> tuple[str, ...]:
        """The names of the packed sets that losses are measured on."""
        return tuple(self.stated_evaluation) or self.corpora.source_names()

    @property
    def excluded(self) -> dict[str, str]:
        """Files with text that is left out of the training text, with near-copies of it, and their sha256 where known.

        Paths are absolute or relative to a format's folder; some may be glob patterns.
        """
        known = {path: self.held_out.digests[name] for name, path in self.held_out.paths.items()}
        sources = [source.spec for source in self.sources.values()]
        trials = [source.spec for source in self.study.corpora.by_name.values()]
        stated = [path for spec in (*trials, *sources) for path in spec.exclude or ()]
        return known | dict.fromkeys([*stated, *self.evaluation_files.values()], "") | known

    def unmeasured(self, losses: Iterable[str]) -> list[str]:
        """Those of these losses, of languages or sources, that the run does not measure on held-out text."""
        known = self.study.corpora.by_name | self.corpora.by_name
        languages = {known[name].language for name in self.held_out_sets if name in known}
        return [name for name in losses if name not in {*self.held_out_sets, *languages}]

    @property
    def bos(self) -> bool:
        """Whether the trials' documents began with BOS."""
        return any(facts.bos for facts in self.counted.values())

    @property
    def eos(self) -> bool:
        """Whether the trials' documents ended with end-of-text."""
        return all(facts.eos for facts in self.counted.values())

    @property
    def assumptions(self) -> tuple[str, ...]:
        known = self.study.corpora.by_name
        read = {source.language for source in self.used}
        held_out = {name for name, source in known.items() if source.language in read} - self.held_out.files.keys()
        lost = [self.study.source_label(name) for name in known if name in held_out]
        if not lost:
            return (TOKENIZER,)
        names = ", ".join(lost)
        return TOKENIZER, f"The launch may train on the trials' held-out text of {names}: measure it on other text."

    @property
    def checkpoint_steps(self) -> int:
        """Steps between checkpoints."""
        return checkpoint_steps(self.launch, self.target)

    @property
    def kept_checkpoints(self) -> int:
        """How many of the newest checkpoints stay on disk."""
        return 1 if self.newest_only else kept_checkpoints(self.launch)

    def estimate(self, name: str) -> LaunchEstimate:
        """What the launch takes with a format."""
        return estimate(name, self.study, self.launch, self.target)

    def forecast(self, names: Iterable[str]) -> list[str]:
        """What the launch and its confirmation runs take with each format, in words. Nothing on CPUs."""
        if not self.launch.gpus_per_node:
            return []
        named = list(dict.fromkeys(names))
        takes = [f"{name}: {line}" for name in named for line in self.takes(name)]
        return [*takes, *self.text_lines(named)]

    def takes(self, name: str) -> list[str]:
        """What the launch and its confirmation runs take with a format, in words."""
        return [*self.estimate(name).lines, confirmation(name, self.study, self.launch, self.target)]

    def text_lines(self, names: Iterable[str]) -> list[str]:
        """What the text takes before the start, in words."""
        return text_lines(self.study, self.sources.values(), names)

    @property
    def used(self) -> list[LaunchCorpus]:
        """The corpora with a share above 0: ALMR 0 or 1 leaves one."""
        return [source for source in self.sources.values() if source.share > 0]

    @property
    def shares(self) -> dict[str, float]:
        """The share of the tokens of each corpus in use."""
        return {source.name: source.share for source in self.used}

    def label(self, source: LaunchCorpus) -> str:
        """The corpus as messages name it."""
        return source.label(self.study)

    @property
    def checked(self) -> list[str]:
        """The warnings that GO.md states as a check, with their numbers."""
        of_transfer = [line for line in self.fit_warnings if line.startswith((NEAR_EDGE, HISTORY, TOKENS))]
        repeated = [warning for source in self.used if (warning := repetition(self.study, source))]
        return [*of_transfer, *repeated, self._whole_steps, *self.held_out.lost.values()]

    @property
    def _whole_steps(self) -> str:
        return f"{self.steps:,} whole steps are {self.tokens:,} tokens: {self.difference}"

    @property
    def warnings(self) -> list[str]:
        """Warnings about the launch, beside those of the fit."""
        found = [warning for source in self.used if (warning := repetition(self.study, source))]
        if self.tokens != self.launch.tokens:
            found.append(self._whole_steps)
        return [*found, *self.held_out.lost.values(), *unread(self.study)]
