"""The verbs on a study: `plan`, `prepare`, `run`, `status`, `doctor`, `pack`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sweep.store.run import Run
from sweep.study import Ingredients, InputError, Study, preparation, study_file
from sweep.trials import also
from sweep.trials.progress import RunProgress
from sweep.verbs.commands import chains
from sweep.verbs.commands.chains import not_of_a_chain
from sweep.verbs.commands.terminal import BAD_INPUT, err, interruptible, out, say, show, tell
from sweep.verbs.options import RUNS, Address, Also, AsJson, RunName, Runs, StudyName
from sweep.verbs.stages import chain_file

if TYPE_CHECKING:
    from sweep.planning.plan import StudyPlan
    from sweep.preflight.checks import CheckResult

RESUME = "finished trials are kept; run the same command again to resume"


def plan(
    study: StudyName,
    runs: Runs = RUNS,
    check: Annotated[bool, typer.Option("--check", help="Check model, data, GPUs, disk and storage too.")] = False,
    address: Address = None,
    points: Also = None,
    as_json: AsJson = False,
) -> None:
    """Print a study's trials, tokens, time, memory and disk. Starts nothing."""
    from sweep.planning import plan as plans
    from sweep.verbs.plan import phases, text

    if address and not check:
        raise InputError("--address: only the checks ask a cluster: add --check")
    if chain_file.is_chain(study):
        not_of_a_chain(address=address, points=points, check=check)
        return chains.plan(study, runs, as_json)
    named = also.read(points or ())
    loaded = study_file.load(study)
    run = Run.within(runs, loaded.name)
    of_run, prepared = _prepared_for(run, loaded), preparation.state(loaded)
    more = also.find(loaded, run, named)
    tell(more.notes)
    known = of_run or (prepared.ready.ingredients if prepared.ready else None)
    sizes = prepared.ready.sizes if prepared.ready else None
    planned = plans.plan(loaded, RunProgress.of(loaded, run, more.new), known.corpora if known else {}, sizes)
    planned = _with_trainer(loaded, planned)
    findings = _checked(loaded, run, planned, address) if check else []
    base = known.base_check if known else None
    if as_json:
        done = {"prepared": prepared.done or loaded.replay is not None}
        looked = {"base_model": base.model_dump(mode="json") if base else None}
        checks = {"checks": [finding._asdict() for finding in findings]} if check else {}
        show(text.plan_json(loaded, planned) | looked | done | checks)
    else:
        show(text.plan(loaded, planned))
        for line in phases.base_model_lines(loaded, base):
            out.print(line, markup=False, soft_wrap=True)
        _print_checks(findings)
    raise typer.Exit(0 if all(finding.ok for finding in findings) else 2)


def _with_trainer(study: Study, planned: StudyPlan) -> StudyPlan:
    """The plan with what is known of a trainer other than ours, whose environment is asked."""
    if not study.trainer.external:
        return planned
    from sweep.external import outlook

    warnings = [*outlook.warnings(study), *planned.warnings]
    return dataclasses.replace(planned, trainer=tuple(outlook.lines(study)), warnings=warnings)


def _prepared_for(run: Run, study: Study) -> Ingredients | None:
    """What the run's trials read, None where that is not this study's text. Says why `almr run` will refuse it."""
    if fault := study_file.own_rung(study, run.folder):
        say(f"almr run will refuse this study: {fault}")
    try:
        run.refuse_foreign()
        run.refuse_other_recipe(study)
        return run.ingredients()
    except InputError as error:
        say(f"almr run will refuse this study: {error}")
        return None


def _print_checks(findings: list[CheckResult]) -> None:
    """Those that failed, and the verdict of all, last."""
    from sweep.preflight.checks import verdict

    for finding in sorted(findings, key=lambda one: not one.ok):
        (out if finding.ok else err).print(finding.text, markup=False, soft_wrap=True)
    if findings:
        passed = all(finding.ok for finding in findings)
        (out if passed else err).print(verdict(findings), markup=False, soft_wrap=True)


def _checked(study: Study, run: Run, planned: StudyPlan, address: str | None) -> list[CheckResult]:
    from sweep.preflight import preflight

    with err.status("checking"):
        return preflight.full(study, run, planned, address)


def prepare(study: StudyName, runs: Runs = RUNS, as_json: AsJson = False) -> None:
    """Download, tokenise and pack before a run, so that no GPU waits."""
    from sweep.verbs.plan import prepare as preparing

    if chain_file.is_chain(study):
        return chains.prepare(study, runs, as_json)
    loaded = study_file.load(study)
    with interruptible("what is finished is kept; run the same command again to go on"):
        prepared = preparing.prepare(loaded, err if as_json else out)
    show(prepared.as_json() if as_json else prepared.text(study))


def run(
    study: StudyName,
    runs: Runs = RUNS,
    address: Address = None,
    points: Also = None,
    replay: Annotated[
        str | None, typer.Option(metavar="TABLE", help="Answer trials from a table; trains nothing, on any machine.")
    ] = None,
    same_text: Annotated[
        str | None, typer.Option(metavar="REASON", help="Why text in changed files is the same text.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run a study to its report and launch bundle. Run again, it resumes.

    Also a chain of stages after a launch, such as demo-chat, to its last model.
    Exit status 1: trials failed. 2: no bundle. 3: the fit is refused. Else 0, also where the bundle says NO GO.
    """
    from sweep.verbs.results import rerun
    from sweep.verbs.running import run as sweep_run
    from sweep.verbs.running import single

    if chain_file.is_chain(study):
        not_of_a_chain(points=points, replay=replay, same_text=same_text)
        return chains.run(study, runs, address, as_json)
    named = also.read(points or ())
    loaded = study_file.load(study)
    loaded = study_file.replayed(loaded, replay) if replay else loaded
    options = sweep_run.RunOptions(address, named, same_text)
    chains.refuse_folder_of_one(loaded.name, runs)
    if single.only_trial(loaded) and not (named or same_text):
        with interruptible(RESUME):
            trained = single.train(loaded, Run.within(runs, loaded.name), err if as_json else out, address)
        show(trained.as_json() if as_json else trained.text())
        raise typer.Exit(trained.status)
    with interruptible(RESUME):
        finished = sweep_run.run(loaded, Run.within(runs, loaded.name), err if as_json else out, options)
    show(finished.as_json() if as_json else finished.text(rerun.of(finished.run, None if replay else study, address)))
    raise typer.Exit(finished.status)


def status(
    run: RunName,
    runs: Runs = RUNS,
    watch: Annotated[bool, typer.Option("--watch", help="Go on showing it until the run ends.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print what is done, running and left, and the time left. Reads files only."""
    from sweep.verbs.inspection import status as summary
    from sweep.verbs.live import watch as watching

    if record := chains.find(run, runs):
        return chains.status(record, run, runs, watch, as_json)
    if watch and as_json:
        raise InputError("--watch goes on until the run ends, and --json prints one object: leave one out")
    found = Run.find(run, runs)
    if watch:
        with interruptible("the run goes on; look again: the same command"):
            watching.watch(found, out)
    show(summary.status_json(found) if as_json else summary.status(found))


def doctor(run: RunName, runs: Runs = RUNS, as_json: AsJson = False) -> None:
    """Look for damaged files in a run, and say what to do. Changes nothing. Exit status 2: a file is damaged."""
    from sweep.verbs.inspection import doctor as examination

    found = chains.examine(run, runs) or examination.examine(Run.find(run, runs, damaged=True))
    show(found.as_json() if as_json else found.text)
    raise typer.Exit(BAD_INPUT if found.damaged else 0)


def pack(
    study: Annotated[str, typer.Argument(metavar="STUDY", help="study.yaml of a launch bundle.")],
    name: Annotated[str, typer.Option("--format", metavar="TRAINER", help="The trainer that reads it.")],
    folder: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="A new folder for it.")],
    held_out: Annotated[
        list[str] | None,
        typer.Option("--held-out", metavar="NAME=FILES", help="JSON Lines to measure losses on instead. Repeatable."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a launch's text as its trainer reads it. Needs no GPU."""
    from sweep.verbs.plan import pack as packing

    file, stated = study_file.find(study), packing.held_out_files(held_out)
    with interruptible("what is tokenised is kept; run the same command again to go on"):
        packed = packing.pack(file, name, folder, stated, err if as_json else out)
    show(packed.as_json() if as_json else packed.text)
