"""The stages after the launch in its bundle: what their folders hold, and the model that they continue from."""

import json
import os
import subprocess

import pytest
from golden import assert_golden

from analysis.launch.bundle import FittedRun, export
from analysis.launch.evidence.evidence import Evidence, ReadBack
from sweep.external.read_back import verify
from sweep.study import InputError, study_file

GRID = {"almr": [0.5], "lr": [1e-5], "seeds": [3]}
TRAINING = {"sequence_length": 4096, "tokens": 10**8, "global_batch_tokens": 2**20}
CORPORA = {"original": {"files": "/data/en-chat.jsonl"}, "additional": {"files": "/data/zh-chat.jsonl"}}
SFT = {"corpora": CORPORA, "documents": {"chat_template": "chatml"}, "training": TRAINING, "grid": GRID}
PAIRS = {"original": {"files": "/data/en-pairs.jsonl"}, "additional": {"files": "/data/zh-pairs.jsonl"}}
DPO = {"corpora": PAIRS, "training": TRAINING, "grid": GRID}
ONE_GPU = {"nodes": 1, "gpus_per_node": 1}


@pytest.fixture
def bundle(make_fit, make_study, run, corpora):
    """Exports the bundle of a study with these stages."""

    def written(formats=("native",), reader=None, **stages):
        study = make_study(post_training=stages or None)
        export(FittedRun(make_fit(study), run, corpora), run / "launch", formats=formats, reader=reader)
        return run / "launch"

    return written


def test_each_stage_has_the_formats_that_train_it(bundle):
    out = bundle(sft=SFT, dpo=DPO | {"resources": ONE_GPU})
    folders = {where: {path.name for path in (out / where).iterdir()} for where in ("sft", "dpo")}
    assert folders == {"sft": {"native", "trl", "llamafactory"}, "dpo": {"native", "trl", "llamafactory"}}
    evidence = Evidence.model_validate_json((out / "evidence.json").read_text())
    assert "sft/trl/trl.yaml" in evidence.files
    assert "Stages after it, of which no check here speaks: sft, dpo (README.md)." in (out / "GO.md").read_text()
    told = (out / "README.md").read_text().partition("## After the launch\n")[2]
    assert "- sft/: ALMR 0.50, peak LR 1e-5, 95 steps, with native, trl, llamafactory, from the model that the" in told
    assert (
        "- dpo/: ALMR 0.50, peak LR 1e-5, 95 steps, with native, trl, llamafactory, from the model that stage sft left:"
        in told
    )


def test_a_stage_has_its_own_text_and_machines(bundle):
    out = bundle(sft=SFT, dpo=DPO | {"resources": ONE_GPU})
    sft, dpo = (study_file.load(out / stage / "native" / "study.yaml") for stage in ("sft", "dpo"))
    assert (sft.resources.nodes, dpo.resources.nodes) == (16, 1)
    assert (sft.training.stage, sft.documents.chat_template) == ("sft", "chatml")
    assert dpo.corpora.by_name["original"].spec.files == ("/data/en-pairs.jsonl",)


@pytest.mark.parametrize("file", ["study.yaml", "start.sh", "prepare.sh"])
def test_golden_of_a_stage_after_the_launch(bundle, file):
    assert_golden("native", f"after-{file}", (bundle(sft=SFT) / "sft" / "native" / file).read_text())


def of_native(plan, folder, name):
    """Only our own reader: those of other trainers take seconds to import them."""
    return verify.verify(plan, folder, name) if name == "native" else ReadBack(name=name, differences=None)


def test_the_files_read_back_equal(bundle):
    out = bundle(sft=SFT, reader=of_native)
    read = {one["name"]: one["differences"] for one in json.loads((out / "evidence.json").read_text())["read_back"]}
    assert read == {"native": [], "sft/native": [], "sft/trl": None, "sft/llamafactory": None}


def test_pairs_on_several_gpus_are_left_to_other_trainers(bundle):
    out = bundle(dpo=DPO | {"training": TRAINING | {"global_batch_tokens": 2**22}})
    assert {path.name for path in (out / "dpo").iterdir()} == {"trl", "llamafactory"}
    assert "- dpo/: native takes pairs in one process alone, so it is not written" in (out / "README.md").read_text()


def test_a_batch_that_the_machines_cannot_share_is_told_by_its_stage(bundle, run):
    odd = TRAINING | {"global_batch_tokens": 4096 * 128}  # 64 pairs for 128 GPUs
    with pytest.raises(InputError, match=r"^post_training.dpo: launch.global_batch_tokens: 64 pairs of answers"):
        bundle(dpo=DPO | {"training": odd})
    assert not (run / "launch").exists()


def test_a_sweep_of_a_stage_is_a_study_to_run(bundle):
    out = bundle(sft=SFT | {"grid": GRID | {"lr": [1e-5, 1e-4]}}, dpo=DPO | {"resources": ONE_GPU})
    assert [path.name for path in (out / "sft").iterdir()] == ["study.yaml"]
    study = study_file.load(out / "sft" / "study.yaml")
    assert (study.name, len(study.grid_trials)) == ("llama3-8b-zh-sft", 2)
    assert study.base_model.pretrained.startswith("../../checkpoints-llama3-8b-zh-native-")
    assert "a sweep of 2 trials, so it has no trainer's configuration: almr run" in (out / "README.md").read_text()
    left = (out / "dpo" / "native" / "start.sh").read_text()
    assert 'left="${ALMR_DPO_MODEL:-}"' in left


def started(script, **variables):
    """The first lines of start.sh, before it looks for its trainer's nodes, with a stand-in for python."""
    kept = {"PATH": f"{script.parents[3]}:/usr/bin:/bin"}
    return subprocess.run(["bash", str(script)], env=kept | variables, capture_output=True, text=True, check=False)


def test_start_links_the_model_that_the_launch_left(bundle, run):
    for program in ("python", "almr"):
        (run / program).write_text("#!/bin/sh\nexit 0\n")
        (run / program).chmod(0o755)
    start = bundle(sft=SFT) / "sft" / "native" / "start.sh"
    text = start.read_text()
    left = text.partition("PWD/../../..}/")[2].partition("}")[0]
    lost = started(start)
    assert lost.returncode == 2
    assert f"{left} holds no model: set ALMR_SFT_MODEL to the folder of the model" in lost.stderr
    assert lost.stderr.count("\n") == 1
    for folder, variables in ((run / left, {}), (run / "mine", {"ALMR_SFT_MODEL": str(run / "mine")})):
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")
        after = started(start, **variables)
        assert "the text is not prepared" in after.stderr  # the next check
        assert os.path.realpath(start.parent / "model") == str(folder)


def test_a_bundle_without_stages_names_none(bundle):
    out = bundle()
    assert "After the launch" not in (out / "README.md").read_text()
    assert "Stages after it" not in (out / "GO.md").read_text()
