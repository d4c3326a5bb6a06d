"""What a sweep costs beyond its training: `almr run`, and one new process per trial, against pure training time.

    python tests/benchmarks/overhead.py [STUDY] [--trials N]

Runs N trials of a study (all by default) twice, at the same number at once: with `almr run` on warm workers, report and
bundle included, then each of the same trials in a Python process of its own. Pure training time is the sum of the
trials' optimizer steps over the number of workers; scoring, where the study asks for it, is not in it. The embedded
base model and the packed corpora are made before, and timed apart. A second table says where the wall time of `almr
run` went, by the times at which its files were written; `--only-almr` leaves out the other way.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml

from sweep.planning import remembered
from sweep.planning.plan import concurrency
from sweep.store.run import Run
from sweep.study import Ingredients, Record, Study, Trial, study_file
from sweep.study.files.layout import RunFiles

ONE_TRIAL = """
import json, sys
from sweep.study import Trial
from sweep.worker.run_trial import work
folder, trial = json.loads(sys.argv[1])
work(folder, Trial.model_validate(trial))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", nargs="?", default="demo")
    parser.add_argument("--trials", type=int, help="of a search its budget; of a grid how many cells to keep, at least")
    parser.add_argument("--only-almr", action="store_true", help="not a process per trial too")
    arguments = parser.parse_args()
    study = shortened(study_file.load(arguments.study), arguments.trials)
    workers = concurrency(study)
    assert workers is not None, "a GPU study is measured on its cluster"
    with tempfile.TemporaryDirectory() as folder:
        prepared, ingredients = prepare(study)
        began = time.time()
        wall, run = with_almr(study, Path(folder) / "warm")
        warm = records(run)
        rows = {"almr run (warm workers)": (wall, warm)}
        where = whereabouts(run.files, warm, began, began + wall, workers)
        if not arguments.only_almr:
            trials = [record.trial for record in warm]
            rows["a process per trial"] = with_processes(study, Path(folder) / "cold", ingredients, workers, trials)
    print_table(study, workers, prepared, rows)
    print_whereabouts(where, wall)


def shortened(study: Study, trials: int | None) -> Study:
    """The study with a smaller budget, or with its first ALMRs, enough of them for `trials` trials."""
    if trials and study.search.proposes:
        return study.model_copy(update={"search": study.search.model_copy(update={"trials": trials})})
    each = len(study.grid.lrs) * len(study.grid.seeds)
    keep = len(study.grid.almr) if trials is None else -(-trials // each)
    grid = study.grid.model_copy(update={"almr": study.grid.almr[:keep]})
    return study.model_copy(update={"grid": grid})


def prepare(study: Study) -> tuple[float, Ingredients]:
    from trainers import prepare as preparation

    began, own = time.perf_counter(), remembered.own_stamps(study)
    ingredients = preparation.prepare(study)
    remembered.keep(study, ingredients, own)  # as `almr prepare` does
    return time.perf_counter() - began, ingredients


def with_almr(study: Study, folder: Path) -> tuple[float, Run]:
    """Wall seconds, and the run."""
    folder.mkdir()
    content = study.model_dump(mode="json", by_alias=True, exclude_none=True)
    (folder / "study.yaml").write_text(yaml.safe_dump(content))
    command = [sys.executable, "-m", "sweep.cli", "run", "study.yaml", "--json"]
    began = time.perf_counter()
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    return time.perf_counter() - began, Run(Path(json.loads(done.stdout)["run"]))


def with_processes(
    study: Study, folder: Path, ingredients: Ingredients, workers: int, trials: list[Trial]
) -> tuple[float, list[Record]]:
    run = Run(folder)
    run.freeze(study)
    run.keep_ingredients(ingredients)

    def start(trial: Trial) -> None:
        arguments = json.dumps([str(run.folder), trial.model_dump()])
        environment = os.environ | {"OMP_NUM_THREADS": str(study.resources.cpus)}
        subprocess.run([sys.executable, "-c", ONE_TRIAL, arguments], check=True, env=environment)

    began = time.perf_counter()
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(start, trials))
    return time.perf_counter() - began, records(run)


def records(run: Run) -> list[Record]:
    return [record for request in run.requests() if (record := run.record(request.trial))]


def print_table(study: Study, workers: int, prepared: float, rows: dict[str, tuple[float, list[Record]]]) -> None:
    trials = max(len(found) for _, found in rows.values())
    print(f"{study.name}: {trials} trials of {study.training.steps} steps, {workers} at once; {os.cpu_count()} cores")
    print(f"base model and corpora, made before: {prepared:.1f} s\n")
    print("| way | wall, s | pure training / workers, s | ratio | beside training, s a trial |")
    print("|---|---|---|---|---|")
    for way, (wall, found) in rows.items():
        pure = sum(record.training_seconds or 0.0 for record in found) / workers
        print(f"| {way} | {wall:.1f} | {pure:.1f} | {wall / pure:.2f} | {(wall - pure) * workers / trials:.2f} |")


def whereabouts(
    files: RunFiles, found: list[Record], began: float, ended: float, workers: int
) -> list[tuple[str, float]]:
    """What the wall time of `almr run` went to, in its order; of what trials take, each worker's share."""
    of = [files.trial(record.trial_id) for record in found]
    starts, ends = [one.request.stat().st_mtime for one in of], [one.record.stat().st_mtime for one in of]
    inside = sum(ends) - sum(starts)
    training = sum(record.training_seconds or 0.0 for record in found)
    scoring = sum(float(record.provenance.get("scoring_seconds") or 0.0) for record in found)
    idle = max(ends) - min(starts) - inside / workers
    parts = [
        ("until the first trial starts: imports, preparation, Ray, workers", min(starts) - began),
        ("trials: optimizer steps (pure training)", training / workers),
        ("trials: scoring", scoring / workers),
        ("trials: loading, held-out losses, record", (inside - training - scoring) / workers),
        ("workers without a trial, between the first start and the last end", idle),
    ]
    done = max(ends)
    for name, path in (("fit and figures", files.fit), ("launch bundle", files.evidence), ("report", files.report)):
        if path.exists():
            parts.append((f"after the last trial: {name}", path.stat().st_mtime - done))
            done = path.stat().st_mtime
    return [*parts, ("after that, until the process has ended", ended - done)]


def print_whereabouts(parts: list[tuple[str, float]], wall: float) -> None:
    print("\n| part of the wall time | s | share |\n|---|---|---|")
    for name, seconds in parts:
        print(f"| {name} | {seconds:.1f} | {seconds / wall:.1%} |")


if __name__ == "__main__":
    main()
