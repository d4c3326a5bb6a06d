"""Terminals that take little: replaced characters, and no traceback where nobody reads or the disk is full."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
ALMR = [sys.executable, "-m", "sweep.cli", "plan", "demo"]


@pytest.mark.parametrize(("redirected", "status"), [("| head -c 1", 0), ("> /dev/full", 2), (">&-", 0), ("| cat", 0)])
def test_output_that_cannot_be_written_is_no_traceback(redirected: str, status: int, tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "LANG": "C", "TERM": "dumb", "COLUMNS": "1"}
    environment |= {"ALMR_CACHE": str(tmp_path)}  # and no HOME
    done = subprocess.run(
        f"{' '.join(ALMR)} {redirected}", shell=True, cwd=tmp_path, env=environment, capture_output=True, check=False
    )
    assert done.returncode == status
    assert b"Traceback" not in done.stderr
    assert done.stderr.count(b"\n") <= 1
