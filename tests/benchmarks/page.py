"""How soon the report page of many trials can be used, in a headless Chromium.

    python -m tests.benchmarks.page --trials 2000

Makes a run of simulated trials with training curves, fits it, writes its page, and opens it five times. The page marks
when all of its parts answer (`interactive`, from the start of the navigation). Then a trial is pointed at, the table is
sorted, and a weight is moved, each up to the frame that shows it.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from sweep.store.run import Run
from sweep.study import PerLanguage, Record, Study, Trial, study_file
from sweep.study.files.atomic import write_atomically
from sweep.study.files.layout import RunFiles
from sweep.verbs.results import fitting, outputs
from tests import simulated_table
from tests.support.browser import chromium

OPENED, STEPS, COLUMNS = 5, 40, 40
NOISE, SEED = 0.002, 0
# Up to the frame after the one in which the page has answered.
ACT = """action => new Promise(done => {
  const begun = performance.now();
  const row = document.querySelector("#trial-rows tr:nth-child(5)");
  if (action === "point") row.dispatchEvent(new PointerEvent("pointerover", { bubbles: true }));
  if (action === "sort") document.querySelector("#trial-heads th:nth-child(2) button").click();
  if (action === "weigh") {
    const slider = document.querySelector("#weights input");
    slider.value = 0.7;
    slider.dispatchEvent(new Event("input", { bubbles: true }));
  }
  requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - begun)));
})"""
READY = """() => performance.getEntriesByName("interactive")[0].startTime"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=2000)
    count = parser.parse_args().trials
    with tempfile.TemporaryDirectory() as folder:
        run = Run(write(Path(folder) / "many", count))
        page = outputs.report(run, fitting.fit(run))
        print(f"{count} trials: report.html has {page.stat().st_size / 1e6:.2f} MB")
        for name, times in measured(page).items():
            print(f"{name}: {statistics.median(times):.0f} ms (of {OPENED}: {min(times):.0f} to {max(times):.0f})")


def write(folder: Path, count: int) -> Path:
    """A run of `count` trials, one in twenty diverged, each with a training curve of STEPS points."""
    content = json.loads(study_file.load("demo").model_dump_json(exclude_unset=True))
    almrs = np.linspace(0.05, 0.95, -(-count // COLUMNS)).round(4).tolist()
    content |= {"name": folder.name, "grid": {"almr": almrs, "lr": {"from": 1e-5, "to": 3e-4, "points": COLUMNS}}}
    content = {name: part for name, part in content.items() if name not in ("search", "launch", "benchmarks")}
    study, files, random = Study.model_validate(content), RunFiles(folder), np.random.default_rng(SEED)
    for almr, lr, seed in study.grid.points[:count]:
        trial = Trial(almr=almr, lr=lr, seed=seed)
        kept = files.trial(trial.id)
        write_atomically(kept.record, _record(study, trial, random).model_dump_json())
        write_atomically(kept.metrics, _curve(trial, random))
    write_atomically(files.study, study_file.dump(study))
    return folder


def _record(study: Study, trial: Trial, random: np.random.Generator) -> Record:
    losses = {
        name: loss + random.normal(0, NOISE) for name, loss in simulated_table.losses(trial.almr, trial.lr).items()
    }
    diverged = random.random() < 0.05
    outcome = (
        {"status": "diverged", "reason": "over the margin"}
        if diverged
        else {"status": "complete", "loss": PerLanguage(**losses)}
    )
    names = {"trial_id": trial.id, "fingerprint": study.fingerprint, "attempt": 1, "tokens": study.training.tokens}
    return Record.model_validate(
        trial.model_dump() | names | outcome | {"base_loss": PerLanguage(**simulated_table.BASE)}
    )


def _curve(trial: Trial, random: np.random.Generator) -> str:
    end = simulated_table.losses(trial.almr, trial.lr)["original"]
    points = (
        {"step": k, "tokens": 4096 * k, "loss": end + math.exp(-k / 8) + random.normal(0, 0.02)}
        for k in range(1, STEPS + 1)
    )
    return "".join(json.dumps(point) + "\n" for point in points)


def measured(page: Path) -> dict[str, list[float]]:
    """Milliseconds of each opening: until it is interactive, and of three actions."""
    found: dict[str, list[float]] = {}
    with chromium() as browser:
        for _ in range(OPENED):
            for name, time in _opened(browser, page).items():
                found.setdefault(name, []).append(time)
    return found


def _opened(browser: Any, page: Path) -> dict[str, float]:
    tab = browser.new_page(viewport={"width": 1400, "height": 900})
    tab.goto(page.as_uri())
    tab.wait_for_selector("html[data-ready]")
    times = {"interactive": tab.evaluate(READY)}
    tab.wait_for_timeout(500)
    for action in ("point", "sort", "weigh"):
        times[action] = tab.evaluate(ACT, action)
    tab.close()
    return times


if __name__ == "__main__":
    main()
