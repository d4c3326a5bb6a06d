"""Share of tokens <-> probability of a document: the two ways in which trainers state a mixture.

Drawing documents of L tokens on average draws tokens in proportion to (probability x L).
"""

from __future__ import annotations

import math

NOTABLE_SD = 0.01  # of the achieved ALMR: above it, a format warns


def document_probability(almr: float, original_length: float, additional_length: float) -> float:
    """The probability of drawing an additional-language document that gives this language a share `almr` of tokens.

    Lengths are mean tokens per document. p = (a / La) / (a / La + (1 - a) / Lo); 0 and 1 stay exactly 0 and 1.
    """
    additional, original = almr / additional_length, (1 - almr) / original_length
    return additional / (additional + original)


def token_share(probability: float, original_length: float, additional_length: float) -> float:
    """The inverse: the additional language's share of tokens where its documents are drawn with `probability`."""
    additional, original = probability * additional_length, (1 - probability) * original_length
    return additional / (additional + original)


def token_share_sd(almr: float, probability: float, documents: float) -> float:
    """Standard deviation of the achieved ALMR over `documents` independent draws, to first order.

    Documents of unequal length add to it.
    """
    if probability in (0, 1):
        return 0.0
    return almr * (1 - almr) / math.sqrt(documents * probability * (1 - probability))
