"""Every format: golden files and scripts, the ratio and back, hostile names, what is said of memory."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from golden import assert_golden

from analysis.launch.bundle import FORMATS, FittedRun, export, write
from analysis.launch.formats import axolotl, megatron
from analysis.launch.plan import layout_choice
from analysis.launch.scripts import starts
from analysis.launch.scripts.prepare import PREPARED
from analysis.launch.scripts.starts import job_name
from sweep.study import InputError
from sweep.study.files.atomic import sha256
from sweep.study.sizes.known import KNOWN

SCRIPTS = ("start.sh", "slurm.sbatch", "rayjob.yaml", "sky.yaml")
FILES = {
    "llamafactory": ("llamafactory.yaml", "study.yaml", "prepare.sh"),
    "torchtitan": ("almr_launch.py", "prepare.sh"),
    "megatron": ("megatron_args.txt", "prepare.sh", "study.yaml"),
    "axolotl": ("axolotl.yaml", "almr_losses.py"),
    "trl": ("trl.yaml", "almr_trl.py"),
    "native": ("study.yaml", "prepare.sh"),
}
STATED = {"gpu": "H100-80GB", "image": "registry/trainer:1", "volume_claim": "shared"}
HELD_OUT = {"original": "/data/held_out_en.jsonl", "additional": "/data/held_out_zh.jsonl"}


@pytest.fixture
def stated(make_study):
    return make_study(launch=STATED | {"evaluation": HELD_OUT})


@pytest.mark.parametrize(("name", "file"), [(name, file) for name in FORMATS for file in (*FILES[name], *SCRIPTS)])
def test_golden(write_format, stated, name, file):
    assert_golden(name, f"stated-{file}", (write_format(name, stated) / file).read_text())


SOURCES = {
    "original": [
        {"files": "/data/web.jsonl", "weight": 0.6, "name": "web", "language": "English"},
        {"files": "/data/code.parquet", "weight": 0.4, "name": "code", "field": "content"},
    ],
    "additional": [
        {"dataset": "some/news", "weight": 3, "name": "news", "language": "Chinese"},
        {"files": "/data/books.jsonl", "weight": 1, "name": "books"},
    ],
}
SHARES = {"web": 0.36, "code": 0.24, "news": 0.3, "books": 0.1}  # of the tokens at ALMR 0.4


@pytest.fixture
def sourced(make_study, make_facts):
    """A study with two sources a language, and the counts of each."""
    sizes = {"documents": 20_000_000, "held_out_documents": 0, "held_out_tokens": 0}
    tokens = {"web": 16e9, "code": 40e9, "news": 8e9, "books": 200e9}
    files = {"web": ("/data/web.jsonl",), "code": ("/data/code.parquet",), "books": ("/data/books.jsonl",)}
    counted = {name: make_facts(files=files.get(name, ()), tokens=int(size), **sizes) for name, size in tokens.items()}
    return {"of": make_study(corpora=SOURCES, launch={"gpu": "H100-80GB"}), "counted": counted}


@pytest.mark.parametrize(("name", "file"), [(name, file) for name in FORMATS for file in FILES[name]])
def test_golden_of_several_sources(write_format, sourced, name, file):
    assert_golden(name, f"sources-{file}", (write_format(name, **sourced) / file).read_text())


def test_each_format_has_the_product_of_the_shares(make_plan, sourced, tmp_path):
    plan = make_plan("megatron", **sourced)
    assert plan.shares == pytest.approx(SHARES)
    for name, back in shares_back(plan, tmp_path).items():
        assert back == pytest.approx(SHARES), name


def test_a_ratio_goes_to_each_format_and_back(make_plan, make_facts, tmp_path):
    """1,000 corpora of random shapes, ALMR 0 and 1 among them."""
    draw, plan = np.random.default_rng(0), make_plan("megatron")
    (tmp_path / "data").mkdir()
    for i in range(1000):
        almr = [0.0, 1.0][i] if i < 2 else float(draw.uniform())
        lengths = np.exp(draw.uniform(np.log(2), np.log(1e5), 2))
        shaped = {
            name: replace(
                source,
                share=almr if name == "additional" else 1 - almr,
                facts=make_facts(files=source.facts.files, documents=1000, tokens=round(1000 * length)),
            )
            for (name, source), length in zip(plan.sources.items(), lengths, strict=True)
        }
        given = replace(plan, almr=almr, sources=shaped)
        for name, back in shares_back(given, tmp_path).items():
            assert back == pytest.approx({n: s.share for n, s in shaped.items() if s.share}, abs=1e-9), name


def shares_back(plan, folder):
    """The corpora's shares of the tokens as each format's own numbers state them."""
    blend = megatron.blend(plan)
    assert len(blend) % 2 == 0
    prefixes = (prefix.removeprefix("data/train_") for prefix in blend[1::2])
    return {
        "megatron": dict(zip(prefixes, map(float, blend[::2]), strict=True)),
    }


def test_steps_times_the_batch_are_the_tokens_or_the_page_says_by_how_much(make_plan, make_study):
    exact = make_plan("native", make_study(launch={"tokens": 4_194_304 * 100}))
    assert exact.difference == "exactly launch.tokens"
    assert "fewer than launch.tokens" in make_plan("native").difference


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("model", ['it\'s "$(touch owned)"', "`touch owned`\nx: y", "大 模型"])
def test_a_hostile_name_is_only_ever_text(write_format, make_study, name, model, tmp_path):
    folder = write_format(name, make_study(launch={"model": model, "image": model, "nodes": 1}))
    job = yaml.safe_load((folder / "rayjob.yaml").read_text())
    pod = job["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["template"]["spec"]
    assert pod["containers"][0]["image"] == model
    assert yaml.safe_load((folder / "sky.yaml").read_text())["num_nodes"] == 1
    subprocess.run(["bash", str(folder / "start.sh")], env={"PATH": "/usr/bin:/bin"}, capture_output=True, check=False)
    assert not list(tmp_path.rglob("owned"))
    for script in folder.glob("*.py"):
        compile(script.read_text(), script.name, "exec")


@pytest.mark.parametrize("name", FORMATS)
def test_scripts_are_clean(write_format, stated, name):
    folder = write_format(name, stated)
    scripts = [str(path) for path in (*folder.glob("*.sh"), folder / "slurm.sbatch")]
    for script in scripts:
        subprocess.run(["bash", "-n", script], check=True)
    checker = shutil.which("shellcheck")
    if checker is None:
        pytest.skip("shellcheck is not installed")
    done = subprocess.run([checker, *scripts], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_slurm_starts_each_node_with_its_own_rank(write_format, stated, tmp_path):
    folder, tools = write_format("native", stated), tmp_path / "bin"
    (folder / PREPARED).touch()
    tools.mkdir()
    fakes = {
        "scontrol": "printf 'first\\nsecond\\n'",
        "srun": 'shift\nSLURM_NODEID=1 exec "$@"',
        "torchrun": 'printf "%s|" "$@"',
        "python": "exit 0",
    }
    for name, body in fakes.items():
        (tools / name).write_text(f"#!/bin/bash\n{body}\n")
        (tools / name).chmod(0o755)
    given = {"SLURM_SUBMIT_DIR": str(folder), "SLURM_JOB_NODELIST": "x", "SLURM_JOB_NUM_NODES": "16"}
    environment = given | {"PATH": f"{tools}:/usr/bin:/bin"}
    done = subprocess.run(["bash", str(folder / "slurm.sbatch")], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    given = done.stdout.splitlines()[-1].split("|")
    wanted = {"--nnodes=16", "--nproc-per-node=8", "--rdzv-endpoint=first:29500", "--rdzv-conf=is_host=0"}
    assert wanted <= {*given}


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "torchtitan"])
def test_checkpoints_go_where_the_environment_says(write_format, make_study, tmp_path, name):
    """By default beside the bundle, as the trainer's own file says."""
    folder, tools = write_format(name, make_study(launch={"nodes": 1})), tmp_path / "bin"
    (tools / "Megatron-LM").mkdir(parents=True)
    (tools / "Megatron-LM" / "pretrain_gpt.py").touch()
    for made in ("base", "data"):
        (folder / made).mkdir(exist_ok=True)
    (folder / PREPARED).touch()
    (folder / "data" / "blocks.json").write_text(sha256(folder / "study.yaml"))
    (folder / "data" / "model_args.txt").touch()
    for program in ("torchrun", "llamafactory-cli", "axolotl", "python"):
        (tools / program).write_text('#!/bin/bash\nprintf "%s|" "$@"\n')
        (tools / program).chmod(0o755)
    told = {}
    for given in ("", "/kept"):
        environment = {"PATH": f"{tools}:/usr/bin:/bin", "HOME": str(tools), "ALMR_CHECKPOINTS": given}
        start = ["bash", str(folder / "start.sh")]
        done = subprocess.run(start, env=environment, capture_output=True, text=True, check=True)
        told[given] = done.stdout.split("|")[-2].removeprefix("output_dir=")
    assert told[""].startswith("../../checkpoints-llama3-8b-zh")
    assert told["/kept"] == f"/kept/{Path(told['']).name}"
    assert name == "native" or told[""] in (folder / FILES[name][0]).read_text()


def test_checkpoints_of_a_pod_lie_on_its_claim_and_outside_of_the_exported_folder(write_format, stated):
    job = yaml.safe_load((write_format("native", stated) / "rayjob.yaml").read_text())["spec"]
    [container] = job["rayClusterSpec"]["workerGroupSpecs"][0]["template"]["spec"]["containers"]
    [claim] = [mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] == "launch"]
    kept = {one["name"]: Path(one["value"]) for one in container["env"]}["ALMR_CHECKPOINTS"]
    started = Path(job["entrypoint"].split()[1]).parent
    assert kept.is_relative_to(claim)
    assert started.is_relative_to(claim)
    assert not kept.is_relative_to(started)


@pytest.mark.parametrize(("nodes", "status"), [(1, 0), (16, 1)])
def test_skypilots_nodes_need_a_folder_that_they_share(make_study, write_format, make_plan, tmp_path, nodes, status):
    study = make_study(launch={"nodes": nodes})
    folder = write_format("torchtitan", study)
    task = yaml.safe_load((folder / "sky.yaml").read_text())
    assert task["envs"]["ALMR_MODEL"] == "meta-llama/Meta-Llama-3-70B"
    given = {"SKYPILOT_NODE_IPS": "first", "SKYPILOT_NUM_NODES": str(nodes), "SKYPILOT_NODE_RANK": "0"}
    (tmp_path / "start.sh").write_text('printf "%s" "$ALMR_CHECKPOINTS"')
    environment = {"PATH": "/usr/bin:/bin", "HOME": "/home/me", **given, **task["envs"]}
    done = subprocess.run(["bash", "-c", task["run"]], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode == 0) == (status == 0)
    assert done.stdout == ("" if status else "/home/me")
    assert any("ALMR_CHECKPOINTS" in warning for warning in starts.warnings(make_plan("native", study))) == (nodes > 1)


@pytest.mark.parametrize(
    ("study", "name"), [("Llama3_8B.zh", "llama3-8b-zh-native"), ("x" * 100, "x" * 33 + "-native")]
)
def test_a_job_has_a_name_that_kubernetes_takes(study, name):
    assert job_name(study, "native") == name


def test_a_70b_is_laid_out_so_that_it_fits(stated):
    shape = KNOWN["meta-llama/Meta-Llama-3-70B"].shape
    for name in FORMATS:
        layout = layout_choice.choose(name, stated, shape)
        assert layout.data * layout.tensor * layout.pipeline * layout.context == 128
        assert layout.accumulation(stated.launch) * layout.data * layout.micro_batch == stated.launch.batch_sequences
        if name in ("torchtitan", "megatron"):
            assert layout.fits, layout.lines(stated.launch)
            assert layout.tensor * layout.pipeline > 1 or name == "torchtitan"


def test_what_does_not_fit_or_is_not_known_is_said(make_study):
    shape = KNOWN["meta-llama/Meta-Llama-3-70B"].shape
    small = make_study(launch={"nodes": 1, "gpu": "A100-40GB"})
    assert "does not fit into GPU memory" in layout_choice.choose("megatron", small, shape).warnings("megatron")[0]
    unknown = layout_choice.choose("native", small, None, "its shape is not known")
    assert "its shape is not known" in " ".join(unknown.lines(small.launch))
    assert "launch.gpu" in layout_choice.choose("native", make_study(), shape).warnings("native")[0]
    execution = small.execution.model_copy(update={"attention": "eager"})
    eager = layout_choice.choose("native", small.model_copy(update={"execution": execution}), shape)
    assert "Memory: not counted, execution.attention: eager keeps all scores" in " ".join(eager.lines(small.launch))


@pytest.mark.parametrize(
    ("changed", "name", "says"),
    [
        ({"precision": "float32"}, "llamafactory", "LLaMA-Factory computes in bfloat16"),
        ({"precision": "float32"}, "axolotl", "axolotl computes in bfloat16"),
        ({"precision": "float32"}, "megatron", "Megatron-LM computes in bfloat16"),
        ({"precision": "float32"}, "torchtitan", "torchtitan computes in bfloat16"),
        ({"tensor_parallel": 8}, "llamafactory", "does not use launch.tensor_parallel 8"),
        ({"context_parallel": 2}, "axolotl", "does not use launch.context_parallel 2"),
        ({"pipeline_parallel": 4}, "native", "does not use launch.pipeline_parallel 4"),
        ({"pipeline_parallel": 4}, "torchtitan", "does not use launch.pipeline_parallel 4"),
    ],
)
def test_what_a_trainer_does_otherwise_is_said_once(make_plan, make_study, tmp_path, changed, name, says):
    """And only where it is so: not of trials in bfloat16 for a launch that states nothing."""
    trained = {key: value for key, value in changed.items() if not key.endswith("_parallel")}
    launch = {key: value for key, value in changed.items() if key.endswith("_parallel")}
    training = make_study().training.model_dump() | {"precision": "bfloat16"}
    told = write(make_plan(name, make_study(launch=launch, training=training | trained)), name, tmp_path / "told")
    assert sum(says in warning for warning in told) == 1, told
    silent = write(make_plan(name, make_study(training=training)), name, tmp_path / "silent")
    assert not any(says.split(" ", 1)[1] in warning for warning in silent)


def test_our_own_trainers_memory_is_that_of_its_precision_and_moments(make_study):
    shape, memory = KNOWN["meta-llama/Meta-Llama-3-70B"].shape, {}
    for precision, state in (("float32", "float32"), ("bfloat16", "float32"), ("bfloat16", "int8")):
        training = make_study().training.model_dump() | {"precision": precision, "optimizer": {"state": state}}
        of = make_study(training=training, launch=STATED)
        memory[precision, state] = {p.what: p.bytes for p in layout_choice.choose("native", of, shape).parts}
    whole, half, small = memory.values()
    assert 1.4 < whole["gathered"] / half["gathered"] < 2  # a layer's gradient is summed in float32 either way
    assert 1.5 < whole["activations"] / half["activations"] <= 2
    state = "weights, optimizer"
    assert whole[state] == half[state] == pytest.approx(12 * shape.parameters / 128)
    assert small[state] == pytest.approx((4 + 2 + 8 / 256) * shape.parameters / 128)


def test_the_native_study_is_the_winner_alone(write_format, make_study):
    from sweep.study import study_file

    study = study_file.load(str(write_format("native", make_study(launch={"tokens": 4_194_304 * 50})) / "study.yaml"))
    assert study.grid.points == [(0.4, 2e-5, 3)]
    assert (study.training.tokens, study.training.sequence_length) == (4_194_304 * 50, 8192)
    assert (study.base_model.pretrained, study.keep) == ("meta-llama/Meta-Llama-3-70B", "all")
    assert (study.resources.nodes, study.resources.gpus_per_node) == (16, 8)


@pytest.mark.parametrize("gpus", [0, 8])
def test_gpus_do_not_wait_for_a_tokeniser(write_format, make_study, tmp_path, gpus):
    """Our own trainer's start.sh refuses before prepare.sh has ended well; on CPUs the first start prepares."""
    folder, tools = write_format("native", make_study(launch={"nodes": 1, "gpus_per_node": gpus})), tmp_path / "bin"
    tools.mkdir()
    for program, body in {
        "python": "exit 0",
        "torchrun": "exit 0",
        "almr": '[[ -e fails ]] && exit 2; echo "$*"',
    }.items():
        (tools / program).write_text(f"#!/bin/bash\n{body}\n")
        (tools / program).chmod(0o755)

    def run(script):
        environment = {"PATH": f"{tools}:/usr/bin:/bin"}
        command = ["bash", str(folder / script)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    (folder / "fails").touch()
    assert run("prepare.sh").returncode == 2
    refused = run("start.sh")
    assert (refused.returncode, "run prepare.sh once" in refused.stderr) == ((2, True) if gpus else (0, False))
    (folder / "fails").unlink()
    assert run("prepare.sh").returncode == 0
    assert (folder / PREPARED).read_text() == "prepare study.yaml --json\n"
    assert run("start.sh").returncode == 0


def test_megatron_counts_in_samples(write_format, stated):
    lines = (write_format("megatron", stated) / "megatron_args.txt").read_text().splitlines()
    assert lines[lines.index("--train-samples") + 1] == str(2384 * 512)
    assert lines[lines.index("--lr-warmup-samples") + 1] == str(238 * 512)
    at = lines.index("--train-data-path")
    assert lines[at + 1 : at + 5] == ["0.6", "data/train_original", "0.4", "data/train_additional"]


def test_axolotl_trains_the_commit_that_the_text_was_packed_for(make_study, make_plan):
    pinned = make_study(base_model={"pretrained": "some/model", "revision": "abc"}, launch={"model": "some/model"})
    assert axolotl.settings(make_plan("axolotl", pinned))["revision_of_model"] == "abc"
    assert "revision_of_model" not in axolotl.settings(make_plan("axolotl"))


STAGED = {"name": "llama3-8b-chat", "documents": {"chat_template": "chatml"}}


@pytest.mark.parametrize(
    ("name", "file"), [("native", "study.yaml"), ("trl", "trl.yaml"), ("llamafactory", "llamafactory.yaml")]
)
def test_golden_of_a_stage(write_format, make_study, name, file):
    training = {"sequence_length": 4096, "tokens": 10**9, "global_batch_tokens": 2**20, "stage": "sft"}
    folder = write_format(name, make_study(launch=STATED, training=training | {"document_masking": True}, **STAGED))
    assert_golden(name, f"sft-{file}", (folder / file).read_text())


def test_a_format_that_does_not_train_the_stage_is_refused(make_fit, make_study, run, corpora):
    training = {"sequence_length": 4096, "tokens": 10**9, "global_batch_tokens": 2**20, "stage": "sft"}
    fit = make_fit(make_study(training=training, **STAGED))
    expected = (
        r"^launch.formats: megatron, axolotl: training.stage sft is exported for native, trl, llamafactory alone: write"
    )
    with pytest.raises(InputError, match=expected):
        export(FittedRun(fit, run, corpora), run / "launch", formats=("megatron", "native", "axolotl"))


@pytest.mark.parametrize(
    ("name", "file"),
    [("trl", "trl.yaml"), ("trl", "almr_trl_dpo.py"), ("trl", "study.yaml"), ("llamafactory", "llamafactory.yaml")],
)
def test_golden_of_preference_pairs(write_format, make_study, name, file):
    training = {"sequence_length": 4096, "tokens": 10**9, "global_batch_tokens": 2**20, "stage": "dpo"}
    folder = write_format(name, make_study(launch=STATED, training=training, **STAGED))
    assert_golden(name, f"dpo-{file}", (folder / file).read_text())


def test_pairs_are_written_for_what_can_train_them_on_the_launchs_machines(make_fit, make_study, run, corpora):
    training = {"sequence_length": 4096, "tokens": 10**9, "global_batch_tokens": 2**20, "stage": "dpo"}
    fitted = FittedRun(make_fit(make_study(launch=STATED, training=training, **STAGED)), run, corpora)
    for formats, expected in (
        (("axolotl",), "launch.formats: axolotl: training.stage dpo is exported for native, trl, llamafactory alone"),
        (("native",), "launch.formats: native: almr's own trainer takes preference pairs in one process, and"),
    ):
        with pytest.raises(InputError, match=expected):
            export(fitted, run / "launch", formats=formats)
