"""Text that a study excludes is never trained on, and what cannot be read of it is said in one line."""

import json
import random

import pytest

from sweep.study import InputError
from sweep.study.sections.text.corpora import Corpus, CorpusSource
from trainers.data import documents
from trainers.data.hold_out import excluded, near_copies
from trainers.data.hold_out.held_out_texts import TextFile, Together


def source(**spec):
    return CorpusSource("web", "original", 1, Corpus(files="corpus.jsonl", **spec))


def words(seed):
    draw = random.Random(seed)
    return " ".join(f"word{draw.randrange(10_000)}" for _ in range(100))


def lines(path, rows):
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return str(path)


def test_excluded_texts_and_near_copies_of_them_are_found_in_a_corpus(tmp_path, cache):
    first = lines(tmp_path / "a.jsonl", [{"text": words(1)}, {"other": 1, "text": words(2)}])
    second = lines(tmp_path / "b.jsonl", [{"text": words(3)}, {"text": ""}])
    files = excluded.files(source(exclude=[first, str(tmp_path / "[b].jsonl")]))
    texts = [words(0), words(1), words(2).upper(), "More. " + words(3), words(4)]
    corpus = Corpus(files=lines(tmp_path / "corpus.jsonl", [{"text": text} for text in texts]))
    read = documents.read(documents.resolve(corpus, "corpora.web"))
    found = near_copies.find(read, range(5), Together([TextFile(file) for file in files]))
    assert found == near_copies.Copies([1], [2, 3])
    assert second  # matched by the pattern


def test_no_field_is_no_file():
    assert excluded.files(source()) == []


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.jsonl", b'{"text": "fine"}\n{"text": 3}\n', r"corpora\.web\.exclude.*a\.jsonl.*2"),
        ("a.jsonl", b'{"text": "fine"}\n{"text": "to', r"corpora\.web\.exclude.*a\.jsonl.*2"),
        ("a.jsonl", b'{"text": "\xff"}\n', r"corpora\.web\.exclude.*a\.jsonl"),
        ("a.jsonl", b'{"question": "?"}\n', r"corpora\.web\.exclude.*a\.jsonl.*text"),
        ("a.txt", b"text", r"corpora\.web\.exclude: cannot read .*a\.txt: give JSON Lines"),
        ("b.jsonl", b"", r"corpora\.web\.exclude: .*a\.\*"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line(tmp_path, cache, name, content, says):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=says) as caught:
        excluded.files(source(exclude=[str(tmp_path / "a.*")]))
    assert "\n" not in str(caught.value)
