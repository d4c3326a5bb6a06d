"""What a person and a script read of a plan."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from samples import study_content
from typer.testing import CliRunner

from sweep import cli
from sweep.store.run import Run
from sweep.study import study_file
from sweep.study.ingredients import Ingredients


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(cli.app, ["plan", *arguments])


def test_json_has_bytes_and_flops(tmp_path: Path) -> None:
    content = json.loads(invoke("llama3-8b-zh", "--runs", str(tmp_path), "--json").stdout)
    assert content["parameters"] == 8_030_261_248
    assert content["largest_micro_batch_sequences"] == 1
    assert content["memory_bytes"]["total"] == pytest.approx(47.8e9, rel=0.01)
    assert content["disk_bytes"]["models"] == 3 * 4 * 8_030_261_248
    assert content["warnings"] == []


def test_one_trial_is_no_trials(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(study_content(grid={"almr": [0.5], "lr": [1e-3]})))
    head = invoke(str(path), "--runs", str(tmp_path)).stdout.splitlines()[0]
    assert ": 1 trial (1 ALMR x 1 LR x 1 seed)" in head


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_no_memory_is_planned_for_attention_that_keeps_its_scores(attention: str, tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    resources = {"gpus_per_node": 8, "gpu": "H100-80GB"}
    changes = {
        "base_model": {"embedded": "smollm2-135m"},
        "resources": resources,
        "execution": {"attention": attention},
    }
    path.write_text(yaml.safe_dump(study_content(**changes)))
    text = invoke(str(path), "--runs", str(tmp_path)).stdout
    content = json.loads(invoke(str(path), "--runs", str(tmp_path), "--json").stdout)
    line = "memory is not planned for execution.attention: eager, which keeps all scores: write sdpa to plan it"
    planned = attention == "sdpa"
    assert ("memory per GPU: " in text) == planned == (content["memory_bytes"] is not None)
    assert (f"warning: {line}\n" in text) == (line in content["warnings"]) == (not planned)
    assert content["parameters"] > 0


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "its grid has 6 trials, a surface needs 9: add ALMRs or LRs"),
        (
            {"grid": {"almr": [0.1, 0.5, 0.9], "lr": [1, 2, 3]}, "search": {"strategy": "surface", "trials": 5}},
            "search.trials is 5, a surface needs 9: raise it",
        ),
    ],
)
def test_a_plan_warns_of_too_few_trials_as_the_run_refuses_them(
    tmp_path: Path, changes: dict[str, Any], expected: str
) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(study_content(**changes)))
    assert (
        f"warning: almr run will refuse this study: {expected}\n" in invoke(str(path), "--runs", str(tmp_path)).stdout
    )
    refused = CliRunner().invoke(cli.app, ["run", str(path), "--runs", str(tmp_path)]).exception
    assert str(refused) == f"study small: {expected}"


def test_the_plan_of_a_changed_recipe_says_that_the_run_will_refuse_it(tmp_path: Path) -> None:
    path, run = tmp_path / "study.yaml", Run(tmp_path / "small")
    path.write_text(yaml.safe_dump(study_content()))
    run.freeze(study_file.load(path))
    assert invoke(str(path), "--runs", str(tmp_path)).stderr == ""
    path.write_text(yaml.safe_dump(study_content(training=study_content()["training"] | {"tokens": 4096})))
    told = invoke(str(path), "--runs", str(tmp_path))
    expected = (
        f"almr: almr run will refuse this study: {run.address}: its trials have another recipe (training.tokens: "
    )
    assert told.stderr.startswith(expected)
    assert told.stdout.startswith("small: 6 trials")


def test_a_renamed_source_is_planned_without_the_texts_of_the_run(tmp_path: Path) -> None:
    """The run's record names sources that the study no longer has, and its sizes are of other text."""

    def study(name: str) -> dict[str, Any]:
        original = [{"files": f"{one}.txt", "name": one} for one in (name, "code")]
        return study_content(corpora=study_content()["corpora"] | {"original": original})

    path, run = tmp_path / "study.yaml", Run(tmp_path / "small")
    path.write_text(yaml.safe_dump(study("web")))
    run.freeze(study_file.load(path))
    counts = dict.fromkeys(("documents", "tokens", "bytes", "blocks"), 9)
    facts = {"fingerprint": "x"} | counts | {f"held_out_{name}": 9 for name in counts}
    content = {"base_model": "m", "base_model_fingerprint": "m", "folders": {}}
    names = ("web", "code", "additional")
    run.keep_ingredients(Ingredients.model_validate(content | {"corpora": dict.fromkeys(names, facts)}))
    assert "corpora.web: 50.0 % of the tokens are held out" in invoke(str(path), "--runs", str(tmp_path)).stdout
    path.write_text(yaml.safe_dump(study("crawl")))
    told = invoke(str(path), "--runs", str(tmp_path))
    assert "corpora.original.crawl.name: nothing -> 'crawl'" in told.stderr
    assert told.exit_code == 0
    assert "held out" not in told.stdout


def test_a_check_that_fails_is_a_line_and_status_2(tmp_path: Path) -> None:
    content = study_content(corpora={"original": {"files": "no/*.txt"}, "additional": {"files": "no/*.txt"}})
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(content))
    result = invoke(str(path), "--runs", str(tmp_path), "--check")
    assert result.exit_code == 2
    assert f"not ok: corpora.original: {tmp_path}/no/*.txt matches no file" in result.output
    *passed, first, second, last = [line for line in result.output.splitlines() if ": " in line]
    assert [first.split(":")[0], second.split(":")[0]] == ["not ok", "not ok"]
    assert last == "2 checks failed: corpora.original, corpora.additional"
    assert not [line for line in passed if line.startswith("not ok")]
    checks = json.loads(invoke(str(path), "--runs", str(tmp_path), "--check", "--json").stdout)["checks"]
    assert {check["name"]: check["ok"] for check in checks}["corpora.additional"] is False


def test_a_small_study_has_no_memory_to_plan(tmp_path: Path) -> None:
    assert "memory per GPU" in invoke("llama3-8b-zh", "--runs", str(tmp_path)).stdout
    assert "memory per GPU" not in invoke("demo", "--runs", str(tmp_path)).stdout


def test_small_models_and_large_batches_have_readable_numbers(tmp_path: Path, small_model: Path) -> None:
    training = study_content()["training"] | {"global_batch_tokens": 2**21, "tokens": 2**26}
    content = study_content(base_model={"pretrained": str(small_model)}, training=training)
    resources = {"gpus_per_node": 1, "gpu": "H100-80GB", "tokens_per_second": 1e6}
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(content | {"resources": resources}))
    out = invoke(str(path), "--runs", str(tmp_path)).stdout
    assert "micro-batch of 65,536 x 32 tokens" in out
    assert " 0.0 GFLOPs" not in out
    assert " 0.0 GPU-hours" not in out
