"""A small study and a fit in several environments: are their numbers the same to the last digit?

    python tests/benchmarks/versions.py .venvs/oldest/bin/python .venv/bin/python .venvs/newest/bin/python

Each interpreter trains four trials of 8 steps of the demo, one after the other, and fits the demo's 30 trials of
`tests/data/demo.csv`, with the code of this checkout and on one cache, so that base model and text are the same. The
table compares each with the first: the largest differences of the losses of all trials, of the base model's, and of the
fit's winner, with its objective and all intervals. `make test-oldest` and `make test-newest` make the environments.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from sweep.study import study_file

ROOT = Path(__file__).parents[2]
VERSIONS = ("torch", "transformers", "numpy", "scipy", "scikit-learn", "ray")
ONE_RUN = """
import sys
from pathlib import Path
import torch
from threadpoolctl import threadpool_limits
from analysis.fit.fit import fit_table
from analysis.table.import_table import read_table
from sweep.store.run import Run
from sweep.study import study_file
from sweep.worker.run_trial import work
from trainers import prepare
torch.set_num_threads(1)
study, run = study_file.load("study.yaml"), Run(Path("run").absolute())
run.freeze(study)
run.stage_code()
run.keep_ingredients(prepare.prepare(study))
for trial in study.grid_trials:
    work(str(run.folder), trial)
with threadpool_limits(1):
    fitted = fit_table(read_table(Path(sys.argv[1])), study.objective, "demo")
run.files.fit.write_text(fitted.file.model_dump_json())
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pythons", nargs="+", metavar="PYTHON", help="an interpreter of each environment")
    with tempfile.TemporaryDirectory() as folder:
        runs = [run_of(python, Path(folder, str(k))) for k, python in enumerate(parser.parse_args().pythons)]
        print_versions(runs)
        print_differences(runs)


def small_study() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(study_file.find("demo").read_text(encoding="utf-8"))
    content["training"] |= {"tokens": 8 * 2048, "evaluation_tokens": 4096}
    content["grid"] = {"almr": [0.1, 0.9], "lr": [1e-3, 4e-3]}
    del content["search"], content["launch"], content["benchmarks"]
    return content


def run_of(python: str, folder: Path) -> Path:
    """The run directory of the study, run by an interpreter."""
    folder.mkdir()
    (folder / "study.yaml").write_text(yaml.safe_dump(small_study()))
    command = [os.path.abspath(python), "-c", ONE_RUN, str(ROOT / "tests" / "data" / "demo.csv")]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{python}: {done.stderr}"
    return folder / "run"


def print_versions(runs: list[Path]) -> None:
    print(f"| {' | '.join(('', *VERSIONS))} |")
    print("|---" * (len(VERSIONS) + 1) + "|")
    for k, run in enumerate(runs, start=1):
        of_run = json.loads((run / "provenance.json").read_text())["versions"]
        print(f"| {' | '.join([str(k), *(of_run[name] for name in VERSIONS)])} |")


def print_differences(runs: list[Path]) -> None:
    print("\n| beside the first | equal losses | losses, nats | the base model's | objective | ALMR | LR |")
    print("|---|---|---|---|---|---|---|")
    first, fit = losses(runs[0]), winner(runs[0])
    for k, run in enumerate(runs[1:], start=2):
        apart = {name: abs(loss - first[name]) for name, loss in losses(run).items()}
        trained, of_base = ([apart[n] for n in apart if n[1] == kind] for kind in ("loss", "base_loss"))
        of_fit = [max(abs(a - b) for a, b in zip(winner(run)[name], fit[name], strict=True)) for name in fit]
        cells = [
            f"{trained.count(0.0)} of {len(trained)}",
            *(f"{x:.2g}" for x in (max(trained), max(of_base), *of_fit)),
        ]
        print(f"| {k} | {' | '.join(cells)} |")
    print(f"\nthe first: ALMR {fit['almr'][0]!r}, LR {fit['lr'][0]!r}, losses {sorted(first.values())}")


def losses(run: Path) -> dict[tuple[str, str, str], float]:
    """Nats per token by trial, kind and language."""
    return {(path.parent.name, kind, language): loss for path, kind, language, loss in _losses(run)}


def _losses(run: Path) -> Iterator[tuple[Path, str, str, float]]:
    for path in run.glob("trials/*/record.json"):
        record = json.loads(path.read_text())
        for kind in ("loss", "base_loss"):
            for language, loss in record[kind].items():
                yield path, kind, language, loss


def winner(run: Path) -> dict[str, list[float]]:
    """The best ALMR, its LR and their objective (nats), each with the ends of its interval."""
    found = json.loads((run / "fit.json").read_text())["winner"]
    return {name: [found[name], *found[f"{name}_interval"].values()] for name in ("objective", "almr", "lr")}


if __name__ == "__main__":
    main()
