"""What a finished run has that two runs of one study have alike."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

OF_ONE_RUN = ("attempt", "seconds", "training_seconds", "tokens_per_second", "mfu", "peak_memory_bytes", "gpu_hours")


def table(run: Path) -> pd.DataFrame:
    """The trials of a run without their times and attempts."""
    found = pd.read_csv(run / "trials.csv")
    return found[[column for column in found if column not in OF_ONE_RUN]]
