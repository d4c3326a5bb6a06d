"""A study of 9 trials with `almr run`: through Ray with its GPU ids, to the fit and the report."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable

from sweep.store.run import Run
from sweep.study.files.reader import read_object
from tests.gpu.setting import Setting, fresh

ALMR = (sys.executable, "-c", "from sweep.cli import main; main()")
GRID = {"almr": [0.2, 0.5, 0.8], "lr": [1e-4, 3e-4, 1e-3]}
SLOW, TRIES = "Ray did not start in time", 2  # as on a crowded machine


def measure(setting: Setting, write: Callable[..., None]) -> None:
    content = setting.content("nine-trials", steps=setting.of(8, 3), sequences=setting.of(8, 2)) | {"grid": GRID}
    file, runs = setting.study_file(content), fresh(setting.work / "runs" / "studies")
    began = time.perf_counter()
    command = [*ALMR, "run", str(file), "--runs", str(runs)]
    for tries in range(1, TRIES + 1):  # noqa: B007
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        print(done.stdout, done.stderr, file=sys.stderr)
        if SLOW not in done.stderr:
            break
    wall = time.perf_counter() - began
    run = Run(runs / content["name"])
    records = [record for trial in run.study().grid_trials if (record := run.record(trial))]
    complete = [record for record in records if record.status == "complete"]
    training = sum(record.training_seconds or 0 for record in complete)
    values = {
        "trials complete": len(complete),
        "on": ", ".join(sorted({str(record.provenance["device"]) for record in complete})),
        "wall, s": round(wall, 1),
        "training, s": round(training, 1),
        "beside training, s a trial": round((wall - training) / len(GRID["almr"]) / len(GRID["lr"]), 2),
        "exit status": done.returncode,
        "tries": tries,
        "fitted": run.files.fit.is_file(),
        "report": run.files.report.is_file(),
    }
    lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
    failed = [f"{record.trial_id}: {record.reason}" for record in records if record.status == "failed"]
    whole = len(complete) == len(run.study().grid_trials)
    fault = None if whole else f"not all complete: {next(iter([*failed, *lines[-1:]]), 'no message')}"
    write("9 trials", values, fault)
    if fit := read_object(run.files.fit):
        winner = fit.get("winner") or {}
        shown = {name: winner[name] for name in ("almr", "lr") if name in winner}
        write("its fit", shown or {"winner": json.dumps(winner)[:80]})
