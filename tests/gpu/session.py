"""One call of `python -m tests.gpu`: the machine, the parts with their limits, and the table that is printed."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sweep.study.files.atomic import write_atomically
from tests.gpu import runner, table
from tests.gpu.runner import Part, Results
from tests.gpu.setting import Setting

ROOT = Path(__file__).parents[2]
# Seconds on one H100, the most telling parts first; together at most nine minutes.
LIMITS = {
    "prepare": 60,
    "trial": 45,
    "speed-135M": 70,
    "speed-1B": 75,
    "speed-largest": 70,
    "memory": 30,
    "halving": 25,
    "precision": 30,
    "group": 50,
    "study": 60,
    "scoring": 25,
}
NVIDIA = Path("/dev/nvidiactl")  # where nvidia-smi is not on the path
SLOWER = 8  # a rehearsal on two cores that others use too


def run(arguments: argparse.Namespace, kit: Path | None, work: Path) -> int:
    """Run what is asked for and print the table; returns 1 where a part did not end well."""
    setting = Setting(_device(arguments.device), work, kit)
    work.mkdir(parents=True, exist_ok=True)
    arguments.out.mkdir(parents=True, exist_ok=True)
    os.environ.update(setting.environment | {"PYTHONPATH": _path()})
    os.chdir(ROOT)  # where the parts are started

    def tell(name: str, found: dict[str, Any]) -> None:
        _copy(found, _names(arguments.only), work, arguments.out)
        part = found["parts"][name]
        print(f"{name}: {part['status']}, {part.get('seconds', 0):g} s", file=sys.stderr, flush=True)

    found = runner.run(
        parts(setting, _names(arguments.only)),
        Results(work / f"results-{setting.device}.json", _machine(setting)),
        work,
        arguments.seconds * (1 if setting.gpu else SLOWER),
        lambda part: part.name in ("prepare", *arguments.again),  # its results may outlive its cache
        tell,
    )
    _copy(found, _names(arguments.only), work, arguments.out)
    print(table.text(found))
    wrong = [name for name, part in found["parts"].items() if not well(part)]
    print("every part ended well" if not wrong else f"look at: {', '.join(wrong)}")
    return 1 if wrong else 0


def well(part: dict[str, Any]) -> bool:
    """Whether a part was done, and none of its rows says that something failed or is not as it should be."""
    return part["status"] == "done" and not any("failed" in row for row in part["rows"])


def parts(setting: Setting, names: Iterable[str]) -> list[Part]:
    """The part `speed-1B` is the module `speed` with the argument `1B`."""
    slower = 1 if setting.gpu else SLOWER
    return [
        Part(name, (sys.executable, "-m", "tests.gpu.part", *name.split("-", 1)), slower * limit)
        for name, limit in LIMITS.items()
        if name in names
    ]


def _names(only: list[str] | None) -> list[str]:
    return list(LIMITS) if not only else ["prepare", *only]


def _device(asked: str) -> str:
    if asked != "auto":
        return asked
    return "cuda" if _gpu() or NVIDIA.exists() else "cpu"


def _gpu() -> str | None:
    """The first GPU's name. Asks no torch: this process must take no memory of the GPU."""
    try:
        query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        done = subprocess.run(query, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return next(iter(done.stdout.splitlines()), None) if done.returncode == 0 else None


def _path() -> str:
    return os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))


def _machine(setting: Setting) -> dict[str, Any]:
    rehearsal = f"CPU ({platform.machine()}), a rehearsal with tiny shapes"
    return {
        "device": (_gpu() or "a GPU") if setting.gpu else rehearsal,
        "cores": os.cpu_count(),
        "date": datetime.now(UTC).date().isoformat(),
        "commit": _commit(),
        "base model": "SmolLM2-135M" if setting.kit or setting.gpu else "a small random one",
    }


def _commit() -> str:
    try:
        done = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    except OSError:
        return "unknown"
    return done.stdout.strip() or "unknown"


def _copy(found: dict[str, Any], names: Iterable[str], work: Path, out: Path) -> None:
    """Results, table and the logs of all parts, three files, into the folder that the caller keeps."""
    write_atomically(out / "table.md", table.text(found))
    logs = [
        f"=== {name}\n{log.read_text(errors='replace')}" for name in names if (log := work / f"{name}.log").is_file()
    ]
    write_atomically(out / "log.txt", "\n".join(logs)[-MOST_LOG:])
    for results in work.glob("results-*.json"):
        shutil.copy(results, out / results.name)


MOST_LOG = 4_000_000  # characters
