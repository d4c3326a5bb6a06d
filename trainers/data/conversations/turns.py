"""One message of a conversation as data sets write it: `role` and `content`, or `from` and `value` (ShareGPT).

ShareGPT's records, which LLaMA-Factory and axolotl read, have `conversations`, with the senders human, gpt and system,
and sometimes the system message as a field of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sweep.study.errors import shown

ROLES = ("system", "user", "assistant")
FIELDS = (("role", "content"), ("from", "value"))
CONVERSATIONS, SYSTEM, TOOLS = "conversations", "system", "tools"
SENDERS = {"human": "user", "gpt": "assistant"}
OF_TOOLS = ("tool", "function", "function_call", "observation", "ipython")  # roles of TRL, LLaMA-Factory and Llama
ALL_LEARNED = "every turn of the assistant is learned: remove the field or the record"
NO_TOOLS = "calls of tools are not read: remove the record"


def fields_of(message: Any) -> tuple[str, str] | None:
    """The fields with the role and with what is said; None for what is no message."""
    known = isinstance(message, Mapping)
    return next((names for names in FIELDS if known and set(names) <= message.keys()), None)


def role_of(field: str, value: Any) -> str:
    """system, user or assistant. Raises ValueError, which says the problem and the fix, for any other role."""
    if value in ROLES:
        return str(value)
    senders = SENDERS if field == "from" else {}
    if found := next((role for sender, role in senders.items() if sender == value), None):
        return found
    if value in OF_TOOLS:
        raise ValueError(NO_TOOLS)
    raise ValueError(f"unknown role {shown(value)}: write {', '.join((*senders, *ROLES))}, or remove it")


def unlearned(message: Mapping[str, Any]) -> str | None:
    """The field by which a message says that it is no target, as OpenAI's and axolotl's data may: `weight`, `train`."""
    kept_out = {"weight": 0, "train": False, "training": False}
    return next((name for name, value in kept_out.items() if name in message and message[name] == value), None)


def tools_fault(record: Mapping[str, Any]) -> str | None:
    """The fault of a record that describes tools: a template would write them before the conversation."""
    value = record.get(TOOLS)
    none = not value or (isinstance(value, str) and value.strip() in ("", "[]", "null"))
    return None if none else "descriptions of tools are not read: remove the field, or the record"


def system_beside(record: Mapping[str, Any], turns: Any) -> Any:
    """The system message that stands beside ShareGPT's turns; None without one, and where the turns are others."""
    first = turns[0] if isinstance(turns, list) and turns else None
    return record.get(SYSTEM) if fields_of(first) == FIELDS[1] else None
