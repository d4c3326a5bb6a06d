"""Golden files: what a generator wrote when somebody last read it."""

from pathlib import Path

import pytest

GOLDEN = Path(__file__).parents[1] / "analysis" / "launch" / "golden"


def assert_golden(folder: str, name: str, text: str) -> None:
    """To accept a change, delete the golden file and run the test twice."""
    path = GOLDEN / folder / name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        pytest.fail(f"{path} was missing and is written now: read it, then run again")
    assert text == path.read_text("utf-8"), f"differs from {path}: to accept the change delete that file and run again"
