"""The verbs on the results of trials: `fit`, `simulate`, `report`, `export`, `confirm`."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import astuple, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from analysis.fit_file.findings import messages
from sweep.store.run import Run
from sweep.study import InputError
from sweep.verbs.commands.terminal import REFUSED, err, interruptible, say, show, tell
from sweep.verbs.options import (
    RUNS,
    AcceptRisk,
    AsJson,
    ObjectiveOptions,
    ReplayOptions,
    RunName,
    Runs,
    TableOptions,
    grouped,
    refuse_for_a_run,
)

if TYPE_CHECKING:
    from analysis.fit_file.result import FitResult
    from analysis.launch.bundle import Exported


Folder = Annotated[Path | None, typer.Option("--out", metavar="FOLDER", help="Write the files and the figures here.")]


@grouped
def fit(
    source: Annotated[str, typer.Argument(metavar="RUN|TABLE", help="A run, or a table: CSV, JSON, parquet, xlsx.")],
    table: TableOptions,
    aim: ObjectiveOptions,
    level: Annotated[
        float | None, typer.Option(metavar="SHARE", help="Level of the intervals.  [default: 0.9]")
    ] = None,
    folder: Folder = None,
    runs: Runs = RUNS,
    as_json: AsJson = False,
) -> None:
    """Fit the loss surface, the curve of best LR and the winner. Exit status 3: the fit is refused. Only a TABLE takes
    the options from --columns to --out.
    """
    run = None
    if not Path(source).is_file():  # refused before the imports, which take seconds
        refuse_for_a_run(source, *astuple(table), *astuple(aim), level, folder)
        run = Run.find(source, runs)
    from analysis.fit_file.outdated import outdated
    from sweep.verbs.results import fit_folder, fitting, rerun, verdict

    again = None
    if run is None:
        fitting.refuse_unusable(folder)
        fit_folder.refuse_foreign(folder, Path(source))
        read = fitting.read(Path(source), table)
        tell(read.notes)  # before the fit, which may be refused because of them
        fitted = fitting.fit_any(read, fitting.objective(aim, level), folder)
    else:
        fitted, again = fitting.fit(run), rerun.of(run)
        tell(outdated(run.folder, run.address))
    text = "\n".join([verdict.verdict(fitted), *rerun.suggestion(fitted.refusals, fitted.warnings, again)])
    show(fitted.file.model_dump(mode="json") if as_json else text)
    raise typer.Exit(REFUSED if fitted.file.refusals else 0)


@grouped
def simulate(
    source: Annotated[Path, typer.Argument(metavar="TABLE", hidden=True)],
    replayed: ReplayOptions,
    table: TableOptions,
    aim: ObjectiveOptions,
    folder: Folder = None,
    as_json: AsJson = False,
) -> None:
    """Replay search strategies on a measured TABLE, such as a CSV file."""
    from sweep.verbs.results import fitting
    from sweep.verbs.simulation import requested
    from sweep.verbs.simulation import simulate as replays

    comparison = requested.comparison(replayed, fitted=as_json)
    fitting.refuse_unusable(folder)
    read = fitting.read(source, table)
    with interruptible("a simulation keeps nothing"):
        found = replays.simulate(read, fitting.objective(aim), comparison, err)
    if folder:
        found.write(folder)
    tell(found.notes)
    show(found.as_json() if as_json else found.text())


def report(
    run: RunName,
    runs: Runs = RUNS,
    serve: Annotated[
        bool, typer.Option("--serve", help="Serve the page on 127.0.0.1, for a browser behind ssh.")
    ] = False,
    port: Annotated[int | None, typer.Option(metavar="PORT", help="--serve: its port.  [default: a free one]")] = None,
    as_json: AsJson = False,
) -> None:
    """Write report.html, one self-contained page. While a run goes on, it writes its page itself."""
    found = Run.find(run, runs)
    if port is not None and not serve:
        raise InputError("--port is that of a server: add --serve")
    if port is not None and not 0 < port < 2**16:
        raise InputError(f"--port {port}: no port has this number: give one from 1 to 65535")
    if serve and as_json:
        raise InputError("--serve goes on until it is interrupted, and --json prints one object: leave one out")
    if found.driver() and found.files.report.is_file():
        say(f"{found.address} is running: its page is written every few seconds")
        show({"report": str(found.files.report)} if as_json else str(found.files.report))
    else:
        _write_report(found, as_json)
    if serve:
        from sweep.verbs.live import serve as server

        with suppress(KeyboardInterrupt):
            server.serve(found, port, say)
        say("no longer served")


def _write_report(found: Run, as_json: bool) -> None:
    from sweep.verbs.results import outputs

    try:
        fitted = outputs.fitted(found, say)
    except InputError as error:
        if found.files.fit.is_file():  # what it says has to be mended first
            raise
        path = outputs.report_without_fit(found, str(error))
        say(f"no fit: {error}")
        show({"report": str(path)} if as_json else str(path))
        return
    path = outputs.report(found, fitted)
    if fitted.refusals:
        say(f"REFUSED ({_codes(fitted)}): the report says why")
    show({"report": str(path)} if as_json else str(path))


def export(
    run: RunName,
    runs: Runs = RUNS,
    folder: Annotated[
        Path | None, typer.Option("--out", metavar="FOLDER", help="Bundle's folder.  [default: launch/ in the run]")
    ] = None,
    accept_risk: AcceptRisk = None,
    formats: Annotated[
        list[str] | None,
        typer.Option("--format", metavar="TRAINER", help="Repeatable. Or: optuna.  [default: those of the study]"),
    ] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Parse the files by each installed trainer.")] = False,
    parity: Annotated[
        bool, typer.Option("--parity", help="Train the small model by each installed trainer, as a trial was.")
    ] = False,
    trial: Annotated[
        str | None, typer.Option(metavar="ID", help="--parity: the trial.  [default: the nearest to the winner]")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write the launch bundle: the large run's settings and evidence. Exit status 3: a check fails, without
    --accept-risk.
    """
    from sweep.verbs.results import outputs

    found = Run.find(run, runs)
    if outputs.is_storage(formats):
        return _export_storage(found, folder, as_json)
    if trial and not parity:
        raise InputError("--trial names the trial of a parity run: add --parity")
    options = outputs.ExportOptions(folder, accept_risk, outputs.formats(formats), verify, parity, trial)
    fitted = outputs.fitted(found, say)
    _refuse_without_reason(found, fitted, accept_risk, _again("export", run, runs))
    with interruptible("finished parity runs are kept"), err.status("exporting") as status:
        made = outputs.export(found, fitted, replace(options, show=lambda text: status.update(escape(text)), tell=say))
    answer = made.as_json() | (_verified(made) if verify else {})
    _show_bundle(made, answer, outputs.summary(made, _again("export", run, runs)), as_json)
    raise typer.Exit(REFUSED if made.failed and not made.accepted else 0)


def _export_storage(run: Run, folder: Path | None, as_json: bool) -> None:
    from sweep.trials.followers.optuna import export as storages

    written = storages.export(run, folder, say)
    show(written.as_json() if as_json else written.text)


def confirm(
    run: RunName,
    runs: Runs = RUNS,
    results: Annotated[
        Path | None, typer.Option(metavar="CSV", help="Compare this filled-in copy of results-template.csv.")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--out", metavar="FOLDER", help="Bundle to rewrite.  [default: launch/ in the run]")
    ] = None,
    accept_risk: AcceptRisk = None,
    as_json: AsJson = False,
) -> None:
    """Print the confirmation runs, or compare their results. Exit status 3: the LR is not settled."""
    from sweep.verbs.results import outputs

    found = Run.find(run, runs)
    fitted, again = outputs.fitted(found, say), _again("confirm", run, runs)
    _refuse_without_reason(found, fitted, accept_risk, again)
    if results is None:
        if folder:
            raise InputError("--out: only results rewrite a bundle: add --results FILE")
        planned = outputs.confirm(found, fitted, accept_risk)
        lines = [*outputs.untried(found, fitted), *planned.lines]
        then = f"then fill in a copy of launch/confirm/results-template.csv: {again} --results COPY"
        show(planned.model_dump(mode="json") if as_json else "\n".join([*lines, then]))
        return
    done, made = outputs.conclude(found, fitted, results, folder, accept_risk)
    _show_bundle(made, done.model_dump(mode="json") | _verified(made), done.lines, as_json)
    raise typer.Exit(0 if done.decided else REFUSED)


def _again(verb: str, run: str, runs: str) -> str:
    return shlex.join(["almr", verb, run, *(["--runs", runs] if runs != RUNS else [])])


def _codes(fitted: FitResult) -> str:
    return ", ".join(dict.fromkeys(refusal.code for refusal in fitted.refusals))


def _refuse_without_reason(run: Run, fitted: FitResult, accept_risk: str | None, again: str) -> None:
    """Raises InputError for a refused launch whose risk is not accepted; `again`: the command that was given."""
    from sweep.verbs.results import rerun

    if accept_risk is None and fitted.refusals and fitted.study and fitted.study.launch:
        verdict = f"the fit is refused ({_codes(fitted)}), so there is nothing to {again.split()[1]}"
        suggestions = [*messages(fitted.refusals), *rerun.suggestion(fitted.refusals, [], rerun.of(run))]
        risk = [f'to take the risk: {again} --accept-risk "reason"'] if fitted.file.transfer else []  # else no setting
        raise InputError("\n".join([verdict, *suggestions, *risk]))


def _verified(made: Exported) -> dict[str, Any]:
    return {"verified": [read.model_dump() for read in made.read_back]}


def _show_bundle(made: Exported, answer: dict[str, Any], lines: Iterable[str], as_json: bool) -> None:
    """Exit with status 1 where a trainer's parser reads another setting than the winner's."""
    show(answer if as_json else "\n".join([*lines, *(read.text for read in made.read_back)]))
    tell(made.notes)
    if any(read.differences for read in made.read_back):
        raise typer.Exit(1)
