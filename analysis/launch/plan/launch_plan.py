"""Fit -> the numbers of the large run that every trainer format shares: batch, steps, schedule, corpora."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field

from analysis.fit_file.result import FitResult
from analysis.launch.plan.layout import LaunchHardware, ParallelLayout, plain
from analysis.launch.plan.risk import AcceptedRisk, accept
from analysis.launch.plan.schedule import Steps
from analysis.launch.plan.source import LaunchCorpus
from sweep.study.errors import InputError
from sweep.study.fields import LANGUAGES
from sweep.study.ingredients import CorpusFacts
from sweep.study.sections.launch import Launch
from sweep.study.study import Study

ASSUMPTIONS = (
    "The launch model uses the base model's tokenizer: tokens per document were counted with it.",
    "The launch reads whole corpora, with the documents that the trials held out: measure its loss on other text.",
)


@dataclass(frozen=True)
class LaunchPlan:
    """The large run. Steps are optimizer steps; `accumulation` is micro-batches per step on each GPU.

    A format for which `target` has no layout shards one copy over all GPUs.
    """

    study: Study
    launch: Launch
    almr: float
    lr: float
    accepted_risk: AcceptedRisk | None
    fit_warnings: tuple[str, ...]
    sources: dict[str, LaunchCorpus]
    target: LaunchHardware = field(default_factory=LaunchHardware)

    def layout(self, name: str) -> ParallelLayout:
        return self.target.layouts.get(name) or plain(self.launch, "its memory was not counted")

    @property
    def parts(self) -> Steps:
        return Steps.of(self.study.training.schedule, self.steps)

    @property
    def accumulation(self) -> int:
        return self.launch.global_batch_tokens // self.launch.tokens_per_pass

    @property
    def steps(self) -> int:
        return whole_steps(self.launch)

    @property
    def tokens(self) -> int:
        """What whole steps come to; `launch.tokens` is what was asked for."""
        return self.steps * self.launch.global_batch_tokens

    @property
    def difference(self) -> str:
        """In words: what whole steps come to beside what was asked for."""
        more = self.tokens - self.launch.tokens
        if not more:
            return "exactly launch.tokens"
        return f"{abs(more):,} {'more' if more > 0 else 'fewer'} than launch.tokens, {self.launch.tokens:,}"

    @property
    def warmup_steps(self) -> int:
        return self.parts.warmup

    @property
    def decay_steps(self) -> int:
        """WSD only."""
        return self.parts.decay

    @property
    def stable_steps(self) -> int:
        """WSD only."""
        return self.parts.stable

    @property
    def seed(self) -> int:
        return self.study.grid.seeds[0]

    @property
    def min_lr(self) -> float:
        """The last LR; `schedule.min_lr` is its share of the peak."""
        return self.study.training.schedule.min_lr * self.lr

    @property
    def evaluation_steps(self) -> int:
        """Steps between measurements of the held-out losses, rounded up."""
        return math.ceil(self.steps / self.launch.evaluations)

    @property
    def evaluation_files(self) -> dict[str, str]:
        """Held-out text of each language; empty where the launch states none."""
        stated = self.launch.evaluation
        return {name: os.path.abspath(getattr(stated, name)) for name in LANGUAGES} if stated else {}

    @property
    def checkpoint_steps(self) -> int:
        """Steps between checkpoints; rounded up, so that no more are written than asked for."""
        return math.ceil(self.steps / self.launch.checkpoints)

    @property
    def used(self) -> list[LaunchCorpus]:
        """The corpora that get any tokens: ALMR 0 or 1 leaves one."""
        return [source for source in self.sources.values() if source.share > 0]

    @property
    def warnings(self) -> list[str]:
        """What to know before the launch, beside the fit's own warnings."""
        found = [
            f"the launch goes {source.epochs:.3g} times over the {source.language} corpus: it repeats its documents"
            for source in self.used
            if source.epochs and source.epochs > 1
        ]
        found += [
            f"the size of the {source.language} corpus is not known (the trials read {source.spec.documents:,} "
            f"documents of it): whether the launch repeats it cannot be told; state corpora.{source.language}.tokens"
            for source in self.used
            if source.epochs is None
        ]
        if self.tokens != self.launch.tokens:
            found.append(f"{self.steps:,} whole steps are {self.tokens:,} tokens: {self.difference}")
        return found


def whole_steps(launch: Launch) -> int:
    return round(launch.tokens / launch.global_batch_tokens)


def make(
    fit: FitResult,
    corpora: dict[str, CorpusFacts],
    accept_risk: str | None = None,
    target: LaunchHardware | None = None,
) -> LaunchPlan:
    """Raises InputError without a launch, for a refused winner unless `accept_risk` says why, for missing corpora."""
    if fit.study is None:
        raise InputError("a table has no launch: export from the run of a study that has `launch:`")
    launch, transfer = fit.study.launch, fit.file.transfer
    if launch is not None and transfer is None:
        lacking = "\n".join(f.message for f in fit.file.refusals if f.code == "transfer")
        raise InputError(lacking or "fit.json has no transfer: fit the run again, almr fit")
    if launch is None or transfer is None:
        raise InputError(
            f"study {fit.study.name} has no launch: add `launch:` with model, tokens, global_batch_tokens and "
            f"sequence_length, and run it again"
        )
    accepted_risk = accept(fit.file.refusals, accept_risk)
    findings = (*(accepted_risk.refusals if accepted_risk else ()), *fit.file.warnings)
    warnings = (*(finding.text for finding in findings), *transfer.warnings)
    shares = {"original": 1 - transfer.almr, "additional": transfer.almr}
    tokens = whole_steps(launch) * launch.global_batch_tokens
    sources = {
        name: LaunchCorpus(name, getattr(fit.study.corpora, name), _facts(corpora, name), shares[name], tokens)
        for name in LANGUAGES
    }
    return LaunchPlan(
        fit.study, launch, transfer.almr, transfer.lr, accepted_risk, warnings, sources, target or LaunchHardware()
    )


def _facts(corpora: dict[str, CorpusFacts], language: str) -> CorpusFacts:
    if language not in corpora:
        raise InputError(f"ingredients.json counts no {language} corpus: run the study again, it writes the counts")
    return corpora[language]
