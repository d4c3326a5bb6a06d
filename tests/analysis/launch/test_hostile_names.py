"""Names of models, files and languages that are commands, tags or formulas: shown, and never run or rendered."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import bowl_run
import pytest
import yaml
from one_ray import almr

from analysis.launch.bundle import FittedRun, export
from sweep.study import Record, Trial
from sweep.verbs.results import fitting

FORMULA = "=HYPERLINK(1)"
FORMATS = ("native", "llamafactory", "axolotl", "trl", "torchtitan", "megatron")
COMMAND = "a'b\"c $(touch pwned) `touch pwned` ; touch pwned & | $HOME !x #y"
TAGS = "<script>pwned()</script><img src=x onerror=pwned()>"
FOUND = {
    "original": "/data/" + COMMAND.replace("/", "") + "/*.jsonl",
    "additional": "/data/\n$(touch pwned)\n/b.parquet",
}
PROGRAMS = ("torchrun", "axolotl", "llamafactory-cli", "python", "python3", "sbatch", "srun", "sky", "almr", "pip")


@pytest.fixture(scope="module")
def bundle_once() -> list[Path]:
    return []


@pytest.fixture
def bundle(bundle_once: list[Path], make_study: Any, make_fit: Any, make_facts: Any, run: Path) -> Path:
    """A bundle of every format, of a study whose names attack what they are written into. One for all tests here."""
    if bundle_once:
        return bundle_once[0]
    corpora = {
        "original": {"files": FOUND["original"], "language": TAGS},
        "additional": {"files": [FOUND["additional"]], "language": "=cmd|' /C calc'!A0"},
    }
    launch = {"model": f"/models/{COMMAND}\n{TAGS}", "formats": list(FORMATS), "image": f"img:{COMMAND}"}
    study = make_study(
        corpora=corpora, base_model={"pretrained": f"/models/{COMMAND}"}, launch=launch | {"volume_claim": "c$(id)"}
    )
    counted = {name: make_facts(files=(FOUND[name],)) for name in FOUND}
    out = run / "launch"
    export(FittedRun(make_fit(study), run, counted), out)
    bundle_once.append(out)
    return out


def test_scripts_run_no_name(bundle: Path, tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in PROGRAMS:
        (programs / name).write_text("#!/bin/sh\nexit 0\n")
        (programs / name).chmod(0o755)
    environment = {"PATH": f"{programs}:/usr/bin:/bin", "HOME": str(tmp_path), "MASTER_ADDR": "x", "MASTER_PORT": "1"}
    environment |= {"NNODES": "16", "NODE_RANK": "0", "ALMR_CHECKPOINTS": str(tmp_path), "MEGATRON": str(tmp_path)}
    scripts = sorted(path for path in bundle.rglob("*") if path.suffix in (".sh", ".sbatch"))
    assert len(scripts) >= 3 * len(FORMATS)
    for script in scripts:
        subprocess.run(["bash", "-n", str(script)], check=True, capture_output=True)
        subprocess.run(["bash", str(script)], cwd=script.parent, env=environment, capture_output=True, timeout=20)
    assert not [*tmp_path.rglob("pwned*"), *bundle.rglob("pwned*")]


def test_scripts_are_clean_in_shellcheck(bundle: Path) -> None:
    checker = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if checker is None:
        pytest.skip("shellcheck is not installed")
    scripts = map(str, sorted(bundle.rglob("*.sh")))
    done = subprocess.run([checker, "--severity=warning", *scripts], capture_output=True, text=True)
    assert done.stdout == ""


def test_the_files_for_clusters_hold_the_names_as_text(bundle: Path) -> None:
    for path in sorted(bundle.rglob("*.yaml")):
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert isinstance(content, dict), path
        if path.name == "rayjob.yaml":
            [workers] = content["spec"]["rayClusterSpec"]["workerGroupSpecs"]
            assert workers["template"]["spec"]["containers"][0]["image"] == f"img:{COMMAND}"
        if path.name == "sky.yaml":
            assert "pwned" not in content["run"] + content["setup"]


@pytest.mark.parametrize("name", ["README.md", "GO.md"])
def test_pages_of_the_bundle_make_no_tag_of_a_name(bundle: Path, name: str) -> None:
    text = (bundle / name).read_text(encoding="utf-8")
    assert "script" in text
    assert not [tag for tag in ("<script", "<img") if tag in text.replace("\\<", "")]


class Elements(HTMLParser):
    """The attributes of all elements, and what each script holds."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.attributes: set[str] = set()
        self.scripts: list[str] = []
        self.sources: list[str | None] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.attributes |= {name for name, _ in attributes}
        self.sources += [value for name, value in attributes if name == "src"]
        self.scripts += [""] if tag == "script" else []

    def handle_data(self, data: str) -> None:
        if self.cdata_elem == "script":
            self.scripts[-1] += data


def test_report_and_table_make_no_element_or_formula_of_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting.plots, "write_figures", lambda *_: [])  # pixels, and seconds
    run = tmp_path / "run"
    run.mkdir()
    embedded = {"original": "shakespeare", "additional": "three-kingdoms"}
    study = bowl_run.study(
        corpora={name: {"embedded": text, "language": TAGS} for name, text in embedded.items()},
        launch=bowl_run.LAUNCH | {"model": f'"></script>{TAGS}', "formats": ["native"]},
    )
    bowl_run.write(run, study)
    failed = Trial(almr=0.5, lr=3e-3, seed=1)
    lost = {
        "trial_id": failed.id,
        "fingerprint": study.fingerprint,
        "attempt": 1,
        "status": "failed",
        "reason": FORMULA,
    }
    (run / "trials" / failed.id).mkdir()
    (run / "trials" / failed.id / "record.json").write_text(
        Record.model_validate(lost | failed.model_dump()).model_dump_json()
    )
    almr(tmp_path, "report", "run", status=(0, 3))
    with (run / "trials.csv").open(newline="", encoding="utf-8") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert f"'{FORMULA}" in cells
    assert not [cell for cell in cells if cell.startswith(("=", "+", "@"))]
    html = (run / "report.html").read_text(encoding="utf-8")
    assert "pwned()" in html
    found = Elements(html)
    assert not [name for name in found.attributes if name.startswith("on")]
    assert "x" not in found.sources
    assert "pwned()" not in found.scripts
