"""A format's files as its trainer's own parser reads them, compared with the winner."""

from __future__ import annotations

from sweep.study import Schema


class ReadBack(Schema):
    """One format. `differences` is None where it was not read; `why_not` says why. `parsers`: names of the parsers."""

    name: str
    differences: tuple[str, ...] | None
    parsers: str | None = None
    why_not: str | None = None

    @property
    def text(self) -> str:
        if self.differences is None:
            return f"{self.name}: not read back ({self.why_not})"
        if self.differences:
            return "\n".join(f"{self.name}: WRONG: {line}" for line in self.differences)
        return f"{self.name}: equal to the winner, as read by {self.parsers}"
