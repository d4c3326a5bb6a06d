"""The record of a preparation: what lies in the cache for a study, so that its run need not look for it again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, TypeAdapter

from sweep.study.errors import InputError
from sweep.study.fields import Schema
from sweep.study.files import cache, patterns, reader, stamps
from sweep.study.files.atomic import write_atomically
from sweep.study.files.stamps import FileStamps
from sweep.study.ingredients import Ingredients
from sweep.study.sections.benchmarks import Benchmarks
from sweep.study.study import Study, fingerprint_of
from sweep.study.study_file import changed_values

VERSION = 1
AGAIN = "run almr prepare again, which writes a new one"
BENCHMARKS = "benchmarks"
Stamps = dict[str, FileStamps]  # by the study's field
_STAMPS = TypeAdapter(Stamps)


class BenchmarkData(Schema):
    """The folders with the data of some benchmarks' tasks, and the tasks whose data could not be fetched."""

    folders: tuple[str, ...]
    missing: tuple[str, ...]


class Preparation(Schema):
    """A file in `$ALMR_CACHE/prepared/`: the ingredients of every study with these `fields`.

    `study` is the name of the last one that was prepared with them. `stamps` are the user's own files as they were
    then. `paths` are the files and folders of each part on this machine's disk. `benchmarks`, by `benchmarks_key`: what
    was fetched for each of the studies.
    """

    schema_version: int = VERSION
    study: str
    fields: dict[str, Any]
    ingredients: Ingredients
    stamps: Stamps
    paths: dict[str, tuple[str, ...]]
    benchmarks: dict[str, BenchmarkData] = Field(default_factory=dict)

    @property
    def sizes(self) -> dict[str, int]:
        """The size of each part as it is on the disk now. A file that several parts share counts for the first."""
        seen: set[tuple[int, int]] = set()
        return {part: cache.size(paths, seen) for part, paths in self.paths.items()}


def fields(study: Study) -> dict[str, Any]:
    """The fields that the prepared model and corpora depend on."""
    recipe = study.recipe()
    for source in study.corpora.by_name.values():
        several = source.fraction < 1
        spec = recipe["corpora"][source.language][source.name] if several else recipe["corpora"][source.language]
        for of_trials in ("weight", "trial_tokens"):
            spec.pop(of_trials, None)
    return {key: recipe[key] for key in ("base_model", "corpora", "documents") if key in recipe} | {
        "training": {"sequence_length": study.training.sequence_length} | _stage(study)
    }


def _stage(study: Study) -> dict[str, str]:
    return {} if study.training.stage == "cpt" else {"stage": study.training.stage}


def _parts(study: Study) -> tuple[str, ...]:
    return ("base_model", *(source.where for source in study.corpora.by_name.values()))


def benchmarks_key(benchmarks: Benchmarks) -> str:
    """A fingerprint of what decides which data are fetched."""
    return fingerprint_of(
        benchmarks.model_dump(mode="json", include={"suite", "tasks", "data", "include", "unsafe_code"})
    )


def path(study: Study) -> Path:
    return _folder() / f"{fingerprint_of(fields(study))}.json"


def _folder() -> Path:
    return cache.root() / "prepared"


def note_finished(study: Study, part: str, before: Stamps) -> None:
    """Note, for `state`, that a part is in the cache: the record itself is written last, after all of them.

    `before` are the stamps from before it was read.
    """
    noted = {name: files for name, files in _noted(study).items() if name != part} | {part: before.get(part, {})}
    write_atomically(_begun(study), _STAMPS.dump_json(noted).decode())


def _finished(study: Study) -> list[str]:
    """The parts that were noted, and whose files are as they were."""
    noted = _noted(study)
    now = own_stamps(study) if noted else {}
    return [part for part in _parts(study) if part in noted and noted[part] == now.get(part, {})]


def _noted(study: Study) -> Stamps:
    try:
        return _STAMPS.validate_json(_begun(study).read_bytes())
    except (OSError, ValueError):
        return {}


def _begun(study: Study) -> Path:
    return path(study).with_suffix(".begun")


def write(preparation: Preparation) -> None:
    record = _folder() / f"{fingerprint_of(preparation.fields)}.json"
    write_atomically(record, preparation.model_dump_json(indent=2))
    record.with_suffix(".begun").unlink(missing_ok=True)


def read(study: Study) -> Preparation | None:
    """The preparation of exactly this study; None where there is none, or where its file is broken.

    Raises NewerFileError for a file of a newer version.
    """
    return _read(path(study))


def _read(file: Path) -> Preparation | None:
    try:
        return reader.read(file, Preparation, "record of a preparation", VERSION, AGAIN)
    except reader.NewerFileError:
        raise
    except (OSError, ValueError):  # InputError is a ValueError
        return None


@dataclass(frozen=True)
class PreparationState:
    """Whether a study is prepared. `outdated`: what was prepared and is gone or has changed, one phrase for each field.
    Without a record, `absent` are the parts that an interrupted preparation did not finish, and `changes` how the study
    differs from the one of this name that was prepared last.
    """

    record: Preparation | None
    outdated: dict[str, str]
    absent: list[str]
    changes: list[str]

    @property
    def done(self) -> bool:
        return self.record is not None and not self.outdated

    @property
    def ready(self) -> Preparation | None:
        """The record, where model and corpora are as it says: enough to train, even without data of benchmarks."""
        return None if self.outdated.keys() - {BENCHMARKS} else self.record

    @property
    def missing(self) -> list[str]:
        """The parts that have to be prepared."""
        return list(self.outdated) if self.record else self.absent

    @property
    def reason(self) -> str:
        """Why it has to be prepared; empty where it never was."""
        return "; ".join([f"{field}: {why}" for field, why in self.outdated.items()] or self.changes)


def state(study: Study) -> PreparationState:
    """Reads small files only. Raises NewerFileError for a record of a newer version."""
    record = read(study)
    if record:
        return PreparationState(record, _outdated(record, study), [], [])
    files = sorted(_folder().glob("*.json"), key=lambda file: file.stat().st_mtime_ns, reverse=True)
    last = next((found for file in files if (found := _read(file)) and found.study == study.name), None)
    changes = changed_values(last.fields, fields(study)) if last else []
    finished = _finished(study)
    parts = (*_parts(study), *([BENCHMARKS] if has_data(study.benchmarks) else []))
    return PreparationState(None, {}, [part for part in parts if part not in finished], changes)


def _outdated(preparation: Preparation, study: Study) -> dict[str, str]:
    made, found = preparation.ingredients, {}
    if not Path(made.base_model).is_dir():
        found["base_model"] = f"{made.base_model} is gone"
    for name, folder in made.folders.items():
        if not (Path(folder) / "facts.json").is_file():
            found[f"corpora.{name}"] = f"{folder} is gone"
    now = own_stamps(study)
    changed = [field for field in now if now[field] != preparation.stamps.get(field)]
    return found | dict.fromkeys(changed, "its files have changed") | _benchmarks(preparation, study)


def has_data(benchmarks: Benchmarks | None) -> bool:
    """Whether tasks have data of their own. The questions of the embedded suite are made from the corpora."""
    return benchmarks is not None and (benchmarks.suite == "almr" or bool(benchmarks.tasks))


def _benchmarks(preparation: Preparation, study: Study) -> dict[str, str]:
    if not study.benchmarks or not has_data(study.benchmarks):
        return {}
    data = preparation.benchmarks.get(benchmarks_key(study.benchmarks))
    if data is None:
        return {BENCHMARKS: "not prepared before"}
    gone = [f"{folder} is gone" for folder in data.folders if not Path(folder).is_dir()]
    missing = [f"no data of {', '.join(data.missing)}"] if data.missing else []
    return {BENCHMARKS: "; ".join([*gone, *missing])} if gone or missing else {}


def own_stamps(study: Study) -> Stamps:
    """Size and time of the user's own files, by the study's field."""
    return {field: stamps.stamped(files) for field, files in _own_files(study) if files}


def _own_files(study: Study) -> Iterator[tuple[str, list[str]]]:
    base = study.base_model
    for field, name in (("base_model", base.pretrained), ("base_model.tokenizer", base.tokenizer)):
        yield field, [str(file) for file in Path(name).rglob("*")] if name and Path(name).is_dir() else []
    template = study.documents.template_file
    yield "documents.chat_template", [str(template)] if template else []
    for source in study.corpora.by_name.values():
        corpus = source.spec
        local = stamps.inside(corpus.dataset) if corpus.dataset and Path(corpus.dataset).is_dir() else []
        yield source.where, [*local, *_matching((*(corpus.files or ()), *(corpus.exclude or ())))]


def _matching(named: tuple[str, ...]) -> Iterator[str]:
    for pattern in named:
        with contextlib.suppress(InputError):  # reading the corpus says what is wrong
            yield from patterns.matching(pattern)
