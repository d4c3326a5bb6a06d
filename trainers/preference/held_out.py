"""The held-out pairs of every source: a model's DPO loss on them, and how often it prefers the chosen answer."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweep.study import LANGUAGES, CorpusSource

BASE_LOSS = math.log(2)  # of the model that a trial begins from, whatever the pairs: both its log-ratios are 0
Example = dict[str, list[int]]
LogProbs = Callable[[Sequence[Example]], NDArray[np.float64]]  # of chosen and rejected answers, shape (pairs, 2)


def dpo_losses(policy: NDArray[np.float64], reference: NDArray[np.float64], beta: float) -> NDArray[np.float64]:
    """The loss of each pair, -log sigmoid(beta x margin), in nats. Both arguments: log-probabilities (pairs, 2) of the
    chosen and of the rejected answer. (Rafailov et al., NeurIPS 2023, arXiv 2305.18290, equation 7.)
    """
    with np.errstate(invalid="ignore"):  # of a model that diverged
        return np.logaddexp(0.0, -beta * margins(policy, reference))


def margins(policy: NDArray[np.float64], reference: NDArray[np.float64]) -> NDArray[np.float64]:
    """By how many nats more the policy has raised the chosen answer of each pair than the rejected one."""
    ratios = policy - reference
    return ratios[:, 0] - ratios[:, 1]


@dataclass(frozen=True)
class HeldOutResult:
    """By source, and by language, means over pairs: the loss in nats; whether the margin is positive, where 0 counts
    half, so that the model that a trial begins from has 0.5; and by how many nats the chosen answer became more
    probable. A model that lost its language may have the first two right, and has the last far below 0.
    """

    loss: dict[str, float]
    accuracy: dict[str, float]
    chosen: dict[str, float]


@dataclass
class HeldOutPairs:
    """Held-out pairs by source, the same for all trials, and the base model's log-probabilities of their answers.

    A language's numbers are the means of its sources', weighted by their shares of its tokens.
    """

    pairs: Mapping[str, Sequence[Example]]
    sources: Sequence[CorpusSource]
    beta: float
    reference: dict[str, NDArray[np.float64]]

    @staticmethod
    def of(
        pairs: Mapping[str, Sequence[Example]], sources: Sequence[CorpusSource], beta: float, base: LogProbs
    ) -> HeldOutPairs:
        return HeldOutPairs(pairs, sources, beta, {name: base(some) for name, some in pairs.items()})

    def measure(self, model: LogProbs) -> HeldOutResult:
        loss: dict[str, float] = {}
        accuracy: dict[str, float] = {}
        chosen: dict[str, float] = {}
        for name, some in self.pairs.items():
            now, before = model(some), self.reference[name]
            loss[name] = float(dpo_losses(now, before, self.beta).mean())
            accuracy[name] = float((np.sign(margins(now, before)) / 2 + 0.5).mean())
            chosen[name] = float((now - before)[:, 0].mean())
        return HeldOutResult(*map(self._with_languages, (loss, accuracy, chosen)))

    @property
    def base_losses(self) -> dict[str, float]:
        """Those of the model that the trial begins from."""
        return dict.fromkeys([*LANGUAGES, *(name for name in self.pairs if name not in LANGUAGES)], BASE_LOSS)

    def _with_languages(self, values: dict[str, float]) -> dict[str, float]:
        means = {
            language: math.fsum(one.share * values[one.name] for one in self.sources if one.language == language)
            for language in LANGUAGES
        }
        return means | values


def evenly(rows: Any, most: int) -> list[Example]:
    """At most `most` of the rows of a table of pairs, at least one, evenly spaced."""
    chosen = np.linspace(0, len(rows) - 1, min(len(rows), max(1, most))).round().astype(int).tolist()
    columns = ("prompt_ids", "chosen_ids", "rejected_ids")
    found = rows.select(chosen).with_format(None)
    return [{name: list(row[name]) for name in columns} for row in found]
