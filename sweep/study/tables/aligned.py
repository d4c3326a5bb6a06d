"""A table as text for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len


def blocks(rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """A table as text, its columns aligned; in parts below each other where it is wider than `width`: in columns of a
    terminal, of which a Chinese character takes two.
    """
    widths = [max(cell_len(row[k]) for row in rows) for k in range(len(rows[0]))]
    parts: list[list[int]] = [[]]
    for k in range(1, len(widths)):
        if parts[-1] and widths[0] + sum(2 + widths[j] for j in [*parts[-1], k]) > width:
            parts.append([])
        parts[-1].append(k)
    return [
        "  ".join(row[k] + " " * (widths[k] - cell_len(row[k])) for k in [0, *part]).rstrip()
        for part in parts
        for row in rows
    ]
