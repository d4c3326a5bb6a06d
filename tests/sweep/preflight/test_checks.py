"""Each fault that the nodes report is one line that says how to fix it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bucket
import pytest
from samples import make_study, study_content

from sweep.planning import scoring
from sweep.planning.requirements import TrialMemory
from sweep.preflight import checks, inputs, preflight, probe
from sweep.preflight.checks import CheckResult, NodeReport
from sweep.preflight.preflight import Requirements, training_packages
from sweep.store.run import Run
from sweep.study import InputError, Study
from sweep.study.preparation import PreparationState
from sweep.study.sections.benchmarks import Benchmarks
from sweep.study.sections.text.corpora import Corpus
from sweep.study.sizes.known import KNOWN

GB = 1e9
UNPREPARED = PreparationState(None, {}, [], [])


def seen(**changes: Any) -> dict[str, Any]:
    return {"unseen": {}, "missing": {}, "versions": {"torch": "2"}, "gpus": [], "token": "t", "cpus": 8} | changes


def machine(name: str = "a", gpus: int = 8, free: int | None = None, **changes: Any) -> NodeReport:
    counted = {"CPU": 64.0, "GPU": float(gpus)}
    return NodeReport(name, counted, counted | {"GPU": float(gpus if free is None else free)}, seen(**changes))


def of_eight_gpus(nodes: int = 1) -> Study:
    recipe = study_content()["training"] | {"global_batch_tokens": 32 * 48, "tokens": 32 * 48 * 2}
    return make_study(training=recipe, resources={"nodes": nodes, "gpus_per_node": 8})


def faults(findings: list[CheckResult]) -> list[str]:
    return [finding.detail for finding in findings if not finding.ok]


def test_a_node_that_does_not_answer_is_named() -> None:
    late = NodeReport("b", {}, {}, None, "waited 60 s")
    assert faults(checks.answered([machine(), late])) == ["b does not answer (waited 60 s): restart Ray there"]


@pytest.mark.parametrize(("nodes", "fits"), [(1, True), (2, True), (3, False)])
def test_capacity_is_for_whole_worker_groups(nodes: int, fits: bool) -> None:
    cluster = [machine("a"), machine("b"), machine("c", gpus=4)]
    assert (not faults(checks.has_capacity(of_eight_gpus(nodes), cluster))) == fits


def test_gpus_in_use_outside_ray_are_distinguished_from_too_few() -> None:
    [short] = faults(checks.has_free_capacity(of_eight_gpus(), [machine(free=3)]))
    assert short == "a trial needs 1 x (64 CPU, 8 GPU), which is not free: wait, or stop other jobs"
    stranger = [{"total": 80 * GB, "used": 40 * GB}]
    outside = NodeReport("a", {"CPU": 64.0, "GPU": 8.0}, {"CPU": 64.0, "GPU": 8.0}, seen(gpus=stranger))
    [foreign] = faults(checks.has_free_capacity(of_eight_gpus(), [outside]))
    assert foreign == "a: processes outside Ray use 40.0 GB of a GPU: stop them"


def test_other_versions_are_named_with_what_to_install() -> None:
    nodes = [machine("a"), machine("b", versions={"torch": "1"}), machine("c", versions={"torch": None})]
    assert faults(checks.same_versions(nodes, {"torch": "2"})) == [
        "torch is 2 here, 1 on b: install 2",
        "torch is 2 here, not installed on c: install 2",
    ]
    assert faults(checks.same_versions([], {"torch": None})) == ["torch is not installed on this machine: install it"]


def test_gpu_memory_is_compared_with_what_nodes_report() -> None:
    recipe = study_content()["training"] | {
        "sequence_length": 8192,
        "global_batch_tokens": 8192 * 8,
        "tokens": 2 * 65536,
    }
    study = make_study(training=recipe, resources={"gpus_per_node": 8})
    trial_memory = TrialMemory(KNOWN["meta-llama/Meta-Llama-3-8B"].shape, study)

    def with_gpus(gigabytes: float) -> list[CheckResult]:
        there = NodeReport("a", {}, {}, seen(gpus=[{"total": gigabytes * GB, "used": 0.0}]))
        return checks.gpu_memory(trial_memory, [there])

    assert "more than 90 % of the 40.0 GB on a: take more GPUs" in faults(with_gpus(40))[0]
    assert faults(with_gpus(400)) == []
    assert checks.gpu_memory(trial_memory, [machine()]) == []


def test_space_that_is_short_and_space_that_is_not_known() -> None:
    [short] = faults(checks.disk_space({"/runs": (2e12, 1e12), "/cache": (None, 1e12)}))
    assert short == "/runs needs up to 2.0 TB, 1.0 TB free: free some space, or move it"
    [fine] = checks.disk_space({"/runs": (0, 80e9), "/cache": (None, 1e12)})
    assert fine.text == "ok: disk: /runs needs 0 kB, 80.0 GB free; /cache needs an unknown amount, 1.0 TB free"


def test_what_lies_on_one_disk_needs_its_space_together_less_what_a_run_has(tmp_path: Path, cache: Path) -> None:
    cache.mkdir(exist_ok=True)

    def space(runs: Path, prepared: float | None) -> list[tuple[str, float | None]]:
        disk = SimpleNamespace(to_prepare=prepared, run_bytes=5e9)
        found = preflight._space(Run(runs / "one"), SimpleNamespace(disk=disk))  # type: ignore[arg-type]
        return [(name, need) for name, (need, _) in found.items()]

    assert space(tmp_path, 3e9) == [(f"{cache} with {tmp_path}", 8e9)]
    assert space(cache, 3e9) == [(str(cache), 8e9)]
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "kept").write_bytes(bytes(1000))
    assert space(tmp_path, None) == [(str(cache), None), (str(tmp_path), 5e9 - 1000)]


def test_a_node_reads_the_nonce_and_answers_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "LATE_SECONDS", 0.0)
    other = tmp_path / "other"
    other.mkdir()
    shared = {"here": str(tmp_path), "other": str(other), "gone": str(tmp_path / "gone")}
    (tmp_path / probe.question_name("n")).write_text("n")
    answer = probe.inspect(
        {"shared": shared, "nonce": "n", "paths": {"x": "/no/such"}, "packages": ["torch", "no-such"]}
    )
    assert set(answer["unseen"]) == {"other", "gone"}
    assert answer["missing"] == {"x": "/no/such"}
    assert (tmp_path / probe.reply_name("n", answer["token"])).is_file()
    assert answer["versions"]["torch"]
    assert answer["versions"]["no-such"] is None


def test_alone_this_machine_is_the_cluster_and_nothing_is_left_behind(tmp_path: Path) -> None:
    study = make_study()
    needed = Requirements({"run directory": str(tmp_path)}, {}, training_packages(study))
    answer = preflight.ask(needed, None)
    assert answer.lost == {"run directory": []}
    assert faults(preflight.cluster(study, needed, answer)) == []
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_the_same_name_on_another_disk_is_found_by_its_lost_reply() -> None:
    [line] = faults(checks.shared_storage([machine("a")], {"ALMR_CACHE": "/cache"}, {"ALMR_CACHE": ["a"]}))
    assert line == "a writes to another folder named /cache: put it on shared storage"


def test_inputs_that_are_not_there_are_named(tmp_path: Path) -> None:
    corpora = study_content()["corpora"] | {"additional": {"files": str(tmp_path / "*.jsonl")}}
    study = make_study(base_model={"pretrained": str(tmp_path)}, corpora=corpora)
    found = faults(inputs.inputs(study, UNPREPARED))
    assert f"{tmp_path} is empty (model.safetensors, pytorch_model.bin): give" in found[0]
    assert found[1] == f"{tmp_path}/*.jsonl matches no file: correct the path"


def test_the_first_documents_of_a_corpus_are_looked_at(tmp_path: Path) -> None:
    for i in range(100):
        (tmp_path / f"{i:02d}.jsonl").write_text('{"text": "one"}\n' * 100 + "{\n")
    spec = Corpus(files=str(tmp_path / "*.jsonl"))
    assert faults(inputs.corpus(spec, "corpora.original")) == []
    assert faults(inputs.corpus(spec.model_copy(update={"field": "body"}), "corpora.original")) == [
        f"{tmp_path}/00.jsonl, line 1: there is no 'body'; the fields are text: set `field:` to that of the text"
    ]
    (tmp_path / "99.jsonl").write_text("version https://git-lfs.github.com/spec/v1\n")
    assert "99.jsonl: is only a pointer to a file in Git LFS" in faults(inputs.corpus(spec, "corpora.original"))[0]


def test_an_unreachable_hub_is_reported_for_model_and_data(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_route(*a: Any, **b: Any) -> None:
        raise OSError("no route")

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", no_route)
    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", no_route)
    corpora = study_content()["corpora"] | {"original": {"dataset": "nobody/nothing"}}
    found = faults(inputs.inputs(make_study(base_model={"pretrained": "nobody/none"}, corpora=corpora), UNPREPARED))
    assert [line.split(" cannot")[0] for line in found] == ["nobody/none", "nobody/nothing"]


def test_a_local_model_has_its_tokenizer_loaded(small_model: Path) -> None:
    study = make_study(base_model={"pretrained": str(small_model)})
    model, tokenizer = inputs.model(study)
    assert model.ok
    assert tokenizer.ok
    assert tokenizer.detail.endswith(" tokens; does not begin documents with BOS")


def test_the_results_end_with_a_verdict() -> None:
    fine, broken = CheckResult("disk", True, "a"), CheckResult("base model", False, "b")
    assert checks.verdict([fine, fine]) == "all checks passed"
    assert checks.verdict([fine, broken, broken, fine]) == "1 check failed: base model"
    assert checks.verdict([broken, CheckResult("nodes", False, "c")]) == "2 checks failed: base model, nodes"


def test_all_checks_of_a_study_on_this_machine(local_study: Study, tmp_path: Path) -> None:
    from sweep.planning.plan import plan
    from sweep.trials.progress import RunProgress

    run = Run(tmp_path / "runs" / local_study.name)
    findings = preflight.full(local_study, run, plan(local_study, RunProgress.of(local_study, run), {}), None)
    assert faults(findings) == []
    assert {"base model", "tokenizer", "corpora.original", "versions", "run directory", "disk"} <= {
        f.name for f in findings
    }
    assert not run.folder.exists()


def test_gpus_are_not_missed_on_a_login_node(local_study: Study, tmp_path: Path) -> None:
    """A study on GPUs, checked on this machine without any: a note, unless an address names the cluster."""
    resources = local_study.resources.model_copy(update={"gpus_per_node": 8})
    study = local_study.model_copy(update={"resources": resources})
    login = NodeReport("login", {"CPU": 4.0, "GPU": 0.0}, {"CPU": 4.0}, None)
    [note] = checks.without_gpus(study, [login])
    assert note.text.startswith("note: capacity: GPUs and their memory were not checked: there is no GPU here")
    gpus = login.resources | {"GPU": 8.0}
    assert checks.without_gpus(study, [NodeReport("gpu", gpus, gpus, None)]) == []
    assert checks.without_gpus(local_study, [login]) == []
    found = {finding.name for finding in full(study, Run(tmp_path / "runs" / "small")) if not finding.ok}
    assert not found & {"capacity", "free capacity", "GPU memory"}


def full(study: Study, run: Run) -> list[CheckResult]:
    from sweep.planning.plan import plan
    from sweep.trials.progress import RunProgress

    return preflight.full(study, run, plan(study, RunProgress.of(study, run), {}), None)


def test_what_an_object_store_cannot_do_is_found_before_the_run(local_study: Study, tmp_path: Path) -> None:
    bucket.register()
    run = Run(f"bucket://{tmp_path}/kept/small")
    assert "--runs" not in [finding.name for finding in full(local_study, run) if not finding.ok]
    [found] = [f for f in full(local_study.model_copy(update={"keep": "best"}), run) if not f.ok]
    assert found.name == "--runs"
    assert found.detail.startswith("keep: best compares trials on disk")


def test_what_benchmarks_need_is_asked_for(local_study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = probe.version
    monkeypatch.setattr(probe, "version", lambda name: None if name == "lm-eval" else there(name))
    stated = {"tasks": ["gsm8k"], "data": str(tmp_path / "data"), "include": str(tmp_path)}
    study = local_study.model_copy(update={"benchmarks": Benchmarks.model_validate(stated)})
    found = faults(full(study, Run(tmp_path / "runs" / "small")))
    assert found[0] == "lm-eval is not installed on this machine: install it"
    assert f" does not see {tmp_path}/data: put it on" in found[1]
    assert len(found) == 2
    embedded = local_study.model_copy(update={"benchmarks": Benchmarks(suite="embedded")})
    assert faults(full(embedded, Run(tmp_path / "runs" / "small"))) == []


def test_int8_moments_need_their_package_everywhere() -> None:
    recipe = study_content()["training"] | {"optimizer": {"state": "int8"}}
    for study, needed in ((make_study(training=recipe), True), (make_study(), False)):
        [node] = preflight.ask(Requirements({}, {}, training_packages(study)), None).nodes
        assert node.seen
        assert ("torchao" in node.seen["versions"]) == needed


def test_a_study_that_runs_code_of_a_model_needs_a_sandbox_on_each_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = {"suite": "almr", "unsafe_code": True}
    study = make_study(benchmarks=content)
    insists = make_study(benchmarks=content | {"sandbox": "none"})
    scoring.refuse_without_sandbox(insists)
    scoring.refuse_without_sandbox(make_study(benchmarks={"suite": "almr"}))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"humaneval, mbpp: no sandbox for the code .*bubblewrap: not installed"):
        scoring.refuse_without_sandbox(study)
    needed = Requirements({}, {}, (), "auto")
    [fault] = faults(preflight.setup(needed, preflight.ask(needed, None)))
    assert "no sandbox for the code of the model works here" in fault
    scoring.refuse_without_sandbox(insists)


def test_conversations_are_looked_at_as_such(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"messages": [{"role": "user", "content": "a"}, {"role": "bot", "content": "b"}]}\n')
    found = faults(inputs.corpus(Corpus(files=str(file)), "corpora.original", "sft"))
    assert found == [
        f"{file}, line 1: messages[1].role: unknown role 'bot': write system, user, assistant, or remove it"
    ]
