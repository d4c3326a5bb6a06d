"""What packing makes of known text, pinned by version, so that a cache which other code packed is not used."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from samples import CHINESE, ENGLISH, numbered
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from transformers import PreTrainedTokenizerFast

from sweep.study.sections.text.corpora import Corpus
from sweep.study.sections.text.documents import Documents
from trainers.data import corpus
from trainers.data.documents import resolve
from trainers.data.hold_out.held_out_texts import FILE
from trainers.data.tokens.borders import Borders
from trainers.data.tokens.text_tokenizer import TextTokenizer

LENGTH = 32
COUNTS = {"documents", "tokens", "bytes", "copies", "near_copies", "special_strings", "borders_inside"}
PACKED = {2: ["4586b602c2347e46", "2d9d77817f1a6f1a"]}  # digests, by version
ADVICE = (
    "packing gives other blocks: raise corpus.PACKING_VERSION, so that caches are packed anew, and pin the new ones"
)


@pytest.fixture(scope="module")
def tokenizer() -> TextTokenizer:
    """One token a byte, so that no library's training of a tokenizer decides what is pinned."""
    vocabulary = {letter: number for number, letter in enumerate(sorted(ByteLevel.alphabet()))}
    made = Tokenizer(BPE(vocabulary, []))
    made.pre_tokenizer, made.decoder = ByteLevel(add_prefix_space=False), ByteLevelDecoder()
    ends: dict[str, Any] = {"eos_token": "<end>"}
    found = PreTrainedTokenizerFast(tokenizer_object=made, **ends)  # type: ignore[no-untyped-call]
    return TextTokenizer(found, Borders.of(found, Documents()))


def texts() -> list[str]:
    """Documents of several lengths, with copies, near-copies, boilerplate, a special token's string and no text."""
    plain = [numbered(i) + (ENGLISH, CHINESE, ENGLISH[::-1])[i % 3] * (1 + i % 5) for i in range(40)]
    licenses = [" ".join(f"clause {i} of {n} holds for this" for i in range(12)) for n in range(8)]
    near = [f"{text} And so on." for text in plain[1::4]]
    headed = [" ".join([*licenses, *(f"w{i}-{j}" for j in range(700))]) for i in range(12)]
    return [*plain, *plain[:30:2], *near, "a <end> b " * 30, "", *licenses, *headed]


def packed(tokenizer: TextTokenizer, folder: Path, *others: Path, **spec: Any) -> tuple[Path, str]:
    """The folder of the packed corpus, and a digest of its blocks, its held-out text and its counts."""
    path = folder / "a.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts()), encoding="utf-8")
    source = resolve(Corpus(files=str(path), held_out=0.2, **spec), "corpora.original")
    made = corpus.prepare(source, tokenizer, LENGTH, others=others)
    found, digest = corpus.open_packed(made), hashlib.sha256()
    for part in (found.training, found.held_out):
        digest.update(corpus.blocks(part, range(len(part))).tobytes())
    digest.update((made / FILE).read_bytes())
    digest.update(json.dumps(found.facts.model_dump(include=COUNTS), sort_keys=True).encode())
    return made, digest.hexdigest()[:16]


def test_packing_that_changes_has_another_version(tokenizer: TextTokenizer, tmp_path: Path, cache: Path) -> None:
    """Of a sample alone, and of a corpus beside the held-out text of another one."""
    of_sample, sampled = packed(tokenizer, tmp_path, documents=25)
    _, whole = packed(tokenizer, tmp_path, of_sample / FILE)
    assert PACKED.get(corpus.PACKING_VERSION) == [sampled, whole], ADVICE


def test_another_version_packs_anew(
    tokenizer: TextTokenizer, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, content = packed(tokenizer, tmp_path)
    monkeypatch.setattr(corpus, "PACKING_VERSION", corpus.PACKING_VERSION + 1)
    other, same = packed(tokenizer, tmp_path)
    assert one != other
    assert content == same
