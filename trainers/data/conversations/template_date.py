"""The date that a chat template writes. transformers gives templates `strftime_now`, the day of the call.

Those of Llama 3.2 and SmolLM3 write it into the system message, so the ids of the same conversation would depend on the
day on which it was prepared, and a score on the day on which it was measured. Here it is always the same day: the one
that Llama's template names where it is not told another. It is written into the text of the template: newer versions of
transformers pass no function to it.
"""

from __future__ import annotations

import json
import re
from datetime import date
from typing import Any

DATE = date(2024, 7, 26)
CALL = re.compile(r"\bstrftime_now\s*\(")
KNOWN = re.compile(r"\bstrftime_now\s*\(\s*(?:'([^'\\]*)'|\"([^\"\\]*)\")\s*\)")
SAID = (
    f"the chat template writes today's date: it is always {DATE:%d %B %Y} in what is trained on and measured, so that "
    f"nothing depends on the day; for another, write it into a template of your own (documents.chat_template)"
)
UNKNOWN = "the chat template writes today's date in a form that it computes: write the date into a template of your own"


def is_dated(tokenizer: Any) -> bool:
    """Whether its chat template asks for the date of today."""
    return bool(CALL.search(_template(tokenizer)))


def options(tokenizer: Any) -> dict[str, Any]:
    """Arguments of `apply_chat_template` by which `DATE` is written; none where the template asks for no date."""
    return {"chat_template": _pinned(_template(tokenizer))} if is_dated(tokenizer) else {}


def fault(tokenizer: Any) -> str | None:
    """Why the day cannot be kept out of what the template writes, and the fix."""
    return UNKNOWN if is_dated(tokenizer) and CALL.search(options(tokenizer)["chat_template"]) else None


def _template(tokenizer: Any) -> str:
    """The text of its template; of several the default one. Empty where it has none."""
    found = getattr(tokenizer, "chat_template", None)
    return str((found.get("default") if isinstance(found, dict) else found) or "")


def _pinned(template: str) -> str:
    return KNOWN.sub(lambda call: json.dumps(DATE.strftime(call[1] or call[2] or "")), template)
