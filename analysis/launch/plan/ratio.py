"""Shares of tokens <-> probabilities of documents: the two ways in which trainers state a mixture of corpora.

Drawing documents of L tokens on average draws tokens in proportion to (probability x L).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

NOTABLE_SD = 0.01  # of the achieved ALMR: above it, a format warns
Shares = Mapping[str, float]  # by corpus


def document_probabilities(shares: Shares, lengths: Shares) -> dict[str, float]:
    """The probabilities of drawing a document of each corpus that give the corpora these shares of the tokens.

    `lengths` are mean tokens per document. p is in proportion to share / length; a share of 0 stays exactly 0.
    """
    return _normalised({name: share / lengths[name] for name, share in shares.items()})


def token_shares(probabilities: Shares, lengths: Shares) -> dict[str, float]:
    """The inverse: the shares of the tokens where documents are drawn with these probabilities."""
    return _normalised({name: probability * lengths[name] for name, probability in probabilities.items()})


def _normalised(parts: dict[str, float]) -> dict[str, float]:
    total = sum(parts.values())
    return {name: part / total for name, part in parts.items()}


def almr_sd(shares: Shares, probabilities: Shares, additional: Collection[str], draws: float) -> float:
    """Standard deviation of the achieved ALMR over `draws` independent draws, to first order (the delta method).

    `additional` are the corpora of the additional language. Documents of unequal length add to it.
    """
    almr = sum(share for name, share in shares.items() if name in additional)
    parts = (
        (share * ((name in additional) - almr)) ** 2 / probabilities[name] for name, share in shares.items() if share
    )
    return math.sqrt(sum(parts) / draws)
