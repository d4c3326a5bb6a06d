"""The public Python API: its example runs as it is written, and importing it costs nothing before a name is used."""

import inspect
import json
import subprocess
import sys
import textwrap
from typing import get_type_hints

import pandas as pd
import pytest
from bowl_run import study, write

import analysis
from analysis import InputError, Objective, fit_table, load_run, read_table
from analysis.table.table import MOST_TRIALS
from sweep.store.run import Run
from sweep.study.study_file import dump
from sweep.verbs.results import fitting


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The folder that holds runs/demo, fitted, without figures."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "runs" / "demo").mkdir(parents=True)
    write(folder / "runs" / "demo", study())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting.plots, "figures", lambda *_: {})
        fitting.fit(Run(folder / "runs" / "demo"))
    return folder


def test_the_example_of_the_docstring_runs(demo, monkeypatch, capsys):
    monkeypatch.chdir(demo)
    _, example = inspect.getdoc(analysis).split("this example:\n\n")
    assert len([line for line in example.splitlines() if line.strip()]) <= 12
    exec(textwrap.dedent(example), {})
    of_run, of_table, of_search = capsys.readouterr().out.splitlines()
    assert of_run.startswith("9 trials: ALMR 0.5")
    assert of_table.startswith(of_run.replace("9 trials: ", ""))
    assert of_search.startswith("best of 12: ALMR 0.")


def test_a_run_is_loaded_with_its_study_table_records_and_fit(demo):
    folder = demo / "runs" / "demo"
    run = load_run(str(folder))
    assert run.study == Run(folder).study()
    assert (len(run.table), len(run.records), run.changes) == (9, 9, ())
    assert {record.trial_id for record in run.records} == set(run.table["trial_id"])
    assert run.fit.model_dump(mode="json") == json.loads((folder / "fit.json").read_text())


def test_a_run_says_whether_it_was_fitted_and_what_changed_since(demo, tmp_path):
    write(tmp_path, study())
    assert load_run(tmp_path).fit is None
    (tmp_path / "fit.json").write_bytes((demo / "runs" / "demo" / "fit.json").read_bytes())
    (tmp_path / "study.yaml").write_text(dump(study(objective={"level": 0.8})))
    assert load_run(tmp_path).changes == ("study.yaml: objective changed since the fit",)


def test_what_is_no_run_is_said(tmp_path):
    with pytest.raises(InputError, match=r"not a run: a run is a folder with study\.yaml"):
        load_run(tmp_path)


def test_a_table_of_losses_alone_is_enough(demo):
    table = load_run(demo / "runs" / "demo").table
    bare = table[["almr", "lr", "loss_original", "loss_additional"]]
    assert fit_table(bare).winner == fit_table(table).winner
    weighted = fit_table(bare, Objective(weights={"original": 0.0, "additional": 1.0}))
    assert weighted.winner.almr > fit_table(bare).winner.almr + 0.02
    assert weighted.file.weights == {"original": 0.0, "additional": 1.0}


def test_a_table_made_by_hand_leaves_out_what_has_no_loss_or_did_not_complete(demo):
    table = load_run(demo / "runs" / "demo").table
    bare = pd.concat([table[:2], table])[["almr", "lr", "loss_original", "loss_additional"]].assign(status="complete")
    bare.iloc[0, 4], bare.iloc[1, 2] = "failed", None
    fitted = fit_table(bare)
    assert sorted(fitted.table["excluded"].dropna()) == ["failed: no reason recorded", "no loss"]
    assert fitted.file.trials.excluded == 2


@pytest.mark.parametrize(
    ("columns", "lacking"), [(["almr", "loss_total"], "no column lr"), (["almr", "lr"], "no column loss_original")]
)
def test_a_column_that_is_missing_is_named(columns, lacking):
    with pytest.raises(InputError, match=lacking):
        fit_table(pd.DataFrame({name: [0.5] for name in columns}))


def test_more_trials_than_a_fit_can_take_are_one_line():
    count = MOST_TRIALS + 1
    table = pd.DataFrame({"almr": [n / count for n in range(count)], "lr": 1e-5, "loss_total": 2.0})
    with pytest.raises(InputError, match=r"20,001 usable trials: a fit takes at most 20,000"):
        fit_table(table)


def test_almrs_without_their_lr_are_one_line(tmp_path):
    (tmp_path / "mine.csv").write_text("almr,loss\n" + "".join(f"{a / 10},{2 + a / 10}\n" for a in range(10)))
    with pytest.raises(InputError, match=r"no column lr with numbers: .* add a column lr"):
        fit_table(read_table(tmp_path / "mine.csv"))


def test_a_file_is_read_by_names_of_its_own(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("mix,peak,ce\n0.1,1e-5,3.0\n0.5,1e-4,2.9\n")
    table = read_table(str(path), columns={"almr": "mix", "lr": "peak", "loss": "ce"})
    assert table[["almr", "lr", "loss_total"]].to_numpy().tolist() == [[0.1, 1e-5, 3.0], [0.5, 1e-4, 2.9]]
    pd.testing.assert_frame_equal(table, read_table(path, columns="almr=mix,lr=peak,loss=ce"))
    with pytest.raises(InputError, match="'weight' is not one of"):
        read_table(path, columns={"weight": "mix"})


def test_every_public_name_exists_with_its_documentation_and_types():
    for name in analysis.__all__:
        public = getattr(analysis, name)
        assert len(inspect.getdoc(public).splitlines()) >= 1
        if inspect.isfunction(public):
            assert "return" in get_type_hints(public)
            assert "Raises InputError" in inspect.getdoc(public)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = analysis.nothing


def test_the_package_itself_imports_nothing_heavy():
    code = "import analysis, sys; print({'pandas', 'sklearn', 'optuna', 'pydantic'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
