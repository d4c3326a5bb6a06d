"""The one table of all parts, from `results.json`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

HEAD = "| part | measured | result |\n|---|---|---|"


def text(found: dict[str, Any]) -> str:
    """Markdown: what it was measured on, then a line for each measurement, failure and part that was not run."""
    about = ", ".join(f"{name} {value}" for name, value in found["machine"].items())
    lines = [about, "", HEAD]
    for name, part in found["parts"].items():
        lines += [f"| {name} | {what} | {result} |".replace("\n", " ") for what, result in _lines(part)]
    return "\n".join(lines) + "\n"


def _lines(part: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for row in part.get("rows", []):
        values = [f"{name} {_shown(value)}" for name, value in row.get("values", {}).items()]
        failed = [f"**{row['failed']}**"] if "failed" in row else []
        yield row["measured"], "; ".join([*failed, *values]).replace("|", "/")
    took = f"{part['seconds']:g} of {part['limit']:.0f} s" if "seconds" in part else ""
    reason = f"**{part['status']}**: {part['reason']}" if "reason" in part else ""
    yield "whole part", "; ".join(filter(None, [reason, took])).replace("|", "/")


def _shown(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
