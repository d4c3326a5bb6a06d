"""What a trainer's own parser made of a format's files, beside what they were to say."""

from __future__ import annotations

from sweep.study.fields import Schema


class ReadBack(Schema):
    """Of one format. `differences` is None where it was not read: `why_not` says why. `parsers`: what read it."""

    name: str
    differences: tuple[str, ...] | None
    parsers: str | None = None
    why_not: str | None = None

    @property
    def text(self) -> str:
        if self.differences is None:
            return f"{self.name}: not read back: {self.why_not}"
        if self.differences:
            return "\n".join(f"{self.name}: WRONG: {line}" for line in self.differences)
        return f"{self.name}: the same as the winner, read by {self.parsers}"
