"""GO.md: what has to be true before the large run is started. The verdict, then one line per check, worst first."""

from __future__ import annotations

from collections import Counter

from analysis.launch.evidence import fit_checks, launch_checks
from analysis.launch.evidence.check import STATES, GoCheck, State
from analysis.launch.evidence.evidence import Evidence
from analysis.launch.formats.format import inert
from sweep.study import Study

NAME = "GO.md"
PARTS = {
    "fit": fit_checks.of_fit,
    "transfer": fit_checks.of_transfer,
    "size": launch_checks.of_size,
    "data": launch_checks.of_data,
    "origin": launch_checks.of_origin,
}
HEADINGS: dict[State, str] = {
    "fail": "Fails",
    "warn": "Warnings: someone has to accept them",
    "not known": "Not known: someone has to accept them, or find out",
    "pass": "Passes",
}
NAMED = 4  # checks in the headline


def checks(evidence: Evidence, study: Study) -> list[GoCheck]:
    return [check for part in PARTS.values() for check in part(evidence, study)]


def failed(evidence: Evidence, study: Study) -> list[str]:
    """The short names of the checks that fail."""
    return [check.statement for check in checks(evidence, study) if check.state == "fail"]


def headline(evidence: Evidence, study: Study) -> str:
    """The verdict, the checks that decide it, and how many checks have each state."""
    found = checks(evidence, study)
    by_state = {state: [check.statement for check in found if check.state == state] for state in STATES}
    open_points = by_state["warn"] + by_state["not known"]
    verdict = "NO GO" if by_state["fail"] else "GO WITH OPEN POINTS" if open_points else "GO"
    deciding = by_state["fail"] or open_points
    more = f" and {len(deciding) - NAMED} more" if len(deciding) > NAMED else ""
    named = f": {', '.join(deciding[:NAMED])}{more}" if deciding else ""
    count = Counter(check.state for check in found)
    return f"{verdict}{named} ({', '.join(f'{count[state]} {state}' for state in STATES)})"


def page(evidence: Evidence, study: Study) -> str:
    about = f"Launch of {_cell(evidence.launch.model)}, study {evidence.study.name}. All numbers: evidence.json."
    if study.post_training:
        about += (
            f" Stages after it, of which no check here speaks: {', '.join(study.post_training.stages)} (README.md)."
        )
    reason = evidence.accepted_reason
    accepted = [f"**Accepted all the same, because:** {_cell(reason)}", ""] if reason else []
    found = [(area, check) for area, part in PARTS.items() for check in part(evidence, study)]
    groups = [line for state in STATES for line in _group(state, found)]
    return inert("\n".join([f"# {headline(evidence, study)}", "", about, "", *accepted, *groups]))


def _group(state: State, found: list[tuple[str, GoCheck]]) -> list[str]:
    """A heading and a table of the checks with this state; nothing without any."""
    rows = [
        f"| {state} | {area} | {_cell(check.statement)} | {_cell(check.detail)} |"
        for area, check in found
        if check.state == state
    ]
    head = [f"## {HEADINGS[state]}", "", "| state | about | check | found |", "|---|---|---|---|"]
    return [*head, *rows, ""] if rows else []


def _cell(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text).replace("|", "\\|")
