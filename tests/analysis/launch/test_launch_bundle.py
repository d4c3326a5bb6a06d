"""The bundle as a whole: its evidence, its hashes, and what stands when something goes wrong."""

import hashlib
import json
from pathlib import Path

import pytest

from analysis.fit_file.findings import Finding
from analysis.launch.bundle import FittedRun, export
from analysis.launch.evidence.evidence import Evidence, ReadBack, SearchEvidence
from analysis.launch.scripts import starts
from sweep.planning import model_shape
from sweep.study import InputError, study_file
from sweep.study.ingredients import SearchState


@pytest.fixture
def out(tmp_path):
    return tmp_path / "run" / "launch"


def evidence(out):
    return Evidence.model_validate_json((out / "evidence.json").read_text())


def files(out):
    return {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def embedded(make_study, make_facts, tmp_path):
    """A study of embedded corpora, with the counts of two tiny files."""
    counted = {}
    for name in ("original", "additional"):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"text": name}) + "\n")
        counted[name] = make_facts(files=(str(tmp_path / f"{name}.jsonl"),))
    spec = {"original": {"embedded": "shakespeare"}, "additional": {"embedded": "three-kingdoms"}}
    return make_study(corpora=spec), counted


def test_the_bundle_states_its_text(make_fit, embedded, run, out):
    study, counted = embedded
    export(FittedRun(make_fit(study), run, counted), out)
    paths = sorted(path.relative_to(out).as_posix() for path in files(out))
    names = [name for name in paths if not name.startswith("confirm")]
    settings = ["deepspeed_zero3.json", "llamafactory.yaml", "prepare.sh", "study.yaml"]
    starts = ["ray_start.py", "rayjob.yaml", "sky.yaml", "slurm.sbatch", "start.sh"]
    own = sorted([*settings, *starts])
    assert names == ["GO.md", "README.md", "evidence.json", *(f"llamafactory/{name}" for name in own)]
    launched = study_file.load(out / "llamafactory" / "study.yaml")
    assert launched.corpora.model_dump() == study.corpora.model_dump()


def test_confirmation_runs_read_the_text_of_the_launch(make_fit, embedded, run, out):
    study, counted = embedded
    export(FittedRun(make_fit(study), run, counted), out, formats=("llamafactory", "axolotl"))
    for name, read in (("llamafactory", "tokenized"), ("axolotl", "train")):
        confirm = out / f"confirm-1-{name}"
        assert f"../{name}/data/{read}" in (confirm / f"{name}.yaml").read_text()
        assert f"../{name}/prepare.sh once" in (confirm / "start.sh").read_text()
        assert not (confirm / "study.yaml").exists()
        assert not (confirm / "prepare.sh").exists()


def test_evidence_hashes_every_other_file(make_fit, embedded, run, out):
    study, counted = embedded
    export(FittedRun(make_fit(study), run, counted), out)
    expected = {path.relative_to(out).as_posix(): sha256(path) for path in files(out) if path.name != "evidence.json"}
    assert evidence(out).files == expected
    assert evidence(out).links == {}


def test_evidence_names_the_trials_and_their_records(make_fit, corpora, run, out):
    export(FittedRun(make_fit(), run, corpora), out)
    found = evidence(out)
    assert [trial.trial_id for trial in found.excluded_trials] == ["almr=0.50_lr=1e-04_seed=3"]
    assert found.excluded_trials[0].excluded.startswith("diverged")
    assert found.excluded_trials[0].loss.original is None
    assert len(found.trials) == 3
    for trial in (*found.trials, *found.excluded_trials):
        assert trial.sha256 == sha256(run / "trials" / trial.trial_id / "record.json")
    assert found.trials[0].loss.original == 2.5


def test_evidence_says_how_the_trials_were_chosen(make_fit, make_study, corpora, run, out):
    export(FittedRun(make_fit(), run, corpora), out)
    assert evidence(out).search == SearchEvidence(strategy="grid", budget=None, asked=None, stopped=None)
    state = SearchState(strategy="surface", budget=24, asked=17, stopped="it gained too little", at_once=2)
    (run / "search.json").write_text(state.model_dump_json())
    searched = make_study(search={"strategy": "surface", "trials": 24}, grid={"almr": [0.1, 0.5], "lr": [1e-5, 1e-4]})
    export(FittedRun(make_fit(searched), run, corpora), out)
    stopped = SearchEvidence(strategy="surface", budget=24, asked=17, stopped="it gained too little")
    assert evidence(out).search == stopped


def test_evidence_repeats_what_was_fitted(make_fit, corpora, run, out, warning):
    fit = make_fit(warnings=[warning])
    export(FittedRun(fit, run, corpora), out)
    found = evidence(out)
    assert found.schema_version == 7
    assert found.formats == ("llamafactory",)
    assert (found.winner, found.transfer, found.weights) == (fit.file.winner, fit.file.transfer, fit.file.weights)
    assert found.fit_warnings == (warning,)
    assert found.accepted_risk is None
    assert found.quality.noise == fit.file.noise
    assert found.study.fingerprint == fit.study.fingerprint
    assert found.study.sha256 == sha256(run / "study.yaml")
    assert found.provenance == {"git_sha": "abc"}
    assert found.launch_corpora["additional"].launch_tokens == round(0.4 * found.launch_tokens)


@pytest.mark.parametrize("content", ["[]", "5", '"x"', "{cut", "[" * 100_000, '{"git": [], "code_sha256": 5}'])
def test_a_damaged_provenance_file_keeps_no_bundle_from_being_written(make_fit, corpora, run, out, content):
    (run / "provenance.json").write_text(content)
    export(FittedRun(make_fit(), run, corpora), out)
    assert "| not known | origin | code of the trials |" in (out / "GO.md").read_text()


def test_trials_of_other_code_than_the_last_session_s_are_said(make_fit, corpora, run, out):
    """An upgrade between two sessions: provenance.json is of the last, each record of the code that trained it."""
    stated = {"git": "f" * 40, "code_sha256": "b" * 64}
    (run / "provenance.json").write_text(json.dumps(stated))
    fit = make_fit()
    export(FittedRun(fit, run, corpora), out)
    assert evidence(out).provenance == stated  # no record states its code
    for number, path in enumerate(sorted(run.glob("trials/*/record.json"))):
        content = json.loads(path.read_text())
        content["provenance"] = {"code_sha256": "ab"[number > 1] * 64}
        path.write_text(json.dumps(content))
    export(FittedRun(fit, run, corpora), out)
    used = [trial.trial_id for trial in evidence(out).trials]
    assert evidence(out).provenance == stated | {"other_code": {"a" * 64: 2}}
    [line] = [line for line in (out / "GO.md").read_text().splitlines() if "| code of the trials |" in line]
    assert line.startswith("| warn | origin |")
    assert f"of {len(used)} trials other code trained some (sha256 {'a' * 12}: 2) |" in line


def test_evidence_of_a_guarded_fit_has_the_guard_for_weights(make_fit, corpora, run, out):
    guard = {"percent": 2.0, "bound": 2.55, "probability": 0.93}
    export(FittedRun(make_fit(weights=None, guard=guard), run, corpora), out)
    found = evidence(out)
    assert found.weights is None
    assert found.guard.model_dump() == guard


def test_a_refused_winner_is_not_exported(make_fit, corpora, run, out, refusal):
    other = Finding(code="flat", message="the optimum is flat")
    with pytest.raises(InputError) as error:
        export(FittedRun(make_fit(refusals=[refusal, other]), run, corpora), out)
    assert str(error.value).splitlines() == [
        refusal.message,
        other.message,
        "Suggested trials (ALMR / LR): 0.40 / 3e-4, 0.40 / 1e-3",
        "the fit is refused, so nothing was written: run the suggested trials, or go on with a reason, "
        '--accept-risk "reason"',
    ]
    assert not out.exists()


def test_a_refusal_leaves_the_bundle_before_it(make_fit, corpora, run, out, refusal):
    export(FittedRun(make_fit(), run, corpora), out)
    before = files(out)
    with pytest.raises(InputError):
        export(FittedRun(make_fit(lr=7e-5, refusals=[refusal]), run, corpora), out)
    assert files(out) == before


def test_the_verdict_of_the_checks_is_on_top_of_the_readme(make_fit, corpora, run, out):
    made = export(FittedRun(make_fit(), run, corpora), out)
    assert made.headline.startswith("GO WITH OPEN POINTS: transfer rule, pre-training tokens per parameter, ")
    assert (out / "GO.md").read_text().splitlines()[0] == f"# {made.headline}"
    assert (out / "README.md").read_text().splitlines()[2] == "**GO WITH OPEN POINTS.** `GO.md` says why."
    assert evidence(out).headline == made.headline
    assert evidence(out).files["README.md"] == sha256(out / "README.md")


def test_the_readme_says_the_steps_in_order_and_how_often_native_saves(make_fit, make_study, corpora, run, out):
    study = make_study(launch={"gpu": "H100-80GB", "checkpoints": None})
    export(FittedRun(make_fit(study), run, corpora), out, formats=("native", "torchtitan"))
    page = (out / "README.md").read_text()
    commands = ("bash FORMAT/prepare.sh", "almr export RUN --parity", "almr confirm RUN", "FORMAT/start.sh")
    steps = [page.index(f"{n}. `{command}") for n, command in enumerate(commands, 1)]
    assert steps == sorted(steps)
    minutes = study_file.load(out / "native" / "study.yaml").execution.checkpoint_minutes
    assert f"; native: every {minutes:g} minutes |" in page
    assert f"- checkpoints: every {minutes:g} minutes, " in page
    assert "by default the folder that holds the folder of this bundle" in page


@pytest.mark.parametrize("blank", ["", "  ", "\n\t"])
@pytest.mark.parametrize("refused", [True, False])
def test_a_blank_reason_is_none(make_fit, corpora, run, out, refusal, blank, refused):
    with pytest.raises(InputError, match="the reason is blank"):
        export(FittedRun(make_fit(refusals=[refusal] * refused), run, corpora), out, accept_risk=blank)
    assert not out.exists()


def test_an_accepted_risk_is_in_the_evidence_and_on_top_of_the_yaml(make_fit, corpora, run, out, refusal):
    reason = 'the 70B run is "short"; # $(stop)'
    export(FittedRun(make_fit(refusals=[refusal]), run, corpora), out, accept_risk=f" {reason}\n")
    found = evidence(out).accepted_risk
    assert (found.reason, found.refusals) == (reason, (refusal,))
    head = (out / "llamafactory" / "llamafactory.yaml").read_text().splitlines()[:7]
    assert any(line.startswith("# THE FIT REFUSED THIS WINNER (edge)") for line in head)
    assert reason in (out / "GO.md").read_text()
    assert f"- {refusal.message}\n" in (out / "README.md").read_text()


def test_a_reason_that_is_no_utf8_is_written_all_the_same(make_fit, corpora, run, out, refusal):
    export(FittedRun(make_fit(refusals=[refusal]), run, corpora), out, accept_risk="caf\udce9")
    assert evidence(out).accepted_risk.reason == "caf\\udce9"


def test_a_reason_without_a_refusal_accepts_nothing(make_fit, corpora, run, out):
    export(FittedRun(make_fit(), run, corpora), out, accept_risk="just in case")
    assert evidence(out).accepted_risk is None
    assert "just in case" not in (out / "llamafactory" / "llamafactory.yaml").read_text()


def test_a_bundle_is_replaced_whole(make_fit, make_study, corpora, run, out, embedded):
    study, counted = embedded
    export(FittedRun(make_fit(study), run, counted), out)
    export(FittedRun(make_fit(lr=7e-5), run, corpora), out)
    assert not (out / "llamafactory" / "data").exists()
    assert "7.0e-05" in (out / "llamafactory" / "llamafactory.yaml").read_text()
    assert [path.name for path in run.iterdir() if path.name.startswith(".")] == []


def test_a_failure_leaves_the_old_bundle(make_fit, corpora, run, out, monkeypatch):
    export(FittedRun(make_fit(), run, corpora), out)
    before = files(out)

    def fails(*_):
        raise OSError("disk full")

    monkeypatch.setattr(starts, "start_script", fails)
    with pytest.raises(OSError, match="disk full"):
        export(FittedRun(make_fit(lr=7e-5), run, corpora), out)
    assert files(out) == before
    assert [path.name for path in run.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("name", ["notes.txt", "evidence.json"])
def test_a_folder_of_other_files_is_left_alone(make_fit, corpora, run, out, name):
    out.mkdir()
    (out / name).write_text("mine")
    with pytest.raises(InputError, match="which no export wrote"):
        export(FittedRun(make_fit(), run, corpora), out)
    assert (out / name).read_text() == "mine"


@pytest.mark.parametrize("name", ["llamafactory/llama3-8.log", "confirm/results-template.csv", "llamafactory/start.sh"])
def test_a_bundle_that_was_used_is_kept_beside_the_new_one(make_fit, corpora, run, out, name):
    for n in (1, 2):
        assert export(FittedRun(make_fit(), run, corpora), out).kept is None
        (out / name).write_text(f"mine {n}")
        made = export(FittedRun(make_fit(lr=7e-5), run, corpora), out)
        assert made.kept == out.with_name(f"launch.before-{n}")
        assert str(made.kept) in made.notes[0]
        assert (made.kept / name).read_text() == f"mine {n}"
        assert evidence(made.kept).launch_lr == 2e-5
        assert evidence(out).launch_lr == 7e-5
        assert not (out / name).exists() or "mine" not in (out / name).read_text()


def test_the_working_directory_is_not_replaced(make_fit, corpora, run, out, monkeypatch):
    (out / "mine").mkdir(parents=True)
    monkeypatch.chdir(out / "mine")
    for given in (Path(), Path(".."), Path("/")):
        with pytest.raises(InputError, match="holds the working directory"):
            export(FittedRun(make_fit(), run, corpora), given)


@pytest.mark.parametrize("kind", ["file", "link"])
def test_a_file_or_link_in_the_way_is_refused(make_fit, corpora, run, out, tmp_path, kind):
    if kind == "file":
        out.write_text("mine")
    else:
        out.symlink_to(tmp_path)
    with pytest.raises(InputError, match="is not a folder"):
        export(FittedRun(make_fit(), run, corpora), out)


def test_a_lost_record_is_named(make_fit, corpora, run, out):
    fit = make_fit()
    lost = run / "trials" / "almr=0.10_lr=1e-05_seed=3" / "record.json"
    lost.unlink()
    with pytest.raises(InputError, match="the fit used this record, but it is missing"):
        export(FittedRun(fit, run, corpora), out)
    assert not out.exists()


@pytest.mark.parametrize(
    ("state", "found"),
    [
        ("pass", {"differences": (), "parsers": "its parser 1.0"}),
        ("fail", {"differences": ("lr: 2 where the winner has 1",), "parsers": "its parser 1.0"}),
        ("not known", {"differences": None, "why_not": "not installed"}),
    ],
)
def test_the_go_list_says_what_the_trainers_parser_read(make_fit, embedded, run, out, state, found):
    study, counted = embedded
    asked = []

    def reader(plan, folder, name):
        asked.append((folder.name, (folder / "llamafactory.yaml").is_file()))
        return ReadBack(name=name, **found)

    export(FittedRun(make_fit(study), run, counted), out, reader=reader)
    assert asked[0] == ("llamafactory", True)
    [line] = [
        line for line in (out / "GO.md").read_text().splitlines() if "| read back by the trainers' parsers |" in line
    ]
    assert line.startswith(f"| {state} |")
    [told] = evidence(out).read_back
    first = told.differences and told.differences[:1]
    assert told.model_copy(update={"differences": first}) == ReadBack(name="llamafactory", **found)


@pytest.mark.parametrize(
    ("launch", "state", "says"),
    [
        ({"gpu": "H100-80GB"}, "pass", " usable |"),
        ({"gpu_gigabytes": 8}, "fail", "of 7.2 GB usable: take more or larger GPUs"),
        ({}, "not known", "llamafactory not checked: state launch.gpu"),
    ],
)
def test_the_page_says_whether_the_launch_fits_into_memory(make_study, make_fit, run, corpora, launch, state, says):
    study = make_study(launch=launch)
    target = model_shape.launch_hardware(study, study.launch.formats)
    export(FittedRun(make_fit(study), run, corpora, target), run / "launch")
    [line] = [line for line in (run / "launch/GO.md").read_text().splitlines() if "| memory of a GPU |" in line]
    assert line.startswith(f"| {state} | size |")
    assert says in line
    readme = (run / "launch/README.md").read_text()
    assert "does not fit into GPU memory" not in readme
    assert "GPU memory was not checked" not in readme


def test_the_name_of_a_language_stays_in_its_cell(make_study, make_fit, run, corpora):
    files = {"original": "/data/english.jsonl", "additional": "/data/chinese.parquet"}
    spec = {name: {"files": files[name], "language": f"{name} | ab"} for name in files}
    export(FittedRun(make_fit(make_study(corpora=spec)), run, corpora), run / "launch")
    [line] = [line for line in (run / "launch/README.md").read_text().splitlines() if "| held-out losses |" in line]
    assert "original \\| ab" in line
