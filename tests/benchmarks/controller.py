"""What the controller itself costs: a study whose trials are answered from a table at once, and nothing else is left.

    python tests/benchmarks/controller.py [--trials N]

Prints wall and processor seconds of the driver for each trial, and the growth of its memory, over the whole study and
over its last half: a cost that grows with the number of trials shows there.
"""

from __future__ import annotations

import argparse
import itertools
import os
import resource
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from samples import bowl_csv, make_study

from sweep import controller
from sweep.store.run import Run
from sweep.study import Record, Study, Trial
from sweep.trials.queue import GridQueue


@dataclass(frozen=True)
class Moment:
    """The driver when so many trials had ended: seconds since the first began, its processor seconds and its MiB."""

    trials: int
    wall: float
    cpu: float
    mib: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=2000)
    asked = parser.parse_args().trials
    with tempfile.TemporaryDirectory() as folder:
        moments = measured(Path(folder), replayed(Path(folder), asked))
    end = moments[-1]
    print(f"{end.trials} trials, {os.cpu_count()} cores\n")
    print("| trials | wall, s a trial | driver's processor time, s a trial | driver's memory, MiB | grown by, MiB |")
    print("|---|---|---|---|---|")
    for start in (moments[0], moments[len(moments) // 2]):
        print(row(start, end))


def row(start: Moment, end: Moment) -> str:
    trials = end.trials - start.trials
    wall, cpu = (end.wall - start.wall) / trials, (end.cpu - start.cpu) / trials
    return f"| {start.trials} to {end.trials} | {wall:.3f} | {cpu:.3f} | {end.mib:.0f} | {end.mib - start.mib:.0f} |"


def replayed(folder: Path, trials: int) -> Study:
    almr = [round(0.1 + 0.8 * k / 39, 4) for k in range(40)]
    lr = [float(f"{1e-4 * 1.1**k:.4g}") for k in range(-(-trials // 40))]
    table = bowl_csv(folder / "table.csv", almr, lr)
    return make_study(grid={"almr": almr, "lr": lr}, replay={"table": str(table)})


def measured(folder: Path, study: Study) -> list[Moment]:
    run, counted, moments = Run(folder / "run"), itertools.count(1), list[Moment]()
    run.freeze(study)
    run.stage_code()

    def watch(trial: Trial, record: Record | None) -> None:
        if record is None:
            return
        ended = next(counted)
        if ended % 100 == 0:
            moments.append(moment(ended))

    controller.run_trials(study, run, lambda room: GridQueue(study, run, study.grid_trials, room), watch)
    return moments


def moment(ended: int) -> Moment:
    used = resource.getrusage(resource.RUSAGE_SELF)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return Moment(ended, time.monotonic(), used.ru_utime + used.ru_stime, pages * os.sysconf("SC_PAGE_SIZE") / 2**20)


if __name__ == "__main__":
    main()
