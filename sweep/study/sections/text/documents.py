"""`documents`: the special tokens at the borders of documents, and how a conversation is written as one."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import model_validator

from sweep.study.fields import Section, Text

CHATML = "chatml"  # the chat template that is shipped
JINJA = ".jinja"


class Documents(Section):
    """The special tokens between documents. In a document, the text of such a token is text."""

    bos: Literal["auto", True, False] = "auto"
    """Begin each document with the tokenizer's BOS token. `auto`: where the tokenizer itself begins a text with it."""
    eos: bool = True
    """End each document with the tokenizer's end-of-text token."""
    chat_template: Text | None = None
    """Stages `sft` and `dpo`: how a conversation becomes text. `chatml`, or a Jinja file (.jinja) relative to the study
    file. Default: the tokenizer's own.
    """

    @model_validator(mode="after")
    def _template_is_a_file(self) -> Self:
        if self.chat_template not in (None, CHATML) and not str(self.chat_template).endswith(JINJA):
            raise ValueError(f"chat_template: {self.chat_template}: write {CHATML}, or the path of a {JINJA} file")
        return self

    @property
    def template_file(self) -> Path | None:
        """The user's own chat template."""
        return Path(self.chat_template) if self.chat_template not in (None, CHATML) else None

    def recipe(self) -> dict[str, Any]:
        """Its fields in a study's recipe. The newer one only where it is set, so that older runs stay as they are."""
        return self.model_dump(mode="json", exclude=None if self.chat_template else {"chat_template"})
