"""What is known of the corpora's text: the tokens between documents, and what was held out or dropped."""

from __future__ import annotations

from typing import Any

from sweep.study import CorpusFacts, Study
from sweep.study.ingredients import ConversationFacts
from sweep.study.numbers import percent


def lines(study: Study, facts: dict[str, CorpusFacts]) -> list[str]:
    """For `almr plan` and `almr prepare`. `facts`: of the corpora that were packed so far, by source."""
    found = [f"documents: {_written(study, facts)}"]
    for name, one in facts.items():
        where = study.corpora.by_name[name].where
        if one.conversations:
            found.append(f"{where}: {_targets(one, one.conversations, study.training.sequence_length)}")
        if one.copies or one.near_copies:
            found.append(f"{where}: {one.dropped} were dropped from training")
        if one.special_strings:
            how = "once" if one.special_strings == 1 else f"{one.special_strings:,} times"
            found.append(f"{where}: special tokens of the tokenizer stand in the text {how}, and are read as text")
    return found


def as_json(study: Study, facts: dict[str, CorpusFacts]) -> dict[str, Any]:
    """`bos`: null before the tokenizer was read."""
    stated = None if study.documents.bos == "auto" else study.documents.bos
    bos = any(one.bos for one in facts.values()) if facts else stated
    return {
        "documents": {"bos": bos, "eos": study.documents.eos},
        "corpora": {name: one.model_dump(mode="json", exclude={"files"}) for name, one in facts.items()},
    }


def _written(study: Study, facts: dict[str, CorpusFacts]) -> str:
    if study.training.stage != "cpt":
        return f"by the chat template {study.documents.chat_template or 'of the base model'}"
    return f"{_begin(study, facts)}; {'end-of-text' if study.documents.eos else 'nothing'} after each"


def _targets(facts: CorpusFacts, of: ConversationFacts, length: int) -> str:
    """The shares of its tokens that are predicted, that fill the gaps of blocks, and that were cut off."""
    filled = percent(of.filled_tokens / (facts.blocks * length), 1)
    cut = f"; {of.longer:,} are longer than a sequence and lost {of.cut_tokens:,} tokens" if of.longer else ""
    return (
        f"{facts.documents:,} conversations, {percent(of.targets / facts.tokens)} of their tokens are targets; "
        f"{filled} of the blocks repeat beginnings, in place of padding{cut}"
    )


def _begin(study: Study, facts: dict[str, CorpusFacts]) -> str:
    stated = study.documents.bos
    if facts or stated != "auto":
        begins = any(one.bos for one in facts.values()) if facts else stated
        how = ", as the tokenizer itself does" if stated == "auto" else ""
        return f"{'BOS' if begins else 'no BOS'} before each{how}"
    shown_by = "almr prepare" if study.base_model.embedded else "--check and almr prepare"
    return f"BOS before each if the tokenizer itself does so (shown by {shown_by})"
