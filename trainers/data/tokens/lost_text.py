"""Whether a tokenizer can write a text: some drop letters that they do not know, or have one token for all of them."""

from __future__ import annotations

import logging
import unicodedata
from collections import Counter

import datasets
import numpy as np

from sweep.study import InputError
from sweep.study.numbers import percent
from trainers.data.tokens.text_tokenizer import TextTokenizer

log = logging.getLogger(__name__)
LOST, MUCH_LOST = 0.001, 0.2  # shares of the letters that the tokenizer cannot write: a warning, and a refusal
DOCUMENTS, CHARACTERS = 100, 2000  # of a sample: evenly spaced documents, and the beginning of each


def refuse(texts: datasets.Dataset, tokenizer: TextTokenizer, where: str) -> None:
    """Raises InputError where the tokenizer knows few of the letters: little of the text would be learned. Warns where
    it does not know some. `where`: the study's field.
    """
    lost = share(texts, tokenizer)
    found = (
        f"{where}: the base model's tokenizer cannot write {percent(lost, 1)} of the letters of this "
        f"text, which it drops or reads as unknown"
    )
    if lost >= MUCH_LOST:
        raise InputError(
            f"{found}: give a base model that knows them, or an extended tokenizer in base_model.tokenizer with "
            f"base_model.new_rows: mean"
        )
    if lost >= LOST:
        log.warning("%s: bits per byte count them, but no token does", found)


def share(texts: datasets.Dataset, tokenizer: TextTokenizer) -> float:
    """The share of the letters and digits that are not in what the tokens decode to. Upper case, accents and forms of
    characters make no difference.
    """
    rows = np.linspace(0, len(texts) - 1, min(DOCUMENTS, len(texts))).round().astype(int).tolist()
    some = [text[:CHARACTERS] for text in texts[rows]["text"]]
    unknown = tokenizer.tokenizer.unk_token_id
    total = lost = 0
    for text, ids in zip(some, tokenizer.tokens(some), strict=True):
        known = ids[ids != unknown].tolist() if unknown is not None else ids.tolist()
        written = _letters(tokenizer.tokenizer.decode(known))
        wanted = _letters(text)
        total += wanted.total()
        lost += (wanted - written).total()
    return lost / total if total else 0.0


def _letters(text: str) -> Counter[str]:
    return Counter(filter(str.isalnum, unicodedata.normalize("NFKD", text).casefold()))
