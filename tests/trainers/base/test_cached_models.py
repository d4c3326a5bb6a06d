"""What the cache makes of a base model depends on all that is in it: its template, and where its links lead."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from sweep.study.sections.text.corpora import BaseModelSource
from sweep.study.sections.text.documents import Documents
from trainers.model.base import chat, resizing
from trainers.model.loading import fingerprint, load_own_tokenizer, load_tokenizer

pytestmark = pytest.mark.usefixtures("cache")


def test_a_model_with_a_template_is_the_one_that_is_named_wherever_a_copy_of_it_was(
    small_model: Path, tmp_path: Path
) -> None:
    """The folder links to the weights: once it was that of the first place, whatever lies there now."""
    (tmp_path / "chat.jinja").write_text("{{ messages }}{{ eos_token }}")
    documents = Documents(chat_template=str(tmp_path / "chat.jinja"))

    def with_template(model: Path) -> tuple[Path, str]:
        source = BaseModelSource(pretrained=str(model))
        return chat.build(documents, source, model, fingerprint(model))

    first, copy = (Path(shutil.copytree(small_model, tmp_path / name)) for name in ("first", "copy"))
    made, key = with_template(first)
    assert (made / "model.safetensors").resolve() == first / "model.safetensors"
    (first / "model.safetensors").write_bytes(b"another model")
    again, same = with_template(copy)
    assert same == key
    assert (again / "model.safetensors").read_bytes() == (small_model / "model.safetensors").read_bytes()


def test_a_tokenizer_with_another_template_is_another_model(small_model: Path, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(small_model)
    tokenizer.add_tokens(["new"])
    found = []
    for template in ("{{ messages }}", "{{ messages }}{{ eos_token }}"):
        tokenizer.chat_template = template
        tokenizer.save_pretrained(tmp_path / "tokenizer")
        base = BaseModelSource(pretrained=str(small_model), tokenizer=str(tmp_path / "tokenizer"), new_rows="mean")
        old, new = load_tokenizer(base, str(small_model)), load_own_tokenizer(base, None)
        made = resizing.build(base, small_model, fingerprint(small_model), old, new)
        assert AutoTokenizer.from_pretrained(made).chat_template == template
        found.append(resizing.fingerprint(base, fingerprint(small_model), new))
    assert found[0] == found[1]  # runs on plain text, which began before, stay as they are
