"""The LLaMA-Factory files: golden copies, hostile names, single corpora, what its loader accepts."""

import json
import subprocess
from dataclasses import replace

import pytest
import yaml
from golden import assert_golden

from analysis.launch.bundle import write
from analysis.launch.formats import llamafactory
from analysis.launch.plan.make_plan import make
from sweep.study import InputError, study_file
from sweep.study.files.atomic import sha256

HOSTILE = [
    'it\'s "quoted"',
    "a b",
    "$(touch owned)",
    "`touch owned`",
    "line\nbreak: x # y",
    "1e5",
    "null",
    "-x",
    "大模型",
]
FILES = ("llamafactory.yaml", "start.sh")


@pytest.fixture
def written(write_format):
    """Write the format for a study, as if its text were packed; returns its folder."""

    def made(*arguments, **fields):
        folder = write_format("llamafactory", *arguments, **fields)
        (folder / "data").mkdir()
        (folder / "data" / "blocks.json").write_text(f'{{"study_sha256": "{sha256(folder / "study.yaml")}"}}')
        return folder

    return made


def settings(folder):
    return yaml.safe_load((folder / "llamafactory.yaml").read_text())


@pytest.mark.parametrize("name", FILES)
def test_golden_cosine(written, name):
    assert_golden("llamafactory", f"cosine-{name}", (written() / name).read_text())


@pytest.mark.parametrize("name", FILES)
def test_golden_wsd_on_one_node_at_a_risk(written, make_study, refusal, name):
    schedule = {"name": "wsd", "warmup": 0.05, "decay": 0.25, "min_lr": 0}
    training = make_study().training.model_dump() | {"schedule": schedule}
    corpora = {
        "original": {"dataset": "org/plain text", "config": "en", "split": "train[:10%]", "revision": "v1"},
        "additional": {"files": "/data/chinese.parquet", "field": "body"},
    }
    study = make_study(launch={"nodes": 1, "micro_batch_sequences": 2}, training=training, corpora=corpora)
    folder = written(study, almr=0.5, refusals=[refusal], accept_risk="the cluster is free this week only")
    assert_golden("llamafactory", f"wsd-{name}", (folder / name).read_text())


def test_it_reads_the_packed_blocks_in_their_order(written, make_study):
    found = settings(written())
    read = {key: found[key] for key in ("tokenized_path", "model_name_or_path", "disable_shuffling", "eval_dataset")}
    assert read == {
        "tokenized_path": "data/tokenized",
        "model_name_or_path": "data/model",
        "disable_shuffling": True,
        "eval_dataset": "original,additional",
    }
    assert not {"packing", "interleave_probs", "template"} & found.keys()
    assert found["max_grad_norm"] == make_study().training.optimizer.max_grad_norm * 8191 / 8192


@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
def test_without_gpus_it_trains_on_the_cpu(make_plan, make_study, tmp_path, precision):
    plan = make_plan("llamafactory", make_study(launch={"gpus_per_node": 0, "nodes": 1}))
    assert plan.precision == "float32"
    write(replace(plan, precision=precision), "llamafactory", tmp_path / "cpu")
    found = settings(tmp_path / "cpu")
    assert (found["use_cpu"], found["bf16"], "deepspeed" in found) == (True, precision == "bfloat16", False)
    assert not (tmp_path / "cpu" / "deepspeed_zero3.json").exists()
    assert "deepspeed" not in (tmp_path / "cpu" / "start.sh").read_text()


def test_gradients_are_summed_in_float32(written):
    content = json.loads((written() / "deepspeed_zero3.json").read_text())
    assert content["communication_data_type"] == content["data_types"]["grad_accum_dtype"] == "fp32"


@pytest.mark.parametrize("model", HOSTILE)
def test_a_hostile_model_name_is_only_ever_text(written, make_study, model, tmp_path):
    folder = written(make_study(launch={"model": model, "nodes": 1}))
    assert study_file.load(folder / "study.yaml").base_model.pretrained in (model, str(folder / model))
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("llamafactory-cli", "torchrun"):
        (tools / name).write_text('#!/bin/sh\nprintf "%s|" "$PWD" "$@"\n')
        (tools / name).chmod(0o755)
    done = start(folder, PATH=f"{tools}:/usr/bin:/bin")
    assert done.returncode == 0, done.stderr
    assert f"Training {model}: node 0 of 1, 8 GPUs each\n" in done.stdout
    *told, checkpoints, last, end = done.stdout.split("|")
    assert f"{folder}|--nnodes=1|--nproc-per-node=8|--max-restarts=3|" in "|".join(told)
    assert told[-3:] == ["-m", "llamafactory.launcher", "llamafactory.yaml"]
    assert (checkpoints, last, end) == (f"output_dir={settings(folder)['output_dir']}", "max_steps=3", "")
    assert not list(tmp_path.rglob("owned"))


@pytest.mark.parametrize("reason", HOSTILE)
def test_a_hostile_reason_is_in_no_file_of_a_trainer(written, refusal, reason, tmp_path):
    plain = settings(written())
    (tmp_path / "llamafactory").rename(tmp_path / "plain")
    folder = written(refusals=[refusal], accept_risk=reason)
    assert settings(folder) == plain
    assert (folder / "start.sh").read_text() == (tmp_path / "plain" / "start.sh").read_text()
    [line] = [line for line in (folder / "llamafactory.yaml").read_text().split("\n") if "REFUSED" in line]
    assert line.startswith("# ")
    assert reason not in line


def start(folder, **environment):
    command = ["bash", str(folder / "start.sh"), "max_steps=3"]
    return subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({}, "NNODES is not set: on each of the 16 nodes set NNODES=16"),
        ({"NNODES": "16", "NODE_RANK": "1", "MASTER_ADDR": "host"}, "MASTER_PORT is not set"),
        ({"NNODES": "8"}, "NODE_RANK is not set"),
        ({"NNODES": "8", "NODE_RANK": "0", "MASTER_ADDR": "h", "MASTER_PORT": "1"}, "NNODES is 8, but"),
        ({"NNODES": "16", "NODE_RANK": "16", "MASTER_ADDR": "h", "MASTER_PORT": "1"}, "NODE_RANK is 16"),
        ({"NNODES": "16", "NODE_RANK": "a[$(touch owned)]", "MASTER_ADDR": "h", "MASTER_PORT": "1"}, "NODE_RANK is a["),
    ],
)
def test_the_script_says_what_is_missing(written, tmp_path, environment, message):
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "llamafactory-cli").write_text("#!/bin/sh\nexit 9\n")
    (tools / "llamafactory-cli").chmod(0o755)
    done = start(written(), PATH=f"{tools}:/usr/bin:/bin", **environment)
    assert done.returncode == 2
    assert message in done.stderr
    assert not list(tmp_path.rglob("owned"))


def test_the_script_wants_the_trainer(written):
    done = start(written(), PATH="/usr/bin:/bin")
    assert (done.returncode, "llamafactory-cli is not on PATH" in done.stderr) == (2, True)


def test_a_reference_in_the_model_name_is_refused(written, make_study):
    with pytest.raises(InputError, match="rename the model"):
        written(make_study(launch={"model": "a${b"}))


def test_the_script_wants_the_training_text(written):
    folder = written()
    (folder / "data" / "blocks.json").unlink()
    (folder / "llamafactory-cli").touch(mode=0o755)
    done = start(folder, PATH=f"{folder}:/usr/bin:/bin")
    assert (done.returncode, "data has no packed text: run prepare.sh once" in done.stderr) == (2, True)
    (folder / "data" / "blocks.json").write_text('{"study_sha256": "that of another study.yaml"}')
    done = start(folder, PATH=f"{folder}:/usr/bin:/bin")
    assert done.returncode == 2
    assert "data was packed before study.yaml was changed: run prepare.sh again" in done.stderr


def test_other_settings_write_other_checkpoints(written, make_study, make_fit, corpora):
    one = settings(written())["output_dir"]
    again = llamafactory.sections(make(make_fit(), corpora))["output"]["output_dir"]
    other = llamafactory.sections(make(make_fit(lr=3e-5), corpora))["output"]["output_dir"]
    assert one == again != other


def test_a_relative_folder_of_checkpoints_is_the_users_not_the_bundles(written, make_study, tmp_path):
    folder = written(make_study(launch={"nodes": 1}))
    (tmp_path / "bin").mkdir()
    for name in ("llamafactory-cli", "torchrun"):
        (tmp_path / "bin" / name).write_text('#!/bin/sh\nprintf "%s|" "$@"\n')
        (tmp_path / "bin" / name).chmod(0o755)
    environment = {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin", "ALMR_CHECKPOINTS": "my kept ones"}
    command = ["bash", str(folder / "start.sh")]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert f"output_dir={tmp_path}/my kept ones/checkpoints-" in done.stdout, done.stderr
