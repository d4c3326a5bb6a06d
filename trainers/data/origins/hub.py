"""Data sets and models of the Hugging Face hub: the commit that they are read at, and the texts of a data set."""

from __future__ import annotations

import importlib.util
import itertools
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import datasets
import huggingface_hub
import numpy as np
import pyarrow as pa
from huggingface_hub import HfApi, constants, snapshot_download
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

from sweep.study import InputError
from sweep.study.errors import network_fault, one_line, shown
from sweep.study.files import cache, stamps
from sweep.study.sections.text.corpora import Corpus
from trainers.data.readers import arrow_json, columns
from trainers.data.readers.place import Place
from trainers.data.readers.record_text import RecordText

log = logging.getLogger(__name__)
SAVES_THE_WAIT = "without a network, HF_HUB_OFFLINE=1 in the environment saves the wait for time-outs"
FULL_HASH = re.compile(r"[0-9a-f]{40}")
TIMEOUT_SECONDS = 20
PARTS_SEED = 0
ROW_GROUPS = hasattr(datasets.IterableDataset, "reshard")  # an older version has files alone as its parts
AT_ONCE = 16  # parts of a data set that are read in turn
MARGIN, FEWEST_ROWS = 4, 100_000  # rows that a sample is drawn from, at least: a multiple of it, and a number


def arguments(spec: Corpus) -> dict[str, Any]:
    """What `datasets` is called with, as the study states it."""
    return {"path": spec.dataset, "name": spec.config, "split": spec.split, "revision": spec.revision}


@dataclass(frozen=True)
class Repository:
    """A data set or model of the hub as a study names it. In errors, `field` is the study's field, and `instead` says
    what a user without the hub can write.
    """

    kind: Literal["dataset", "model"]
    name: str
    revision: str | None
    field: str
    instead: str

    def folder(self) -> Path:
        """Where huggingface_hub keeps its files on this machine."""
        return Path(constants.HF_HUB_CACHE) / f"{self.kind}s--{self.name.replace('/', '--')}"


@dataclass(frozen=True)
class RecordedCommit:
    """The commit that was recorded when a study was prepared; None: none was. With `ask`, the hub is asked first."""

    commit: str | None = None
    ask: bool = True


UNRECORDED = RecordedCommit()


def repository(spec: Corpus, where: str) -> Repository:
    assert spec.dataset
    return Repository("dataset", spec.dataset, spec.revision, where, "give the corpus as local `files:`")


def commit(repository: Repository, recorded: RecordedCommit = UNRECORDED) -> str | None:
    """The commit at which a corpus or model is read; None for a local folder, which has none.

    That is `revision` where it is a full commit hash, else the commit that the hub states for it now. If the hub states
    none: the recorded one, else that of the copy in huggingface_hub's cache. Raises InputError where there is neither.
    """
    if Path(repository.name).is_dir():
        return None
    if FULL_HASH.fullmatch(repository.revision or ""):
        return repository.revision
    if recorded.commit and not recorded.ask:
        return recorded.commit
    try:
        look_up = getattr(HfApi(), f"{repository.kind}_info")
        stated: str | None = look_up(repository.name, revision=repository.revision, timeout=TIMEOUT_SECONDS).sha
        if stated:
            return stated
        reason = "its answer names no commit"
    except HFValidationError:
        return None  # not a name of the hub: the library that loads it says what is wrong
    except Exception as error:  # the errors of several network libraries come through
        reason = f"{type(error).__name__}: {one_line(error, 150)}"
    where, name = repository.field, repository.name
    found = recorded.commit or _cached_commit(repository)
    if found is None:
        raise InputError(
            f"{where}: {name} cannot be reached on the hub and no copy is cached ({reason}); check its name, "
            f"the network and HF_TOKEN, or {repository.instead}"
        )
    wait = "" if constants.HF_HUB_OFFLINE else f"; {SAVES_THE_WAIT}"
    log.warning("%s: %s cannot be reached on the hub (%s); using commit %s%s", where, name, reason, found, wait)
    return found


def _cached_commit(repository: Repository) -> str | None:
    """The commit of the branch or tag when huggingface_hub last saw it."""
    where: dict[str, Any] = {"repo_type": repository.kind, "revision": repository.revision, "local_files_only": True}
    if not hasattr(huggingface_hub, "resolve_revision"):  # huggingface_hub < 1.31
        try:
            return Path(snapshot_download(repository.name, **where)).name
        except LocalEntryNotFoundError:
            return None
    try:
        return huggingface_hub.resolve_revision(repository.name, **where).resolved
    except huggingface_hub.errors.RevisionResolutionError:
        return None


def documents(spec: Corpus, commit: str | None, where: str, read_as: RecordText | None = None) -> Iterator[bytes]:
    """The texts of a data set at a commit, as UTF-8; with `spec.documents`, enough of them for a sample (`_drawn`).
    `read_as`: where a document is made of several fields.

    Raises InputError for a data set that cannot be loaded, and where only a cached copy of another commit is there.
    """
    assert spec.dataset
    place = Place(where, spec.dataset, "row")
    try:
        builder = _builder(spec, commit, place)
        if spec.documents is None:
            builder.download_and_prepare()
            yield from _all(builder.as_dataset(split=spec.split), spec, place, read_as)
            return
        stream = builder.as_streaming_dataset(split=spec.split)
        for number, row in enumerate(_drawn(stream, spec, read_as), 1):
            yield _text(spec, read_as, place, row, number)
    except InputError:
        raise
    except Exception as error:  # `datasets` raises whatever its readers and the network raise
        log.debug("%s", where, exc_info=True)
        raise place.fault(_explain(error, spec)) from None


def _text(spec: Corpus, read_as: RecordText | None, place: Place, row: Any, number: int) -> bytes:
    if read_as:
        return read_as.text(place, row, number)
    return place.document(place.lookup(row, spec.field, number), spec.field, number)


def _builder(spec: Corpus, commit: str | None, place: Place) -> Any:
    arrow_json.install()
    stated = arguments(spec) | ({"revision": commit} if commit else {})
    split = stated.pop("split").partition("[")[0]
    builder = datasets.load_dataset_builder(**stated, cache_dir=str(cache.root() / "datasets"))
    if commit and builder.hash != commit:
        raise place.fault(f"the hub cannot be reached, and the cached copy is not of commit {commit}")
    known = list(builder.info.splits or builder.config.data_files or ())
    if known and split not in known:
        raise place.fault(f"there is no split {shown(split)}; the splits are {', '.join(known)}: set `split:`")
    return builder


def _all(rows: datasets.Dataset, spec: Corpus, place: Place, read_as: RecordText | None) -> Iterator[bytes]:
    path = columns.column_path(place, rows.features.arrow_schema, spec.field) if not read_as else []
    needed = read_as.present(place, rows.column_names) if read_as else path[:1]
    tables = rows.select_columns(needed).with_format("arrow").iter(columns.ROWS)
    batches = (batch for table in tables for batch in table.to_batches())
    yield from columns.record_texts(place, batches, read_as) if read_as else columns.documents(place, batches, path)


def _drawn(stream: datasets.IterableDataset, spec: Corpus, read_as: RecordText | None = None) -> Iterator[Any]:
    """The rows that a sample is drawn from: all of a small data set; of a larger one, MARGIN times the sample.

    Those come from parts of the data set in a fixed random order, AT_ONCE parts in turn: row groups of parquet, else
    files. So a sample of some gigabytes does not read a data set of some terabytes.
    """
    assert spec.documents
    known = stream.column_names or ()
    wanted = [name for name in (spec.field, spec.field.partition(".")[0]) if name in known][:1]
    wanted = [name for name in read_as.columns if name in known] if read_as else wanted
    stream = stream.select_columns(wanted) if wanted else stream
    stream = stream.reshard() if ROW_GROUPS else stream
    order = np.random.default_rng(PARTS_SEED).permutation(stream.num_shards)
    parts = (iter(stream.shard(num_shards=len(order), index=int(part))) for part in order)
    return itertools.islice(_in_turn(parts), max(MARGIN * spec.documents, FEWEST_ROWS))


def _in_turn(parts: Iterator[Iterator[Any]]) -> Iterator[Any]:
    """One row from each of AT_ONCE parts, and again; the next part follows where one is at its end."""
    active = list(itertools.islice(parts, AT_ONCE))
    while active:
        unfinished = []
        for part in active:
            for row in itertools.islice(part, 1):
                yield row
                unfinished.append(part)
        active = [*unfinished, *itertools.islice(parts, AT_ONCE - len(unfinished))]


def _has_zstd(spec: Corpus) -> bool:
    folder = Path(spec.dataset or "")
    return folder.is_dir() and any(name.endswith(".zst") for name in stamps.inside(str(folder)))


def _explain(error: BaseException, spec: Corpus) -> str:
    for link in (error, error.__cause__, error.__context__):
        if isinstance(link, pa.ArrowInvalid) and arrow_json.TOO_DEEP in str(link):
            return one_line(link)
    if importlib.util.find_spec("zstandard") is None and ("zstandard" in str(error) or _has_zstd(spec)):
        return "its .zst files need the package zstandard: pip install zstandard, or give them as `files:`"
    if reason := network_fault(error):
        return f"cannot be reached on the hub ({reason}), and no copy is cached: check the network and HF_TOKEN"
    name = spec.dataset or ""
    if not Path(name).is_dir() and (".." in name or not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name)):
        return "is no folder, and no name on the hub: give `dataset: OWNER/NAME`, or local files as `files:`"
    names = ("config", "split", "revision", "field")
    stated = ", ".join(f"`{name}: {getattr(spec, name)}`" for name in names if getattr(spec, name))
    fix = "or download its files and give them as `files:`"
    return f"cannot be loaded ({type(error).__name__}): check {stated}, {fix}"
