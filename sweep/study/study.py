"""The study: one YAML file that says what is swept, on which model and text."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Self

from pydantic import model_validator

from sweep.study.fields import LANGUAGES
from sweep.study.ingredients import NEW_ROWS_FILE
from sweep.study.record import Trial
from sweep.study.sections import agreement
from sweep.study.sections.content import StudyContent
from sweep.study.sections.resources import Resources
from sweep.study.sections.text.corpora import TEXT
from sweep.study.sections.text.documents import Documents

LOSS_OF = {"cpt": "token", "sft": "target token", "dpo": "pair"}  # what a loss is the mean over, by stage
MINIMUM_TRIALS = 9  # a quadratic in two hyper-parameters has six coefficients; the others show the noise


class Study(StudyContent):
    """One sweep of a small model, and the large run that it prepares."""

    @model_validator(mode="after")
    def _sections_agree(self) -> Self:
        if fault := agreement.fault(self):
            raise ValueError(fault)
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
