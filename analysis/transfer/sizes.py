"""Parameters and pre-training tokens of the two models: as stated, else of a model that is known."""

from __future__ import annotations

from dataclasses import dataclass

from sweep.study.sections.corpora import BaseModelSource
from sweep.study.sections.transfer import ModelFacts, TransferRule
from sweep.study.sizes.models import EMBEDDED, KNOWN, KnownModel
from sweep.study.study import Study


@dataclass(frozen=True)
class ScaleStep:
    """From a trial to the launch."""

    trial: ModelFacts
    launch: ModelFacts
    trial_tokens: int
    launch_tokens: int

    @property
    def size_ratio(self) -> float | None:
        if self.trial.parameters is None or self.launch.parameters is None:
            return None
        return self.launch.parameters / self.trial.parameters

    @property
    def token_ratio(self) -> float:
        return self.launch_tokens / self.trial_tokens


def step(study: Study, rule: TransferRule) -> ScaleStep:
    assert study.launch is not None  # callers carry a winner to it
    shape = getattr(study.launch, "shape", None)
    launch = _merged(rule.launch, KNOWN.get(study.launch.model), shape.parameters if shape else None)
    return ScaleStep(of_base(study.base_model, rule.trial), launch, study.training.tokens, study.launch.tokens)


def of_base(model: BaseModelSource, stated: ModelFacts | None = None) -> ModelFacts:
    known = EMBEDDED.get(model.embedded or "") or KNOWN.get(model.pretrained or "")
    return _merged(stated or ModelFacts(), known, model.shape.parameters if model.shape else None)


def _merged(stated: ModelFacts, known: KnownModel | None, counted: int | None) -> ModelFacts:
    return ModelFacts(
        parameters=stated.parameters or counted or (known.shape.parameters if known else None),
        pretraining_tokens=stated.pretraining_tokens or (known.pretraining_tokens if known else None),
    )
