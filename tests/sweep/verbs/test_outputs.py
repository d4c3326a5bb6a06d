"""Report, export and confirm read `fit.json`: they agree with it, say when it is out of date, and never fit again."""

import json
import shutil
import subprocess
import sys

import pytest
from bowl_run import LAUNCH, record, study, write_fitted
from pages import Page
from typer.testing import CliRunner

from analysis.fit_file.inputs import FitInputs
from sweep import cli
from sweep.store.run import Run
from sweep.study import InputError, Trial
from sweep.study.study_file import dump
from sweep.verbs.results import conclusion, fitting, outputs

VERBS = ("report", "export", "confirm")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run that was fitted once, to be copied."""
    run = tmp_path_factory.mktemp("runs") / "small"
    write_fitted(run)
    return run


@pytest.fixture
def run(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "small")
    return tmp_path / "small"


def almr(verb, run):
    risk = [] if verb == "report" else ["--accept-risk", "a test"]
    return CliRunner().invoke(cli.app, [verb, str(run), *risk])


def never(*_, **__):
    raise AssertionError("it was fitted again")


@pytest.fixture
def no_fit(monkeypatch):
    monkeypatch.setattr(fitting, "fit_study", never)
    monkeypatch.setattr(fitting.plots, "figures", never)


def change_lr(run, lr=4.5e-3):
    """As if the fit had found another LR: what is written after it has to say the same."""
    path = run / "fit.json"
    content = json.loads(path.read_text())
    content["winner"]["lr"] = content["transfer"]["lr"] = lr
    path.write_text(json.dumps(content | {"content": None}))
    return lr


BAD_FIT = {"rmse": 0.1, "plain_rmse": 0.1, "coverage": {"0.5": 0.2, "0.8": 0.4, "0.9": 0.6}}


def change(run, field, value):
    path = run / "fit.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: value, "content": None}))


def refuse(run):
    path = run / "fit.json"
    content = json.loads(path.read_text())
    refusals = [("few", "too few"), ("edge", "at the edge"), ("edge", "at the other edge")]
    content["refusals"] = [{"code": code, "message": message} for code, message in refusals]
    path.write_text(json.dumps(content | {"content": None}))


def test_what_is_written_has_the_numbers_of_fit_json_and_nothing_is_fitted(run, no_fit):
    lr = change_lr(run)
    for verb in VERBS:
        told = almr(verb, run)
        assert told.exit_code == 0, told.output
        takes = ("almr: native: ", "almr: tokenising: ")  # what the launch takes
        assert all(line.startswith(takes) for line in told.stderr.splitlines()), told.stderr
        assert ("confirmation runs" in told.stderr) == (verb == "export")
    assert "LRs: 2.25e-3" in told.stdout
    assert "4.5e-3" in Page((run / "report.html").read_text()).text
    evidence = json.loads((run / "launch" / "evidence.json").read_text())
    assert (evidence["winner"]["lr"], evidence["launch_lr"]) == (lr, lr)


def test_an_export_prints_the_verdict_and_the_folder(run, no_fit):
    told = almr("export", run)
    headline, folder = told.stdout.splitlines()
    assert f"# {headline}" == (run / "launch" / "GO.md").read_text().splitlines()[0]
    assert folder == f"launch bundle: {run / 'launch'} (read GO.md, then README.md)"
    answer = json.loads(CliRunner().invoke(cli.app, ["export", str(run), "--json"]).stdout)
    failed = ["original corpus", "additional corpus"]
    assert answer == {"verdict": headline, "folder": str(run / "launch"), "failed": failed}


def test_an_export_with_a_failed_check_ends_with_status_3_unless_the_risk_is_accepted(run, no_fit):
    """The bundle is written either way, and the reason is on its first page."""
    change(run, "cross_validation", dict.fromkeys(("original", "additional"), BAD_FIT))
    refused = CliRunner().invoke(cli.app, ["export", str(run)])
    assert refused.exit_code == 3
    assert refused.stdout.startswith("NO GO: cross-validation, original corpus, additional corpus (3 fail, ")
    assert refused.stdout.splitlines()[-1].startswith(f"to accept what fails: almr export {run} --accept-risk")
    page = (run / "launch" / "GO.md").read_text()
    assert "original 60 %, additional 60 %; bound 75 %" in page
    assert "Accepted all the same" not in page
    accepted = CliRunner().invoke(cli.app, ["export", str(run), "--accept-risk", "a rehearsal"])
    assert accepted.exit_code == 0
    assert len(accepted.stdout.splitlines()) == 2
    assert "**Accepted all the same, because:** a rehearsal\n" in (run / "launch" / "GO.md").read_text()


@pytest.mark.parametrize("verb", ["export", "confirm"])
def test_of_a_refused_fit_the_verdict_comes_first_and_the_way_to_insist_last(run, no_fit, verb):
    refuse(run)
    first, *suggestions, last = str(CliRunner().invoke(cli.app, [verb, str(run)]).exception).splitlines()
    assert first == f"the fit is refused (few, edge), so there is nothing to {verb}"
    assert suggestions == ["too few", "at the edge", "at the other edge"]
    assert last == f'to take the risk: almr {verb} {run} --accept-risk "reason"'
    assert not (run / "launch").exists()
    assert almr(verb, run).exit_code == 0


@pytest.mark.parametrize("verb", ["export", "confirm"])
def test_without_a_setting_for_the_launch_no_risk_can_be_taken(run, no_fit, verb):
    """What is advised has to work, and what is refused with a reason too is not advised."""
    refuse(run)
    change(run, "transfer", None)
    last = str(CliRunner().invoke(cli.app, [verb, str(run)]).exception).splitlines()[-1]
    assert last == "at the other edge"
    assert almr(verb, run).exit_code != 0
    fitted, of = outputs.fitted(Run(run), print), Run(run).study()
    assert "to take the risk" not in str(conclusion._export(of, Run(run), fitted)[1])


def test_the_report_of_a_refused_fit_says_so(run, no_fit):
    refuse(run)
    told = almr("report", run)
    assert told.exit_code == 0
    assert told.stderr == "almr: REFUSED (few, edge): the report says why\n"


def test_a_run_that_was_never_fitted_is_fitted_first_and_it_is_said(run, finished):
    before = (run / "fit.json").read_bytes()
    (run / "fit.json").unlink()
    shutil.rmtree(run / "figures")
    told = almr("report", run)
    assert told.exit_code == 0, told.output
    assert told.stderr.splitlines() == [f"almr: {run} was never fitted: fitting it first, as almr fit does"]
    assert (run / "fit.json").read_bytes() == before
    assert sorted(p.name for p in (run / "figures").iterdir()) == sorted(
        p.name for p in (finished / "figures").iterdir()
    )


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def first_record(run):
    return min(run.glob("trials/*/record.json"))


def changed(run):
    path = first_record(run)
    path.write_text(path.read_text().replace('"attempt":1', '"attempt":2'))


def gone(run):
    first_record(run).unlink()


def new(run):
    trial = Trial(almr=0.5, lr=5e-3, seed=0)
    (run / "trials" / trial.id).mkdir()
    (run / "trials" / trial.id / "record.json").write_text(record(study(), trial, 3.0).model_dump_json())


def other_objective(run):
    (run / "study.yaml").write_text(dump(study(objective={"weights": {"original": 0.2, "additional": 0.8}})))


def larger_launch(run):
    (run / "study.yaml").write_text(dump(study(launch=LAUNCH | {"tokens": 2 * 10**9})))


def scored(run):
    (run / "base").mkdir()
    (run / "base" / "scores.json").write_text("{}")


def older(run):
    content = json.loads((run / "fit.json").read_text())
    del content["inputs"], content["content"]
    (run / "fit.json").write_text(json.dumps(content))


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (changed, "the run now has 1 changed trial (for example trials/almr=0.10_lr=1e-02_seed=0)"),
        (gone, "the run now has 1 missing trial (for example trials/almr=0.10_lr=1e-02_seed=0)"),
        (new, "the run now has 1 new trial (for example trials/almr=0.50_lr=5e-03_seed=0)"),
        (scored, "out of date: the base model's scores changed since the fit; "),
        (other_objective, "study.yaml: objective changed since the fit"),
        (larger_launch, "study.yaml: launch changed since the fit"),
        (older, "an earlier version of almr-sweep wrote it"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_fit_that_is_out_of_date_is_refused_with_the_command(run, no_fit, verb, change, says):
    change(run)
    files = sorted(run.rglob("*"))
    told = almr(verb, run).exception
    assert isinstance(told, InputError)
    assert str(told).startswith(f"{run}/fit.json is out of date: ")
    assert says in str(told)
    assert str(told).endswith(f"; fit again: almr fit {run}")
    assert len(str(told).splitlines()) == 1
    assert sorted(run.rglob("*")) == files


def test_what_changes_no_number_of_the_fit_does_not_make_it_old(run, no_fit):
    launch = LAUNCH | {"nodes": 2, "gpu": "H100-80GB", "formats": ["native"], "checkpoints": 3}
    corpora = study().model_dump(exclude_defaults=True)["corpora"]
    named = {name: corpora[name] | {"language": f"a name of {name}"} for name in corpora}
    other = study(launch=launch, keep="best", resources={"gpus_per_node": 1}, corpora=named)
    (run / "study.yaml").write_text(dump(other))
    told = almr("export", run)
    assert told.exit_code == 0, told.output
    assert json.loads((run / "launch" / "evidence.json").read_text())["launch"]["nodes"] == 2


def test_outputs_of_an_earlier_fit_are_listed(run, monkeypatch):
    monkeypatch.setattr(fitting.plots, "figures", lambda *_: {})
    fitting.fit(Run(run))
    for verb in ("report", "export"):
        assert almr(verb, run).exit_code == 0
    old = [
        f"launch/ is from an earlier fit: almr export {run}",
        f"report.html is from an earlier fit: almr report {run}",
    ]
    commands = ([verb, str(run)] for verb in ("status", "fit"))
    assert not [line for command in commands for line in old if line in CliRunner().invoke(cli.app, command).output]
    changed(run)
    told = CliRunner().invoke(cli.app, ["fit", str(run)])
    assert [f"almr: {line}" for line in old] == told.stderr.splitlines()
    assert CliRunner().invoke(cli.app, ["status", str(run)]).stdout.splitlines()[-2:] == old


def test_a_fit_of_the_changed_run_is_in_date_again(run, monkeypatch):
    monkeypatch.setattr(fitting.plots, "figures", lambda *_: {})
    changed(run)
    fitting.fit(Run(run))
    assert almr("report", run).exit_code == 0


def test_a_smaller_sweep_of_the_ladder_that_was_fitted_again_is_seen(tmp_path):
    small = tmp_path / "small-model"
    small.mkdir()
    (small / "fit.json").write_text("{}")
    rule = {"rule": "ladder", "rungs": [{"run": str(small), "parameters": 10**6}]}
    of = study(launch=LAUNCH | {"transfer": rule})
    before = FitInputs.of_run(of, tmp_path)
    assert before.changes(FitInputs.of_run(of, tmp_path)) == []
    (small / "fit.json").write_text('{"winner": 1}')
    assert before.changes(FitInputs.of_run(of, tmp_path)) == [f"{small}/fit.json changed since the fit"]
    (small / "fit.json").unlink()  # as on a machine that has only this run
    assert before.changes(FitInputs.of_run(of, tmp_path)) == []


def test_a_run_that_names_itself_as_a_rung_is_not_outdated_by_its_own_fit(tmp_path):
    rule = {"rule": "ladder", "rungs": [{"run": str(tmp_path), "parameters": 10**6}]}
    of = study(launch=LAUNCH | {"transfer": rule})
    before = FitInputs.of_run(of, tmp_path)
    (tmp_path / "fit.json").write_text("{}")
    assert before.changes(FitInputs.of_run(of, tmp_path)) == []


@pytest.mark.parametrize(("content", "says"), [("{}", "is not what this fit wrote"), (None, "does not exist")])
def test_a_report_draws_only_the_surfaces_of_its_fit(run, content, says):
    path = run / "surfaces.json"
    path.write_text(content) if content else path.unlink()
    told = str(almr("report", run).exception)
    assert told == f"{path}: {says}; write it anew: almr fit {run}"


def test_a_bundle_needs_no_surfaces():
    imported = "{'sklearn', 'scipy', 'matplotlib', 'torch'} & set(sys.modules)"
    code = f"import sweep.verbs.results.outputs, sys; print({imported})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
