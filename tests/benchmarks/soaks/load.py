"""Many trials in one run: what the driver keeps and costs of each, and what the verbs take on them afterwards.

    python -m tests.benchmarks.soaks.load [--seed 0] [--count 5000] [--at-once 200] [--seconds 5]

Starts a Ray of this machine that counts `--at-once` cores, and on it two sweeps side by side: one of `--count` trials
and one of a tenth of them, all answered from a table, after a few seconds: a trial that ends at once is over before
Ray Tune has started the workers of those beside it. A worker takes 130 MB, of Ray Tune's imports. The drivers' memory
and processor time are read from /proc while they run. Then the table of trials is compared with what was replayed, and
each verb is run on the larger sweep in a process of its own. Fails where a trial is missing or another was recorded.
"""

from __future__ import annotations

import argparse
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))

from many_trials import written

from sweep.study import Study

LOOK_SECONDS = 2.0
INTERRUPTED = (130, -15)
VERBS = (("run", "again, nothing to do"), ("status", ""), ("fit", ""), ("report", ""))
ALMR = [sys.executable, "-m", "sweep.cli"]
RAY = [sys.executable, "-c", "from ray.scripts.scripts import main; main()"]


@dataclass(frozen=True)
class Moment:
    """A driver when so many trials had a record: its seconds, its processor seconds and its MiB."""

    trials: int
    wall: float
    cpu: float
    mib: float


@dataclass
class Driver:
    """`almr run` of a study in a process of its own."""

    study: Study
    folder: Path
    process: subprocess.Popen[bytes]
    began: float
    moments: list[Moment] = field(default_factory=list)

    @classmethod
    def started(cls, study: Study, folder: Path, address: str) -> Driver:
        log = (folder / f"{study.name}.log").open("w")
        command = [*ALMR, "run", f"{study.name}.yaml", "--address", address]
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
        return cls(study, folder, process, time.monotonic())

    def look(self) -> None:
        done = sum(1 for _ in (self.folder / "runs" / self.study.name / "trials").glob("*/record.json"))
        try:
            cpu, mib = _used(self.process.pid)
        except OSError:
            return
        if done and mib:
            self.moments.append(Moment(done, time.monotonic() - self.began, cpu, mib))

    def fault(self) -> str:
        """What is wrong with the finished run; empty where nothing is."""
        if self.process.returncode not in (0, 3):  # 3: the fit is refused
            return f"{self.study.name}: exit status {self.process.returncode}"
        return difference(self.folder, self.study)


def difference(folder: Path, study: Study) -> str:
    """How the table of a finished run differs from the one that it replayed; empty where it does not."""
    assert study.replay
    keys = ["almr", "lr", "seed"]
    found = pd.read_csv(folder / "runs" / study.name / "trials.csv").sort_values(keys, ignore_index=True)
    asked = pd.read_csv(study.replay.table).sort_values(keys, ignore_index=True)
    compared = [*keys, "status", "loss_original", "loss_additional"]
    return "" if found[compared].equals(asked[compared]) else f"{study.name}: the table is not what was replayed"


def _used(pid: int) -> tuple[float, float]:
    """Processor seconds, user and system, and MiB of a process, resident or swapped; 0 MiB where it has ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    status = Path(f"/proc/{pid}/status").read_text()
    kib = sum(int(found) for found in re.findall(r"^Vm(?:RSS|Swap):\s+(\d+) kB$", status, re.MULTILINE))
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), kib / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=5000, help="trials of the larger sweep")
    parser.add_argument("--at-once", type=int, default=200, help="trials in flight, of both sweeps")
    parser.add_argument("--seconds", type=float, default=5.0, help="of a trial")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="load-") as scratch:
        folder, tenth = Path(scratch), max(1, asked.at_once // 10)
        studies = [
            written(folder, asked.count, asked.seed, at_once=asked.at_once - tenth, seconds=asked.seconds),
            written(folder, asked.count // 10, asked.seed + 1, "beside", tenth, asked.seconds),
        ]
        drivers = swept(studies, folder, asked.at_once)
        print_drivers(drivers, asked.at_once)
        if any(driver.process.returncode in INTERRUPTED for driver in drivers):
            sys.exit("ended before the sweeps were")
        print_verbs(folder, studies[0].name)
        faults = [fault for driver in drivers if (fault := driver.fault())]
    sys.exit("\n".join(faults) or 0)


def swept(studies: list[Study], folder: Path, at_once: int) -> list[Driver]:
    """Run the studies side by side on one Ray of this machine."""
    with ray_of(at_once, folder) as address:
        drivers = [Driver.started(study, folder, address) for study in studies]
        try:
            while any(driver.process.poll() is None for driver in drivers):
                for driver in drivers:
                    driver.look()
                done = [f"{one.study.name}: {one.moments[-1].trials if one.moments else 0}" for one in drivers]
                print(f"{time.strftime('%H:%M:%S')} {', '.join(done)}", file=sys.stderr, flush=True)
                time.sleep(LOOK_SECONDS)
        except KeyboardInterrupt:  # ended by the user: what was measured until then is told
            for driver in drivers:
                driver.process.terminate()
                driver.process.wait()
    return drivers


@contextmanager
def ray_of(cores: int, folder: Path) -> Iterator[str]:
    """The address of a Ray of this machine that counts so many cores, while the block runs."""
    # As the product starts its own: else each driver brings as many workers as there are cores, which none ever uses.
    os.environ |= {"RAY_AUTH_MODE": "disabled", "RAY_prestart_worker_first_driver": "0"}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = [f"--port={port}", f"--num-cpus={cores}", "--include-dashboard=false", "--disable-usage-stats"]
    options += ["--node-ip-address=127.0.0.1", f"--temp-dir={folder / 'ray'}", "--object-store-memory=268435456"]
    with (folder / "ray.log").open("w") as log:
        head = subprocess.Popen([*RAY, "start", "--head", "--block", *options], start_new_session=True, stdout=log)
    try:
        while b"Ray runtime started" not in (folder / "ray.log").read_bytes():
            assert head.poll() is None, "Ray did not start"
            time.sleep(0.2)
        yield f"127.0.0.1:{port}"
    finally:
        head.terminate()
        head.wait()


def print_drivers(drivers: list[Driver], at_once: int) -> None:
    print(f"{at_once} in flight, {os.cpu_count()} cores\n")
    print("| sweep | trials | wall, s a trial | driver's processor time, s a trial | its memory, MiB | grown by, MiB |")
    print("|---|---|---|---|---|---|")
    for driver in (driver for driver in drivers if driver.moments):
        total = driver.moments[-1].trials
        of_trials = [moment for moment in driver.moments if moment.trials < total] or driver.moments
        for first in (0, total // 5):
            start = next(moment for moment in of_trials if moment.trials >= min(first, of_trials[-1].trials))
            print(_row(driver.study.name, start, of_trials[-1]))


def _row(name: str, start: Moment, end: Moment) -> str:
    trials = max(end.trials - start.trials, 1)
    wall, cpu = (end.wall - start.wall) / trials, (end.cpu - start.cpu) / trials
    grown = end.mib - start.mib
    return f"| {name} | {start.trials} to {end.trials} | {wall:.3f} | {cpu:.3f} | {end.mib:.0f} | {grown:.0f} |"


def print_verbs(folder: Path, name: str) -> None:
    print("\n| verb | what | wall, s | processor time, s | peak memory, MiB |\n|---|---|---|---|---|")
    for verb, what in VERBS:
        of = f"{name}.yaml" if verb == "run" else name
        began = time.monotonic()
        process = subprocess.Popen([*ALMR, verb, of], cwd=folder, stdout=subprocess.DEVNULL)
        _, _, used = os.wait4(process.pid, 0)
        wall, cpu = time.monotonic() - began, used.ru_utime + used.ru_stime
        print(f"| almr {verb} | {what} | {wall:.1f} | {cpu:.1f} | {used.ru_maxrss / 1024:.0f} |", flush=True)


if __name__ == "__main__":
    main()
