"""A chain: its stages one after the other, each from the model that the one before left, and what they gained."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from sweep.store.run import Run
from sweep.study import LANGUAGES, InputError, numbers
from sweep.study.numbers import clock
from sweep.study.sections.text.corpora import BaseModelSource
from sweep.verbs.stages import answers, carry_out, chain_record, gains, launched
from sweep.verbs.stages.chain_file import LoadedChain
from sweep.verbs.stages.chain_record import ChainRecord, StageResult


@dataclass(frozen=True)
class ChainEnded:
    """A chain whose stages have all ended. `seconds`: of this session."""

    home: Run
    record: ChainRecord
    seconds: float
    more: tuple[str, ...] = ()

    status = 0

    def text(self) -> str:
        models = [f"{label}: {model}" for label, model in self.record.models.items()]
        losses = [line for one in self.record.stages for line in loss_lines(one)]
        return "\n".join(["", *losses, *models, *self.more, f"time: {clock(self.seconds)} this session"])

    def as_json(self) -> dict[str, Any]:
        return self.record.model_dump(mode="json") | {"models": self.record.models, "seconds": self.seconds}


FINE_TUNING = "sft"


def loss_lines(one: StageResult) -> list[str]:
    """The held-out losses of a stage, before and after it."""
    before, after, names = one.base_loss.model_dump(), one.loss.model_dump(), one.languages
    told = (
        f"{names.get(each, each)} {numbers.number(before[each])} -> {numbers.number(after[each])}" for each in LANGUAGES
    )
    return [f"{one.stage}: held-out loss {', '.join(told)}"]


def run(loaded: LoadedChain, runs: str, console: Console, address: str | None = None) -> ChainEnded:
    """Carry out what is left of a chain. Stages that ended stay as they are.

    Raises InputError for a first model that is not there, and for a stage that cannot go on or leaves no model.
    """
    began, chain = time.monotonic(), loaded.chain
    home = home_of(loaded, runs)
    with home.locked():
        start = launched.find(chain.model, runs, console)
        record = ChainRecord(
            name=chain.name,
            planned={one.stage: one.study.name for one in loaded.stages},
            model=start.model.pretrained,
            before=start.before,
        )
        model = start.model
        chain_record.write(home, record)
        for number, one in enumerate(loaded.stages, 1):
            line = f"stage {number} of {len(loaded.stages)}: {one.stage}, from {model.pretrained}"
            console.print(line, markup=False, soft_wrap=True)
            result = carry_out.carry_out(one.on(model), Run.within(runs, one.study.name), console, address)
            record = record.model_copy(update={"stages": (*record.stages, result)})
            chain_record.write(home, record)
            model = BaseModelSource(pretrained=result.model)
        told = _answered(loaded, home, record, runs, console)
        if chain.benchmarks:
            told += gains.table(home, record.models, chain.benchmarks, start.run, console)
    return ChainEnded(home, record, time.monotonic() - began, tuple(told))


def _answered(loaded: LoadedChain, home: Run, record: ChainRecord, runs: str, console: Console) -> list[str]:
    """How the models answer what the fine-tuning held out; nothing where the chain has no such stage."""
    tuned = next((one for one in loaded.stages if one.stage == FINE_TUNING), None)
    if tuned is None:
        return []
    run = Run.within(runs, tuned.study.name)
    made = run.ingredients()
    first = list(record.models)[: len(record.models) - len(record.stages)][-1]
    models = {first: made.base_model if made else ""} | {one.stage: one.model for one in record.stages}
    return answers.measure(home, run, models, console).lines(tuned.study)


def home_of(loaded: LoadedChain, runs: str) -> Run:
    """The folder of the chain. Raises InputError where a stage could not read what the one before left."""
    home = Run.within(runs, loaded.chain.name)
    if home.mirror:
        raise InputError(f"{home.address}: a chain hands its models on by files: give --runs a folder that nodes share")
    if home.files.study.exists():
        raise InputError(f"{home.address}: is the run of a study: give the chain another name")
    return home
