"""What `almr doctor` finds in the folder of a chain, whose stages are runs of their own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from sweep.store.run import Run
from sweep.study import InputError
from sweep.study.files.layout import RunFiles
from sweep.verbs.inspection import run_files
from sweep.verbs.inspection.doctor import Examination
from sweep.verbs.inspection.remark import Remark, of_reading
from sweep.verbs.stages import answers, chain_record
from sweep.verbs.stages.chain_record import ChainRecord


def examine(name: str, runs: str) -> Examination | None:
    """By its folder, or its name in `runs`; None where that is no chain. Each stage is examined by its own name."""
    for place in chain_record.folders(name, runs):
        files = RunFiles(place)
        if os.path.lexists(files.chain) and not os.path.lexists(files.study):
            run = Run(place)
            return Examination(run, list(_remarks(run)), 0, [])
    return None


def _remarks(run: Run) -> Iterator[Remark]:
    files = run.files
    yield from of_reading(files.chain, lambda path: chain_record.read(path.parent))
    yield from of_reading(run.folder / answers.FILE, answers.read)
    yield from run_files.examine_gains(run)
    try:
        record = chain_record.read(run.folder)
    except InputError:
        return
    if record:
        yield from _models(files.chain, record)
        stages = ", ".join(record.planned.values())
        yield Remark(files.chain, f"its stages are runs, to be looked at by themselves: {stages}", False)


def _models(path: Path, record: ChainRecord) -> Iterator[Remark]:
    for one in record.stages:
        if not Path(one.model).is_dir():
            yield Remark(
                path, f"the model of {one.stage} is not there ({one.model}): run the chain again, or restore it", False
            )
