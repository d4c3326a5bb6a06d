"""Kills sweeps at random moments, goes on with the same command, and compares the tables.

    python -m tests.benchmarks.soaks.kill --seed 1 --count 100

Each sweep is killed a few times, then finishes. What is killed: the driver, its process group, the worker process of a
trial, a rank of a worker group, Ray's raylet, GCS or head process, our supervisor, a node of a cluster of two, and the
machine, as power_loss.py simulates it. Prints a table at the end; status 1 where something did not hold.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pandas as pd
import yaml

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from one_ray import TwoNodes  # noqa: E402
from processes import below, command, running  # noqa: E402
from replay_study import GRID, replayed  # noqa: E402
from samples import study_content  # noqa: E402

from tests.benchmarks.soaks import finished, power_loss  # noqa: E402

GONE_SECONDS = 10.0
END_SECONDS = 300.0  # a driver ends in this time, whatever was killed
# Which part of a process's command names a victim; the others are known otherwise.
NAMED = {"raylet": "/raylet/raylet ", "GCS": "gcs_server", "head": "head.py", "supervisor": "group.supervisor",
         "worker": "ray::ImplicitFunc.train", "rank": "sweep.worker.group.rank"}  # fmt: skip
DRIVERS = ("driver", "group", "power")  # whose death is the driver's
RAYS = ("raylet", "GCS", "head", "supervisor")
SURVIVED = ("worker", "rank", "node")  # by the driver, which goes on
VICTIMS = {
    "grid": (*DRIVERS, *RAYS, "worker"),
    "search": (*DRIVERS, *RAYS, "worker"),
    "training": ("driver", "power", "worker", "raylet"),
    "group of 2": ("rank", "driver", "worker"),
    "2 nodes": ("node", "driver"),
}
WEIGHTS = {"grid": 8, "search": 5, "training": 3, "group of 2": 2, "2 nodes": 2}


def write_study(kind: str, folder: Path) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    often: dict[str, Any] = {"concurrent": 2, "retries": 3}
    if kind == "search":
        replay = {"table": str(ROOT / "tests/data/dense.csv"), "pace": 0.02}
        grid = {"almr": [0.05, 0.3, 0.5, 0.7, 0.95], "lr": [4e-4, 1.157e-3, 3.347e-3, 9.68e-3, 2.8e-2]}
        search = {"strategy": "surface", "trials": 14}
        content = study_content(name="replayed", grid=grid, search=search, replay=replay, resources=often)
    elif kind in ("training", "group of 2"):
        more = {"processes": 2, "concurrent": 1} if kind == "group of 2" else {}
        grid = GRID | {"lr": [5e-4, 1e-3, 3e-3]}  # at 1e-2 the tiny model diverges, and too few trials are left
        content = study_content(name="replayed", grid=grid, resources=often | more)
    else:
        content = yaml.safe_load(replayed(folder, seconds=0.7, resources=often).read_text())
        content["replay"]["table"] = str((folder / "table.csv").replace(folder.parent / "table.csv"))  # one for all
    (folder / "study.yaml").write_text(yaml.safe_dump(content))
    return "study.yaml"


@dataclass
class Moment:
    """What came of one kill. `gone`: seconds until no process was left."""

    kind: str
    victim: str
    records: int
    gone: float | None = None
    faults: list[str] = field(default_factory=list)


class Sweep:
    """One run in a folder of its own, and what it printed last."""

    def __init__(self, kind: str, folder: Path, place: Path, address: str | None = None) -> None:
        self.kind, self.folder, self.address = kind, folder, address
        self.study = write_study(kind, folder)
        self.run = folder / "runs" / "replayed"
        offline = {"HF_HUB_OFFLINE": "1", "TMPDIR": str(place)}
        self.environment = os.environ | offline | power_loss.watch(folder)
        self.began = 0.0

    def start(self) -> subprocess.Popen[str]:
        self.began = time.time()
        address = ["--address", self.address] if self.address else []
        with (self.folder / "printed").open("w") as printed:
            return subprocess.Popen([sys.executable, "-m", "sweep.cli", "run", self.study, *address], cwd=self.folder,
                                    env=self.environment, start_new_session=True, text=True,
                                    stdout=printed, stderr=subprocess.STDOUT)  # fmt: skip

    def records(self) -> dict[Path, bytes]:
        """Those of trials that are complete."""
        found = {path: path.read_bytes() for path in self.run.glob("trials/*/record.json")}
        return {path: text for path, text in found.items() if b'"complete"' in text}

    def begun(self) -> float | None:
        """The seconds from the command to its first trial; None before that."""
        times = [path.stat().st_mtime for path in self.run.glob("trials/*/trial.json")]
        first = min((when for when in times if when > self.began), default=None)
        return None if first is None else first - self.began

    def table(self) -> pd.DataFrame:
        return finished.table(self.run)

    def printed(self) -> str:
        return (self.folder / "printed").read_text(errors="replace")

    def torn(self) -> list[str]:
        return [str(path) for path in self.run.rglob(".*") if path.name != ".kept.lock"]


class Soak:
    """`say` gets each line of progress."""

    def __init__(self, seed: int, folder: Path, place: Path, say: Callable[[str], None]) -> None:
        self.random, self.folder, self.place, self.say = Random(seed), folder, place, say
        self.tables: dict[str, pd.DataFrame] = {}
        self.moments: list[Moment] = []
        self.resumed: list[float] = []  # seconds from a command after a kill to its first trial

    def attack(self, kind: str, kills: int) -> None:
        """Kill one sweep so many times, then let it finish."""
        nodes = _two_nodes() if kind == "2 nodes" else None
        kind = kind if nodes or kind != "2 nodes" else "grid"
        sweep = Sweep(kind, self.folder / f"sweep-{len(self.moments)}", self.place, nodes and nodes.address)
        mine: list[Moment] = []
        try:
            while len(mine) < kills and (more := self._session(sweep, nodes, kills - len(mine))):
                mine += more
            self._finish(sweep, mine)
        finally:
            if nodes:
                nodes.close()
        for moment in mine:
            self.moments.append(moment)
            self.say(f"{len(self.moments)}: {moment}")

    def _session(self, sweep: Sweep, nodes: TwoNodes | None, most: int) -> list[Moment]:
        """One start of the command, and its kills until one ends it, or it finishes."""
        stood, driver, moments = sweep.records(), sweep.start(), list[Moment]()
        while len(moments) < most and (moment := self._kill(sweep, driver, nodes)):
            moments.append(moment)
            if moment.victim not in SURVIVED:
                break
        if moments:
            last = moments[-1]
            self.resumed += [seconds] if stood and (seconds := sweep.begun()) else []
            self._await_end(sweep, driver, last)
            last.faults += _retrained(stood, sweep)
            if last.victim == "power":
                power_loss.lose(sweep.run, sweep.folder, self.random)
        elif driver.wait() not in (0, 3):
            moments.append(
                Moment(sweep.kind, "none", 0, faults=[f"status {driver.returncode}: {sweep.printed()[-300:]}"])
            )
        return moments

    def _kill(self, sweep: Sweep, driver: subprocess.Popen[str], nodes: TwoNodes | None) -> Moment | None:
        """One kill at a random moment; None where the driver has ended before it."""
        victim = self.random.choice(VICTIMS[sweep.kind])
        more = self.random.randrange(3) if self.random.random() < 0.8 else None  # trials to wait for
        until, pause = len(sweep.records()) + (more or 0), self.random.uniform(0, 1.0 if more is not None else 10.0)
        while more is not None and driver.poll() is None and not (sweep.begun() and len(sweep.records()) >= until):
            time.sleep(0.02)
        time.sleep(pause)
        while driver.poll() is None and not (pids := self._pids(victim, driver.pid)):
            time.sleep(0.02)
        if driver.poll() is not None:
            return None
        moment, processes = Moment(sweep.kind, victim, len(sweep.records())), below(driver.pid)
        began = time.monotonic()
        self._strike(victim, pids, processes, nodes)
        if victim not in SURVIVED:
            moment.gone = _seconds_until_gone([pid for pid in processes if pid != driver.pid], began)
            if moment.gone > GONE_SECONDS:
                moment.faults.append(f"left: {[command(pid)[:60] for pid in running(processes)]}")
        return moment

    def _pids(self, victim: str, driver: int) -> list[int]:
        if victim not in NAMED:
            return [driver]
        found = [pid for pid in below(driver) if NAMED[victim] in f"{command(pid)} "]
        return found[-1:] if victim == "supervisor" else [self.random.choice(found)] if found else []

    def _strike(self, victim: str, pids: list[int], processes: list[int], nodes: TwoNodes | None) -> None:
        if victim == "node":
            assert nodes
            nodes.lose_one()
        elif victim == "group":
            os.killpg(pids[0], signal.SIGKILL)
        else:
            for pid in processes if victim == "power" else pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue

    def _await_end(self, sweep: Sweep, driver: subprocess.Popen[str], moment: Moment) -> None:
        try:
            status = driver.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            driver.kill()
            moment.faults.append("the driver did not end")
            return
        expected = dict.fromkeys(SURVIVED, (0, 3)) | dict.fromkeys(RAYS, (2, 0, 3))  # killed as Ray ended anyway
        if status not in expected.get(moment.victim, (-9,)):
            moment.faults.append(f"status {status}: {sweep.printed()[-300:]}")
        if "Traceback" in sweep.printed():
            moment.faults.append("traceback")

    def _finish(self, sweep: Sweep, moments: list[Moment]) -> None:
        """The same command again, to the end: what must hold then is held against the sweep's kills."""
        stood, driver, faults = sweep.records(), sweep.start(), list[str]()
        try:
            status = driver.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            driver.kill()
            status = None
        if status not in (0, 3):
            faults.append(f"the last run: status {status}: {sweep.printed()[-300:]}")
        else:
            faults += _retrained(stood, sweep)
            if not sweep.table().equals(self._whole(sweep.kind)):
                faults.append(f"another table: {sweep.run}")
        faults += [f"torn: {torn}" for torn in sweep.torn()]
        faults += [f"temporary: {left}" for left in self.place.glob("almr-*")]
        self.resumed += [seconds] if (seconds := sweep.begun()) else []
        for moment in moments[-1:]:
            moment.faults += faults

    def _whole(self, kind: str) -> pd.DataFrame:
        """The table of the same study, run without a kill."""
        if kind not in self.tables:
            whole = Sweep("grid" if kind == "2 nodes" else kind, self.folder / f"whole {kind}", self.place)
            status = whole.start().wait()
            assert status in (0, 3), whole.printed()
            self.tables[kind] = whole.table()
        return self.tables[kind]

    def report(self) -> str:
        lines = ["| killed | moments | held | most seconds until no process is left |", "|---|---|---|---|"]
        for victim in sorted({moment.victim for moment in self.moments}):
            of = [moment for moment in self.moments if moment.victim == victim]
            gone = [moment.gone for moment in of if moment.gone is not None]
            held = sum(not moment.faults for moment in of)
            lines.append(f"| {victim} | {len(of)} | {held} | {f'{max(gone):.1f}' if gone else ''} |")
        if self.resumed:
            median, most = statistics.median(self.resumed), max(self.resumed)
            lines.append(f"the next command's first trial: after {median:.1f} s (median), {most:.1f} s at most")
        return "\n".join(lines)


def _two_nodes() -> TwoNodes | None:
    """A cluster of this process; None where the machine is too busy to start one."""
    with contextlib.suppress(Exception):
        return TwoNodes()
    return None


def _retrained(stood: dict[Path, bytes], sweep: Sweep) -> list[str]:
    now = sweep.records()
    return [f"trained twice: {path.parent.name}" for path, text in stood.items() if now.get(path) != text]


def _seconds_until_gone(processes: list[int], began: float) -> float:
    while running(processes) and time.monotonic() - began < GONE_SECONDS + 5:
        time.sleep(0.02)
    return time.monotonic() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=100, help="moments, at least")
    parser.add_argument("--only", choices=list(VICTIMS), help="sweeps of one kind")
    arguments = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="k-", dir="/tmp"))  # short: Ray's sockets are below it
    os.environ["TMPDIR"] = tempfile.tempdir = str(place)
    folder = Path(tempfile.mkdtemp(prefix="soak-kill-", dir="/var/tmp"))
    soak, began = (
        Soak(arguments.seed, folder, place, lambda line: print(line, file=sys.stderr, flush=True)),
        time.time(),
    )
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):  # then the figures are of the moments until now
        while len(soak.moments) < arguments.count:
            kind = arguments.only or soak.random.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
            soak.attack(kind, min(soak.random.randrange(4, 9), arguments.count - len(soak.moments)))
    faults = [f"{m.kind}, {m.victim}, {m.records} records: {fault}" for m in soak.moments for fault in m.faults]
    print(soak.report())
    print(f"seed {arguments.seed}, {len(soak.moments)} moments, {(time.time() - began) / 60:.0f} minutes; {folder}")
    print(json.dumps(faults, indent=1))
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
