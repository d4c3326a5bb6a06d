"""Rows of conversations: what each token of a block is, in the last dimension of (sequences, length, 3)."""

from __future__ import annotations

from typing import Any

TOKEN, TARGET, POSITION = range(3)  # its id, 1 where it is a target, and its place in its conversation, from 0
COLUMNS = ("input_ids", "targets", "positions")  # of a packed corpus, in this order


def are(tokens: Any) -> bool:
    """Whether rows are those of conversations; plain text has (sequences, length) token ids alone."""
    return bool(tokens.ndim == 3)


def ids(tokens: Any) -> Any:
    """The token ids (sequences, length) of rows of either kind, of an array or a tensor."""
    return tokens[..., TOKEN] if are(tokens) else tokens
