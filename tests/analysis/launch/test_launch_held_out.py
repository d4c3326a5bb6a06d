"""What the preparation scripts of a bundle write has no held-out text: the scripts are run, on a small corpus."""

from __future__ import annotations

import json
import random
import runpy
import shutil
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

from analysis.launch.bundle import write
from analysis.launch.formats import documents
from analysis.launch.plan.held_out import HeldOutText
from analysis.launch.plan.launch_plan import make
from sweep.study import InputError, study_file
from trainers.data.hold_out import excluded, held_out_texts, near_copies, postings, shingles

MODULES = tuple(Path(module.__file__) for module in (shingles, postings, near_copies, held_out_texts))
LANGUAGES = ("original", "additional")


def text(name, seed, words=200):
    """A text of words that no other seed has."""
    draw = random.Random(f"{name} {seed}")
    return " ".join(f"{name}{draw.randrange(10_000)}" for _ in range(words))


def lines(path):
    return [json.loads(line)["text"] for line in path.read_text().splitlines()]


def write_lines(path, texts, field="text"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({field: one}) + "\n" for one in texts))
    return path


def near(of):
    """A copy in upper case with another last word, in other text."""
    return f"{of.upper().rsplit(' ', 1)[0]} changed"


@pytest.fixture
def held(tmp_path):
    """Per language: corpus, held-out documents, what repeats them, and what is left. The corpora have other fields."""
    found = {}
    for name in LANGUAGES:
        held_out, clean = [text(name, i) for i in range(3)], [text(name, i) for i in range(100, 130)]
        repeats = [*held_out, held_out[0], near(held_out[1]), f"{text('before', name)} {held_out[2]}"]
        corpus = write_lines(tmp_path / f"{name}.jsonl", [*clean[:15], *repeats, "", *clean[15:]], "body")
        file = write_lines(tmp_path / "cache" / name / "held_out.jsonl", held_out)
        found[name] = {"corpus": corpus, "held_out": held_out, "file": file, "repeats": repeats, "clean": clean}
    return found


@pytest.fixture
def plan(make_study, make_fit, make_facts, held):
    def made(facts=None, **fields):
        corpora = {name: {"files": str(one["corpus"]), "field": "body"} for name, one in held.items()}
        counted = {name: make_facts(files=(str(one["corpus"]),), **facts or {}) for name, one in held.items()}
        text = HeldOutText({name: one["file"] for name, one in held.items()}, MODULES)
        launch = {"model": str(held["original"]["corpus"].parent / "model"), "tokens": 10_000 * 2048, **fields}
        launch |= {"global_batch_tokens": 128 * 8192, "nodes": 1, "sequence_length": 8192}
        return make(make_fit(make_study(corpora=corpora, launch=launch)), counted, held_out=text)

    return made


def forget():
    """Unload a folder's modules: the next folder has its own of the same names."""
    for name in [name for name in sys.modules if name.split(".")[0] in ("launch_text", "hold_out")]:
        del sys.modules[name]


@pytest.fixture
def execute(monkeypatch, capsys):
    """Run a script in this process, which has its libraries already; returns what it prints."""

    def done(folder, *command, status=0):
        forget()
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
        monkeypatch.setattr(sys, "argv", list(command))
        capsys.readouterr()
        with nullcontext() if not status else pytest.raises(SystemExit) as ended:
            runpy.run_path(command[0], run_name="__main__")
        forget()
        assert not status or ended.value.code == status
        return "".join(capsys.readouterr())

    return done


@pytest.mark.parametrize("name", ["llamafactory"])
def test_json_lines_are_written_without_what_repeats_held_out_text(plan, held, tmp_path, execute, name):
    folder = tmp_path / name
    write(plan(), name, folder)
    for one in held.values():  # the folder is copied to a cluster that has no cache
        shutil.rmtree(one["file"].parent)
    told = execute(folder, "write_jsonl.py", "corpora.json", "data")
    for language, one in held.items():
        assert lines(folder / "data" / f"{language}.jsonl") == one["clean"]
        assert lines(folder / "data" / f"held_out_{language}.jsonl") == one["held_out"]
        assert f"{language}: 30 documents; left out as repeats of held-out text: 4 copies, 2 near-copies" in told


def test_all_formats_that_train_on_text_carry_the_same_files(plan, tmp_path):
    made = plan()
    for name in ("llamafactory", "axolotl"):
        write(made, name, tmp_path / name)
        assert json.loads((tmp_path / name / "held_out.json").read_text()) == {
            f"held_out/{language}.jsonl": made.held_out.digests[language] for language in LANGUAGES
        }
        assert {path.name for path in (tmp_path / name / "hold_out").iterdir()} == {path.name for path in MODULES}


def test_documents_are_mixed_without_what_repeats_held_out_text(plan, held, tmp_path, monkeypatch):
    """Over two epochs of the corpora."""
    folder = tmp_path / "axolotl"
    write(plan(), "axolotl", folder)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    mix = runpy.run_path("mix_documents.py")
    import launch_text

    found, detector = {}, launch_text.detector()
    for name, source in json.loads(Path("mixture.json").read_text())["sources"].items():
        unseen = launch_text.Unseen(name, detector)
        stream = mix["documents"](source, unseen, lambda texts: [1] * len(texts), 0)
        found[name] = [next(stream)[0] for _ in range(60)]
        assert (unseen.counts["exact"], unseen.counts["near"]) == (8, 4)
    assert {name: sorted(texts) for name, texts in found.items()} == {
        name: sorted(one["clean"] * 2) for name, one in held.items()
    }
    forget()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda file: file.unlink(), "held_out/original.jsonl: this held-out text is missing"),
        (lambda file: file.write_text("{}"), "held_out/original.jsonl: not the held-out text of the trials"),
    ],
)
def test_held_out_text_that_is_lost_or_changed_ends_the_preparation_in_one_line(plan, tmp_path, execute, change, says):
    folder = tmp_path / "llamafactory"
    write(plan(), "llamafactory", folder)
    change(folder / "held_out" / "original.jsonl")
    told = execute(folder, "write_jsonl.py", "corpora.json", "data", status=2)
    assert told.startswith(says)
    assert told.count("\n") == 1
    assert not list((folder / "data").glob("*.jsonl"))


def test_large_held_out_text_is_named_where_it_lies(plan, held, tmp_path, execute, monkeypatch):
    monkeypatch.setattr("analysis.launch.plan.held_out.SMALL", 10)
    made = plan()
    write(made, "llamafactory", tmp_path / "llamafactory")
    assert not (tmp_path / "llamafactory" / "held_out").exists()
    assert documents.held_out(made)["original"]["load"]["data_files"] == [str(held["original"]["file"])]
    execute(tmp_path / "llamafactory", "write_jsonl.py", "corpora.json", "data")
    assert lines(tmp_path / "llamafactory" / "data" / "original.jsonl") == held["original"]["clean"]


def test_text_that_the_study_states_is_left_out_too(plan, held, tmp_path, execute):
    stated = {name: str(write_lines(tmp_path / f"eval_{name}.jsonl", one["clean"][:2])) for name, one in held.items()}
    write(plan(evaluation=stated), "llamafactory", tmp_path / "bundle")
    execute(tmp_path / "bundle", "write_jsonl.py", "corpora.json", "data")
    for name, one in held.items():
        assert lines(tmp_path / "bundle" / "data" / f"{name}.jsonl") == one["clean"][2:]
        assert lines(tmp_path / "bundle" / "data" / f"held_out_{name}.jsonl") == one["clean"][:2]


def test_without_held_out_text_the_launch_says_what_it_trains_on(make_plan):
    made = make_plan("llamafactory")
    assert "train on the whole corpora, also on the trials' held-out documents" in made.assumptions[1]
    assert made.unmeasured(("llamafactory", "native")) == ["llamafactory"]


def test_with_held_out_text_it_is_evaluated_on_it_and_trains_on_none(plan):
    made = plan()
    assert len(made.assumptions) == 1
    assert made.unmeasured(("llamafactory",)) == []
    assert made.evaluation_files == {name: f"held_out/{name}.jsonl" for name in LANGUAGES}


def test_our_own_trainer_is_given_the_same_text(plan, held, tmp_path, cache):
    """The study of the launch names the copies beside it."""
    write(plan(), "native", tmp_path / "native")
    study = study_file.load(str(tmp_path / "native" / "study.yaml"))
    for source in study.corpora.by_name.values():
        files = excluded.files(source)
        assert [list(held_out_texts.TextFile(file)) for file in files] == [held[name]["held_out"] for name in LANGUAGES]


@pytest.fixture
def tokenizer(tmp_path):
    """Saves a tokenizer as that of the launch's model; `adds`: whether it begins a text with BOS by itself."""

    def made(adds):
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
        from transformers import PreTrainedTokenizerFast

        symbols = sorted(pre_tokenizers.ByteLevel.alphabet())
        vocabulary = {token: i for i, token in enumerate(["<s>", "</s>", *symbols])}
        one = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
        one.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        one.decoder = decoders.ByteLevel()
        if adds:
            one.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
        found = PreTrainedTokenizerFast(tokenizer_object=one, bos_token="<s>", eos_token="</s>")
        found.save_pretrained(tmp_path / "model")
        return found

    return made


def test_what_many_documents_of_a_stream_contain_is_boilerplate_and_near_copies_may_be_kept():
    header = text("header", 0)
    detector = near_copies.RepeatDetector([header, text("held out", 1)])
    many = [f"{header} {text('document', i, 1000)}" for i in range(300)]
    found = list(detector.kinds(many, near_copies.StreamCounts()))
    assert found == ["near"] * 99 + [None] * 201
    few = [*many[:20], text("held out", 1)]
    assert list(detector.kinds(few, near_copies.StreamCounts())) == ["near"] * 20 + ["exact"]
    assert list(detector.kinds(few, None)) == [None] * 20 + ["exact"]


@pytest.mark.parametrize("adds", [True, False])
def test_bos_of_the_trials_is_written_for_trainers_that_add_none(plan, held, tokenizer, tmp_path, execute, adds):
    reads = tokenizer(adds)
    folder = tmp_path / "llamafactory"
    warnings = write(plan(facts={"bos": True}), "llamafactory", folder)
    assert any("puts BOS over the first token of every sequence" in line for line in warnings)
    execute(folder, "write_jsonl.py", "corpora.json", "data")
    for name, one in held.items():
        found = [reads(text, add_special_tokens=False)["input_ids"] for text in lines(folder / f"data/{name}.jsonl")]
        assert found == [[0, *reads(text, add_special_tokens=False)["input_ids"]] for text in one["clean"]]
        assert lines(folder / f"data/held_out_{name}.jsonl")[0].startswith("<s>")


@pytest.mark.parametrize(("adds", "bos"), [(True, True), (True, False), (False, True), (False, False)])
def test_axolotls_tokenizer_gives_the_documents_of_the_trials_or_none(plan, tokenizer, tmp_path, execute, adds, bos):
    reads = tokenizer(adds)
    folder = tmp_path / "axolotl"
    write(plan(facts={"bos": bos}), "axolotl", folder)
    mixture = json.loads((folder / "mixture.json").read_text())
    for source in mixture["sources"].values():
        source["tokens"] = 5000
    (folder / "mixture.json").write_text(json.dumps(mixture))
    if adds and not bos:
        told = execute(folder, "mix_documents.py", status=2)
        assert "the tokenizer begins each text with ['<s>'], the documents of the trials began without" in told
        assert not (folder / "data" / "mixed.jsonl").exists()
        return
    execute(folder, "mix_documents.py")
    for one in lines(folder / "data" / "mixed.jsonl"):
        ids = reads(one)["input_ids"]  # as axolotl tokenises
        assert ids.count(0) == bos
        assert (ids[0] == 0) == bos


@pytest.mark.parametrize(("name", "trainer"), [("llamafactory", "LLaMA-Factory"), ("axolotl", "axolotl")])
def test_trials_without_end_of_text_are_refused_where_the_trainer_adds_it(plan, tmp_path, name, trainer):
    with pytest.raises(InputError, match=f"documents.eos: false: {trainer} ends each document with end-of-text"):
        write(plan(facts={"eos": False}), name, tmp_path / name)


@pytest.mark.parametrize("name", ["llamafactory", "axolotl", "torchtitan"])
def test_special_tokens_in_the_text_are_warned_of_where_they_are_read_as_such(plan, tmp_path, name):
    warnings = write(plan(facts={"special_strings": 1234}), name, tmp_path / name)
    found = [line for line in warnings if "reads special tokens in the text as such" in line]
    assert [line.endswith("1,234 in original, 1,234 in additional") for line in found] == [True] * (
        name != "torchtitan"
    )
    assert not [line for line in write(plan(), name, tmp_path / "none") if "special tokens" in line]
