"""What `almr plan`, `almr prepare` and `almr status` say of a chain: of each stage, what they say of its study."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from sweep.store.run import Run
from sweep.study import Ingredients, preparation
from sweep.study.files.layout import RunFiles
from sweep.study.sections.text.corpora import BaseModelSource
from sweep.trials.progress import RunProgress
from sweep.verbs.stages import chain_record, launched
from sweep.verbs.stages.chain import loss_lines
from sweep.verbs.stages.chain_file import ChainStage, LoadedChain
from sweep.verbs.stages.chain_record import ChainRecord


def staged(loaded: LoadedChain, runs: str) -> tuple[str, list[ChainStage]]:
    """What the chain begins with, in words, and its stages, each on the model that it will continue from: that of the
    stage before where that has ended, else what the chain begins with, which is of the same shape.
    """
    base, words = launched.planned(loaded.chain.model, runs)
    record = chain_record.read(Path(runs) / loaded.chain.name)  # not one of the working directory
    ended = {one.stage: one.model for one in record.stages} if record else {}
    return words, _on(loaded, base, ended)


def _on(loaded: LoadedChain, base: BaseModelSource, ended: Mapping[str, str]) -> list[ChainStage]:
    """The stages, of which those in `ended` have left a model. Of one that is not there yet a part is known: it will
    have the chat template of its stage.
    """
    found, template = [], None
    for one in loaded.stages:
        own = one.study.documents.chat_template or template
        documents = one.study.documents.model_copy(update={"chat_template": own})
        found.append(replace(one, study=one.study.model_copy(update={"documents": documents})).on(base))
        template = own
        if one.stage in ended:
            base, template = BaseModelSource(pretrained=ended[one.stage]), None
    return found


def plan(loaded: LoadedChain, runs: str) -> dict[str, Any]:
    """The plan of each stage, by its name."""
    from sweep.planning import plan as plans

    words, stages = staged(loaded, runs)
    found = {}
    for one in stages:
        run = Run.within(runs, one.study.name)
        made = run.ingredients()
        found[one.stage] = (one.study, plans.plan(one.study, RunProgress.of(one.study, run), _corpora(made), None))
    return {"model": words, "stages": found, "prepared": _prepared(loaded, runs, stages)}


def _prepared(loaded: LoadedChain, runs: str, stages: list[ChainStage]) -> bool:
    """Whether no stage waits for text. One that will continue from the model that the stage before has left was
    prepared on the model that the chain begins with, where that one had not ended yet.
    """
    first = _on(loaded, launched.planned(loaded.chain.model, runs)[0], {})
    return all(
        preparation.state(now.study).done or preparation.state(one.study).done
        for now, one in zip(stages, first, strict=True)
    )


def _corpora(made: Ingredients | None) -> dict[str, Any]:
    return made.corpora if made else {}


def prepare(loaded: LoadedChain, runs: str, console: Console) -> dict[str, Any]:
    """Prepare the text of every stage; its model where that is there, else with the one that is."""
    from sweep.verbs.plan import prepare as preparing

    _, stages = staged(loaded, runs)
    return {one.stage: preparing.prepare(one.study, console) for one in stages}


def find(name: str, runs: str) -> ChainRecord | None:
    """The record of a chain by its folder, or its name in `runs`; None where that is no chain."""
    return next(filter(None, map(chain_record.read, chain_record.folders(name, runs))), None)


def beside(name: str, runs: str) -> Path:
    """The folder with the runs of the chain that `find` finds: that of the chain's own folder, wherever it is."""
    found = (place for place in chain_record.folders(name, runs) if os.path.lexists(RunFiles(place).chain))
    return Path(os.path.abspath(next(found))).parent


def status_lines(record: ChainRecord, runs: Path) -> list[str]:
    """How far each stage of a chain is. `runs`: the folder with their runs."""
    from sweep.verbs.inspection import status as summary

    ended = {one.stage: one for one in record.stages}
    lines = [f"{record.name}: {len(ended)} of {len(record.planned)} stages ended, from {record.model}"]
    for stage, name in record.planned.items():
        run = Run.within(runs, name)
        if not run.files.study.is_file():
            lines.append(f"{stage}: not begun")
        elif stage in ended:
            lines += [*loss_lines(ended[stage]), f"{stage}: model: {ended[stage].model}"]
        else:
            lines.append(f"{stage}: {summary.status(run)}")
    if len(ended) < len(record.planned):
        lines.append(f"to go on: the same almr run as before, of the chain {record.name}")
    return lines
