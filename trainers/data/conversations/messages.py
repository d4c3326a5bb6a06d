"""Records with a conversation, as the field writes them: `messages`, `conversations`, or `prompt` and `completion`.

A message is as `turns` has it. A prompt and a completion are each a text, of the user and of the assistant, or a list
of messages.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sweep.study.errors import shown
from sweep.study.sections.text.corpora import Corpus
from trainers.data.conversations import turns
from trainers.data.readers.place import KINDS, Place, Repeated, listed
from trainers.data.readers.record_text import RecordText

Message = dict[str, str]
MESSAGES, PROMPT, COMPLETION = "messages", "prompt", "completion"
MOST_MESSAGES = 2000  # targets are found by rendering every beginning: the time grows with the square
VERSION = 1  # of the text of a conversation: raise it where the same record would give another


def field_of(spec: Corpus) -> str:
    """The field with the messages: as the study names it, `messages` by default."""
    plain: str = Corpus.model_fields["field"].default
    return MESSAGES if spec.field == plain else spec.field


def read_as(spec: Corpus) -> RecordText:
    """How a record of a source becomes the text of a document: the JSON of its messages."""
    field = field_of(spec)

    def text(place: Place, record: Any, number: int) -> bytes:
        return _Record(place, record, number, field).text()

    columns = (field.partition(".")[0], turns.CONVERSATIONS, PROMPT, COMPLETION)
    key = f"conversations {VERSION}, {field}"
    return RecordText(key, columns, "conversations", text, beside=(turns.SYSTEM, turns.TOOLS))


def of(text: str) -> list[Message]:
    """The messages of a document."""
    found: list[Message] = json.loads(text)
    return found


def said(messages: list[Message]) -> str:
    """What is said in a conversation, by which copies are told: a system message is often the same in all of them."""
    return "\n\n".join(message["content"] for message in messages if message["role"] != "system")


class _Record:
    """One record, and where it stands for messages."""

    def __init__(self, place: Place, record: Any, number: int, field: str) -> None:
        self.place, self.record, self.number = place, record, number
        other = field == MESSAGES and isinstance(record, Mapping) and field not in record
        self.field = turns.CONVERSATIONS if other and turns.CONVERSATIONS in record else field

    def text(self) -> bytes:
        """Empty where the field is null. Raises InputError that names place and field for what is no conversation."""
        messages = self._messages()
        if messages is None:
            return b""
        if not any(message["role"] == "assistant" for message in messages):
            raise self._fault(self.field, "no turn is the assistant's, so nothing would be learned: remove the record")
        if messages[0]["role"] == "assistant":
            raise self._fault(
                f"{self.field}[0]", "the assistant speaks first, and answers nothing: begin with the user"
            )
        return json.dumps(messages, ensure_ascii=False).encode()

    def _messages(self) -> list[Message] | None:
        record, number = self.record, self.number
        if not isinstance(record, Mapping):
            what = KINDS.get(type(record), "text")
            raise self.place.fault(f"is {what}, not an object with {self.field}: correct or remove it", number)
        if fault := turns.tools_fault(record):
            raise self._fault(turns.TOOLS, fault)
        if self.field not in record and PROMPT in record and COMPLETION in record:
            return self._side(PROMPT, "user") + self._side(COMPLETION, "assistant")
        if self.field not in record and "." not in self.field:
            fix = "set `field:` to that of the messages, or write prompt and completion"
            raise self.place.fault(f"there is no {shown(self.field)}; the fields are {listed(record)}: {fix}", number)
        value = self.place.lookup(record, self.field, number)
        if value is None:
            return None
        said = self._turns(self.field, value)
        system = turns.system_beside(record, value)
        if system is None or not said or said[0]["role"] == "system" or not str(system).strip():
            return said
        return [{"role": "system", "content": self._content(turns.SYSTEM, system)}, *said]

    def _side(self, name: str, role: str) -> list[Message]:
        value = self.record[name]
        if isinstance(value, str):
            return [{"role": role, "content": self._content(name, value)}]
        return self._turns(name, value)

    def _turns(self, name: str, value: Any) -> list[Message]:
        if not isinstance(value, list) or not value:
            what = "empty" if isinstance(value, list) else f"{_kind(value)} ({shown(value)})"
            raise self._fault(name, f"is {what}, not a list of messages with role and content: correct or remove it")
        if len(value) > MOST_MESSAGES:
            raise self._fault(name, f"has {len(value):,} messages, over {MOST_MESSAGES:,}: split or remove the record")
        said = [self._turn(f"{name}[{i}]", message) for i, message in enumerate(value)]
        return [turn for turn in said if turn["content"]]

    def _turn(self, name: str, message: Any) -> Message:
        names = turns.fields_of(message)
        if names is None:
            have = f"has {listed(message)}" if isinstance(message, Mapping) else f"is {_kind(message)}"
            raise self._fault(name, f"{have}, not role and content: correct or remove it")
        role_field, content_field = names
        content = message[content_field]
        try:
            role = turns.role_of(role_field, message[role_field])
        except ValueError as error:
            raise self._fault(f"{name}.{role_field}", str(error)) from None
        if message.get("tool_calls"):
            raise self._fault(f"{name}.tool_calls", turns.NO_TOOLS)
        if role == "assistant" and (field := turns.unlearned(message)):
            raise self._fault(f"{name}.{field}", turns.ALL_LEARNED)
        if role == "system" and isinstance(content, str) and not content.strip():
            return {"role": role, "content": ""}  # as many data sets write that there is none
        return {"role": role, "content": self._content(f"{name}.{content_field}", content)}

    def _content(self, name: str, value: Any) -> str:
        if isinstance(value, Repeated):
            raise self._fault(name, "is written twice: keep one of the two")
        if not isinstance(value, str):
            raise self._fault(name, f"is {_kind(value)} ({shown(value)}), not text: correct or remove the record")
        if not value.strip():
            raise self._fault(name, "is empty: write what is said, or remove the record")
        return self.place.document(value, name, self.number).decode()

    def _fault(self, field: str, problem: str) -> Exception:
        return self.place.fault(f"{field}: {problem}", self.number)


def _kind(value: Any) -> str:
    return KINDS.get(type(value), "text" if isinstance(value, str) else "no text")
