"""The fields in which the studies of runs differ, by their names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from analysis.compare.fitted import ComparedFit
from analysis.compare.result import FieldDifference
from analysis.fit_file.inputs import NOT_FITTED
from sweep.study import CorpusFacts, Study, numbers
from sweep.study.errors import shown
from sweep.study.study_file import flattened

OF_OTHERS = frozenset(
    ("launch", "resources", "execution", "tracking", "keep", "benchmarks")
)  # not of the trials' losses


def differing(fits: Sequence[ComparedFit]) -> list[FieldDifference]:
    """Those that the losses and the fit depend on come first. A run without a study has None everywhere."""
    found = [*_counted(fits), *_stated(fits)]
    return sorted(found, key=lambda one: not one.decides)


def _stated(fits: Sequence[ComparedFit]) -> Iterator[FieldDifference]:
    every = [_fields(one.study) if one.study else None for one in fits]
    fitted = {name for one in fits if one.study for name in _fields(one.study, NOT_FITTED)}
    for field in dict.fromkeys(name for fields in every if fields for name in fields):
        values = [fields.get(field) for fields in every if fields]
        if any(value != values[0] for value in values[1:]):
            texts = tuple(None if fields is None else shown(fields.get(field)) for fields in every)
            decides = field in fitted and field.split(".")[0] not in OF_OTHERS
            yield FieldDifference(field=field, values=texts, decides=decides)


def _fields(study: Study, without: Any = None) -> dict[str, Any]:
    content = study.model_dump(mode="json", by_alias=True, exclude=without)
    content.pop("name")
    return {name: value for name, value in flattened(content).items() if value is not None}


def _counted(fits: Sequence[ComparedFit]) -> Iterator[FieldDifference]:
    """What the studies do not say: the models' sizes, the trainers' versions, and what was read of each corpus."""
    rows: dict[str, list[str | None]] = {
        "parameters of the base model": [_size(one) for one in fits],
        "trained by": [one.file.trained_by or ("almr" if one.study else None) for one in fits],
    }
    names = dict.fromkeys(name for one in fits if one.ingredients for name in one.ingredients.corpora)
    rows |= {f"text of {name}": [_text(one, name) for one in fits] for name in names}
    for field, values in rows.items():
        if len({value for value in values if value is not None}) > 1:
            yield FieldDifference(field=field, values=tuple(values), decides=True)


def _size(of: ComparedFit) -> str | None:
    return f"{of.model.parameters:,}" if of.model.parameters else None


def _text(of: ComparedFit, name: str) -> str | None:
    facts: CorpusFacts | None = of.ingredients.corpora.get(name) if of.ingredients else None
    if facts is None:
        return None
    return (
        f"{facts.documents:,} documents, {numbers.tokens(facts.tokens)} tokens, {facts.held_out_documents:,} held out"
    )
