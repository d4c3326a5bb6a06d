"""A run as one HTML page that needs nothing beside it: text, data, styles and script are inside.

`template/` has the page, its style sheet and its scripts; `words` and `answer` compute what its text says, `data` what
its scripts draw.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd
from markupsafe import Markup

from analysis.decision.objectives import goal_of
from analysis.fit.grid import SurfaceGrid, read_grid
from analysis.fit_file.outdated import fit_sha256
from analysis.fit_file.result import FitResult
from analysis.fit_file.sources import loss_guard_line
from analysis.report import corpora, data, gains, inline, trials, words
from analysis.report.answer import NO_RESULT, Answer, VerdictPoint, answer
from analysis.report.data import PageData
from analysis.report.history import WinnerAtBudget, budgets
from analysis.report.inline import TEMPLATE
from sweep.study import LANGUAGES, InputError, Objective, Study
from sweep.study import numbers as formats
from sweep.study.files import regular
from sweep.study.files.atomic import write_atomically
from sweep.study.files.layout import RunFiles
from sweep.study.files.reader import read_object
from sweep.study.study_file import dump

SCRIPTS = ("formats", "surface", "state", "chart", "map", "table", "what_if", "figures", "controls", "live", "start")
MARKS = {"fail": "fail", "warn": "warn", "not known": "warn", "pass": "pass", "": "warn"}
LEVEL = Objective().level
UNFITTED: dict[str, Any] = {"file": None, "fit_json": None, "tiles": [], "labels": {}, "level": ""}
MOST_DAMAGED_TEXT = 10_000  # letters of a damaged provenance.json
SHOWN = 4  # points of the verdict on the first screen
NO_HISTORY = (
    "No history: it is drawn for a search of 12 to 400 usable trials. The trials of a grid have no order, and a table "
    "does not state one."
)


@dataclass(frozen=True)
class Unfitted:
    """A run without a fit. `table`: its trials, which may be none; `why` there is no fit."""

    study: Study
    table: pd.DataFrame
    why: str


def write_report(fit: FitResult, run: Path, commands: Sequence[str] = (), address: str = "RUN") -> Path:
    """Write `run/report.html` atomically. `commands`: what may be run next, as "purpose: command"; `address`: the run
    in other commands.

    Raises InputError where `surfaces.json` is not that of the fit.
    """
    columns = _columns(fit, run)
    history = budgets(fit, columns["order"], columns["id"])
    return write_atomically(RunFiles(run).report, render(fit, run, commands, history, address))


def write_unfitted(made: Unfitted, run: Path, commands: Sequence[str] = ()) -> Path:
    """Write the page of what is there."""
    return write_atomically(RunFiles(run).report, render_unfitted(made, run, commands))


def render(
    fit: FitResult,
    run: Path,
    commands: Sequence[str] = (),
    history: Sequence[WinnerAtBudget] = (),
    address: str = "RUN",
    grid: SurfaceGrid | None = None,
    holes: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """`grid`: where the run's files do not have it. `holes`: see analysis.report.live."""
    command = shlex.join(["almr", "fit", _near(RunFiles(run).table)])
    level = fit.file.winner.level
    command += "" if level == LEVEL else f" --level {level:g}"
    grid = grid or read_grid(run, fit.file)
    content = data.of_fit(fit, _columns(fit, run), run, grid, list(history), command)
    return _page(
        run,
        study=fit.study,
        table=fit.table,
        commands=commands,
        name=fit.file.study,
        about=_about(fit, counted=not holes),
        answer=answer(fit, run, address),
        data=content,
        tiles=words.tiles(fit),
        rest=_rest(drawn=grid is not None),
        fit_json=None if holes else inline.as_data(fit.file.model_dump(mode="json"), short=False),
        holes=holes,
        **_fitted_words(fit),
    )


def render_unfitted(
    made: Unfitted, run: Path, commands: Sequence[str] = (), holes: Mapping[str, str] = MappingProxyType({})
) -> str:
    content = data.of_trials(made.study, made.table, run)
    return _page(
        run,
        study=made.study,
        table=made.table,
        commands=commands,
        name=made.study.name,
        about=_trained(made.study) + ("" if holes else _counts(made.table)),
        answer=Answer(NO_RESULT, [VerdictPoint("", made.why)], []),
        data=content,
        rest="Click a trial to keep it." if len(made.table) else "No trial has finished.",
        holes=holes,
    )


def _page(
    run: Path,
    *,
    study: Study | None,
    table: pd.DataFrame,
    commands: Sequence[str],
    data: PageData,
    holes: Mapping[str, str],
    **values: Any,
) -> str:
    style = (TEMPLATE / "style.css").read_text(encoding="utf-8")
    return (
        inline.environment(TEMPLATE)
        .get_template("page.html.j2")
        .render(
            **UNFITTED | values,
            fit_sha256=fit_sha256(run) if values.get("fit_json") else None,
            study=study,
            **inline.inside(style, _script()),
            data=inline.as_data(data),
            holes={name: Markup(hole) for name, hole in holes.items()},  # noqa: S704  # ours
            gains=gains.of_run(RunFiles(run).gains),
            commands=[line.partition(": ") for line in commands],
            marks=MARKS,
            shown=SHOWN,
            suggested=data["next"],
            history=data["history"],
            count=len(table),
            no_history=NO_HISTORY,
            corpora=corpora.table(study, run),
            corpus_heads=corpora.HEADS,
            cost=words.cost(table),
            yaml=study and dump(study),
            provenance=_as_text(RunFiles(run).provenance),
        )
    )


def _fitted_words(fit: FitResult) -> dict[str, Any]:
    """What the templates of a fitted run's text take."""
    rows = words.surfaces(fit)
    return {
        "file": fit.file,
        "winner": fit.file.winner,
        "level": formats.level(fit.file.winner.level),
        "unit": fit.loss_unit,
        "stated": not formats.missing(fit.file.winner.almr),
        "labels": {name: fit.label(name) for name in LANGUAGES},
        "languages": [row for row in rows if row["name"] in (*LANGUAGES, "total")],
        "surfaces": rows,
        "sources": words.sources(fit),
        "objective": words.objective(fit),
        "guards": [loss_guard_line(guard, fit.label) for guard in fit.file.loss_guards],
        "gain": words.gain(fit),
        "scores": words.scores(fit),
        "one_seed": fit.one_seed,
        "coupling": words.coupling(fit),
        "unknown": words.why_unknown(fit),
        "guarded": fit.guards,
    }


def _columns(fit: FitResult, run: Path) -> trials.TrialColumns:
    table = trials.by_objective(fit.table, goal_of(fit.file).of_trials)
    return trials.columns(table, data.loss_names(fit), run, of_run=fit.study is not None)


def _about(fit: FitResult, counted: bool) -> str:
    by = f" Trained by {fit.file.trained_by}." if fit.file.trained_by else ""
    return f"{_trained(fit.study) if fit.study else ''}{_counts(fit.table) if counted else ''}{by}"


def _trained(study: Study) -> str:
    model = study.base_model.pretrained or f"the embedded {study.base_model.embedded} model"
    original, additional = (study.language_name(name) for name in LANGUAGES)
    budget = formats.tokens(study.training.tokens)
    return (
        f"Continual pre-training of {model} on {additional} (additional) and {original} (original), "
        f"{budget} tokens per trial. "
    )


def _counts(table: pd.DataFrame) -> str:
    counts = {name: int((table["status"] == name).sum()) for name in ("complete", "diverged", "failed")}
    return f"Trials: {', '.join(f'{count} {name}' for name, count in counts.items())}."


def _rest(drawn: bool) -> str:
    surface = "" if drawn else " The surface is not in this run's files: almr fit writes it."
    return f"Point at the map: what the fit predicts there. Click a trial to keep it.{surface}"


def _script() -> str:
    return inline.joined(TEMPLATE / f"{name}.js" for name in SCRIPTS)


def _near(path: Path) -> str:
    """A path, relative to this folder where it is inside."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _as_text(path: Path) -> str | None:
    """The object of a JSON file, or the beginning of the text of a damaged one; None where no file can be read."""
    if (content := read_object(path)) is not None:
        return json.dumps(content, indent=2, ensure_ascii=False)
    try:
        return regular.content(path).decode("utf-8", "replace")[:MOST_DAMAGED_TEXT]
    except (InputError, OSError):
        return None
