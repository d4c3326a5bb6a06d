"""A search through the command, as a user starts it: planned, run, killed, gone on with, and made larger."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from samples import study_content

DENSE = Path(__file__).parents[2] / "data" / "dense.csv"
ALMR = str(Path(sys.executable).with_name("almr"))
# A coarse part of the table's own grid.
GRID = {"almr": [0.05, 0.3, 0.5, 0.7, 0.95], "lr": [4e-4, 1.157e-3, 3.347e-3, 9.68e-3, 2.8e-2]}


def study(folder: Path, name: str, pace: float = 0.0, **search: Any) -> str:
    """The file of a study that is answered from the table, in `pace` of the half minute that a trial took."""
    content = study_content(
        name=name,
        grid=GRID,
        search={"strategy": "surface", "trials": 14} | search,
        replay={"table": str(DENSE), "pace": pace},
        resources={"concurrent": 2},
    )
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(content))
    return f"{name}.yaml"


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([ALMR, *arguments], cwd=folder, start_new_session=True, **pipes)


def almr(folder: Path, *arguments: str) -> str:
    done = start(folder, *arguments)
    out, err = done.communicate(timeout=200)
    assert done.returncode in (0, 3), f"{arguments} gave {done.returncode}\n{out}\n{err}"  # 3: its fit is refused
    assert "Traceback" not in out + err
    return out


def records(folder: Path, name: str) -> dict[str, dict[str, Any]]:
    return {p.parent.name: json.loads(p.read_text()) for p in (folder / "runs" / name).glob("trials/*/record.json")}


def table(folder: Path, name: str) -> pd.DataFrame:
    columns = ["almr", "lr", "status", "loss_original", "loss_additional"]
    return pd.read_csv(folder / "runs" / name / "trials.csv")[columns]


@pytest.mark.slow
@pytest.mark.heavy
@pytest.mark.ray
def test_a_search_is_killed_gone_on_with_and_made_larger(tmp_path: Path) -> None:
    whole, killed = study(tmp_path, "whole"), study(tmp_path, "killed", pace=0.02)
    almr(tmp_path, "run", whole)
    found = records(tmp_path, "whole")
    assert len(found) == 14
    assert sorted(record["proposed"]["index"] for record in found.values()) == list(range(14))
    now = json.loads(almr(tmp_path, "status", "whole", "--json"))
    assert (now["strategy"], now["trials"], now["left"], now["ended"]) == ("surface", 14, 0, None)

    kill_after(tmp_path, killed, 7)
    kept = records(tmp_path, "killed")
    assert 7 <= len(kept) < 14
    almr(tmp_path, "run", killed)
    pd.testing.assert_frame_equal(table(tmp_path, "killed"), table(tmp_path, "whole"))
    assert kept.items() <= records(tmp_path, "killed").items()

    almr(tmp_path, "run", study(tmp_path, "whole", trials=18))
    larger = records(tmp_path, "whole")
    assert len(larger) == 18
    assert found.items() <= larger.items()


def kill_after(folder: Path, path: str, count: int) -> None:
    """Kill the driver of a run, as a machine that goes down does, once so many trials have ended."""
    process = start(folder, "run", path)
    deadline = time.monotonic() + 120
    while len(list((folder / "runs").glob(f"{Path(path).stem}/trials/*/record.json"))) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "no records in time"
        time.sleep(0.05)
    process.kill()
    process.communicate()
    time.sleep(1)  # its workers are ending too
