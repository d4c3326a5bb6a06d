"""Whether losses of two runs are of one held-out text, in one tokenizer's tokens: only then are they subtracted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from analysis.compare.fitted import ComparedFit
from analysis.compare.result import BITS, NATS, Unit
from sweep.study import LANGUAGES, CorpusFacts, numbers

SAME_BASE = 1e-6  # relative: two losses of one base model on one text
OTHER_BASE = 1e-3  # nats: one base model on one text, on other machines, is within it (sweep.external.parity.judge)


class MeasuredText(NamedTuple):
    """What one source's loss is measured on: the `share` of its language's loss, the held-out text in documents, bytes
    and tokens, and how many tokens of it are read."""

    share: float
    documents: int
    bytes: int
    tokens: int
    measured: int

    @property
    def whole(self) -> bool:
        """Whether all of it is read, but for the end that fills no sequence."""
        return self.measured >= self.tokens


@dataclass(frozen=True)
class Measure:
    """The unit in which two losses compare. None where they do not, and `why` says so."""

    unit: Unit | None
    why: str = ""


def measure(first: ComparedFit, second: ComparedFit, name: str, stated: bool = False) -> Measure:
    """`stated`: the user says that text and tokenizer are the same, where no record tells."""
    if name not in first.losses or name not in second.losses:
        lacking = first if name not in first.losses else second
        return Measure(None, f"{lacking.name} has no surface of it")
    texts = _texts(first, name), _texts(second, name)
    one, other = first.base(name), second.base(name)
    if one is not None and other is not None:
        if math.isclose(one, other, rel_tol=SAME_BASE):
            return Measure(NATS)  # another text or tokenizer would give another loss
        if _one_model(first, second) and abs(other - one) > OTHER_BASE:
            return Measure(None, f"the base model's loss differs ({_both(one, other)} nats), so the held-out text does")
    if texts[0] is None or texts[1] is None:
        return Measure(NATS) if stated else Measure(None, UNKNOWN)
    return _of_texts(texts[0], texts[1], has_bits=all(one.bits_per_byte_of_nat(name) for one in (first, second)))


UNKNOWN = "no record says that the held-out texts are one: if they are, state it: --same-text REASON"


def _both(first: float, second: float) -> str:
    return f"{numbers.number(first, 4)} and {numbers.number(second, 4)}"


def _one_model(first: ComparedFit, second: ComparedFit) -> bool:
    made = first.ingredients, second.ingredients
    return bool(made[0] and made[1] and made[0].base_model_fingerprint == made[1].base_model_fingerprint)


def _texts(of: ComparedFit, name: str) -> dict[str, MeasuredText] | None:
    """By source; None where no record tells: a table, or a study whose texts were not read."""
    if of.study is None or of.ingredients is None or name == "total":
        return None
    facts = of.ingredients.corpora
    sources = of.study.corpora.source_names(name) if name in LANGUAGES else [name]
    if any(one not in facts or not facts[one].counted for one in sources):
        return None
    share = {one: of.study.corpora.by_name[one].share if len(sources) > 1 else 1.0 for one in sources}
    return {one: _text(of, facts[one], share[one]) for one in sources}


def _text(of: ComparedFit, facts: CorpusFacts, share: float) -> MeasuredText:
    assert of.study is not None
    training = of.study.training
    blocks = min(facts.held_out_blocks, training.evaluation_tokens // training.sequence_length)
    measured = facts.held_out_tokens if blocks == facts.held_out_blocks else blocks * training.sequence_length
    return MeasuredText(share, facts.held_out_documents, facts.held_out_bytes, facts.held_out_tokens, measured)


def _of_texts(first: dict[str, MeasuredText], second: dict[str, MeasuredText], has_bits: bool) -> Measure:
    """Equal counts of documents, bytes and tokens are taken for one text in one tokenizer's tokens."""
    if first == second:
        return Measure(NATS)
    one, other = list(first.values()), list(second.values())
    bytes_alone = [[(text.share, text.documents, text.bytes) for text in texts] for texts in (one, other)]
    if bytes_alone[0] != bytes_alone[1]:
        return Measure(None, f"the held-out texts differ ({_counts(one)} and {_counts(other)})")
    if [text.tokens for text in one] == [text.tokens for text in other]:
        return Measure(None, f"other parts of the held-out text are measured ({_read(one)} and {_read(other)} tokens)")
    if has_bits and all(text.whole for text in (*one, *other)):
        return Measure(BITS)
    return Measure(None, f"the tokenizers differ, and each loss is of another part of the text: {BOTH_WHOLE}")


BOTH_WHOLE = "bits per byte compare where training.evaluation_tokens covers all of the held-out text"


def _counts(texts: list[MeasuredText]) -> str:
    return f"{sum(text.documents for text in texts):,} documents, {numbers.size(sum(text.bytes for text in texts))}"


def _read(texts: list[MeasuredText]) -> str:
    return f"{sum(text.measured for text in texts):,}"


def objectives(first: ComparedFit, second: ComparedFit, units: Mapping[str, Measure]) -> str:
    """Why the objectives of two runs are not one number in one unit; empty where they are. `units`: of each loss."""
    if not one_goal(first, second):
        return "they minimise different objectives"
    apart = [name for name in first.goal.losses if units[name].unit != NATS]
    if not apart:
        return ""
    return (
        f"the {' and '.join(map(first.label, apart))} losses do not compare: {units[apart[0]].why or 'only per byte'}"
    )


def one_goal(first: ComparedFit, second: ComparedFit) -> bool:
    """Whether two runs minimise the same losses at the same weights, under guards of the same percentages."""
    goals = [(one.goal.loss_weights, _guards(one)) for one in (first, second)]
    return goals[0] == goals[1]


def _guards(of: ComparedFit) -> dict[str, float]:
    forgetting = {"forgetting": of.file.guard.percent} if of.file.guard else {}
    return forgetting | {f"guard {guard.source}": guard.percent for guard in of.file.loss_guards}
