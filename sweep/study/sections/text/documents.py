"""`documents`: the special tokens at the borders of documents."""

from __future__ import annotations

from typing import Literal

from sweep.study.fields import Section


class Documents(Section):
    """The special tokens between documents. In a document, the text of such a token is text."""

    bos: Literal["auto", True, False] = "auto"
    """Begin each document with the tokenizer's BOS token. `auto`: where the tokenizer itself begins a text with it."""
    eos: bool = True
    """End each document with the tokenizer's end-of-text token."""
