"""The soak that kills sweeps: that it simulates a loss of power, and, where there is time, one sweep of it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from random import Random

import pytest

from tests.benchmarks.soaks import kill, power_loss

WRITES = """
import sys
from pathlib import Path
from sweep.study.files.atomic import write_atomically
write_atomically(Path(sys.argv[1]) / "run" / "synced", "kept")
for i in range(30):
    (Path(sys.argv[1]) / "run" / f"not synced {i}").write_text("lost")
"""


def test_a_loss_of_power_spares_what_was_synced(tmp_path: Path) -> None:
    environment = os.environ | power_loss.watch(tmp_path)
    subprocess.run([sys.executable, "-c", WRITES, str(tmp_path)], env=environment, check=True)
    power_loss.lose(run := tmp_path / "run", tmp_path, Random(1))
    assert (run / "synced").read_text() == "kept"
    left = [(run / f"not synced {i}") for i in range(30)]
    assert {"lost", "", None} <= {path.read_text() if path.exists() else None for path in left}


@pytest.mark.heavy
@pytest.mark.ray
def test_a_sweep_of_the_soak(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="k-", dir="/tmp") as place:
        soak = kill.Soak(1, tmp_path, Path(place), print)
        soak.attack("grid", 3)
    assert soak.moments
    assert [moment for moment in soak.moments if moment.faults] == []
