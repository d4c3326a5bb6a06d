"""What a bundle says of its formats' parity runs: in evidence.json, GO.md, README.md and the first line of settings."""

from __future__ import annotations

import json
import shutil

import pytest

from analysis.launch.bundle import FORMATS, FittedRun, export
from analysis.launch.evidence.evidence import Evidence
from analysis.launch.evidence.parity import ParityCheck, ParityResult, ParityRun, shown
from sweep.external.parity import kept
from sweep.external.runs import plan, start
from sweep.store.run import Run
from sweep.study import Ingredients, Status

STATEMENT = "| parity runs |"
SETTINGS = {"llamafactory": "llamafactory.yaml", "axolotl": "axolotl.yaml", "native": "study.yaml"}


CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 512,
    "max_position_embeddings": 8192,
    "rms_norm_eps": 1e-6,
    "rope_parameters": {"rope_type": "default", "rope_theta": 500000.0},
    "tie_word_embeddings": False,
}


def check(found=1.0, **fields):
    return ParityCheck(**{"what": "loss of step 1", "wanted": 1.0, "found": found, "bound": 1e-5} | fields)


def result(name, *checks, **fields):
    runs = (ParityRun(kind="again", steps=80, checks=checks),) if checks else ()
    content = {"trial_id": "t", "precision": "float32", "made_from": "x", "date": "2026-11-28", "device": "cpu"}
    return ParityResult(name=name, runs=runs, **content | fields)


@pytest.fixture
def bundle(make_fit, corpora, run):
    def made(*results, formats=("native", "llamafactory")):
        out = run / "launch"
        export(FittedRun(make_fit(), run, corpora, parity=results), out, formats=formats)
        go = next(line for line in (out / "GO.md").read_text().splitlines() if STATEMENT in line)
        return out, go, Evidence.model_validate_json((out / "evidence.json").read_text())

    return made


def first_line(out, name):
    return (out / name / SETTINGS[name]).read_text().splitlines()[0]


def test_a_bundle_without_parity_runs_says_so_first(bundle):
    out, go, evidence = bundle()
    for name in ("native", "llamafactory"):
        assert first_line(out, name).startswith(
            "# NOT TRIED: no parity run shows that this trainer trains as the trials"
        )
    assert "native, llamafactory: no parity run: almr export RUN --parity" in go
    assert evidence.parity == ()
    assert "- NOT TRIED" in (out / "README.md").read_text()


def test_a_result_is_told_in_every_place(bundle):
    wrong = result("llamafactory", check(1.12), versions="LLaMA-Factory 0.9.5")
    out, go, evidence = bundle(result("native", check()), wrong)
    assert go.startswith("| fail |")
    assert "loss of step 1: 1.12, should be 1: 0.12 apart (bound 1e-05)" in go
    assert first_line(out, "native").endswith("on cpu in float32, 2026-11-28: it passed (GO.md, evidence.json)")
    assert "IT FAILED" in first_line(out, "llamafactory")
    assert [one.state for one in evidence.parity] == ["pass", "fail"]
    assert "IT FAILED" in (out / "confirm-1-llamafactory" / "llamafactory.yaml").read_text().splitlines()[0]


def test_results_of_other_formats_stay_out(bundle):
    _, go, evidence = bundle(result("native", check()), result("axolotl", check(2.0)), formats=("native",))
    assert go.startswith("| pass |")
    assert [one.name for one in evidence.parity] == ["native"]


@pytest.mark.parametrize(
    ("found", "state", "says"),
    [
        (result("native", check()), "pass", "again, 80 steps, apart by: loss of step 1 0"),
        (
            result("native", check(), check(None, what="LR")),
            "not known",
            "as it was not measured: LR; apart by",
        ),
        (result("native", check(), check(None, what="LR", required=False)), "pass", "LR not measured"),
        (result("native", check(None)), "not known", "not measured"),
        (result("native", check(fault="not a finite number")), "fail", "loss of step 1: not a finite number"),
        (result("native", why_not="no environment"), "not known", "not run: no environment"),
        (result("native", check(), outdated=True), "not known", "its files or its trainer have changed since"),
        (result("native", check(), outdated=True, why_not=None), "not known", "run almr export RUN --parity again"),
    ],
)
def test_the_state_of_a_result_and_its_words(found, state, says):
    assert found.state == state
    assert says in found.text
    assert says in "\n".join(shown((found,)))


def test_one_run_of_several_that_fails_fails_the_format():
    good = result("native", check())
    runs = (*good.runs, ParityRun(kind="resumed", steps=20, fault="start.sh ended with status 1: no memory"))
    found = good.model_copy(update={"runs": runs})
    assert found.state == "fail"
    assert found.text == "native: fail: resumed: start.sh ended with status 1: no memory"


def test_a_run_that_was_not_made_leaves_the_format_unknown():
    good = result("native", check())
    runs = (*good.runs, ParityRun(kind="resumed", steps=20, why_not="native: it did not finish"))
    assert good.model_copy(update={"runs": runs}).state == "not known"


@pytest.fixture
def repeatable(make_fit, make_study, make_facts, run, tmp_path):
    """A run with a finished trial whose ingredients are known."""
    made = make_fit(make_study())
    files = {"original": "/data/english.jsonl", "additional": "/data/chinese.parquet"}
    counted = {name: make_facts(files=(file,)) for name, file in files.items()}
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "config.json").write_text(json.dumps(CONFIG))
    ingredients = Ingredients(
        base_model=str(tmp_path / "base"), base_model_fingerprint="b", folders={}, corpora=counted
    )
    (run / "ingredients.json").write_text(ingredients.model_dump_json())
    found = Run(run)
    record = next(one for one in kept.records(found) if one.status is Status.COMPLETE)
    return made, found, record


@pytest.mark.parametrize("name", FORMATS)
def test_a_result_is_outdated_once_the_files_would_be_others(repeatable, monkeypatch, name):
    _, run, record = repeatable
    digest = kept.made_from(run, kept.repeated(run, record), name)
    kept.add(run, result(name, check(), trial_id=record.trial_id, made_from=digest))
    [same] = kept.results(run, (name,))
    assert (same.state, same.outdated) == ("pass", False)
    write = FORMATS[name].write

    def otherwise(plan, folder):
        said = write(plan, folder)
        (folder / "one_more").write_text("setting")
        return said

    monkeypatch.setattr(FORMATS[name], "write", otherwise)
    [other] = kept.results(run, (name,))
    assert (other.state, other.outdated) == ("not known", True)


def test_a_result_is_outdated_once_the_text_would_be_packed_otherwise(repeatable, monkeypatch, tmp_path):
    _, run, record = repeatable
    of, packing = kept.repeated(run, record), tmp_path / "packing"
    before = kept.made_from(run, of, "native")
    shutil.copytree(kept.PACKING, packing)
    monkeypatch.setattr(kept, "PACKING", packing)
    assert kept.made_from(run, of, "native") == before
    (packing / "pack.py").write_text((packing / "pack.py").read_text().replace("VERSION = ", "VERSION = 9"))
    assert kept.made_from(run, of, "native") != before


@pytest.mark.parametrize(
    ("then", "now", "outdated"), [("1.0", "1.1", True), ("1.0", "1.0", False), ("1.0", "", False), ("", "1.1", False)]
)
def test_a_result_is_outdated_once_the_trainer_is_another_version(repeatable, monkeypatch, then, now, outdated):
    _, run, record = repeatable
    digest = kept.made_from(run, kept.repeated(run, record), "axolotl")
    kept.add(run, result("axolotl", check(), trial_id=record.trial_id, made_from=digest, trainer=then))
    monkeypatch.setattr(start, "installed", lambda name: now)
    assert [one.outdated for one in kept.results(run, ("axolotl",))] == [outdated]


def test_results_are_kept_by_format(repeatable):
    _, run, record = repeatable
    digest = kept.made_from(run, kept.repeated(run, record), "native")
    for name, value in (("native", 1.0), ("axolotl", 1.0), ("native", 2.0)):
        kept.add(run, result(name, check(value), trial_id=record.trial_id, made_from=digest))
    assert [one.state for one in kept.results(run, ("native",))] == ["fail"]
    assert set(kept.read(run).results) == {"native", "axolotl"}
    assert kept.results(run, ("megatron",)) == ()


def test_the_files_of_parity_runs_have_no_path_of_the_run(repeatable, tmp_path):
    """A run that was moved keeps its results."""
    _, run, record = repeatable
    digest = kept.made_from(run, kept.repeated(run, record), "native")
    moved = run.folder.rename(tmp_path / "moved")
    assert kept.made_from(Run(moved), kept.repeated(Run(moved), record), "native") == digest


def test_parity_runs_say_what_they_are(repeatable):
    _, run, record = repeatable
    of = kept.repeated(run, record)
    made = plan.of_study(of.study, of.trial, "native", run.ingredients().corpora)
    assert made.parity["native"].startswith("A parity run")
