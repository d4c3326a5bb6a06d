"""The verbs. What is heavy is imported inside the verb that needs it: `plan` and `--help` answer at once."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from sweep.store.run import Run
from sweep.study import study_file
from sweep.study.errors import InputError
from sweep.study.study import Study
from sweep.trials import progress as design

if TYPE_CHECKING:
    from analysis.launch.bundle import Exported
    from sweep.planning.plan import StudyPlan
    from sweep.preflight.checks import CheckResult

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Choose ALMR and LR of a large continual pre-training run from a sweep of small ones.",
)
out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

StudyName = Annotated[str, typer.Argument(metavar="STUDY", help="A study file, or a shipped study such as demo.")]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="A run directory, or its name under --runs.")]
Address = Annotated[str | None, typer.Option(help="A Ray cluster (auto, or host:port); else this machine.")]
Runs = Annotated[str, typer.Option(help="The folder of run directories, or s3://bucket/folder, gs://...")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
RUNS = "runs"
REFUSED = 3  # the exit status of a fit whose choice the data do not support


@app.command()
def plan(
    study: StudyName,
    runs: Runs = RUNS,
    check: Annotated[bool, typer.Option("--check", help="Also verify model, data, GPUs, disk, storage.")] = False,
    address: Address = None,
    as_json: AsJson = False,
) -> None:
    """Print what a study asks for: trials, tokens, epochs, time, memory, disk. Starts no trial."""
    from sweep.planning import plan as plans
    from sweep.verbs.plan import text as show

    if address and not check:
        raise InputError("--address: a plan asks no cluster: add --check")
    loaded = study_file.load(study)
    run = Run.within(runs, loaded.name)
    known = run.ingredients()
    planned = plans.plan(loaded, design.progress(loaded, run), known.corpora if known else {})
    findings = _checked(loaded, run, planned, address) if check else []
    if as_json:
        _print(show.plan_json(loaded, planned) | ({"checks": [f._asdict() for f in findings]} if check else {}))
    else:
        _print(show.plan(loaded, planned))
        for finding in findings:
            (out if finding.ok else err).print(finding.text, markup=False, soft_wrap=True)
    raise typer.Exit(0 if all(finding.ok for finding in findings) else 2)


def _checked(study: Study, run: Run, planned: StudyPlan, address: str | None) -> list[CheckResult]:
    from sweep.preflight import preflight

    with err.status("checking"):
        return preflight.full(study, run, planned, address)


@app.command()
def run(
    study: StudyName,
    runs: Runs = RUNS,
    address: Address = None,
    as_json: AsJson = False,
) -> None:
    """Run a study to its report and launch bundle. Run again, it resumes: finished trials stay."""
    from sweep.verbs import run as sweep_run

    console = err if as_json else out
    loaded = study_file.load(study)
    try:
        finished = sweep_run.run(loaded, Run.within(runs, loaded.name), console, address)
    except KeyboardInterrupt:
        err.print("almr: interrupted; finished trials are kept: run the same command again to go on", markup=False)
        raise typer.Exit(130) from None
    _print(finished.as_json() if as_json else finished.text())
    raise typer.Exit(finished.status)


@app.command()
def status(run: RunName, runs: Runs = RUNS, as_json: AsJson = False) -> None:
    """Say from the files what is done, running, failed and left, and the best trial so far."""
    from sweep.verbs import status as summary

    found = Run.find(run, runs)
    _print(summary.status_json(found) if as_json else summary.status(found))


@app.command()
def fit(
    source: Annotated[str, typer.Argument(metavar="RUN|TABLE", help="A run, or a CSV or parquet file.")],
    runs: Runs = RUNS,
    columns: Annotated[str | None, typer.Option(help="TABLE: its columns, almr=a,lr=b,loss=c")] = None,
    where: Annotated[list[str] | None, typer.Option(help="TABLE: only rows of column=value")] = None,
    drop_bad_rows: Annotated[bool, typer.Option("--drop-bad-rows", help="TABLE: leave bad rows out")] = False,
    weights: Annotated[str | None, typer.Option(help="TABLE: original=W,additional=W")] = None,
    guard: Annotated[float | None, typer.Option(help="TABLE: forgetting guard, % over base")] = None,
    base: Annotated[str | None, typer.Option(help="TABLE: base losses, original=L,...")] = None,
    level: Annotated[float | None, typer.Option(help="TABLE: of the intervals, else 0.9")] = None,
    folder: Annotated[Path | None, typer.Option("--out", help="TABLE: folder for its files, report")] = None,
    as_json: AsJson = False,
) -> None:
    """Fit surface, curve and winner. Status 3: fitted, but the choice is refused."""
    from sweep.verbs import fitting, table_fit, verdict

    if Path(source).is_file():
        table_fit.refuse_unusable(folder)
        table = table_fit.read(Path(source), columns, where or (), drop_bad_rows, base)
        fitted = fitting.fit_any(table, table_fit.objective(weights, guard, level), folder)
        _tell([f"left out: {line}" for line in table_fit.left_out(fitted.table)])
    else:
        given = columns, where, drop_bad_rows, weights, guard, base, level, folder
        table_fit.refuse_for_a_run(source, *given)
        fitted = fitting.fit(Run.find(source, runs))
    _print(fitted.file.model_dump(mode="json") if as_json else verdict.verdict(fitted))
    raise typer.Exit(REFUSED if fitted.file.refusals else 0)


@app.command()
def simulate(
    source: Annotated[Path, typer.Argument(metavar="TABLE", hidden=True)],
    strategies: Annotated[
        str, typer.Option(help="What is compared", show_default=False)
    ] = "surface,tpe,gp,random,grid",
    trials: Annotated[str, typer.Option(help="With how many trials, 8,12", show_default=False)] = "8,12,16,24",
    repeats: Annotated[int, typer.Option(help="Searches of each")] = 20,
    seed: Annotated[int, typer.Option(help="Of all draws")] = 0,
    curve: Annotated[float, typer.Option(help="Share for the curve")] = 0.25,
    columns: Annotated[str | None, typer.Option(help="Its columns, almr=a,lr=b,loss=c")] = None,
    where: Annotated[list[str] | None, typer.Option(help="Only rows of column=value")] = None,
    drop_bad_rows: Annotated[bool, typer.Option("--drop-bad-rows", help="Leave bad rows out")] = False,
    weights: Annotated[str | None, typer.Option(help="original=W,additional=W")] = None,
    guard: Annotated[float | None, typer.Option(help="Forgetting guard, % over base")] = None,
    base: Annotated[str | None, typer.Option(help="Base losses, original=L,...")] = None,
    folder: Annotated[Path | None, typer.Option("--out", help="Folder for its files, figure")] = None,
    as_json: AsJson = False,
) -> None:
    """Replay searches (surface,tpe,gp,random,grid) on a measured TABLE."""
    from sweep.verbs import simulate as replays
    from sweep.verbs import table_fit

    asked = replays.asked(strategies, trials, repeats, seed, curve)
    table_fit.refuse_unusable(folder)
    table = table_fit.read(source, columns, where or (), drop_bad_rows, base)
    try:
        found = replays.simulate(table, table_fit.objective(weights, guard, None), asked, err)
    except KeyboardInterrupt:
        err.print("almr: interrupted; nothing is kept of a simulation", markup=False)
        raise typer.Exit(130) from None
    if folder:
        found.write(folder)
    _tell(found.notes)
    _print(found.as_json() if as_json else found.text())


@app.command()
def report(run: RunName, runs: Runs = RUNS, as_json: AsJson = False) -> None:
    """Write report.html, one self-contained page."""
    from sweep.verbs import outputs

    found = Run.find(run, runs)
    path = outputs.report(found, outputs.fitted(found, _say))
    _print({"report": str(path)} if as_json else str(path))


@app.command()
def export(
    run: RunName,
    runs: Runs = RUNS,
    folder: Annotated[Path | None, typer.Option("--out", help="Where to; by default launch/ in the run.")] = None,
    accept_risk: Annotated[str | None, typer.Option(metavar="REASON", help="Export though the fit is refused.")] = None,
    formats: Annotated[list[str] | None, typer.Option("--format", help="A trainer; else those of the study.")] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Read it back by installed trainers.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write the launch bundle: the large run's configuration and the evidence for it."""
    from sweep.verbs import outputs

    found, named = Run.find(run, runs), outputs.formats(formats)
    options = outputs.ExportOptions(folder=folder, accept_risk=accept_risk, formats=named, verify=verify)
    made = outputs.export(found, outputs.fitted(found, _say), options)
    answer = {"files": [str(path) for path in made.files]}
    _print_bundle(made, answer | (_verified(made) if verify else {}), map(str, made.files), as_json)


@app.command()
def confirm(
    run: RunName,
    runs: Runs = RUNS,
    results: Annotated[Path | None, typer.Option(help="The filled-in results-template.csv.")] = None,
    folder: Annotated[Path | None, typer.Option("--out", help="The bundle that results rewrite, if elsewhere.")] = None,
    accept_risk: Annotated[str | None, typer.Option(metavar="REASON", help="Though the fit is refused.")] = None,
    as_json: AsJson = False,
) -> None:
    """Print the brief runs that would confirm the launch; judge their results. Status 3: undecided."""
    from sweep.verbs import outputs

    found = Run.find(run, runs)
    if results is None:
        if folder:
            raise InputError("--out: names the bundle that results rewrite: add --results FILE")
        planned = outputs.confirm(found, outputs.fitted(found, _say), accept_risk)
        template = "results: fill in a copy of launch/confirm/results-template.csv, then almr confirm RUN --results IT"
        _print(planned.model_dump(mode="json") if as_json else "\n".join([*planned.lines, template]))
        return
    done, made = outputs.conclude(found, outputs.fitted(found, _say), results, folder, accept_risk)
    _print_bundle(made, done.model_dump(mode="json") | _verified(made), done.lines, as_json)
    raise typer.Exit(REFUSED if done.judgement.answer == "undecided" else 0)


def _verified(made: Exported) -> dict[str, Any]:
    return {"verified": [read.model_dump() for read in made.read_back]}


def _print_bundle(made: Exported, answer: dict[str, Any], lines: Iterable[str], as_json: bool) -> None:
    """Status 1 where a trainer's parser reads something else than the winner."""
    _print(answer if as_json else "\n".join([*lines, *(read.text for read in made.read_back)]))
    _tell(made.notes)
    if any(read.differences for read in made.read_back):
        raise typer.Exit(1)


def _tell(lines: Iterable[str]) -> None:
    for line in lines:
        _say(line)


def _say(line: str) -> None:
    err.print(f"almr: {line}", markup=False, soft_wrap=True)


def _print(content: Any) -> None:
    if isinstance(content, str):
        out.print(content, markup=False, soft_wrap=True)
    elif isinstance(content, dict | list):
        sys.stdout.write(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    else:
        out.print(content)


def _interrupt(signum: int, frame: Any) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """The entry point: user errors are one line and exit status 2."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        app()
    except InputError as error:
        _tell(str(error).splitlines())
        sys.exit(2)
    except OSError as error:
        err.print(f"almr: {error.filename or 'a file'}: {error.strerror or error}", markup=False, soft_wrap=True)
        sys.exit(2)
