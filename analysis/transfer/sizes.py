"""Size, pre-training tokens and peak LR of the trials' and the launch's model: as stated, else of the known models."""

from __future__ import annotations

from dataclasses import dataclass

from sweep.study import Study
from sweep.study.sections.text.corpora import BaseModelSource
from sweep.study.sections.transfer import ModelFacts, TransferRule
from sweep.study.sizes.known import EMBEDDED, KNOWN, KnownModel


@dataclass(frozen=True)
class ScaleStep:
    """The step from a trial to the launch: model, training tokens and tokens per optimizer step."""

    trial: ModelFacts
    launch: ModelFacts
    trial_tokens: int
    launch_tokens: int
    trial_batch: int
    launch_batch: int

    @property
    def size_ratio(self) -> float | None:
        """Parameters of the launch over the trial's; None where one is not known."""
        if self.trial.parameters is None or self.launch.parameters is None:
            return None
        return self.launch.parameters / self.trial.parameters

    @property
    def token_ratio(self) -> float:
        return self.launch_tokens / self.trial_tokens

    @property
    def batch_ratio(self) -> float:
        return self.launch_batch / self.trial_batch


def step(study: Study, rule: TransferRule) -> ScaleStep:
    assert study.launch is not None  # a transfer needs a launch
    shape = getattr(study.launch, "shape", None)
    launch = _merged(rule.launch, _known(study.launch.model), shape.parameters if shape else None)
    return ScaleStep(
        trial=of_base(study.base_model, rule.trial),
        launch=launch,
        trial_tokens=study.training.tokens,
        launch_tokens=study.launch.tokens,
        trial_batch=study.training.global_batch_tokens,
        launch_batch=study.launch.global_batch_tokens,
    )


def of_base(model: BaseModelSource, stated: ModelFacts | None = None) -> ModelFacts:
    """Facts of a study's base model; stated ones take precedence."""
    known = _known(model.embedded or model.pretrained or "")
    return _merged(stated or ModelFacts(), known, model.shape.parameters if model.shape else None)


def _known(model: str) -> KnownModel | None:
    return EMBEDDED.get(model) or KNOWN.get(model)


def _merged(stated: ModelFacts, known: KnownModel | None, counted: int | None) -> ModelFacts:
    return ModelFacts(
        parameters=stated.parameters or counted or (known.shape.parameters if known else None),
        pretraining_tokens=stated.pretraining_tokens or (known.pretraining_tokens if known else None),
        peak_lr=stated.peak_lr or (known.peak_lr if known else None),
    )
