"""Plans a study's launch before there is a winner: its text and passes, time, cost and disk. Tokenises nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from analysis.launch.plan.estimate import LaunchEstimate, confirmation, estimate
from analysis.launch.plan.layout import LaunchHardware
from analysis.launch.plan.source import LaunchCorpus, sources_of, unread
from analysis.launch.plan.text_estimate import text_lines
from sweep.planning import model_shape
from sweep.study import CorpusFacts, Study
from sweep.study.numbers import times
from sweep.study.sections.launch import Launch


@dataclass(frozen=True)
class LaunchOutlook:
    """`least` and `most`: the sources of the launch's text at the lowest and the highest ALMR of the grid, by name.
    `estimates` and `confirmations`: what the launch and all its confirmation runs take, by format; empty on CPUs.
    `refusal`: why almr export would not write it in its formats, as far as that is known without a fit.
    """

    launch: Launch
    least: dict[str, LaunchCorpus]
    most: dict[str, LaunchCorpus]
    target: LaunchHardware
    estimates: dict[str, LaunchEstimate]
    confirmations: dict[str, str]
    refusal: str | None = None

    def passes(self, name: str) -> tuple[float, float] | None:
        """How often a source is read, from the lowest to the highest; None where its size is not known."""
        ends = (self.least[name].epochs, self.most[name].epochs)
        known = sorted(end for end in ends if end is not None)
        return (known[0], known[-1]) if len(known) == len(ends) else None

    def text_lines(self, study: Study) -> list[str]:
        """What the text takes before the start, in words. Nothing on CPUs."""
        most = [max(self.least[name], self.most[name], key=lambda source: source.share) for name in self.least]
        return text_lines(study, most, self.estimates) if self.estimates else []

    def warnings(self, study: Study) -> list[str]:
        found = [line for name in self.estimates for line in self.target.layouts[name].warnings(f"launch, {name}")]
        found += [f"almr export will refuse this launch: {self.refusal}"] if self.refusal else []
        limit = study.objective.max_epochs
        for name in self.least:
            passes = self.passes(name)
            if passes and passes[0] > limit:
                found.append(
                    f"launch text: {name} is read {times(passes[0])} or more, over objective.max_epochs {limit:g}: "
                    f"state more text under launch.corpora"
                )
        return [*found, *unread(study)]


def of(study: Study, facts: Mapping[str, CorpusFacts]) -> LaunchOutlook | None:
    """None for a study without a launch. `facts`: the trials' corpora that were packed so far."""
    launch = study.launch
    if launch is None:
        return None
    ends = (min(study.grid.almr), max(study.grid.almr))
    least, most = (sources_of(study, almr, facts, facts.keys()) for almr in ends)
    names = launch.formats if launch.gpus_per_node else ()
    target = model_shape.launch_hardware(study, names) if names else LaunchHardware()
    return LaunchOutlook(
        launch=launch,
        least=least,
        most=most,
        target=target,
        estimates={name: estimate(name, study, launch, target) for name in names},
        confirmations={name: confirmation(name, study, launch, target) for name in names},
        refusal=_refusal(study, launch, facts, target),
    )


def _refusal(study: Study, launch: Launch, facts: Mapping[str, CorpusFacts], target: LaunchHardware) -> str | None:
    if not (others := tuple(name for name in launch.formats if name != "native")):
        return None
    from analysis.launch import bundle  # pandas takes half a second to import
    from analysis.launch.plan import make_plan

    return bundle.refusal(make_plan.of_trial(study, launch, study.grid_trials[0], dict(facts), target), others)
