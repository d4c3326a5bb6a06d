"""Special tokens: where documents begin with BOS and end with end-of-text; their strings in a text are text."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import ByteLevelBPETokenizer, Tokenizer, decoders, models, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizer, PreTrainedTokenizerFast

from sweep.study import InputError, Study
from sweep.study.sections.text.corpora import Corpus
from sweep.study.sections.text.documents import Documents
from trainers import prepare
from trainers.data import corpus
from trainers.data.documents import resolve
from trainers.data.tokens.borders import Borders
from trainers.data.tokens.text_tokenizer import TextTokenizer
from trainers.model.token_loss import positions

BOS, EOS, TURN = "<|begin|>", "<|endoftext|>", "<|im_start|>"
TEXT = "The king rode out at dawn and the river was high. "


def byte_level(template: str = "$A", bos: str | None = BOS, eos: str | None = EOS) -> Any:
    """A byte-level tokenizer that puts around a text what `template` says."""
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator([TEXT], 300, special_tokens=[EOS, BOS, TURN], show_progress=False)
    backend = Tokenizer.from_str(trained.to_str())
    pairs = [(name, backend.token_to_id(name)) for name in (EOS, BOS)]
    backend.post_processor = TemplateProcessing(single=template, pair=f"{template} $B", special_tokens=pairs)
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token=bos, eos_token=eos)


def unigram() -> Any:
    """A Unigram tokenizer, whose model reads the string of a special token as that token, whatever it is asked."""
    pieces = [("<unk>", 0.0), ("</s>", 0.0), *((chr(code), -5.0) for code in range(33, 127)), ("\u2581", -3.0)]
    backend = Tokenizer(models.Unigram(pieces, 0))
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>", unk_token="<unk>")


def ids(tokenizer: Any, text: str) -> list[int]:
    [found] = TextTokenizer(tokenizer, Borders.of(tokenizer, Documents())).tokens([text])
    return found.tolist()


@pytest.mark.parametrize(
    ("template", "bos", "before"),
    [
        (f"{BOS} $A", "auto", (1,)),  # as Llama-3
        (f"{BOS} $A {EOS}", "auto", (1,)),
        (f"$A {EOS}", "auto", ()),
        ("$A", "auto", ()),  # as GPT-2 and Qwen
        ("$A", True, (1,)),
        (f"{BOS} $A", True, (1,)),
        (f"{BOS} $A", False, ()),
    ],
)
def test_bos_is_what_the_tokenizer_does_unless_the_study_says_otherwise(template: str, bos: Any, before: Any) -> None:
    tokenizer = byte_level(template)
    assert Borders.of(tokenizer, Documents(bos=bos)) == Borders(before, (0,))
    assert Borders.of(tokenizer, Documents(bos=bos, eos=False)) == Borders(before)


def test_a_token_that_is_wanted_and_lacking_is_one_line() -> None:
    with pytest.raises(InputError, match=r"^documents.bos: true, but .* has no BOS token"):
        Borders.of(byte_level(bos=None), Documents(bos=True))
    with pytest.raises(InputError, match=r"^documents.eos: .* no end-of-text token"):
        Borders.of(byte_level(eos=None), Documents())
    assert Borders.of(byte_level(bos=None, eos=None), Documents(eos=False)) == Borders()


@pytest.mark.parametrize("name", [BOS, EOS, TURN])
def test_the_string_of_a_special_token_is_text(name: str) -> None:
    tokenizer = byte_level(f"{BOS} $A {EOS}")
    text = f"An essay on {name} tokens. {name}{name}"
    found = ids(tokenizer, text)
    assert not {*found} & {0, 1, 2}
    assert tokenizer.decode(found) == text


def test_a_tokenizer_that_reads_special_strings_anyway_is_given_them_in_pieces() -> None:
    tokenizer = unigram()
    assert 1 in tokenizer("a</s>b", split_special_tokens=True, add_special_tokens=False)["input_ids"]
    found = ids(tokenizer, "a</s>b")
    assert 1 not in found
    assert "".join(tokenizer.decode(found).split()) == "a</s>b"


class Old:
    """A tokenizer with code of its own, which knows no splitting of special tokens."""

    all_special_tokens = (EOS,)
    eos_token_id, bos_token_id = 0, None

    def __init__(self) -> None:
        self.inner = byte_level()

    def __call__(self, texts: Any, **options: Any) -> Any:
        if "split_special_tokens" in options:
            raise TypeError("unexpected keyword argument 'split_special_tokens'")
        return self.inner(texts, **options)


def test_a_tokenizer_without_that_option_is_too() -> None:
    found = ids(Old(), f"One {EOS} two")
    assert 0 not in found
    assert byte_level().decode(found) == f"One {EOS} two"


@given(st.lists(st.sampled_from([BOS, EOS, TURN, "<|", "|>", "a", " ", "天", "\n"]), max_size=12).map("".join))
def test_no_text_has_a_border_inside(text: str) -> None:
    tokenizer = byte_level(f"{BOS} $A")
    found = ids(tokenizer, text)
    assert not {*found} & {0, 1, 2}
    assert tokenizer.decode(found) == text


def pack(tokenizer: Any, path: Path, texts: list[str], documents: Documents) -> corpus.PackedCorpus:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    as_text = TextTokenizer(tokenizer, Borders.of(tokenizer, documents))
    return corpus.open_packed(corpus.prepare(resolve(Corpus(files=(str(path),)), "corpora.original"), as_text, 8))


def essays() -> list[str]:
    return [f"An essay on {EOS} tokens {i}. then {EOS} again. " + TEXT * 3 for i in range(20)]


def test_only_documents_end_with_end_of_text(tmp_path: Path, cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    packed = pack(byte_level(), tmp_path / "a.jsonl", essays(), Documents())
    tokens = corpus.blocks(packed.training, range(len(packed.training)))
    assert packed.facts.documents - 1 <= (tokens == 0).sum() <= packed.facts.documents  # the last block is cut
    assert (packed.facts.special_strings, packed.facts.borders_inside) == (40, 0)
    [told] = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert told.startswith(f"corpora.original: special tokens of the tokenizer stand in the text, 40 times as '{EOS}'")


@pytest.mark.parametrize(
    ("documents", "bos", "eos"),
    [(Documents(), True, True), (Documents(bos=False), False, True), (Documents(eos=False), True, False)],
)
def test_blocks_have_the_borders_of_the_study(
    tmp_path: Path, cache: Path, documents: Documents, bos: bool, eos: bool
) -> None:
    packed = pack(byte_level(f"{BOS} $A {EOS}"), tmp_path / "a.jsonl", essays(), documents)
    stream = corpus.blocks(packed.training, range(len(packed.training))).ravel()
    assert (packed.facts.bos, packed.facts.eos) == (bos, eos)
    assert ((stream == 1).sum() > 15, (stream == 0).sum() > 15) == (bos, eos)
    assert not bos or stream[0] == 1
    if bos and eos:
        assert (stream[np.flatnonzero(stream == 0)[:-1] + 1] == 1).all()


def test_another_border_is_another_corpus(tmp_path: Path, cache: Path) -> None:
    source = resolve(Corpus(embedded="shakespeare"), "corpora.original")

    def folder(tokenizer: Any, **documents: Any) -> Path:
        as_text = TextTokenizer(tokenizer, Borders.of(tokenizer, Documents(**documents)))
        return corpus.packed_folder(source, as_text, 8)

    plain = byte_level()
    found = [folder(plain), folder(plain, bos=True), folder(plain, eos=False), folder(plain, bos=True, eos=False)]
    assert len(set(found)) == 4
    ids(plain, "a")  # tokenising leaves the tokenizer's key as it was
    assert folder(plain) == folder(plain, bos=False) == found[0]


def test_a_border_that_is_text_is_counted_and_refuses_document_masking(
    tmp_path: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tokenizer = byte_level(eos="k")  # a token that texts have
    packed = pack(tokenizer, tmp_path / "a.jsonl", essays(), Documents())
    assert packed.facts.borders_inside == 20
    assert "in 20 of 20 documents a token of the text is the same as the one between documents" in caplog.text


@pytest.mark.parametrize(
    ("borders", "starts"),
    [
        (Borders(after=(0,)), [[False, False, True, False, True]]),
        (Borders(before=(1,)), [[False, False, True, False, True]]),
        (Borders((1,), (0,)), [[False, False, True, False, True]]),
    ],
)
def test_documents_begin_after_an_end_or_at_a_bos(borders: Borders, starts: list[list[bool]]) -> None:
    tokens = torch.tensor([[1, 5, 0, 1, 0, 1]])
    assert borders.starts(tokens).tolist() == starts
    assert borders.starts(tokens.numpy()).tolist() == starts
    assert positions(tokens, borders).tolist() == [[0, 1, 2, 0, 1, 0]]


def test_one_token_for_both_borders_begins_a_document_where_it_stands_twice() -> None:
    tokens = torch.tensor([[0, 5, 6, 0, 0, 7]])
    assert positions(tokens, Borders((0,), (0,))).tolist() == [[0, 1, 2, 3, 0, 1]]


def masked(study: Study, **documents: Any) -> Study:
    content = study.model_dump(mode="json") | {"documents": documents}
    content["training"]["document_masking"] = True
    return Study.model_validate(content)


def test_document_masking_without_borders_is_refused(local_study: Study) -> None:
    with pytest.raises(ValueError, match=r"document_masking finds documents by the tokens between them: write"):
        masked(local_study, bos=False, eos=False)
    with pytest.raises(InputError, match=r"^training.document_masking .* begins no text with BOS: write documents"):
        prepare.prepare(masked(local_study, eos=False))


def test_document_masking_with_a_border_inside_texts_is_refused(
    local_study: Study, small_model: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(small_model, tmp_path / "model"))
    byte_level(eos="k").save_pretrained(folder)
    base = local_study.base_model.model_copy(update={"pretrained": str(folder)})
    study = masked(local_study.model_copy(update={"base_model": base}))
    with pytest.raises(InputError, match=r"^training.document_masking: in 12 documents of corpora.original a token of"):
        prepare.prepare(study)


def test_only_other_borders_than_the_default_are_part_of_the_fingerprint(local_study: Study) -> None:
    content = local_study.model_dump(mode="json")
    written = {bos: Study.model_validate(content | {"documents": {"bos": bos}}) for bos in ("auto", True, False)}
    assert written["auto"].fingerprint == local_study.fingerprint
    assert len({study.fingerprint for study in written.values()}) == 3
    assert Study.model_validate(content | {"documents": {"eos": False}}).fingerprint != local_study.fingerprint


def of_characters(known: str, template: str) -> Any:
    """A tokenizer with one token per character, which drops characters that it does not know."""
    backend = Tokenizer(models.BPE({name: number for number, name in enumerate([EOS, BOS, *known])}, []))
    backend.add_special_tokens([EOS, BOS])
    backend.post_processor = TemplateProcessing(single=template, special_tokens=[(EOS, 0), (BOS, 1)])
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token=BOS, eos_token=EOS)


@pytest.mark.parametrize("known", ["abc", "天地", "玄黄"])
def test_bos_is_found_whatever_letters_the_tokenizer_knows(known: str) -> None:
    assert Borders.of(of_characters(known, f"{BOS} $A {EOS}"), Documents()) == Borders((1,), (0,))
    assert Borders.of(of_characters(known, f"$A {EOS}"), Documents()) == Borders((), (0,))


@pytest.mark.parametrize("tokenizer", [unigram(), of_characters("abcdefghijklmnopqrstuvwxyz .", "$A")])
def test_text_that_the_tokenizer_cannot_write_is_refused(tokenizer: Any, tmp_path: Path, cache: Path) -> None:
    with pytest.raises(InputError, match=r"^corpora.original: the base model's tokenizer cannot write \d+\.\d % of"):
        pack(
            tokenizer, tmp_path / "a.jsonl", [f"{i} 天下大勢，分久必合，合久必分。" * 9 for i in range(20)], Documents()
        )


def test_a_few_letters_that_it_cannot_write_are_a_warning(
    tmp_path: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pack(unigram(), tmp_path / "a.jsonl", [f"{i} {i} {i} {i} {TEXT} 天下" for i in range(20)], Documents())
    assert "of the letters of this text, which it drops or reads as unknown: bits per byte" in caplog.text
    caplog.clear()
    pack(unigram(), tmp_path / "b.jsonl", [f"{i} {i} {i} {i} {TEXT}" for i in range(20)], Documents())
    assert "letters" not in caplog.text


class Python(PreTrainedTokenizer):
    """A tokenizer in Python, whose file of merges decides how it cuts."""

    def __init__(self, merges: str, **options: Any) -> None:
        self.merges = merges
        super().__init__(eos_token=EOS, **options)

    def get_vocab(self) -> dict[str, int]:
        return {EOS: 0, "th": 1, "he": 2}

    @property
    def vocab_size(self) -> int:
        return 3

    def save_vocabulary(self, folder: str, prefix: str | None = None) -> tuple[str]:
        path = Path(folder, "merges.txt")
        path.write_text(self.merges)
        return (str(path),)


def test_a_tokenizer_in_python_is_known_by_its_files_too() -> None:
    first, same, other = (TextTokenizer(Python(merges), Borders()).key for merges in ("t h", "t h", "h e"))
    assert first == same != other
