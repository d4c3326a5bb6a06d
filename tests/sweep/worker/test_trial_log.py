"""The log of a trial, whatever it prints and raises."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweep.external.trial.flow import logged
from sweep.worker.run_trial import _logged


@pytest.mark.parametrize("log", [_logged, logged])
def test_what_is_no_text_is_escaped_and_hides_no_error(tmp_path: Path, log: object) -> None:
    assert callable(log)
    with pytest.raises(FileNotFoundError), log(tmp_path / "train.log", 2):
        raise FileNotFoundError("no such file: caf\udce9.jsonl")  # a name in Latin-1, as os.listdir gives it
    text = (tmp_path / "train.log").read_text(encoding="utf-8")
    assert text.startswith("--- attempt 2\n")
    assert "no such file: caf\\udce9.jsonl" in text
