"""A tokenizer against the rows of a model's embedding, and against the tokenizer that the model had before."""

from __future__ import annotations

from typing import Any

MOST_NAMED = 4
NEW_ROWS = "new_rows: mean"


def named(tokens: list[str]) -> str:
    """Some tokens for a message."""
    more = f", ... ({len(tokens):,} in all)" if len(tokens) > MOST_NAMED else ""
    return ", ".join(repr(token) for token in tokens[:MOST_NAMED]) + more


def without_row(tokenizer: Any, rows: int) -> list[str]:
    """The tokens whose id has no row in the embedding."""
    beyond = {token: number for token, number in tokenizer.get_vocab().items() if number >= rows}
    return sorted(beyond, key=lambda token: beyond[token])


def fault(tokenizer: Any, rows: int, where: str, may_grow: bool) -> str | None:
    """Why the tokenizer does not suit an embedding of so many rows. `where`: the study's field of the tokenizer;
    `may_grow`: missing rows are added.
    """
    lost = [] if may_grow else without_row(tokenizer, rows)
    if lost:
        count = "1 token" if len(lost) == 1 else f"{len(lost):,} tokens"
        return (
            f"{where}: the tokenizer has {count} without a row in the model's embedding of {rows:,} rows: "
            f"{named(lost)}: write base_model.{NEW_ROWS}, or give the tokenizer that the model was trained with"
        )
    return None


def moved(old: Any, new: Any) -> list[str]:
    """The tokens that both tokenizers have, under other ids."""
    before, after = old.get_vocab(), new.get_vocab()
    return sorted(token for token in before.keys() & after.keys() if before[token] != after[token])
