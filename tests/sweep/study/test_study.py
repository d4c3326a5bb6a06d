from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError
from samples import make_study, study_content

from sweep.study import InputError, Study, Trial, study_file
from sweep.study.sections.grid import Grid
from sweep.study.sections.launch import Launch

SHIPPED_STUDIES = [  # the others are chains of them
    path for path in sorted(study_file.SHIPPED.glob("*.yaml")) if not study_file.is_chain(study_file.content_of(path))
]


def written(folder: Path, text: str) -> Path:
    path = folder / "study.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(folder: Path, **changes: Any) -> str:
    path = written(folder, yaml.safe_dump(study_content(**changes)))
    with pytest.raises(InputError) as raised:
        study_file.load(path)
    assert str(raised.value).startswith(f"{path}: ")
    return str(raised.value)


def wsd(**changes: Any) -> dict[str, Any]:
    """A recipe of 8 steps, of which 2 warm up."""
    return study_content()["training"] | {"schedule": {"name": "wsd", "warmup": 0.25, "decay": 0.5}} | changes


def test_number_without_a_dot_is_a_number(tmp_path: Path) -> None:
    text = yaml.safe_dump(study_content(grid={})).replace("grid: {}", "grid: {almr: [0.5], lr: [1e-5, 2E-5]}")
    assert study_file.load(written(tmp_path, text)).grid.lrs == (1e-5, 2e-5)


def test_lr_range_is_log_spaced_with_both_ends() -> None:
    assert Grid.model_validate({"almr": 0.3, "lr": {"from": "1e-5", "to": 1e-3, "points": 3}}).lrs == (1e-5, 1e-4, 1e-3)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"grid": {"almr": [0.1, 5], "lr": [1e-3]}}, "grid.almr[1] is 5: must be 0 to 1. In percent? Write 0.05"),
        ({"grid": {"almr": [0.1, 120], "lr": [1e-3]}}, "grid.almr[1] is 120: must be 0 to 1\n"),
        ({"objective": {"level": 90}}, "objective.level is 90: must be below 1. In percent? Write 0.9"),
        ({"grid": {"almr": [0.1], "lr": [0]}}, "grid.lr[0] is 0: must be above 0"),
        ({"grid": {"almr": [True], "lr": [1e-3]}}, "grid.almr[0]: expected a number, found true"),
        ({"grid": {"almr": [0.1], "lr": [float("nan")]}}, "grid.lr[0]: expected a finite number, found nan"),
        ({"grid": {"almr": [0.1], "lr": ["9" * 400 + "x"]}}, "grid.lr[0]: expected a number, found '999"),
        ({"grid": {"almr": [0.1, 0.1], "lr": [1e-3]}}, "twice"),
        (
            {"grid": {"almr": [0.1], "lr": {"from": 1e-3, "to": "x", "points": 3}}},
            "grid.lr.to: expected a number, found 'x'",
        ),
        ({"base_model": {"embedded": "tiny", "pretrained": "x"}}, "base_model: give exactly one of"),
        ({"corpora": {"original": {}, "additional": {"embedded": "three-kingdoms"}}}, "corpora.original: give exactly"),
        ({"grdi": {}}, "grdi: unknown field. Did you mean grid?"),
        (
            {"keep": "all", "zzz": 1},
            "zzz: unknown field. Fields here: name, base_model, corpora, documents, training, trainer, grid,",
        ),
        ({"keep": "some"}, "keep: expected 'none', 'best' or 'all', found 'some'"),
        ({"training": 5}, "training: expected a mapping of fields, found 5"),
        ({"training": wsd(sequnce_length=1)}, "training.sequnce_length: unknown field. Did you mean sequence_length?"),
        ({"training": wsd(tokens=2.5)}, "training.tokens: expected a whole number, found 2.5"),
        ({"objective": {"guards": [{"tsk": "a"}]}}, "guards[0].tsk: unknown field. Did you mean task?"),
        ({"grid": {"almr": [0.1], "lr": {"form": 1}}}, "grid.lr.form: unknown field. Did you mean from?"),
        ({"training": {"sequence_length": 128, "tokens": 4096, "global_batch_tokens": 200}}, "write 256"),
        ({"training": wsd(horizons=[1024], schedule={})}, "training: horizons branch off the stable LR of WSD"),
        ({"training": wsd(horizons=[2048])}, "training: horizons: 2048 is not below tokens 2048"),
        ({"training": wsd(horizons=[1024, 1024])}, "training: horizons: 1024 is listed twice"),
        ({"training": wsd(horizons=[1000, 1024])}, "training: horizons: 1000 is listed twice, or is as many steps"),
        ({"training": wsd(horizons=[2000])}, "2000 is listed twice, or is as many steps as 2048 (8)"),
        ({"training": wsd(horizons=[1024, 100])}, "training: horizons: 100 is less than one global batch: write 256"),
        ({"training": wsd(horizons=[512])}, "512 would decay from step 1 on, inside the warm-up of 2 steps"),
        ({"training": wsd(horizons=["x"])}, "training.horizons[0]: expected a whole number, found 'x'"),
        ({"objective": {"weights": {"original": 0, "additional": 0}}}, "all weights are 0"),
        ({"objective": {"weights": {"original": 1}, "forgetting_guard_percent": 1}}, "not both"),
        ({"objective": {"forgetting_guard_percent": -1}}, "objective.forgetting_guard_percent"),
        ({"objective": {"guards": [{"group": "a", "task": "b", "at_most_drop": 1}]}}, "guards[0]: give exactly one of"),
        (
            {"objective": {"guards": [{"group": "a"}]}},
            "give exactly one of at_most_drop, at_least_gain, at_most_percent (found none)",
        ),
        (
            {"objective": {"guards": [{"task": "a", "at_least_gain": "3%"}]}},
            "guards[0].at_least_gain: expected a number, found '3%'",
        ),
        ({"grid": {"almr": ["10%"], "lr": [1e-3]}}, "grid.almr[0]: expected a number, found '10%'. Write 0.1\n"),
        ({"objective": {"forgetting_guard_percent": "3%"}}, "expected a number, found '3%'. Write 3\n"),
        ({"training": wsd(tokens="100M")}, "training.tokens: expected a whole number, found '100M'. Write 1e8\n"),
        ({"training": wsd(tokens="2.5 T")}, "found '2.5 T'. Write 2.5e12\n"),
        (
            {"objective": {"weights": {"en": 1}}},
            "objective.weights.en: 'en' is no language or source: name one of original, additional\n",
        ),
        ({"grid": {"almr": [0.1], "lr": [1e-5, 1e-5]}}, "lr lists a value twice: [1e-5, 1e-5]"),
        ({"grid": {"almr": [0.1], "lr": [-1e-5]}}, "grid.lr[0] is -1e-5: must be above 0\n"),
        ({"grid": {"almr": [0.1], "lr": [1e-5, 1e31]}}, "grid: lr: 1e+31 is beyond every LR"),
        ({"name": "../escape"}, "name: '../escape' is not a name"),
    ],
)
def test_bad_field_is_named_with_its_path(tmp_path: Path, changes: dict[str, Any], expected: str) -> None:
    message = refusal(tmp_path, **changes)
    assert expected in message + "\n"
    assert max(map(len, message.splitlines())) < len(str(tmp_path)) + 300


def test_missing_field_is_named(tmp_path: Path) -> None:
    content = study_content()
    del content["training"]["tokens"]
    path = written(tmp_path, yaml.safe_dump(content))
    with pytest.raises(InputError, match=r"training\.tokens: required, but missing$"):
        study_file.load(path)


@pytest.mark.parametrize(
    "text",
    ["name: [", "just text", "", "a: 1\na: 2\n", "!!python/object/apply:os.getcwd []", "? [1]\n: 2\n", "[" * 9999],
)
def test_unusable_yaml_is_one_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError) as raised:
        study_file.load(written(tmp_path, text))
    assert str(raised.value).count("\n") == 0


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("!!timestamp x", "'x' is not a timestamp"),
        ("!!bool x", "'x' is not a bool"),
        ("!!int ''", "'' is not a int"),
        ("!!float x", "'x' is not a float"),
        ("2026-13-01", "'2026-13-01' is not a timestamp"),
        ("9" * 5000, "is not a int"),
    ],
)
def test_a_value_that_is_not_of_its_kind_is_shown_with_its_line(tmp_path: Path, value: str, expected: str) -> None:
    path = written(tmp_path, f"name: small\nkeep: {value}\n")
    with pytest.raises(InputError) as raised:
        study_file.load(path)
    assert str(raised.value).startswith(f"{path}:2: ")
    assert str(raised.value).endswith(expected)


def test_a_count_has_a_largest_value(tmp_path: Path) -> None:
    assert refusal(tmp_path, training=wsd(tokens=10**400)).endswith(": must be at most 1e+18")
    assert refusal(tmp_path, training=wsd(tokens="1e19")).endswith("training.tokens: 1e+19 is too large")


def test_duplicate_key_names_its_line(tmp_path: Path) -> None:
    text = "grid:\n  almr: [0.1]\n  almr: [0.2]\n"
    with pytest.raises(InputError, match=r"study\.yaml:3: almr is written twice"):
        study_file.load(written(tmp_path, text))


def test_a_merged_mapping_may_change_a_field(tmp_path: Path) -> None:
    text = yaml.safe_dump(study_content(corpora={})).replace(
        "corpora: {}",
        "corpora:\n  original: &base {embedded: shakespeare, held_out: 0.1}\n"
        "  additional: {<<: *base, embedded: three-kingdoms}",
    )
    corpus = study_file.load(written(tmp_path, text)).corpora.additional
    assert (corpus.embedded, corpus.held_out) == ("three-kingdoms", 0.1)


def test_a_revision_that_looks_like_a_number_stays_text(tmp_path: Path) -> None:
    """A git hash of digits and one e; YAML 1.2 would read infinity."""
    text = yaml.safe_dump(study_content(base_model={})).replace(
        "base_model: {}", "base_model: {pretrained: a/b, revision: 12e4567}"
    )
    study = study_file.load(written(tmp_path, text))
    assert study.base_model.revision == "12e4567"
    assert study_file.load(written(tmp_path, study_file.dump(study))) == study


def test_unknown_study_lists_the_shipped_ones() -> None:
    with pytest.raises(InputError, match="demo"):
        study_file.load("no-such-study")


@pytest.mark.parametrize("path", SHIPPED_STUDIES, ids=lambda path: path.stem)
def test_shipped_study_survives_being_frozen(path: Path, tmp_path: Path) -> None:
    study = study_file.load(path.stem)
    assert study_file.load(written(tmp_path, study_file.dump(study))) == study
    assert study.name == path.stem


def test_the_launchs_paths_are_relative_to_the_study_file(tmp_path: Path) -> None:
    """Its held-out text and the runs of its ladder."""
    numbers = {"parameters": 10**9, "tokens": 10**9, "lr": 1e-4, "lr_low": 5e-5, "lr_high": 2e-4}
    stated = numbers | {"almr": 0.3, "almr_low": 0.2, "almr_high": 0.4}
    launch = {
        "model": "big",
        "tokens": 2**21,
        "global_batch_tokens": 2**14,
        "sequence_length": 2048,
        "gpus_per_node": 1,
        "evaluation": {"original": "held/en.jsonl", "additional": "/data/zh.jsonl"},
        "transfer": {"rule": "ladder", "rungs": [{"run": "../runs/small"}, stated]},
    }
    (tmp_path / "studies").mkdir()
    path = written(tmp_path / "studies", yaml.safe_dump(study_content(launch=launch)))
    loaded = study_file.load(path).launch
    assert loaded is not None
    assert loaded.evaluation is not None
    assert loaded.transfer is not None
    assert loaded.evaluation.original == str(tmp_path / "studies" / "held" / "en.jsonl")
    assert loaded.evaluation.additional == "/data/zh.jsonl"
    assert [rung.run for rung in loaded.transfer.rungs] == [str(tmp_path / "runs" / "small"), None]


def test_local_paths_are_relative_to_the_study_file(tmp_path: Path) -> None:
    corpora = {"original": {"files": "text/*.txt"}, "additional": {"embedded": "three-kingdoms"}}
    study = study_file.load(written(tmp_path, yaml.safe_dump(study_content(corpora=corpora))))
    assert study.corpora.original.files == (str(tmp_path / "text/*.txt"),)


def test_only_the_recipe_makes_the_fingerprint() -> None:
    study = make_study()
    assert make_study(grid={"almr": [0.3], "lr": [1e-4]}, resources={"cpus": 2}).fingerprint == study.fingerprint
    other = make_study(training=study_content()["training"] | {"tokens": 4096})
    assert other.fingerprint != study.fingerprint
    assert study_file.changed_fields(study, other) == ["training.tokens: 2048 -> 4096"]


def test_horizons_are_ascending_and_of_the_recipe_only_where_given(tmp_path: Path) -> None:
    plain, branched = make_study(training=wsd()), make_study(training=wsd(horizons=[1536, 1024]))
    assert branched.training.horizons == (1024, 1536)
    assert branched.fingerprint != plain.fingerprint
    assert "horizons" not in plain.recipe()["training"]
    assert study_file.load(written(tmp_path, study_file.dump(branched))) == branched


def test_the_shipped_studies_keep_their_fingerprints() -> None:
    """Else finished runs and measured tables of them would be refused."""
    found = {path.stem: study_file.load(path.stem).fingerprint for path in SHIPPED_STUDIES}
    assert found == {
        "demo": "4b062b31fb829c5b",
        "dense": "4b062b31fb829c5b",
        "llama3-8b-zh": "403ed3599c80ad7e",
        "smollm2-135m-zh": "cdad884edde7a5ba",
    }
    watched = study_content()["training"] | {"evaluate_every": 2}
    assert make_study(training=watched).fingerprint == make_study().fingerprint


def sections(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
        for field in annotation.model_fields.values():
            yield from sections(field.annotation)
    for argument in get_args(annotation):
        yield from sections(argument)


def test_every_field_of_a_study_is_described_in_one_paragraph() -> None:
    """The documentation of the study file is generated from these."""
    fields = {(section, name): f for section in sections(Study) for name, f in section.model_fields.items()}
    lines = {(section.__name__, name): field.description or "" for (section, name), field in fields.items()}
    assert len(lines) > 150
    assert {name: line for name, line in lines.items() if not line.endswith(".") or "\n\n" in line} == {}


shares = st.floats(0, 1)
rates = st.floats(1e-9, 1e2)


@given(st.lists(st.tuples(shares, rates, st.integers(0, 9)), min_size=2, max_size=2, unique=True))
def test_different_trials_have_different_ids(points: list[tuple[float, float, int]]) -> None:
    one, two = (Trial(almr=almr, lr=lr, seed=seed) for almr, lr, seed in points)
    assert one == two or one.id != two.id


def test_trial_id_is_short_where_the_numbers_are() -> None:
    assert Trial(almr=0.3, lr=1e-5, seed=0).id == "almr=0.30_lr=1e-05_seed=0"


def test_study_is_frozen() -> None:
    study: Study = make_study()
    with pytest.raises(ValueError, match="frozen"):
        study.name = "other"  # type: ignore[misc]


counts = st.integers(1, 16)


@given(counts, counts, st.integers(2, 8192), st.integers(1, 10**8))
def test_a_launch_batch_that_does_not_fit_names_one_that_does(nodes: int, gpus: int, length: int, batch: int) -> None:
    content = {"model": "m", "tokens": 1e12, "nodes": nodes, "gpus_per_node": gpus, "sequence_length": length}
    try:
        Launch.model_validate(content | {"global_batch_tokens": batch})
    except ValueError as error:
        named = int(str(error).split("write ")[1].split(",")[0])
        Launch.model_validate(content | {"global_batch_tokens": named})
    else:
        assert batch % (nodes * gpus * length) == 0


def test_a_launch_shorter_than_a_batch_is_refused(tmp_path: Path) -> None:
    launch = {"model": "m", "tokens": 1000, "global_batch_tokens": 8192, "sequence_length": 1024}
    assert "launch: tokens 1000 is less than one global batch: write 8192" in refusal(tmp_path, launch=launch)


def test_a_bad_lr_is_one_line_with_its_place(tmp_path: Path) -> None:
    message = refusal(tmp_path, grid={"almr": [0.1], "lr": [1e-3, 0]})
    assert "grid.lr[1] is 0: must be above 0" in message
    assert "\n" not in message


def test_what_an_objective_weighs() -> None:
    assert make_study().objective.shares == {"original": 0.5, "additional": 0.5}
    weights = {"weights": {"original": 3, "additional": 1}}
    assert make_study(objective=weights).objective.shares == {"original": 0.75, "additional": 0.25}
    guarded = make_study(objective={"forgetting_guard_percent": 2})
    assert guarded.objective.shares == {"original": 0, "additional": 1}


def test_a_guarded_objective_survives_being_frozen(tmp_path: Path) -> None:
    guarded = make_study(objective={"forgetting_guard_percent": 2})
    path = tmp_path / "study.yaml"
    path.write_text(study_file.dump(guarded))
    assert study_file.load(path) == guarded


def test_a_trial_has_as_many_workers_as_gpus_or_processes() -> None:
    gpus = make_study(resources={"nodes": 2, "gpus_per_node": 4, "cpus_per_gpu": 6}).resources
    assert (gpus.workers, gpus.gpus, gpus.cpus_per_node, gpus.worker_group) == (8, 8, 24, True)
    cores = make_study(resources={"processes": 2, "cpus": 3}).resources
    assert (cores.workers, cores.gpus, cores.cpus_per_node, cores.worker_group) == (2, 0, 6, True)
    assert not make_study(resources={"gpus_per_node": 1}).resources.worker_group


@pytest.mark.parametrize(
    ("resources", "message"),
    [
        ({"gpus_per_node": 1, "cpus": 4}, "cpus_per_gpu"),
        ({"gpus_per_node": 2, "processes": 2}, "remove processes"),
        ({"processes": 3}, "8 sequences, which 3 workers cannot share equally: write 288"),
    ],
)
def test_resources_that_contradict_are_refused(resources: dict[str, int], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        make_study(resources=resources)


@pytest.mark.parametrize(
    ("stated", "read"),
    [
        ("text/*.txt", "{}/text/*.txt"),
        ("../text/en/*.txt", "{parent}/text/en/*.txt"),
        ("text/../../up/./a.txt", "{parent}/up/a.txt"),
        ("/data/en/../zh/*.txt", "/data/zh/*.txt"),
        ("/data/[[]en]/../zh/a.txt", "/data/zh/a.txt"),
        ("/data/*/../zh/../a.txt", "/data/*/../zh/../a.txt"),
        ("/data/[ab]/../a.txt", "/data/[ab]/../a.txt"),
        ("link/../../a.txt", "{}/link/../../a.txt"),
        ("link/a.txt", "{}/link/a.txt"),
    ],
)
def test_files_have_one_path_from_wherever_the_study_names_them(tmp_path: Path, stated: str, read: str) -> None:
    """Behind a link or a pattern, `..` is not the folder before it."""
    folder = tmp_path.resolve() / "studies"
    (folder / "real" / "inner").mkdir(parents=True)
    (folder / "link").symlink_to(folder / "real" / "inner")
    corpora = study_content()["corpora"] | {"original": {"files": stated}}
    study = study_file.load(written(folder, yaml.safe_dump(study_content(corpora=corpora))))
    assert study.corpora.sources("original")[0].files == (read.format(folder, parent=folder.parent),)


@pytest.mark.parametrize(
    ("stated", "read"),
    [
        ("mlruns", "{}/mlruns"),
        ("../mlruns", "{parent}/mlruns"),
        ("file:mlruns", "{}/mlruns"),
        ("sqlite:///mlflow.db", "sqlite:///{}/mlflow.db"),
        ("/data/mlruns", "/data/mlruns"),
        ("file:///data/mlruns", "file:///data/mlruns"),
        ("sqlite:////data/mlflow.db", "sqlite:////data/mlflow.db"),
        ("http://mlflow.example:5000", "http://mlflow.example:5000"),
        ("databricks", "databricks"),
    ],
)
def test_where_mlflow_keeps_its_files_is_relative_to_the_study(tmp_path: Path, stated: str, read: str) -> None:
    study = study_file.load(written(tmp_path, yaml.safe_dump(study_content(tracking={"mlflow": stated}))))
    assert study.tracking.mlflow == read.format(tmp_path.resolve(), parent=tmp_path.resolve().parent)
    assert study_file.load(written(tmp_path, study_file.dump(study))) == study
