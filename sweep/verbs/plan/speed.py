"""What a plan's time is based on, as lines and as JSON."""

from __future__ import annotations

from typing import Any

from sweep.planning.speed import Speed
from sweep.study.numbers import percent


def speed_lines(speed: Speed | None) -> list[str]:
    """The source of the time, and in what an assumed MFU was not measured."""
    if speed is None:
        return []
    if speed.assumption is None:
        return [f"  from {speed.source}"]
    lines = [f"  assumes {percent(speed.mfu)} MFU: {speed.assumption.measured} ({speed.source})"]
    if differs := speed.assumption.differs:
        how = "MFU is lower there, so the time is a lower bound" if speed.at_least else "extrapolated"
        lines.append(f"  no figure is known for {', '.join(differs)}: {how}; one finished trial measures it")
    return lines


def speed_json(speed: Speed | None) -> dict[str, Any] | None:
    """`assumed_from`: the published figure in use; None where the study states or has measured its own."""
    if speed is None:
        return None
    found: dict[str, Any] = {"source": speed.source, "mfu": speed.mfu, "lower_bound": speed.at_least}
    if assumption := speed.assumption:
        measured = assumption.measured
        figures = {"model": measured.model, "tokens_per_second_per_gpu": measured.tokens_per_second}
        found["assumed_from"] = figures | measured.setting._asdict() | {"differs": assumption.differs}
    else:
        found["assumed_from"] = None
    return found
