"""A refused fit is exported only with a reason."""

from __future__ import annotations

from analysis.fit_file.findings import Finding
from sweep.study import InputError, Schema


class AcceptedRisk(Schema):
    """The user's reason for the export of a refused winner."""

    reason: str
    refusals: tuple[Finding, ...]


def accept(refusals: list[Finding], reason: str | None) -> AcceptedRisk | None:
    """None without a refusal. Raises InputError for refusals without a reason, and for a blank reason."""
    if reason is not None and not reason.strip():
        raise InputError('--accept-risk: the reason is blank: give one, --accept-risk "reason"')
    if not refusals:
        return None
    if reason is None:
        raise InputError(
            "\n".join(
                [
                    *(refusal.text for refusal in refusals),
                    "the fit is refused, so nothing was written: run the suggested trials, or go on with a reason, "
                    '--accept-risk "reason"',
                ]
            )
        )
    # Bytes that are not UTF-8 reach Python as lone surrogates, which cannot be written to a file.
    text = reason.strip().encode("utf-8", "backslashreplace").decode()
    return AcceptedRisk(reason=text, refusals=tuple(refusals))
