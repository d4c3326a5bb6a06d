"""`almr export RUN --parity`: what it runs, keeps, prints and refuses. The training itself is in tests/exports."""

from __future__ import annotations

import shutil

import pytest
from bowl_run import study, write, write_fitted
from typer.testing import CliRunner

from analysis.launch.evidence.parity import ParityCheck, ParityRun
from sweep import cli
from sweep.external.parity import kept, parity
from sweep.external.runs.trace import LoggedStep, Trace
from sweep.external.runs.trainer_run import TrainerRunError
from sweep.store.run import Run
from sweep.study import InputError
from sweep.verbs.results import fitting


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "small"
    write_fitted(folder)
    return Run(folder)


@pytest.fixture
def trained(monkeypatch):
    """No trainer is started: each format's runs find these losses of step 1. Returns the trials that were repeated."""
    repeated = []

    class Told(parity.Parity):
        def of(self, name):
            repeated.append(self.recipe.repeated.record.trial_id)
            made_from = kept.made_from(self.recipe.run, self.recipe.repeated, name)
            check = ParityCheck(what="loss of step 1", wanted=4.0, found=found["loss"], bound=1e-5)
            runs = (ParityRun(kind="again", steps=8, checks=(check,)),)
            return parity.ParityResult(
                name=name, trial_id=repeated[-1], precision="float32", made_from=made_from, date="2026-11-28", runs=runs
            )

    found = {"loss": 4.0}
    monkeypatch.setattr(parity, "prepare", lambda recipe: Told(recipe, None, None))
    return repeated, found


def almr(*arguments):
    return CliRunner().invoke(cli.app, [*arguments])


def export(run, *arguments):
    return almr("export", str(run.folder), "--accept-risk", "a test", "--format", "native", *arguments)


def test_the_verdict_is_printed_and_kept_for_later_exports(finished, trained):
    repeated, _ = trained
    told = export(finished, "--parity")
    assert "parity: native: pass" in told.stdout
    assert "almr: parity runs of native: " in told.stderr
    assert "is trained again" in told.stderr
    later = export(finished)
    assert "parity: native: pass" in later.stdout
    assert len(repeated) == 1
    assert "try native" not in almr("confirm", str(finished.folder), "--accept-risk", "a test").stdout


def test_a_trainer_that_trains_otherwise_fails_the_launch(finished, trained):
    _, found = trained
    found["loss"] = 4.12
    told = export(finished, "--parity")
    assert "native: again: loss of step 1: 4.12, should be 4: 0.12 apart (bound 1e-05)" in told.stdout
    assert "NO GO" in told.stdout
    confirm = almr("confirm", str(finished.folder), "--accept-risk", "a test")
    assert "first try native on the small model, at the cost of about two trials each: almr export" in confirm.stdout


def test_a_named_trial_is_repeated(finished, trained):
    name = sorted(record.trial_id for record in kept.records(finished))[0]
    export(finished, "--parity", "--trial", name)
    assert trained[0] == [name]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--trial", "x"), "--trial names the trial of a parity run: add --parity"),
        (("--parity", "--trial", "x"), "--trial x: no such trial in this run; the nearest to the winner: almr="),
    ],
)
def test_a_wrong_trial_is_refused_in_one_line(finished, trained, arguments, message):
    told = export(finished, *arguments)
    assert isinstance(told.exception, InputError)
    assert str(told.exception).startswith(message)


def test_no_text_advises_a_replay_to_try_what_it_refuses(finished, trained, tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    write(folder, study(replay={"table": "/a/table.csv"}))
    shutil.copy(finished.files.ingredients, folder)
    fitting.fit(Run(folder))
    told = [export(Run(folder)).stdout, almr("confirm", str(folder), "--accept-risk", "a test").stdout]
    files = (folder / "launch").rglob("*")
    told += [path.read_text() for path in files if path.name in ("GO.md", "study.yaml", "start.sh")]
    assert not [text for text in told if "--parity" in text]
    assert "not possible for a replay" in told[1]
    assert "native: no parity run: not possible for a replay" in (folder / "launch/GO.md").read_text()


def test_a_bundle_that_would_be_refused_is_refused_before_anything_is_told_or_trained(finished, trained, tmp_path):
    (tmp_path / "notes.txt").write_text("another's files")
    told = export(finished, "--parity", "--out", str(tmp_path))
    assert isinstance(told.exception, InputError)
    assert "parity runs" not in told.stderr
    assert trained[0] == []


def test_trials_of_another_version_are_not_repeated(finished, trained, tmp_path):
    other = Run(shutil.copytree(finished.folder, tmp_path / "other"))
    for path in other.files.records():
        path.write_text(path.read_text().replace(other.study().fingerprint, "0" * 16))
    with pytest.raises(InputError, match="was trained by another version of almr"):
        kept.repeated(other, kept.records(other)[0])


LOSSES = {"original": 3.0, "additional": 5.0}
LOGGED = Trace(
    steps=tuple(LoggedStep(step=n, loss=4.0, lr=1e-3, grad_norm=1.0) for n in (1, 2)),
    before=LOSSES,
    after=LOSSES,
    tokens={"original": 100, "additional": 100},
    foreign=0,
    batches=({"original": 9, "additional": 1},) * 2,
)


class Launched:
    """Stands for a format's launch: what it left, or why it left nothing."""

    name = "axolotl"

    def __init__(self, *answers):
        self.answers, self.plan, self.prepared = list(answers), type("Plan", (), {"steps": 2}), None

    def train(self):
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def train_in_two(self):
        return self.train(), 1


@pytest.fixture
def runs(finished, monkeypatch):
    """The parity runs of formats whose launches are given by name and kind."""
    record = next(one for one in kept.records(finished) if one.status == "complete")

    def made(name, **launches):
        recipe = parity.Recipe(
            finished, kept.repeated(finished, record), {}, lambda name: parity.TrainerEnvironment("python")
        )
        found = parity.Parity(recipe, type("P", (), {"study": recipe.repeated.study}), None)
        monkeypatch.setattr(found, "_launch", lambda name, kind, of: launches[f"{name}_{kind}"])
        monkeypatch.setattr(parity.trace, "of_trial", lambda folder, record: LOGGED)
        return found.of(name)

    return made


def test_a_format_has_three_runs_and_our_own_trainer_two(runs):
    own = {"native_again": Launched(LOGGED), "native_borders": Launched(LOGGED, LOGGED)}
    found = runs("axolotl", axolotl_again=Launched(LOGGED), axolotl_borders=Launched(LOGGED, LOGGED), **own)
    assert [(run.kind, run.state) for run in found.runs] == [
        ("again", "pass"),
        ("borders", "pass"),
        ("resumed", "pass"),
    ]
    found = runs("native", native_again=Launched(LOGGED), native_borders=Launched(LOGGED, LOGGED))
    assert [run.kind for run in found.runs] == ["again", "resumed"]


def test_a_trainer_that_does_not_finish_fails_with_its_reason(runs):
    broken = Launched(TrainerRunError("start.sh ended with status 1: no memory"))
    found = runs(
        "axolotl",
        axolotl_again=broken,
        axolotl_borders=Launched(LOGGED, TrainerRunError("it hung")),
        native_borders=Launched(LOGGED),
    )
    assert found.state == "fail"
    assert found.text == "axolotl: fail: again: start.sh ended with status 1: no memory; resumed: it hung"


def test_without_our_own_trainer_there_is_nothing_to_compare_with(runs):
    found = runs(
        "axolotl",
        axolotl_again=Launched(LOGGED),
        axolotl_borders=Launched(),
        native_borders=Launched(TrainerRunError("it hung")),
    )
    assert (found.state, found.runs[1].why_not) == ("not known", "native: it hung")


def test_a_trainer_that_needs_a_gpu_is_not_run_without(runs):
    found = runs("torchtitan")
    assert found.text == "torchtitan: not run: torchtitan needs a GPU, and the study's trials have none"
