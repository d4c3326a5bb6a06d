"""Ray that does not start in time is a busy machine, not a fault of this library."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sweep.controller import cluster
from sweep.store.run import Run
from sweep.verbs.commands import terminal


@pytest.mark.parametrize(
    ("message", "says", "status"),
    [
        (
            "The current node timed out during startup. This could happen because some of the raylet failed to startup",
            "Ray did not start in time (the machine is busy); run the same command again",
            2,
        ),
        ("a fault", "internal error: Exception: a fault; run again with --debug", terminal.INTERNAL),
    ],
)
def test_a_slow_start_of_ray_is_no_internal_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, message: str, says: str, status: int
) -> None:
    def slow(**options: Any) -> None:
        raise Exception(message)

    monkeypatch.setattr(cluster.ray, "init", slow)
    with pytest.raises(Exception, match=r"start in time|a fault") as raised, cluster.joined(Run(tmp_path), None):
        pass
    [line], found = terminal.explain(raised.value)
    assert line.startswith(says)
    assert found == status


def test_a_slow_start_is_tried_a_second_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    starts: list[str] = []

    def slow_at_first(**options: Any) -> None:
        starts.append(options["address"])
        if len(starts) == 1:
            raise Exception("The current node timed out during startup")

    monkeypatch.setattr(cluster.ray, "init", slow_at_first)
    with cluster.joined(Run(tmp_path), None):
        assert starts == ["local", "local"]
