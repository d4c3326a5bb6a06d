"""The runner of `make gpu` with parts that take no time: order, limits, failures, going on; and the kit's pieces."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from sweep.study import Study
from sweep.study.sections.resources import Execution
from sweep.study.sizes.known import KNOWN
from tests.gpu import kit, planned, runner, session, table, unpack
from tests.gpu.parts import speed
from tests.gpu.runner import Part, Results, read_rows, run, write_row
from tests.gpu.setting import Setting

WRITES = 'import sys; open(sys.argv[-1], \'a\').write(\'{"measured": "a", "values": {"tokens/s": 1}}\\n\');'
HERE = {"device": "none", "date": "2026-11-28"}


def part(name: str, code: str, limit: float = 60) -> Part:
    return Part(name, (sys.executable, "-c", code), limit)


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return Results(tmp_path / "results.json", HERE)


def statuses(found: dict[str, Any]) -> dict[str, str]:
    return {name: one["status"] for name, one in found["parts"].items()}


def test_a_part_that_fails_is_one_line_and_the_next_goes_on(results: Results, tmp_path: Path) -> None:
    parts = [part("bad", f"{WRITES} raise ValueError('no such kernel')"), part("good", WRITES)]
    found = run(parts, results, tmp_path, 60)
    assert statuses(found) == {"bad": "failed", "good": "done"}
    assert found["parts"]["bad"]["reason"] == "exit status 1: ValueError: no such kernel"
    assert found["parts"]["bad"]["rows"] == [{"measured": "a", "values": {"tokens/s": 1}}]


def test_a_part_is_stopped_at_its_limit_with_all_its_processes_and_keeps_its_rows(
    results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit is reached here when the part's own child runs."""

    def reached(*arguments: Any) -> None:
        while not (tmp_path / "pid").is_file():
            time.sleep(0.01)

    monkeypatch.setattr(runner.select, "select", reached)
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {WAITS.format(tmp_path)!r}])"
    found = run([part("slow", f"{WRITES} {child}", limit=600)], results, tmp_path, 600)
    assert found["parts"]["slow"]["status"] == "stopped"
    assert found["parts"]["slow"]["reason"] == "stopped at its limit of 600 s"
    assert found["parts"]["slow"]["rows"]
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


WAITS = (
    "import os, time; open('{0}/.pid', 'w').write(str(os.getpid())); os.rename('{0}/.pid', '{0}/pid'); time.sleep(600)"
)


def test_what_is_done_is_not_run_again_unless_asked(results: Results, tmp_path: Path) -> None:
    counted = f"open({str(tmp_path / 'count')!r}, 'a').write('x')"
    parts = [part("once", counted), part("failing", f"{counted}; raise SystemExit(3)")]
    for _ in range(2):
        run(parts, results, tmp_path, 60)
    assert (tmp_path / "count").read_text() == "xxx"  # what failed is tried again
    run(parts[:1], results, tmp_path, 60, again=lambda part: True)
    assert (tmp_path / "count").read_text() == "xxxx"


def test_results_of_another_machine_are_not_gone_on_with(results: Results, tmp_path: Path) -> None:
    run([part("one", WRITES)], results, tmp_path, 60)
    assert results.done("one")
    assert not Results(results.file, {"device": "another"}).done("one")


def test_no_part_starts_after_the_time_for_all(results: Results, tmp_path: Path) -> None:
    found = run([part("late", WRITES)], results, tmp_path, 0)
    assert found["parts"]["late"] == {"status": "not run", "reason": "the 0 s for all parts were over"}


def test_rows_survive_a_last_line_that_was_cut_off(tmp_path: Path) -> None:
    write_row(tmp_path / "rows", "a", {"s": 1})
    write_row(tmp_path / "rows", "b", failed="no GPU")
    with (tmp_path / "rows").open("a") as opened:
        opened.write('{"measured": "c", "val')
    assert read_rows(tmp_path / "rows") == [
        {"measured": "a", "values": {"s": 1}},
        {"measured": "b", "failed": "no GPU"},
    ]
    assert read_rows(tmp_path / "none") == []


def test_the_table_has_a_line_for_each_measurement_and_each_failure() -> None:
    rows = [{"measured": "135M", "values": {"tokens/s": 123456.7, "MFU": 0.33333}}, {"measured": "1B", "failed": "a|b"}]
    parts = {
        "speed": {"status": "done", "seconds": 3.2, "limit": 75, "rows": rows},
        "late": {"status": "not run", "reason": "over"},
    }
    assert table.text({"machine": HERE, "parts": parts}).splitlines()[2:] == [
        "| part | measured | result |",
        "|---|---|---|",
        "| speed | 135M | tokens/s 123,457; MFU 0.3333 |",
        "| speed | 1B | **a/b** |",
        "| speed | whole part | 3.2 of 75 s |",
        "| late | whole part | **not run**: over |",
    ]


def test_all_parts_fit_in_nine_minutes_and_each_has_its_module() -> None:
    assert sum(session.LIMITS.values()) <= 540
    parts = session.parts(Setting("cuda", Path("work"), None), session.LIMITS)
    assert [p.name for p in parts] == list(session.LIMITS)
    modules = {p.command[3] for p in parts}
    assert modules == {path.stem for path in Path(speed.__file__).parent.glob("*.py")}
    assert {p.command[4] for p in parts if p.command[3] == "speed"} == set(speed.WAYS) == set(speed.LIMITS)


def test_a_part_with_a_failed_row_did_not_end_well() -> None:
    assert session.well({"status": "done", "rows": [{"measured": "a", "values": {}}]})
    assert not session.well({"status": "done", "rows": [{"measured": "a", "failed": "the losses differ"}]})
    assert not session.well({"status": "stopped", "rows": []})


@pytest.mark.parametrize(("name", "shape"), [("135M", "HuggingFaceTB/SmolLM2-135M"), ("1B", "meta-llama/Llama-3.2-1B")])
def test_a_model_with_random_weights_has_the_shape_that_is_planned(name: str, shape: str, tmp_path: Path) -> None:
    from tests.gpu.ways import made

    work = speed.planned_work(Setting("cuda", tmp_path, None), name, Execution(), None)
    model = made(work, torch.device("meta"))
    model.tie_weights()  # transformers 5.0 does not by itself on the meta device
    assert sum(p.numel() for p in model.parameters()) == KNOWN[shape].shape.parameters
    assert work.training("bfloat16").batch_sequences % work.micro == 0


def test_a_study_of_a_gpu_is_valid(tmp_path: Path) -> None:
    content = Setting("cuda", tmp_path, tmp_path / "kit").content("nine-trials", steps=8, sequences=8)
    study = Study.model_validate(content)
    assert study.resources.gpus == 1
    assert study.training.precision == "bfloat16"
    assert study.base_model.embedded == "smollm2-135m"


def test_without_the_package_it_says_what_to_install() -> None:
    """-S: a Python that sees no installed package."""
    command = [sys.executable, "-S", "-m", "tests.gpu", "--without-kit"]
    bare = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=Path(__file__).parents[2], env=bare, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"almr-sweep is not installed for {sys.executable} (no ")
    assert "pip install -e '.[bench,gguf,kernels]' in the checkout, or bring a kit" in done.stderr


def test_the_largest_model_takes_less_memory_with_fewer_layers() -> None:
    content = speed.planned_content(speed.GPU["largest"], speed.LENGTH)
    sizes = [planned.trial_bytes(content, speed.with_layers(n)) for n in (8, 16, 32)]
    assert sizes == sorted(sizes)
    assert 40e9 < sizes[1] < sizes[2] < 120e9


def wheel(path: Path, files: dict[str, str]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = (0o755 if name.endswith("raylet") else 0o644) << 16
            made.writestr(entry, content)
    return path


def test_a_lean_wheel_loses_what_nothing_uses_and_keeps_the_rest(tmp_path: Path) -> None:
    record = "ray/jars/ray.jar,,\nray/raylet,,\n"
    files = {"ray/jars/ray.jar": "java", "ray/raylet": "program", "ray-1.dist-info/RECORD": record}
    lean = tmp_path / "lean.whl"
    lean.write_bytes(kit.lean(wheel(tmp_path / "ray-1-py3-none-any.whl", files)))
    with zipfile.ZipFile(lean) as made:
        assert made.namelist() == ["ray/raylet", "ray-1.dist-info/RECORD"]
        assert made.read("ray-1.dist-info/RECORD") == b"ray/raylet,,\n"
        assert made.getinfo("ray/raylet").external_attr >> 16 == 0o755


@pytest.fixture
def cut_kit(tmp_path: Path) -> Path:
    """A kit of one package and one carried file, in parts of 1,000 bytes."""
    small = wheel(
        tmp_path / "almr_kit_test-1.0-py3-none-any.whl",
        {
            "almr_kit_test.py": "ANSWER = 42\n",
            "almr_kit_test-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: almr-kit-test\nVersion: 1.0\n",
            "almr_kit_test-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            "almr_kit_test-1.0.dist-info/RECORD": "almr_kit_test.py,,\n",
        },
    )
    packed, stream = tmp_path / unpack.PACKED, tmp_path / "stream.tar"
    with tarfile.open(packed, "w:xz") as archive:
        archive.add(small, f"{unpack.PACKAGES}/{small.name}")
    with tarfile.open(stream, "w") as archive:
        archive.add(packed, unpack.PACKED)
        archive.add(small, f"{unpack.CARRIED}/model.whl")
    kit.cut(stream, tmp_path / ".gpu-kit", 1000)
    return tmp_path / ".gpu-kit"


def test_a_kit_that_was_cut_is_joined_and_installed_without_an_index(cut_kit: Path) -> None:
    parts = unpack.manifest(cut_kit)["parts"]
    assert len(parts) > 2
    assert max(one["bytes"] for one in parts) <= 1000
    folder = unpack.unpacked(cut_kit)
    assert (folder / "site" / "almr_kit_test.py").read_text() == "ANSWER = 42\n"
    assert (folder / unpack.CARRIED / "model.whl").is_file()
    (folder / "site" / "almr_kit_test.py").unlink()
    assert not (unpack.unpacked(cut_kit) / "site" / "almr_kit_test.py").exists()  # done once


def test_a_missing_or_damaged_part_is_named(cut_kit: Path) -> None:
    assert unpack.faults(cut_kit) == []
    (cut_kit / "part-2" / unpack.DATA).write_bytes(b"other")
    (cut_kit / "part-1" / unpack.DATA).unlink()
    with pytest.raises(SystemExit) as refused:
        unpack.unpacked(cut_kit)
    first, second = str(refused.value).splitlines()
    assert first == ".gpu-kit: part-1 is missing: copy that folder"
    assert re.fullmatch(r"\.gpu-kit: part-2 is damaged \(sha256 \w+\): copy it again", second)


def test_every_wheel_is_pinned_once_and_none_replaces_the_hosts() -> None:
    lines = kit.WHEELS.read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[\w-]+==[\w.]+", pin) for pin in pins)
    names = [pin.split("==")[0].lower().replace("_", "-") for pin in pins]
    assert len(set(names)) == len(names)
    assert not {"torch", "transformers", "numpy", "pandas", "pyarrow", "scikit-learn", "tokenizers"} & set(names)


def test_results_are_plain_json(results: Results, tmp_path: Path) -> None:
    run([part("one", WRITES)], results, tmp_path, 60)
    assert json.loads(results.file.read_text())["machine"] == HERE


def test_a_way_that_fails_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in Setting("cpu", tmp_path, None).environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["speed", "2B", "ours sdpa"])
    speed.main()
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == {"failed": "failed: KeyError: '2B'"}
