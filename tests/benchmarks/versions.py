"""One small study in several environments: do the losses and the fit agree to the last digit?

    python tests/benchmarks/versions.py .venvs/oldest/bin/python .venv/bin/python .venvs/newest/bin/python

Each interpreter runs the demo in small (nine trials of 8 steps) with `almr run`, with the code of this checkout and on
one cache, so that base model and text are the same. The table compares each with the first: the largest difference of
the losses of all trials, of the base model's, and of the fit's winner and interval. `make test-oldest` and `make
test-newest` make the environments.
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
FITTED = (0, 3)  # exit statuses: the fit of so small a study may be refused
VERSIONS = ("torch", "transformers", "numpy", "scipy", "scikit-learn", "ray")


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
    content["grid"] = {"almr": [0.1, 0.5, 0.9], "lr": [5e-4, 1e-3, 4e-3]}
    del content["search"], content["launch"], content["benchmarks"]
    return content


def run_of(python: str, folder: Path) -> Path:
    """The run directory of the study, run by an interpreter."""
    folder.mkdir()
    (folder / "study.yaml").write_text(yaml.safe_dump(small_study()))
    command = [os.path.abspath(python), "-m", "sweep.cli", "run", "study.yaml", "--json"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode in FITTED, f"{python}: {done.stderr}"
    return Path(json.loads(done.stdout)["run"])


def print_versions(runs: list[Path]) -> None:
    print(f"| {' | '.join(('', *VERSIONS))} |")
    print("|---" * (len(VERSIONS) + 1) + "|")
    for k, run in enumerate(runs, start=1):
        of_run = json.loads((run / "provenance.json").read_text())["versions"]
        print(f"| {' | '.join([str(k), *(of_run[name] for name in VERSIONS)])} |")


def print_differences(runs: list[Path]) -> None:
    print(
        "\n| against the first | equal losses | largest difference, nats | of the base model's | of the winner | LR |"
    )
    print("|---|---|---|---|---|---|")
    first, fit = losses(runs[0]), winner(runs[0])
    for k, run in enumerate(runs[1:], start=2):
        own, other = losses(run), winner(run)
        assert own.keys() == first.keys()
        trained = [name for name in own if name[1] == "loss"]
        of_trials, of_base = (
            max(abs(own[n] - first[n]) for n in own if n[1] == kind) for kind in ("loss", "base_loss")
        )
        equal = sum(own[name] == first[name] for name in trained)
        almr, lr = (max(abs(a - b) for a, b in zip(other[name], fit[name], strict=True)) for name in ("almr", "lr"))
        print(f"| {k} | {equal} of {len(trained)} | {of_trials:.2g} | {of_base:.2g} | {almr:.2g} | {lr:.2g} |")


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
    """The best ALMR and LR, each with the ends of its interval."""
    found = json.loads((run / "fit.json").read_text())["winner"]
    return {name: [found[name], *found[f"{name}_interval"].values()] for name in ("almr", "lr")}


if __name__ == "__main__":
    main()
