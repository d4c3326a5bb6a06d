"""The verbs on a chain of stages: what `plan`, `prepare`, `run` and `status` do where their argument names one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from sweep.study import InputError
from sweep.verbs.commands.terminal import err, interruptible, out, show
from sweep.verbs.stages import chain_file

if TYPE_CHECKING:
    from sweep.verbs.inspection.doctor import Examination
    from sweep.verbs.stages.chain_record import ChainRecord

RESUME = "stages and trials that ended are kept; run the same command again to go on"


def not_of_a_chain(**given: Any) -> None:
    """Raises InputError for options that are of a study: they would be ignored."""
    names = {"points": "also"}
    for name, value in given.items():
        if value:
            option = names.get(name, name).replace("_", "-")
            raise InputError(f"--{option}: a chain of stages has none: give it to one of its stages, or leave it out")


def plan(source: str, runs: str, as_json: bool) -> None:
    from sweep.verbs.plan import text
    from sweep.verbs.stages import told

    found = told.plan(chain_file.load(source), runs)
    if as_json:
        stages = {stage: text.plan_json(*of) for stage, of in found["stages"].items()}
        show({"model": found["model"], "prepared": found["prepared"]} | stages)
        return
    show(f"begins with {found['model']}")
    for stage, of in found["stages"].items():
        show(f"\nstage {stage}")
        show(text.plan(*of))


def prepare(source: str, runs: str, as_json: bool) -> None:
    from sweep.verbs.stages import told

    loaded = chain_file.load(source)
    with interruptible("what is finished is kept; run the same command again to go on"):
        found = told.prepare(loaded, runs, err if as_json else out)
    if as_json:
        show({stage: prepared.as_json() for stage, prepared in found.items()})
    for stage, prepared in found.items() if not as_json else ():
        show(f"stage {stage}: {prepared.text(source)}")


def run(source: str, runs: str, address: str | None, as_json: bool) -> None:
    from sweep.verbs.stages import chain

    loaded = chain_file.load(source)
    with interruptible(RESUME):
        ended = chain.run(loaded, runs, err if as_json else out, address)
    show(ended.as_json() if as_json else ended.text())
    raise typer.Exit(ended.status)


def refuse_folder_of_one(name: str, runs: str) -> None:
    """Raises InputError where a study has the name of a chain: its run would be in the chain's folder."""
    from sweep.store.run import Run

    home = Run.within(runs, name)
    if home.files.chain.is_file():
        raise InputError(f"name: {name}: {home.address} is the folder of a chain: give the study another name")


def find(name: str, runs: str) -> ChainRecord | None:
    """The record of a chain by its folder, or its name in `runs`; None where that is none."""
    from sweep.verbs.stages import told

    return told.find(name, runs)


def examine(name: str, runs: str) -> Examination | None:
    """What the doctor finds in the folder of a chain; None where that is none."""
    from sweep.verbs.stages import examined

    return examined.examine(name, runs)


def status(record: ChainRecord, name: str, runs: str, watch: bool, as_json: bool) -> None:
    from sweep.verbs.stages import told

    if watch:
        going_on = [name for stage, name in record.planned.items() if stage not in {one.stage for one in record.stages}]
        raise InputError(
            f"--watch: a chain has several runs: watch one of them: {', '.join(going_on) or 'none is left'}"
        )
    if as_json:
        show(record.model_dump(mode="json") | {"models": record.models})
    else:
        show("\n".join(told.status_lines(record, told.beside(name, runs))))
