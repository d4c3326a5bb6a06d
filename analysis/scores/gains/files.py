"""The table of gains as files: `gains.json` and `gains.csv` for programs, `gains.md` and `gains.tex` for a text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import pandas as pd

from analysis.scores.files import as_table, plain
from analysis.scores.gains import text
from analysis.scores.gains.gains_file import NAME, Gain, GainsFile, GainsRow
from sweep.study import numbers
from sweep.study.tables import written

TEX = str.maketrans(
    {c: f"\\{c}" for c in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": "$<$", ">": "$>$"}
    | {"\n": " ", "\r": " ", "|": "$|$", '"': "''", "–": "--"}
)
TEX_MARKS = {"better": r"\,$\uparrow$", "worse": r"\,$\downarrow$"}
TEX_HEAD = r"""% Needs \usepackage{booktabs}; for Chinese also XeLaTeX or LuaLaTeX, and a font that has it.
"""


def texts(found: GainsFile) -> dict[str, str]:
    """Content by file name."""
    return {
        NAME: found.model_dump_json(indent=2),
        "gains.csv": csv(found),
        "gains.md": markdown(found),
        "gains.tex": latex(found),
    }


def csv(found: GainsFile) -> str:
    """A row for each score of each model, with its changes against the first model and against the one before."""
    rows = [_flat(found, row, model.label) for row in found.rows for model in found.models]
    return written.csv(pd.DataFrame(rows, columns=COLUMNS, dtype=object))


ROLES = ("first", "before")
OF_A_GAIN = ("", "_change", "_low", "_high", "_p", "_p_corrected", "_verdict", "_won", "_lost", "_needed", "_why")
COLUMNS = [
    *("group", "name", "kind", "metric", "higher_is_better", "tasks"),
    *("model", "reference", "score", "stderr", "questions", "why_no_score"),
    *(f"{role}{part}" for role in ROLES for part in OF_A_GAIN),
]


def _flat(found: GainsFile, row: GainsRow, label: str) -> dict[str, Any]:
    measured = row.scores.get(label)
    why = "; ".join(dict.fromkeys(w for t in row.tasks if (w := found.failures.get(label, {}).get(t))))
    flat: dict[str, Any] = {name: getattr(row, name) for name in ("group", "name", "kind", "metric")}
    flat |= {"higher_is_better": row.higher_is_better, "tasks": " ".join(row.tasks)}
    flat |= {"model": label, "reference": label not in found.chain}
    flat |= {"score": measured and measured.value, "stderr": measured and measured.stderr}
    flat |= {"questions": measured and measured.n, "why_no_score": None if measured else why or "not scored"}
    for role, gain in _gains(found, row, label).items():
        flat |= _of_gain(role, gain)
    return flat


def _gains(found: GainsFile, row: GainsRow, label: str) -> dict[str, Gain]:
    """The model's gains by their role; of the second model both are one."""
    if label not in found.chain[1:]:
        return {}
    against = dict(zip(ROLES, (found.chain[0], found.chain[found.chain.index(label) - 1]), strict=True))
    own = {gain.against: gain for gain in row.gains if gain.model == label}
    return {role: own[other] for role, other in against.items() if other in own}


def _of_gain(role: str, gain: Gain) -> dict[str, Any]:
    of = gain.change
    low, high = (of.interval.low, of.interval.high) if of else (None, None)
    values = (
        *(gain.against, of and of.value, low, high, of and of.p_value, of and of.p_corrected),
        *(gain.verdict, gain.won, gain.lost, gain.needed, gain.why),
    )
    return {f"{role}{part}": value for part, value in zip(OF_A_GAIN, values, strict=True)}


def markdown(found: GainsFile) -> str:
    heads, *rows = text.score_rows(found)
    gains = [text.gain_cells(row, gain) for row in found.rows for gain in row.gains]
    parts = [
        "# Gains",
        plain(text.intro(found)),
        as_table(heads, rows),
        "A `+` or `-` behind a score: better or worse than the first model." if gains else "",
        as_table(text.gain_heads(found), gains) if gains else "",
        plain(text.legend(found)),
        _points("What was lost", text.lost(found)),
        _points("Missing, and notes", [*text.missing(found), *found.notes]),
        _points("Models", list(text.models(found))),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _points(title: str, points: Sequence[str]) -> str:
    return "\n".join([f"## {title}", "", *(f"- {plain(point)}" for point in points)]) if points else ""


def latex(found: GainsFile) -> str:
    """Two tabulars of booktabs: the scores by group, and the changes."""
    return TEX_HEAD + "\n".join([*_tex_scores(found), "", *_tex_gains(found)]).rstrip() + "\n"


def _tex_scores(found: GainsFile) -> Iterator[str]:
    count = len(found.models)
    yield f"% Scores. Arrows: better or worse than {tex(found.chain[0]) if found.chain else 'the first'}."
    yield rf"\begin{{tabular}}{{l{'r' * (count + 1)}}}"
    yield r"\toprule"
    yield _tex_line(["", "questions", *(m.label + (" (ref.)" if m.reference else "") for m in found.models)])
    for group, rows in groupby(found.rows, key=lambda row: row.group):
        yield r"\midrule"
        yield rf"\multicolumn{{{count + 2}}}{{l}}{{\textit{{{tex(group)}}}}} \\"
        for row in rows:
            cells = [_tex_score(found, row, model.label) for model in found.models]
            yield f"{tex(text.name(row))} & {row.questions or ''} & {' & '.join(cells)} \\\\"
    yield from (r"\bottomrule", r"\end{tabular}")


def _tex_score(found: GainsFile, row: GainsRow, label: str) -> str:
    measured = row.scores.get(label)
    mark = TEX_MARKS.get(text.verdict(found, row, label) or "", "")
    return f"{tex(numbers.number(measured and measured.value, text.DIGITS))}{mark}"


def _tex_gains(found: GainsFile) -> Iterator[str]:
    if len(found.chain) < 2:
        return
    yield f"% Changes with {tex(numbers.level(found.level))} intervals; verdicts are Holm-corrected."
    yield r"\begin{tabular}{lllrlrr}"
    yield r"\toprule"
    yield _tex_line(text.gain_heads(found)[:7])
    for row in found.rows:
        yield r"\midrule"
        yield from (_tex_line(text.gain_cells(row, gain)[:7]) for gain in row.gains)
    yield from (r"\bottomrule", r"\end{tabular}")


def _tex_line(cells: Sequence[str]) -> str:
    return f"{' & '.join(map(tex, cells))} \\\\"


def tex(words: str) -> str:
    """Text that LaTeX sets as it is: labels and names of tasks are free text."""
    return words.translate(TEX)
