"""Refusals and the export: it stops at them, unless someone says why the risk is taken."""

from __future__ import annotations

from analysis.fit_file.findings import Finding
from sweep.study.errors import InputError
from sweep.study.fields import Schema


class AcceptedRisk(Schema):
    """Why a refused winner was exported all the same: `reason` is the text that was given."""

    reason: str
    refusals: tuple[Finding, ...]


def accept(refusals: list[Finding], reason: str | None) -> AcceptedRisk | None:
    """None where nothing was refused. Raises InputError for refusals without a reason, and for a reason of blanks."""
    if reason is not None and not reason.strip():
        raise InputError('--accept-risk: the reason is blank: say why the risk is taken, --accept-risk "reason"')
    if not refusals:
        return None
    if reason is None:
        raise InputError(
            "\n".join(
                [
                    *(refusal.text for refusal in refusals),
                    "nothing was exported; run what is missing, or state why the risk is taken: "
                    'almr export RUN --accept-risk "reason"',
                ]
            )
        )
    # What is no UTF-8 on the command line reaches Python as lone surrogates, which no file takes.
    text = reason.strip().encode("utf-8", "backslashreplace").decode()
    return AcceptedRisk(reason=text, refusals=tuple(refusals))
