"""Preference pairs: a prompt and two answers, of which one was preferred, as they are written in the field's formats.

A record has `prompt`, `chosen` and `rejected`, each a text, a message or a list of messages. A text is one turn: of the
user as a prompt, of the assistant as an answer. Without `prompt`, or where the answers are whole conversations, the
messages that both begin with are the prompt (the implicit form). LLaMA-Factory calls the prompt `conversations`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sweep.study.errors import shown
from trainers.data.conversations import turns
from trainers.data.readers.place import KINDS, Place, listed
from trainers.data.readers.record_text import RecordText

Message = dict[str, str]
ANSWERS = ("chosen", "rejected")
PROMPT = "prompt"
COLUMNS = (PROMPT, *ANSWERS)
VERSION = 1  # of the text of a pair: raise it where the same record would give another


@dataclass(frozen=True)
class Pair:
    """A prompt that ends with the user's turn, and two answers, each one turn of the assistant."""

    prompt: list[Message]
    chosen: list[Message]
    rejected: list[Message]

    @staticmethod
    def read(text: str) -> Pair:
        """The pair that `text` wrote."""
        return Pair(**json.loads(text))

    @property
    def text(self) -> str:
        """The pair as one line of JSON."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @property
    def prompt_text(self) -> str:
        """What the prompt says: pairs with the same are never on both sides of a hold-out. Without its system message,
        which many pairs share.
        """
        return "\n\n".join(message["content"] for message in self.prompt if message["role"] != "system")


def text_of(place: Place, record: Any, number: int) -> bytes:
    """The pair of a record as a text; empty where a part is blank, or both answers are the same: nothing is learnt.

    Raises InputError that names place and field for what is no pair.
    """
    if not isinstance(record, Mapping):
        what = KINDS.get(type(record), "text")
        raise place.fault(f"is {what}, not an object with chosen and rejected: correct or remove it", number)
    reader = _PairRecord(place, record, number)
    reader.refuse_tools()
    chosen, rejected = (reader.turns(name, "assistant") for name in ANSWERS)
    asked = next((name for name in (PROMPT, turns.CONVERSATIONS) if record.get(name) is not None), None)
    prompt = reader.prompt(asked) if asked else []
    if not (chosen and rejected) or chosen == rejected:
        return b""
    if chosen[0]["role"] != "assistant" or rejected[0]["role"] != "assistant":
        prompt, chosen, rejected = reader.split(prompt, chosen, rejected)
    elif asked is None:
        fix = "give prompt, or whole conversations as chosen and rejected"
        raise place.fault(f"there is no 'prompt', and the answers begin without one: {fix}", number)
    if not prompt:
        return b""
    reader.check(prompt, chosen, rejected)
    return Pair(prompt, chosen, rejected).text.encode()


@dataclass(frozen=True)
class _PairRecord:
    """A record that is read, for messages."""

    place: Place
    record: Mapping[str, Any]
    number: int

    def turns(self, name: str, role: str) -> list[Message]:
        """The messages of a field; a text is one of `role`. Empty where it is null, blank, or any message is."""
        if name not in self.record:
            fields = listed(self.record)
            fix = f"a pair has {', '.join(COLUMNS)}: rename a field, or remove the record"
            raise self.fault(f"there is no {shown(name)}; the fields are {fields}; {fix}")
        value = self.place.lookup(self.record, name, self.number)
        value = [value] if turns.fields_of(value) else value
        if not isinstance(value, list):
            content = self.place.document(value, name, self.number).decode()
            return [{"role": role, "content": content}] if content else []
        messages = [self._message(name, place, message) for place, message in enumerate(value, 1)]
        said = [one for one in messages if one["content"] or one["role"] != "system"]  # a blank one says: there is none
        return said if all(message["content"] for message in said) else []

    def _message(self, name: str, place: int, message: Any) -> Message:
        where = f"{name}, message {place}"
        names = turns.fields_of(message)
        if names is None:
            raise self.fault(f"{where} ({shown(message)}) is not an object with role and content: correct it")
        role_field, content_field = names
        try:
            role = turns.role_of(role_field, message[role_field])
        except ValueError as error:
            raise self.fault(f"{where}: {role_field}: {error}") from None
        if message.get("tool_calls"):
            raise self.fault(f"{where}: tool_calls: {turns.NO_TOOLS}")
        content = self.place.document(message[content_field], f"{where}: {content_field}", self.number).decode()
        return {"role": role, "content": content}

    def prompt(self, name: str) -> list[Message]:
        """The messages of the prompt, with a system message that stands beside them."""
        said = self.turns(name, "user")
        if not said or said[0]["role"] == "system":
            return said
        system = turns.system_beside(self.record, self.record[name])
        content = self.place.document(system, turns.SYSTEM, self.number).decode()
        return [{"role": "system", "content": content}, *said] if content else said

    def refuse_tools(self) -> None:
        if fault := turns.tools_fault(self.record):
            raise self.fault(f"{turns.TOOLS}: {fault}")

    def split(
        self, prompt: list[Message], chosen: list[Message], rejected: list[Message]
    ) -> tuple[list[Message], list[Message], list[Message]]:
        """The prompt that two whole conversations begin with, and what follows in each. `prompt`: as it is stated."""
        both = zip(chosen, rejected, strict=False)
        same = next((n for n, (one, other) in enumerate(both) if one != other), min(len(chosen), len(rejected)))
        shared = chosen[:same]
        if not shared:
            raise self.fault("chosen and rejected do not begin with the same messages: correct or remove the pair")
        if prompt and prompt != shared and prompt[-1] != shared[-1]:
            raise self.fault("prompt is not what chosen and rejected begin with: correct it, or remove the field")
        return shared, chosen[same:], rejected[same:]

    def check(self, prompt: list[Message], chosen: list[Message], rejected: list[Message]) -> None:
        """Raises InputError where the prompt does not end with the user, or an answer is not one of the assistant."""
        if prompt[-1]["role"] != "user":
            raise self.fault(f"the prompt ends with {prompt[-1]['role']}, not with user: correct or remove the pair")
        for name, answer in zip(ANSWERS, (chosen, rejected), strict=True):
            roles = [message["role"] for message in answer]
            if roles != ["assistant"]:
                found = ", ".join(roles) or "nothing"
                raise self.fault(f"{name} is {found} after the prompt, not one turn of the assistant: correct the pair")

    def fault(self, problem: str) -> Exception:
        return self.place.fault(problem, self.number)


PAIRS = RecordText(
    key=f"pairs {VERSION}",
    columns=COLUMNS,
    rows="pairs of answers",
    text=text_of,
    beside=(turns.CONVERSATIONS, turns.SYSTEM, turns.TOOLS),
)
