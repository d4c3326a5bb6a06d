"""Where a watched launch writes, and what a branch of it takes over: of this launch, and of no other one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import watched_launch as made
import yaml

from analysis.launch.watching import branching, bundles
from sweep.study import InputError, study_file

LEFT = "/shared/checkpoints-first-native-89abcdef/trials/one/model"  # what another launch left
OWN = made.output("native")


def trained(run: Path, launch: bundles.WatchedLaunch, tokens: int | None = None) -> Path:
    """A checkpoint of a run of the launch, or of one with its ALMR, LR and seed for other tokens."""
    content = launch.study.model_dump(mode="json", by_alias=True)
    content["training"] |= {"tokens": tokens or launch.study.training.tokens}
    checkpoint = run / "trials" / "one" / "checkpoint" / "step-3"
    checkpoint.mkdir(parents=True)
    (run / "study.yaml").write_text(yaml.safe_dump(content))
    identity = {"almr": launch.almr, "lr": launch.lr, "seed": 0}
    (checkpoint / "state.json").write_text(json.dumps({"identity": identity, "step": 3}))
    return checkpoint


def test_a_launch_of_a_model_that_another_launch_left_is_watched_where_it_writes_itself(tmp_path):
    folder = made.bundle(tmp_path)
    script = folder / "start.sh"
    script.write_text(f"readonly model={LEFT}\n{script.read_text()}")
    content = made.study() | {"base_model": {"pretrained": LEFT}}
    (folder / "study.yaml").write_text(yaml.safe_dump(content))
    launch = bundles.find(folder)
    assert launch.output == tmp_path / OWN
    branch = branching.write(launch, trained(tmp_path / OWN, launch), 0.5)
    assert f"readonly model={LEFT}\n" in branch.start.read_text()
    found = bundles.find(branch.folder)
    assert found.study.base_model.pretrained == LEFT
    assert found.output.name.startswith("checkpoints-demo-native-branch-")


@pytest.mark.parametrize(("name", "text"), [("start.sh", None), ("almr_launch.py", "torchtitan")])
def test_a_launch_is_watched_where_its_files_say(tmp_path, monkeypatch, name, text):
    """A stage lies a folder deeper. ALMR_CHECKPOINTS is relative to where it is started, not to the bundle."""
    folder = made.bundle(tmp_path / "launch", "torchtitan" if text else "native")
    (folder / "start.sh").write_text(f'readonly checkpoints="${{ALMR_CHECKPOINTS:-../../..}}"/{OWN}\n')
    if text:
        (folder / "start.sh").write_text("")
        joined = f"""os.path.join(os.environ.get("ALMR_CHECKPOINTS") or '../../..', '{OWN}')"""
        (folder / name).write_text(f"MODEL = {LEFT!r}\n        dump_folder={joined},\n")
    assert bundles.find(folder).output == tmp_path / OWN
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALMR_CHECKPOINTS", "kept")
    assert bundles.find(folder).output == tmp_path / "kept" / OWN


def test_a_branch_of_a_confirmation_run_has_the_held_out_text_that_it_leaves_out(tmp_path):
    native = made.bundle(tmp_path)
    (native / "held_out").mkdir()
    (native / "held_out" / "original.jsonl").write_text("{}\n")
    (native / "prepare.sh").write_text("true\n")
    run = native.with_name("confirm-1-native")
    run.mkdir()
    content = made.study()
    content["corpora"]["original"]["exclude"] = ["../native/held_out/original.jsonl"]
    (run / "study.yaml").write_text(yaml.safe_dump(content))
    (run / "start.sh").write_text((native / "start.sh").read_text())
    launch = bundles.find(run)
    branch = branching.write(launch, trained(tmp_path / OWN, launch), 0.5)
    [kept] = study_file.load(branch.start.with_name("study.yaml")).corpora.by_name["original"].spec.exclude
    assert Path(kept) == branch.folder / "native" / "held_out" / "original.jsonl"
    assert Path(kept).is_file()
    assert (branch.folder / "native" / "prepare.sh").is_file()
    assert bundles.find(branch.folder).folder == branch.start.parent


def test_a_checkpoint_of_a_confirmation_run_is_none_of_the_launch(tmp_path):
    """At the launch's ALMR, LR and seed: its LR decayed over other steps."""
    launch = bundles.find(made.bundle(tmp_path))
    other = trained(tmp_path / "checkpoints-demo-confirm", launch, tokens=20 * made.TOKENS)
    with pytest.raises(InputError, match="it is of a run of 20 steps of 16 sequences, the launch has 80 of 16"):
        branching.write(launch, other, 0.5)
    assert branching.write(launch, trained(tmp_path / OWN, launch), 0.5).note.step == 3
