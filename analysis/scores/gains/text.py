"""The table of gains as text: its rows as cells, what was lost as sentences, and all of it for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from rich.cells import cell_len, set_cell_size

from analysis.fit_file.scores import Change
from analysis.scores.gains.gains_file import Gain, GainsFile, GainsRow
from sweep.study import numbers
from sweep.study.tables import aligned

DIGITS = 3
NAME_CELLS = 32  # of a row's name in a terminal
INDENT = "  "
WHOLE: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False}
MARKS = {"better": "+", "worse": "-", "not distinguishable": "", None: ""}
LOST_NOTHING = "No score is shown to be worse than the first model's, or than that of the model before."
NO_PAIR = "Nothing could be compared: no two models that belong together have a score on the same questions."
NO_CHAIN = "Nothing is compared: give a second model that is no --reference."


def intro(found: GainsFile) -> str:
    """What is compared, and how sure the verdicts are."""
    if len(found.chain) < 2:
        return NO_CHAIN
    if not found.comparisons:
        return NO_PAIR
    return (
        f"Each model is compared with {found.chain[0]}, the first, and with the one before it, question by question. "
        f'Verdicts are Holm-corrected: the chance of any false "better" or "worse" among all of them, '
        f"{found.comparisons} in number, is at most {numbers.level(1 - found.level)}."
    )


def legend(found: GainsFile) -> str:
    """The meaning of the columns."""
    return (
        f"Intervals are of {numbers.level(found.level)}, for each comparison alone. The score of a group is the "
        f"plain mean of its tasks. Questions won and lost: those that the model answers better, and worse, than the "
        f"other. Questions needed: how many would decide a difference as large as the observed one, with a power of "
        f"80 %. What was not measured has no number."
    )


def name(row: GainsRow) -> str:
    mean = f" (mean of {len(row.tasks)})" if row.kind == "group" else ""
    return f"{row.name}{mean}{'' if row.higher_is_better else ', lower is better'}"


def score_rows(found: GainsFile) -> list[list[str]]:
    """The heads, and a row per score: its group, name, questions and a column per model. A score that is better or
    worse than the first model's has a `+` or `-`.
    """
    heads = ["group", "score", "questions", *(_head(found, model.label) for model in found.models)]
    rows = [
        [
            row.group,
            name(row),
            numbers.whole(row.questions),
            *(score(found, row, model.label) for model in found.models),
        ]
        for row in found.rows
    ]
    return [heads, *rows]


def _head(found: GainsFile, label: str) -> str:
    return label if label in found.chain else f"{label} (reference)"


def score(found: GainsFile, row: GainsRow, label: str) -> str:
    mark = MARKS[verdict(found, row, label)]
    measured = row.scores.get(label)
    return numbers.number(measured and measured.value, DIGITS) + (f" {mark}" if mark else "")


def verdict(found: GainsFile, row: GainsRow, label: str) -> str | None:
    """Of the model against the first."""
    return next((g.verdict for g in row.gains if (g.model, g.against) == (label, found.chain[0])), None)


def gain_heads(found: GainsFile) -> list[str]:
    interval = f"change ({numbers.level(found.level)} interval)"
    return ["score", "model", "against", interval, "verdict", "won / lost", "questions needed", "no verdict because"]


def gain_cells(row: GainsRow, gain: Gain) -> list[str]:
    """One cell for each of `gain_heads`."""
    turned = numbers.MISSING if gain.won is None else f"{gain.won:,} / {gain.lost:,}"
    return [
        name(row),
        gain.model,
        gain.against,
        change(gain.change),
        gain.verdict or numbers.MISSING,
        turned,
        numbers.MISSING if gain.needed is None else f"{gain.needed:,}",
        gain.why or "",
    ]


def change(found: Change | None) -> str:
    if found is None:
        return numbers.MISSING
    low, high = (numbers.number(end, DIGITS, sign=True) for end in (found.interval.low, found.interval.high))
    return f"{numbers.number(found.value, DIGITS, sign=True)} ({low} to {high})"


def lost(found: GainsFile) -> list[str]:
    """What was lost: every change for the worse, then what may be lost although nothing shows it."""
    if not found.comparisons:
        return []
    worse = [_lost_line(row, gain) for row in found.rows for gain in row.gains if gain.verdict == "worse"]
    return [*(worse or [LOST_NOTHING]), *_not_excluded(found)]


def _lost_line(row: GainsRow, gain: Gain) -> str:
    asked = "" if gain.lost is None else f"; {gain.lost:,} questions lost, {gain.won:,} won"
    return f"{name(row)}: {gain.model} against {gain.against} {change(gain.change)}{asked}"


def leading(found: GainsFile) -> Iterator[GainsRow]:
    """A row per group: its mean, or its only task. Of tasks that no model has all of, each."""
    whole = {row.group for row in found.rows if row.kind == "group"}
    return (row for row in found.rows if row.kind == "group" or row.group not in whole)


def _not_excluded(found: GainsFile) -> Iterator[str]:
    """For each model, the largest loss against the first that an interval leaves open, by score."""
    for label in found.chain[1:]:
        parts = []
        for row in leading(found):
            gain = next((g for g in row.gains if (g.model, g.against) == (label, found.chain[0])), None)
            if gain and gain.change and gain.verdict == "not distinguishable":
                ends = gain.change.interval
                most = -ends.low if row.higher_is_better else ends.high
                parts += [f"{row.name} {numbers.number(most, DIGITS)}"] if most > 0 else []
        if parts:
            yield f"{label} against {found.chain[0]}, not shown to be lost, but up to this much is not ruled out: " + (
                ", ".join(parts)
            )


def missing(found: GainsFile) -> list[str]:
    """Why there is no score, a line for each reason."""
    models: dict[tuple[str, str], list[str]] = {}
    for label, failures in found.failures.items():
        for task, why in failures.items():
            models.setdefault((task, why), []).append(label)
    said: dict[tuple[str, str], list[str]] = {}
    for (task, why), labels in models.items():
        who = "any model" if len(labels) == len(found.models) > 1 else ", ".join(labels)
        said.setdefault((who, why), []).append(task)
    return [f"No score of {who} for {_listed(tasks)}: {why}" for (who, why), tasks in said.items()]


def _listed(tasks: Sequence[str]) -> str:
    return ", ".join(tasks) if len(tasks) <= 3 else f"{', '.join(tasks[:2])} and {len(tasks) - 2} more"


def models(found: GainsFile) -> Iterator[str]:
    """Which model each label stands for."""
    for model in found.models:
        commit = f" at commit {model.commit}" if model.commit else ""
        content = f", content {model.sha256[:12]}" if model.sha256 else ""
        template = f", chat template {model.template[:12]}" if model.template else ""
        yield f"{_head(found, model.label)}: {model.named}{commit}{content}{template}"


def lines(found: GainsFile, width: int) -> list[str]:
    """For a terminal of `width` columns: the scores, the changes of each group, what was lost, and what is missing."""
    rows = [[_cut(row[1], row[0]), *row[2:]] for row in score_rows(found)]
    rows[0][0] = "score"
    said = [intro(found), *_section("What was lost", lost(found)), *missing(found), *_not_compared(found), *found.notes]
    wrapped = (line for text in said for line in textwrap.wrap(text, width, subsequent_indent=INDENT, **WHOLE))
    return [*aligned.blocks(rows, width), "", *_changes(found, width), *wrapped]


def _changes(found: GainsFile, width: int) -> list[str]:
    """By group; of a group without a mean, by task."""
    shown = [row for row in leading(found) if row.gains]
    rows = [["changes", gain_heads(found)[3], "verdict"]]
    for row in shown:
        rows.append([_cut(name(row), row.group), "", ""])
        rows += [[f"{INDENT}{g.model} against {g.against}", change(g.change), _open(g)] for g in row.gains]
    return [*aligned.blocks(rows, width), ""] if shown else []


def _not_compared(found: GainsFile) -> list[str]:
    """Why scores that are there were not compared, a line for each reason that no note has."""
    pairs: dict[tuple[str, str], list[str]] = {}
    for row in leading(found):
        for gain in row.gains:
            if gain.why and {gain.model, gain.against} <= row.scores.keys():
                pairs.setdefault((row.name, gain.why), []).append(f"{gain.model} against {gain.against}")
    said = " ".join(found.notes)
    return [f"No change in {name} of {_listed(of)}: {why}" for (name, why), of in pairs.items() if why not in said]


def _open(gain: Gain) -> str:
    """The verdict in few letters."""
    if gain.verdict != "not distinguishable":
        return gain.verdict or "none, as said below"
    return "open" if gain.needed is None else f"open ({gain.needed:,} needed)"


def _section(title: str, points: Sequence[str]) -> list[str]:
    return [f"{title}:", *(f"- {point}" for point in points)] if points else []


def _cut(text: str, group: str) -> str:
    shown = text if not group or group in text else f"{group}: {text}"
    return shown if cell_len(shown) <= NAME_CELLS else f"{set_cell_size(shown, NAME_CELLS - 3)}..."
