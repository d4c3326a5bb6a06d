"""Stock tasks and our own on small local files in the published formats, without a network."""

from __future__ import annotations

import math
import socket
from pathlib import Path
from typing import Any

import benchmark_samples
import pytest

from sweep.study import InputError
from sweep.study.sections.benchmarks import Benchmarks
from trainers.benchmarks import catalogue, definitions, fetching, harness, task_data
from trainers.benchmarks.outcome import ScoringOutcome
from trainers.benchmarks.sandbox import code_eval, verdict
from trainers.benchmarks.tasks import formats, metrics

OURS = {"drcd": 2, "cmrc2018": 2, "c3": 2, "lcsts": 2}


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return benchmark_samples.write(tmp_path_factory.mktemp("data"))


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def run(model: Path, benchmarks: Benchmarks, broken: bool = False) -> ScoringOutcome:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    loaded = AutoModelForCausalLM.from_pretrained(model)
    if broken:
        loaded.lm_head.weight.data.fill_(math.nan)
    tokenizer = AutoTokenizer.from_pretrained(model)
    return harness.run(catalogue.harness_tasks(benchmarks), benchmarks, loaded, tokenizer, "float32", lambda: None)


@pytest.mark.slow
def test_stock_tasks_and_ours_run_offline_on_local_files(
    local: Path, small_model: Path, cache: Path, offline: None
) -> None:
    tasks = ["cmmlu_agronomy", "gsm8k", *OURS]
    found = run(small_model, Benchmarks(tasks=tasks, data=str(local), limit=3, shots=1))
    assert found.failures == {}
    assert {task: len(numbers) for task, numbers in found.questions.items()} == {
        "cmmlu_agronomy": 3,
        "gsm8k": 3,
    } | OURS
    gsm8k, cmmlu = found.scores["gsm8k"], found.scores["cmmlu_agronomy"]
    assert (gsm8k.metric, gsm8k.group, gsm8k.language) == ("exact_match,strict-match", "math", "original")
    assert (cmmlu.metric, cmmlu.group, cmmlu.language) == ("acc", "Chinese knowledge", "additional")
    assert gsm8k.version == "3.0"
    again = run(small_model, Benchmarks(tasks=tasks[:2], data=str(local), limit=3, shots=1))
    assert again.scores == {task: found.scores[task] for task in tasks[:2]}
    bare = run(small_model, Benchmarks(tasks=tasks[:1], data=str(local), limit=3))
    assert bare.scores["cmmlu_agronomy"].prompt_sha256 != cmmlu.prompt_sha256


@pytest.mark.slow
def test_programs_of_a_model_are_judged(
    local: Path, small_model: Path, cache: Path, offline: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str]] = []

    def passes(program: str, test: str, sandbox: object) -> bool:
        asked.append((program, test))
        return verdict.passes(program.partition("\n\n")[0], test, sandbox)  # type: ignore[arg-type]

    monkeypatch.setattr(code_eval, "passes", passes)
    stated: dict[str, Any] = {"tasks": ["humaneval", "mbpp"], "data": str(local), "limit": 1, "unsafe_code": True}
    found = run(small_model, Benchmarks(**stated, sandbox="none"))
    assert found.failures == {}
    assert {task: len(numbers) for task, numbers in found.questions.items()} == {"humaneval": 1, "mbpp": 1}
    programs = [program for program, _ in asked]
    assert any(program.startswith("def add_0(a, b):") for program in programs)
    assert any(test.count("assert plus(") == 3 for _, test in asked)
    monkeypatch.setattr(code_eval, "found", lambda choice: "bubblewrap: not installed")
    refused = run(small_model, Benchmarks(**stated))
    assert refused.scores == {}
    assert all("no sandbox for the code of the model works here" in why for why in refused.failures.values())


def test_a_task_file_that_runs_code_by_itself_is_refused(local: Path, cache: Path) -> None:
    (local / "own").mkdir(exist_ok=True)
    (local / "own" / "run.py").write_text("def score(doc, results):\n    exec(results[0])\n    return {'acc': 1}\n")
    (local / "own" / "own.yaml").write_text(
        "task: own\ndataset_path: json\ndataset_kwargs: {data_files: {test: " + f"{local}/gsm8k/test.jsonl" + "}}\n"
        "test_split: test\noutput_type: generate_until\ndoc_to_text: question\ndoc_to_target: answer\n"
        "unsafe_code: true\nprocess_results: !function run.score\nmetric_list: [{metric: acc}]\n"
    )
    stated: dict[str, Any] = {"tasks": ["own"], "include": str(local / "own"), "unsafe_code": True, "task_code": True}
    assert definitions.runs_code(Benchmarks(**stated)) == ["own"]
    with pytest.raises(ValueError, match="no sandbox holds it"):
        harness.loaded(Benchmarks(**stated), "own")
    assert harness.loaded(Benchmarks(**stated, sandbox="none"), "own")


ALIASES = "task: own\nb0: &b0 [x]\n" + "".join(f"b{i}: &b{i} [{', '.join([f'*b{i - 1}'] * 9)}]\n" for i in range(1, 9))


def test_python_of_a_task_folder_is_run_only_where_the_study_says_so(tmp_path: Path) -> None:
    (tmp_path / "shared.yaml").write_text("process_docs: !function evil.run\n")
    (tmp_path / "own.yaml").write_text("task: own\ninclude: shared.yaml\ndataset_path: json\n")
    (tmp_path / "evil.py").write_text("raise SystemExit('it was run')\n")
    with pytest.raises(
        ValueError, match=r"shared\.yaml: '!function evil\.run' runs Python .* benchmarks\.task_code: true"
    ):
        definitions.leaves(Benchmarks(tasks=["own"], include=str(tmp_path)), "own")
    assert definitions.leaves(Benchmarks(tasks=["own"], include=str(tmp_path), task_code=True), "own")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("task: own\nx: " + "[" * 100_000 + "]" * 100_000, "nested over 50 levels deep"),
        (ALIASES, "with its aliases written out"),
        ("task: own\nx: !!python/object:os.system x\n", "is not taken"),
        ("task: own\nx: !!float x\n", "'x' is not a float"),
    ],
)
def test_a_hostile_task_file_is_one_line(text: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(text)
    with pytest.raises(ValueError, match=r"own\.yaml: not readable: line \d+: .*") as raised:
        definitions.leaves(Benchmarks(tasks=["own"], include=str(tmp_path)), "own")
    assert expected in str(raised.value)
    assert len(str(raised.value)) < 400


@pytest.mark.slow
def test_a_model_that_answers_nan_fails_each_task_in_one_line(local: Path, small_model: Path, cache: Path) -> None:
    found = run(small_model, Benchmarks(tasks=["cmmlu_agronomy", "gsm8k"], data=str(local), limit=1), broken=True)
    assert not found.scores
    assert found.failures == dict.fromkeys(["cmmlu_agronomy", "gsm8k"], "the model answers NaN")


def test_missing_data_are_named_with_where_to_place_them(tmp_path: Path, cache: Path) -> None:
    gone = fetching.missing(Benchmarks(tasks=["cmmlu", "lcsts", "nothing_like_it"], data=str(tmp_path)))
    assert f"{tmp_path}/cmmlu/" in gone["cmmlu"]
    assert "66 more" in gone["cmmlu"]
    assert "PART_III.txt" in gone["lcsts"]
    assert "check its spelling" in gone["nothing_like_it"]


BROKEN = {
    "g": ("group: g\n", "g.yaml: task: a group needs the list of its tasks"),
    "tagged": ("tag: tagged\ndataset_path: json\n", "tagged.yaml: task: this field is required"),
    "loop": ("group: loop\ntask: [loop]\n", "loop.yaml: task: the group loop is a member of itself"),
    "away": ("group: away\ntask: [nothing]\n", "away.yaml: task: no file beside it defines nothing"),
    "odd": ("group: odd\ntask: [[1]]\n", "odd.yaml: task: [1] is not the name of a task"),
    "kind": ("task: kind\nfewshot_config: many\n", "kind.yaml: fewshot_config: has to be a mapping (found 'many')"),
    "yaml": (
        "task: yaml\n  bad: [\n",
        "yaml.yaml: not readable: line 2: mapping values are not allowed",
    ),
    "self": ("include: self.yaml\n", "self.yaml: not readable: the file includes itself"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_task_file_that_is_broken_is_one_line_with_its_field(tmp_path: Path, cache: Path, name: str) -> None:
    content, why = BROKEN[name]
    (tmp_path / f"{name}.yaml").write_text(content)
    benchmarks = Benchmarks(tasks=[name], include=str(tmp_path))
    with pytest.raises(InputError) as refused:
        fetching.refuse_broken(benchmarks)
    assert why in str(refused.value)
    assert "\n" not in str(refused.value)
    assert why in fetching.missing(benchmarks)[name]
    fetching.fetch_all(benchmarks, lambda phase, share: None)  # a run goes on without it


def test_what_the_harness_takes_of_a_task_file_is_taken(tmp_path: Path, cache: Path) -> None:
    content = "task: plain\ndataset_path: json\ndataset_kwargs: {data_files: a.jsonl}\nmetadata: 1.0\n"
    (tmp_path / "plain.yaml").write_text(content)
    (tmp_path / "both.yaml").write_text("group: both\ntask: [plain, {task: plain}]\n")
    benchmarks = Benchmarks(tasks=["both", "plain"], include=str(tmp_path))
    fetching.refuse_broken(benchmarks)
    assert fetching.missing(benchmarks) == {}


def test_every_task_of_the_suite_is_one_that_the_harness_or_we_have() -> None:
    benchmarks = Benchmarks(suite="almr", unsafe_code=True)
    for name in catalogue.harness_tasks(benchmarks):
        assert definitions.leaves(benchmarks, name), name


def test_code_is_off_unless_the_study_says_so() -> None:
    assert not {"humaneval", "mbpp"} & set(catalogue.harness_tasks(Benchmarks(suite="almr", tasks=["humaneval"])))
    assert {"humaneval", "mbpp"} <= set(catalogue.harness_tasks(Benchmarks(suite="almr", unsafe_code=True)))


@pytest.mark.parametrize(
    "file", ["test/agronomy.csv", "agronomy/test-00000-of-00001.parquet", "test/agronomy_test.jsonl"]
)
def test_a_local_copy_is_found_however_it_is_laid_out(tmp_path: Path, cache: Path, file: str) -> None:
    (tmp_path / "cmmlu" / file).parent.mkdir(parents=True)
    (tmp_path / "cmmlu" / file).touch()
    benchmarks = Benchmarks(tasks=["cmmlu_agronomy"], data=str(tmp_path))
    [leaf] = definitions.leaves(benchmarks, "cmmlu_agronomy")
    files = task_data.locate(benchmarks, "cmmlu_agronomy", leaf)
    assert files is not None
    assert files.splits == {"test": [str(tmp_path / "cmmlu" / file)]}


def test_characters_are_compared_not_words() -> None:
    doc = {"answers": ["分久必合", "合久"]}
    assert metrics.character_f1(doc, [" 分久必合。"]) == {"f1": 1.0, "exact_match": 1.0}
    assert metrics.character_f1(doc, ["分久"])["f1"] == pytest.approx(2 * 2 / 6)
    assert metrics.character_rouge_l({"summary": "天下分合"}, ["天下合分"]) == {"rouge_l": 0.75}
    assert metrics.character_f1(doc, [""])["f1"] == 0.0


def test_a_file_in_another_format_is_named(tmp_path: Path) -> None:
    (tmp_path / "DRCD_dev.json").write_text("[]")
    with pytest.raises(ValueError, match=r"DRCD_dev\.json: not in SQuAD's published format"):
        formats.squad([str(tmp_path / "DRCD_dev.json")])
