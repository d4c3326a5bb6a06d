"""How much of each corpus trials read, so that they read it as many times as the launch will read its own."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from analysis.launch.plan.source import LaunchCorpus, sources_of
from sweep.planning.launch import LaunchOutlook
from sweep.study import CorpusFacts, CorpusSource, Ingredients, InputError, Study
from sweep.study.numbers import times
from sweep.study.numbers import tokens as shown

FIELD = "training.simulate_epochs"
ANY = 0.5  # an ALMR: what trials read of a corpus is the same at all of them
ROUNDING = 1.05  # of passes


class SourcePart(NamedTuple):
    """What trials read of a source. `tokens`: of the part that they draw from; None where that is not known yet.
    `launch`: the launch's source that this part stands for.
    """

    source: CorpusSource
    launch: LaunchCorpus
    tokens: float | None


def with_trial_blocks(study: Study, made: Ingredients) -> Ingredients:
    """The ingredients with the part of each corpus that trials draw from. Raises InputError where there is none."""
    if not study.training.simulate_epochs:
        return made
    if found := next(faults(study, made.corpora), None):
        raise InputError(found)
    length = study.training.sequence_length
    tokens = {text.source.name: text.tokens for text in _texts(study, made.corpora)}
    drawn = {name: facts.drawn_from((tokens[name] or 0) / length) for name, facts in made.corpora.items()}
    return made.model_copy(update={"corpora": drawn})


def refuse_early(study: Study, facts: Mapping[str, CorpusFacts]) -> None:
    """Before the text is prepared, which may take hours. `facts`: of what was packed before.

    Raises InputError for what no count of the text can change.
    """
    if found := next(faults(study, facts, certain=True), None):
        raise InputError(found)


def trial_tokens(study: Study, facts: Mapping[str, CorpusFacts]) -> dict[str, float]:
    """The tokens that trials draw from, by source, as far as they are known; of those that they do not read whole."""
    stated = {name: float(one.spec.trial_tokens or 0) for name, one in study.corpora.by_name.items()}
    if not study.training.simulate_epochs:
        return {name: tokens for name, tokens in stated.items() if tokens}
    return {text.source.name: text.tokens for text in _texts(study, facts) if text.tokens}


def faults(study: Study, facts: Mapping[str, CorpusFacts], certain: bool = False) -> Iterator[str]:
    """Why trials cannot read each corpus as often as the launch, a line for each. `facts`: of the packed corpora.
    `certain`: without those that rest on a size which is stated or estimated now and counted later.
    """
    if not study.training.simulate_epochs or study.replay:  # a replay reads no text
        return
    texts = list(_texts(study, facts))
    known = [text.source.name for text in texts]
    for name, source in study.corpora.by_name.items():
        if name not in known:
            yield (
                f"{FIELD}: launch.corpora has no {name} for {study.language_name(source.language)}: name its sources "
                f"as those of corpora"
            )
    for text in texts:
        if certain and text.source.name not in facts and (text.launch.same_text or text.launch.is_estimated):
            continue
        if fault := _fault(study, text, facts.get(text.source.name)):
            yield f"{FIELD}: {fault}"


def _texts(study: Study, facts: Mapping[str, CorpusFacts]) -> Iterator[SourcePart]:
    """Of each source that the launch has too.

    The launch reads a source share x (tokens of the launch) / (its size) times, trials share x (tokens of a trial) /
    (their part). So the part is as large beside the launch's text as a trial's tokens beside the launch's, at any ALMR.
    """
    launch = sources_of(study, ANY, facts, facts.keys())
    trial = study.training.blocks * study.training.sequence_length
    for source in study.corpora.by_name.values():
        if one := _counterpart(source, study, launch):
            passes = one.epochs
            yield SourcePart(source, one, passes and ANY * source.share * trial / passes)


def _counterpart(source: CorpusSource, study: Study, launch: Mapping[str, LaunchCorpus]) -> LaunchCorpus | None:
    """The launch's source of the same name, or its only one where the language has one in both."""
    same = [one for one in launch.values() if one.language == source.language]
    if len(same) == 1 and len(study.corpora.source_names(source.language)) == 1:
        return same[0]
    return next((one for one in same if one.name == source.name), None)


def _fault(study: Study, text: SourcePart, facts: CorpusFacts | None) -> str | None:
    """What prevents it; None also where only preparing the text will tell."""
    source, training = text.source, study.training
    if text.tokens is None:
        if text.launch.same_text and facts is None:  # it is counted when the trials' text is
            return None
        return f"the size of the launch's text is not known: state tokens of launch.corpora.{text.launch.name}"
    share, at_once = _most(study, source)
    if text.tokens < at_once:
        return (
            f"trials would read {shown(text.tokens)} tokens of {source.where}, less than one batch takes of it "
            f"({shown(at_once)}): raise training.tokens, or give the launch more text"
        )
    size = facts.blocks * training.sequence_length if facts else math.inf
    drawn = share * training.blocks * training.sequence_length
    if drawn > size and text.tokens > ROUNDING * size:
        return (
            f"trials would read {source.where} up to {times(drawn / size)}, the launch {times(drawn / text.tokens)}: "
            f"give trials {shown(text.tokens)} tokens of it, or lower training.tokens"
        )
    return None


def _most(study: Study, source: CorpusSource) -> tuple[float, int]:
    """The largest share of a trial's tokens that a source may have, and the tokens of it in one batch then."""
    low, high = study.search.reach(study.grid)["almr"]
    share = source.share * (high if source.language == "additional" else 1 - low)
    return share, math.ceil(share * study.training.batch_sequences) * study.training.sequence_length


def _small(study: Study) -> Iterator[str]:
    """The stated parts that do not fill one batch."""
    for source in study.corpora.by_name.values():
        part, at_once = source.spec.trial_tokens, _most(study, source)[1]
        if part and part < at_once:
            yield (
                f"{source.where}.trial_tokens {part:,}: less than one batch takes of it ({shown(at_once)}), so that a "
                f"trial reads a text several times in one step: raise it"
            )


def warnings(
    study: Study,
    facts: Mapping[str, CorpusFacts],
    epochs: Mapping[str, list[float] | None],
    launch: LaunchOutlook | None,
) -> list[str]:
    """What a plan says of repetition that trials should have and have not. `epochs`: of trials, by source."""
    if study.training.simulate_epochs:
        return [f"almr run will refuse this study: {fault}" for fault in faults(study, facts)]
    return [*_small(study), *(_unlike(study, epochs, launch) if launch else [])]


def _unlike(study: Study, epochs: Mapping[str, list[float] | None], launch: LaunchOutlook) -> Iterator[str]:
    for source in study.corpora.by_name.values():
        one, trials = _counterpart(source, study, launch.least), epochs[source.name]
        passes = launch.passes(one.name) if one else None
        if passes and trials and max(trials) <= 1 < passes[1]:
            yield (
                f"the launch reads {study.source_label(source.name)} up to {times(passes[1])}, a trial at most "
                f"{times(max(trials))}, and repetition moves the best ALMR: write {FIELD}: true"
            )
