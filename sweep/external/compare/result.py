"""What a comparison of two trainers found: `comparison.json`."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from analysis.fit_file.transfer import Cost
from analysis.fit_file.winner import Winner
from sweep.study import Schema

SCHEMA_VERSION = 1


class PairedTrial(Schema):
    """One trial by both trainers, in their order. `losses`: by language; None where it was not measured."""

    almr: float
    lr: float
    seed: int
    statuses: tuple[str, str]
    reasons: tuple[str | None, str | None]
    losses: dict[str, tuple[float | None, float | None]]
    seconds: tuple[float | None, float | None]


class LossDifference(Schema):
    """The second trainer's losses less the first's, of one language, over `pairs` trials; in nats per token.

    `mean` is their mean, `largest` the difference that is furthest over its bound, at (`almr`, `lr`). With a
    probability of 95 % all bounds of a comparison hold together where the trainers agree. `base`: of the base model,
    None where one of the trainers did not measure it.
    """

    language: str
    pairs: int
    mean: float
    mean_bound: float
    largest: float
    largest_bound: float
    almr: float
    lr: float
    base: float | None
    base_bound: float

    @property
    def within(self) -> bool:
        """Whether the trials agree."""
        return abs(self.mean) <= self.mean_bound and abs(self.largest) <= self.largest_bound

    @property
    def same_base(self) -> bool:
        return self.base is None or abs(self.base) <= self.base_bound


class WinnerDifference(Schema):
    """The winners of both fits, and what each costs on the other trainer's surface: `costs` [0] is the first's winner
    with the second trainer; None where a guard forbids it there. `tolerance`: the most that a cost may be, in nats.
    """

    winners: tuple[Winner, Winner]
    refusals: tuple[tuple[str, ...], tuple[str, ...]]
    costs: tuple[Cost | None, Cost | None]
    tolerance: float

    @property
    def holds(self) -> bool | None:
        """Whether both costs are within the tolerance; None where one may be and may not be."""
        known = [cost for cost in self.costs if cost]
        if len(known) < 2 or any(cost.interval.low > self.tolerance for cost in known):
            return False
        return True if all(cost.nats <= self.tolerance for cost in known) else None


class TrainerComparison(Schema):
    """`comparison.json`. `trainers`: both, `versions`: with their versions; `runs`: where their trials are. `noise`:
    where the bounds are from. `winner` is None where `no_winner` says why.
    """

    schema_version: int = SCHEMA_VERSION
    study: str
    trainers: tuple[str, str]
    versions: tuple[str, str]
    runs: tuple[str, str]
    trials: tuple[PairedTrial, ...]
    differences: tuple[LossDifference, ...]
    noise: str
    winner: WinnerDifference | None = None
    no_winner: str | None = None

    @property
    def other_ends(self) -> list[PairedTrial]:
        """The trials that ended otherwise: complete with one trainer, diverged or failed with the other."""
        return [trial for trial in self.trials if trial.statuses[0] != trial.statuses[1]]

    def faults(self, label: Callable[[str], str] = str) -> list[str]:
        """Why the trainers do not agree, in a few words each; empty where they do. `label`: of a language."""
        return list(self._faults(label))

    def _faults(self, label: Callable[[str], str]) -> Iterator[str]:
        if not self.differences:
            yield "no trial has losses of both"
        for one in self.differences:
            if not one.same_base:
                yield f"the base model's {label(one.language)} loss differs"
            if not one.within:
                yield f"{label(one.language)} losses differ by more than the bounds"
        if self.other_ends:
            yield f"{len(self.other_ends)} of {len(self.trials)} trials ended otherwise"
        if self.winner and self.winner.holds is False:
            yield "the winner of one is not that of the other"

    @property
    def agree(self) -> bool:
        return not self.faults()
