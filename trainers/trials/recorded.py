"""Replay: the record of a trial from a measured table instead of training, for rehearsals and comparisons.

A table that a simulation made says so in a column `simulated_by`; every output of its replay repeats it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, get_args

from sweep.study import (
    LANGUAGES,
    CorpusFacts,
    Horizon,
    Ingredients,
    InputError,
    PerLanguage,
    Record,
    SourceResult,
    Status,
    Study,
    Trial,
)
from sweep.study.fields import TrainerName
from sweep.study.record import SIMULATED, TrainerUsed
from sweep.study.sections.text.corpora import Corpora, Corpus
from sweep.study.study import fingerprint_of
from sweep.study.tables import replayed
from sweep.study.tables.cells import number_of, text_of, with_decimal_points
from sweep.study.tables.table_file import read_file

SOURCE_FIELDS = ("loss", "base_loss", "bits_per_byte", "base_bits_per_byte", "epochs")
TEXTS = ("status", "reason", "trainer", SIMULATED)  # with the reasons of the horizons
TOKENS_PER_DOCUMENT, BYTES_PER_TOKEN = 1000, 4  # of web text, where the study does not state its documents
REQUIRED = ("almr", "lr", "seed", "loss_original", "loss_additional")


def run_trial(study: Study, trial: Trial, attempt: int = 1) -> Record:
    """The record of the table's row for this trial, after waiting `replay.pace` times the seconds that it took.

    The table is one that `almr fit` wrote (`trials.csv`), in any form that `almr fit` reads. The record has those of
    the study's horizons that the table has columns for, and the losses of its named sources, from columns such as
    `loss_web`. Raises InputError where the table has no such row, and RuntimeError for a row of status `failed`.
    """
    assert study.replay is not None
    row = _find(study, trial)
    time.sleep(min(study.replay.pace * (row.get("seconds") or 0), replayed.LONGEST_SECONDS))
    status = Status(row.get("status") or Status.COMPLETE)
    if status is Status.FAILED:
        raise RuntimeError(row.get("reason") or "recorded as failed")
    return Record(
        **trial.model_dump(),
        trial_id=trial.id,
        fingerprint=study.fingerprint,
        attempt=attempt,
        status=status,
        reason=row.get("reason"),
        almr_achieved=row.get("almr_achieved"),
        tokens=row.get("tokens"),
        steps=row.get("steps"),
        trained_tokens=row.get("trained_tokens"),
        loss=_per_language(row, "loss"),
        horizons=tuple(_horizons(row, study)),
        base_loss=_per_language(row, "base_loss"),
        sources=_sources(row, study.corpora),
        trainer=_trainer(row, study),
        seconds=row.get("seconds"),
        gpu_hours=row.get("gpu_hours"),
        provenance={"replayed_from": study.replay.table} | ({SIMULATED: row[SIMULATED]} if row.get(SIMULATED) else {}),
    )


def ingredients(study: Study) -> Ingredients:
    """The counts of the corpora as the study states them, marked as not counted: a replay reads no text and no model.

    A source whose `tokens` are not stated is left out.
    """
    known = {name: source.spec for name, source in study.corpora.by_name.items() if source.spec.tokens}
    corpora = {name: _stated(spec, study.training.sequence_length) for name, spec in known.items()}
    return Ingredients(base_model="", base_model_fingerprint="", folders={}, corpora=corpora)


def _stated(spec: Corpus, length: int) -> CorpusFacts:
    tokens = int(spec.tokens or 0)
    documents = spec.documents or max(1, tokens // TOKENS_PER_DOCUMENT)
    held_out = spec.held_out or 0.0
    held_tokens, held_documents = round(tokens * held_out), max(1, round(documents * held_out))
    return CorpusFacts(
        fingerprint=fingerprint_of(spec.model_dump(mode="json", exclude={"trial_tokens"})),  # which came later
        documents=max(1, documents - held_documents),
        tokens=tokens - held_tokens,
        bytes=(tokens - held_tokens) * BYTES_PER_TOKEN,
        blocks=(tokens - held_tokens) // length,
        held_out_documents=held_documents,
        held_out_tokens=held_tokens,
        held_out_bytes=held_tokens * BYTES_PER_TOKEN,
        held_out_blocks=held_tokens // length,
        counted=False,
    )


@lru_cache(maxsize=2)
def _rows(table: str) -> list[dict[str, Any]]:
    try:
        file = read_file(Path(table))
    except InputError as error:
        raise InputError(f"{error}; set replay.table to a trials.csv") from None
    missing = [name for name in REQUIRED if name not in file.names]
    if missing:
        raise InputError(f"{table}: no column {', '.join(missing)}; set replay.table to a trials.csv")
    rows = with_decimal_points(file.rows, file.names)
    found = {n: {name: _value(name, cell) for name, cell in row.items()} for n, row in rows.items()}
    for number, row in found.items():
        if fault := replayed.fault(row):
            raise InputError(f"{table}, {file.unit} {number}: {fault}")
    return list(found.values())


def _value(column: str, cell: Any) -> Any:
    """A cell as a number, a text or None."""
    if column == "status":
        return text_of(cell).lower() or None
    number = number_of(cell)
    as_text = math.isnan(number) or column.startswith(TEXTS)
    return (text_of(cell) or None) if as_text else number


def _find(study: Study, trial: Trial) -> dict[str, Any]:
    """The row of a trial. Where rows are of several trainers, that of the study's: see `_trainer`."""
    assert study.replay is not None
    table = study.replay.table
    here = [row for row in _rows(table) if _is_of(row, trial)]
    own = [row for row in here if _trainer(row, study).name == study.trainer.name]
    if own or (here and not study.trainer.external):
        return (own or here)[0]
    of = f" by {study.trainer.name}" if here else ""
    raise InputError(f"{table}: no row for {trial.id}{of}: leave it out, or replay another table")


def _is_of(row: dict[str, Any], trial: Trial) -> bool:
    at = [(row[name], getattr(trial, name)) for name in ("seed", "almr", "lr")]
    return all(isinstance(here, float) and math.isclose(here, there) for here, there in at)


def _trainer(row: dict[str, Any], study: Study) -> TrainerUsed:
    """What trained the trial of a row: as its table states, in a column `trainer`, else the study's trainer."""
    name, version = row.get("trainer") or study.trainer.name, row.get("trainer_version") or ""
    if name in get_args(TrainerName):
        return TrainerUsed(name=name, version=version)
    return TrainerUsed(name="command", version=f"{name} {version}".strip())


def refuse_unknown(study: Study, trials: Iterable[Trial]) -> None:
    """Raises InputError for a trial that the table of a replay has no row of."""
    if study.replay:
        for trial in trials:
            _find(study, trial)


def refuse_unstated_trainer(study: Study) -> None:
    """Raises InputError where the table of a replay does not state the study's trainer: its rows may be of another."""
    for trial in study.grid_trials if study.replay else ():
        row = _find(study, trial)
        if not row.get("trainer") or _trainer(row, study).name != study.trainer.name:
            assert study.replay
            raise InputError(
                f"{study.replay.table}: does not say that {study.trainer.name} trained {trial.id}, and a replay trains "
                f"nothing: name a study without replay"
            )


def has(study: Study, trial: Trial) -> bool:
    """Whether the table of a replay has a row of the trial; True for a study that trains."""
    try:
        refuse_unknown(study, [trial])
    except InputError:
        return False
    return True


def refuse_unusable(study: Study) -> None:
    """Raises InputError for a replay whose table cannot be read or has a row that no trial can be, and where it lacks
    what the study needs: the GPU-hours of a search's budget, which would count as zero, or the base model's losses of
    its guards.
    """
    if study.replay is None:
        return
    rows = _rows(study.replay.table)
    for name in study.objective.guarded:
        if not any(row.get(f"base_loss_{name}") for row in rows):
            raise InputError(
                f"{study.replay.table}: no base_loss_{name}, so the guard of {name} has no limit: add that column, "
                f"the base model's loss, or remove the guard from objective"
            )
    if study.search.gpu_hours and not any(row.get("gpu_hours") for row in rows):
        raise InputError(
            f"{study.replay.table}: no gpu_hours, so search.gpu_hours cannot be counted: write search.trials or "
            f"search.tokens instead"
        )


def _horizons(row: dict[str, Any], study: Study) -> Iterator[Horizon]:
    for tokens in study.training.horizons:
        reason, loss = row.get(f"reason@{tokens}"), _per_language(row, "loss", f"@{tokens}")
        if reason is None and loss == PerLanguage():
            continue
        bits = _per_language(row, "bits_per_byte", f"@{tokens}")
        measured = _sources(row, study.corpora, ("loss", "bits_per_byte"), f"@{tokens}")
        steps = study.training.steps_of(tokens)
        yield Horizon(tokens=tokens, steps=steps, reason=reason, loss=loss, bits_per_byte=bits, sources=measured)


def _sources(
    row: dict[str, Any], corpora: Corpora, fields: Sequence[str] = SOURCE_FIELDS, horizon: str = ""
) -> dict[str, SourceResult]:
    return {
        name: SourceResult(
            language=source.language,
            weight=source.share,
            **{field: row.get(f"{field}_{name}{horizon}") for field in fields},
        )
        for name, source in corpora.by_name.items()
        if corpora.named
    }


def _per_language(row: dict[str, Any], name: str, horizon: str = "") -> PerLanguage:
    return PerLanguage(**{language: row.get(f"{name}_{language}{horizon}") for language in LANGUAGES})
