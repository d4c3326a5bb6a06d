"""A base model whose tokenizer writes conversations by the study's chat template, as a directory in the cache.

`chatml` begins and ends turns with two tokens. Where the tokenizer lacks them they are added, with the mean of all
rows, as `base_model.new_rows` adds others; a turn spelled with tokens of text has no end at which a generation stops.
A template of the user's has the tokens that the tokenizer has.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from transformers import AddedToken

from sweep.study import InputError
from sweep.study.errors import one_line
from sweep.study.files import cache, regular
from sweep.study.sections.text.corpora import BaseModelSource
from sweep.study.sections.text.documents import CHATML, Documents
from sweep.study.study import fingerprint_of
from trainers.data.conversations.rendering import FIELD
from trainers.data.tokens.borders import Borders
from trainers.data.tokens.text_tokenizer import TextTokenizer
from trainers.model.base import resizing
from trainers.model.loading import load_tokenizer

VERSION = 1  # raise it when the same template would give another folder
OPENED, CLOSED = "<|im_start|>", "<|im_end|>"
TEMPLATE = (  # without {% generation %}, which not every server reads: its targets are found all the same
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def build(documents: Documents, base: BaseModelSource, folder: Path, key: str) -> tuple[Path, str]:
    """The directory of the model with the study's template, and its fingerprint; `folder` itself where the study names
    none. `key`: the fingerprint of `folder`. Raises InputError for a template that cannot be read.
    """
    if documents.chat_template is None:
        return folder, key
    old, new = load_tokenizer(base, str(folder)), load_tokenizer(base, str(folder))
    new.chat_template = TEMPLATE if documents.chat_template == CHATML else _read(documents)
    if documents.chat_template == CHATML:
        _add_turns(new)
    made = fingerprint_of([VERSION, key, new.chat_template, TextTokenizer(new, Borders()).key])
    if len(new) > len(old):
        rows = base.model_copy(update={"new_rows": "mean", "tokenizer": None})
        return resizing.build(rows, folder, made, old, new), made
    # It holds links, so what is in it depends on where the model is, not on its content alone.
    target = cache.root() / "models" / f"chat-{fingerprint_of([made, str(folder.resolve())])}"
    return cache.build_once(target, lambda unfinished: _linked(folder, new, unfinished)), made


def set_stop(model: Any, stop: int) -> None:
    """Let a generation end at a token, besides those at which it ends already."""
    known = model.generation_config.eos_token_id
    ends = [known] if isinstance(known, int) else list(known or ())
    if stop not in ends:
        model.generation_config.eos_token_id = [stop, *ends]


def _add_turns(tokenizer: Any) -> None:
    turns = [AddedToken(name, special=True, normalized=False) for name in (OPENED, CLOSED)]
    tokenizer.add_tokens(turns, special_tokens=True)
    tokenizer.eos_token = CLOSED


def _read(documents: Documents) -> str:
    file = documents.template_file
    assert file
    try:
        content = io.BytesIO(regular.content(file, "give a template"))
        text = io.TextIOWrapper(content, encoding="utf-8-sig").read()  # any end of a line is \n
    except regular.UnreadableFileError as error:
        raise InputError(f"{FIELD}: {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{FIELD}: {file}: cannot be read ({one_line(error, 80)}): correct the path") from None
    if not text.strip():
        raise InputError(f"{FIELD}: {file}: is empty: give a template, or write chatml")
    return text


def _linked(folder: Path, tokenizer: Any, unfinished: Path) -> None:
    """The tokenizer, and links to the model's other files: weights are not copied."""
    tokenizer.save_pretrained(unfinished)
    written = {file.name for file in unfinished.iterdir()}
    for file in folder.iterdir():
        if file.name not in written:
            (unfinished / file.name).symlink_to(file.resolve())
