"""Fitted runs -> what differs between them: optima, what winners cost elsewhere, losses, recipes, and sizes of model.

The statistics are described in docs/compare.md.
"""

from __future__ import annotations

import itertools
import string
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from analysis.compare import comparable, elsewhere, recipes, shared, shift, sizes
from analysis.compare.comparable import Measure
from analysis.compare.fitted import ComparedFit, load_fitted, named_apart
from analysis.compare.result import NATS, OptimumShift, RunComparison, RunPair, RunSummary, SharedTrials
from analysis.table import table as tables
from sweep.study import LANGUAGES, InputError, numbers

FEWEST, MOST = 2, 9
Pair = tuple[ComparedFit, ComparedFit]


def compare_runs(
    runs: Sequence[str | Path], same_text: str = "", addresses: Sequence[str] | None = None
) -> tuple[RunComparison, list[ComparedFit]]:
    """Compare fitted runs: run directories, or folders that `almr fit TABLE --out FOLDER` wrote. Writes nothing.

    `same_text`: why you say that held-out texts and tokenizers are one where no record tells; empty: they are not known
    to be. `addresses`: the runs as messages name them. Returns the comparison, and the fits with their surfaces.

    Raises InputError for fewer than two or more than nine runs, for one given twice, for a run without a fit, and for a
    fit that is out of date; the message says what to run.
    """
    if not FEWEST <= len(runs) <= MOST:
        raise InputError(f"{len(runs)} run{'s' if len(runs) > 1 else ''}: give {FEWEST} to {MOST} fitted runs")
    told = list(addresses or map(str, runs))
    folders = [Path(run).resolve() for run in runs]
    if twice := [address for place, address in enumerate(told) if folders[place] in folders[:place]]:
        raise InputError(f"{twice[0]}: given twice: name another run to compare it with")
    loaded = [load_fitted(Path(run), address) for run, address in zip(runs, told, strict=True)]
    names = named_apart([one.file.study for one in loaded], told)
    fits = [one.called(name) for one, name in zip(loaded, names, strict=True)]
    return compared(fits, same_text), fits


def compared(fits: Sequence[ComparedFit], same_text: str = "") -> RunComparison:
    """Of fits whose names differ. Intervals are at the level of the first."""
    unit = _one_unit(fits)
    level = fits[0].file.winner.level
    marks = {one.name: letter for one, letter in zip(fits, string.ascii_uppercase, strict=False)}
    pairs = list(itertools.combinations(fits, 2))
    shifts = shift.corrected([shift.of_optima(*pair, level) for pair in pairs], level)
    units = [_units(pair, same_text) for pair in pairs]
    found = [_pair(pair, one, by, fits, marks, level) for pair, one, by in zip(pairs, shifts, units, strict=True)]
    return RunComparison(
        level=level,
        tolerance=elsewhere.TOLERANCE,
        runs=tuple(_summary(one, marks[one.name]) for one in fits),
        pairs=tuple(found),
        fields=tuple(recipes.differing(fits)),
        one_scale=not any(pair.objectives for pair in found),
        same_text=same_text,
        loss_unit=unit,
    )


def _one_unit(fits: Sequence[ComparedFit]) -> str:
    """The unit of all losses. Raises InputError for runs of different stages: a loss on answers is none on text."""
    first, *others = [one.study.loss_unit if one.study else NATS for one in fits]
    for one, unit in zip(fits[1:], others, strict=True):
        if unit != first:
            raise InputError(
                f"{one.name}: its losses are in {unit}, those of {fits[0].name} in {first}: compare runs of one stage; "
                f"almr scores compares models of different stages"
            )
    return first


def _units(pair: Pair, same_text: str) -> dict[str, Measure]:
    names = dict.fromkeys([*pair[0].losses, *pair[1].losses])
    return {name: comparable.measure(*pair, name, stated=bool(same_text)) for name in names}


def _pair(
    pair: Pair,
    moved: OptimumShift,
    units: Mapping[str, Measure],
    fits: Sequence[ComparedFit],
    marks: dict[str, str],
    level: float,
) -> RunPair:
    first, second = pair
    own = marks[first.name], marks[second.name]
    others = [one for one in fits if one.name not in (first.name, second.name)]
    plain = [name for name, by in units.items() if by.unit == NATS]
    both = shared.shared_trials(first.table, second.table, plain, level)
    return RunPair(
        first=own[0],
        second=own[1],
        objectives=comparable.objectives(first, second, units),
        shift=moved,
        elsewhere=(
            elsewhere.of_winner(first, second, own, level),
            elsewhere.of_winner(second, first, own[::-1], level),
        ),
        losses=tuple(shift.of_loss(first, second, name, by, level) for name, by in units.items()),
        shared=both,
        sizes=sizes.step(first, second, others, marks, level),
        caveats=tuple(_caveats(first, second, both)),
    )


def _summary(of: ComparedFit, mark: str) -> RunSummary:
    study, file = of.study, of.file
    used = tables.usable(of.table)
    bits = {name: of.bits_per_byte_of_nat(name) for name in of.losses}
    return RunSummary(
        mark=mark,
        name=of.name,
        address=of.address,
        kind="run" if study else "table",
        model=(study.base_model.pretrained or study.base_model.embedded or "") if study else "",
        parameters=of.model.parameters,
        tokens=study.training.tokens if study else None,
        batch=study.training.global_batch_tokens if study else None,
        trained_by=file.trained_by,
        seeds=tuple(sorted({int(seed) for seed in used["seed"].dropna()})) if "seed" in used else (),
        trials=file.trials,
        labels={name: of.label(name) for name in of.losses},
        objective=_objective(of),
        alone=file.alone,
        winner=file.winner,
        bits_per_byte={name: rate * file.winner.losses[name].mean for name, rate in bits.items() if rate},
        refusals=tuple(file.refusals),
        warnings=tuple(file.warnings),
    )


def _objective(of: ComparedFit) -> str:
    """In words: mean of English, Chinese; or 0.20 English + 0.80 Chinese; English at most 3.7000."""
    weights = of.goal.loss_weights
    names = [of.label(name) for name in weights]
    if len({*weights.values()}) == 1:
        said = f"mean of {', '.join(names)}" if len(names) > 1 else names[0]
    else:
        said = " + ".join(f"{numbers.number(share, 2)} {of.label(name)}" for name, share in weights.items())
    bounds = [f"{of.label(name)} at most {numbers.number(bound, 4)}" for name, bound in of.file.bounds.items()]
    return "; ".join([said, *bounds])


def _caveats(first: ComparedFit, second: ComparedFit, both: SharedTrials) -> Iterator[str]:
    for one in (first, second):
        if one.file.refusals:
            codes = ", ".join(dict.fromkeys(finding.code for finding in one.file.refusals))
            yield f"the fit of {one.name} is refused ({codes}): its winner may be a bound of the optimum"
    if any(one.interval and one.largest == 0 for one in both.losses):
        yield "they share trials with the very same losses, which the tests take for independent ones"
    if any(one.one_seed for one in (first, second)):
        yield (
            "a run of one seed does not know what its order of the text does to the optimum, so part of a difference "
            "or a cost may be of seeds, and its intervals are too narrow: compare runs of two seeds each"
        )
    for one, other in ((first, second), (second, first)):
        if one.file.alone == "lr" and not other.file.alone:
            yield (
                f"{one.name} tried one ALMR: where the best LR depends on the ALMR, its best LR differs from that at "
                f"{other.name}'s winner by the ALMR alone"
            )
    if not comparable.one_goal(first, second):
        yield "their objectives differ, which moves the optimum by itself: fit both trials.csv with the same --weights"
    languages = [one.label("additional") for one in (first, second)]
    if first.study and second.study and languages[0] != languages[1] and set(LANGUAGES) - set(languages):
        yield f"ALMR is the share of {languages[0]} in {first.name} and of {languages[1]} in {second.name}"
    if first.file.winner.level != second.file.winner.level:
        level = numbers.level(first.file.winner.level)
        yield f"their winners' intervals have different levels; all others here are at {level}"
