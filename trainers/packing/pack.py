"""Packs the text of a launch for one trainer into a folder: whole or not at all."""

from __future__ import annotations

import glob
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sweep.study import Ingredients, InputError, Study, Trial, preparation
from sweep.study.fields import Schema
from sweep.study.files import cache, patterns
from sweep.study.files.atomic import sha256, write_atomically
from sweep.study.numbers import size
from sweep.study.study import fingerprint_of
from trainers import prepare
from trainers.packing import axolotl, llamafactory, megatron, token_file, trl
from trainers.packing.blocks import LaunchBlocks
from trainers.packing.writer import PackedWriter
from trainers.preference import exported
from trainers.preference import llamafactory as pairwise

VERSION = 2  # of the packed files: raise it when the same study would give others
SMALL = 1_000_000_000  # bytes of a file that is read for its sha256
ABOUT = "blocks.json"  # written last
WRITERS: dict[str, PackedWriter] = {
    "torchtitan": token_file,
    "llamafactory": llamafactory,
    "axolotl": axolotl,
    "megatron": megatron,
    "trl": trl,
}
OF_PAIRS: dict[str, Any] = {"trl": exported, "llamafactory": pairwise}
Progress = Callable[[str, float | None], None]


class PackedText(Schema):
    """`blocks.json`: what lies in a folder. `key` identifies the text and the trainer, `study_sha256` the study file,
    which start.sh compares.

    `rows` are the blocks of `sequence_length` tokens that the run trains on, in all, and `sources` how many of them are
    from each source. `held_out` are the blocks that losses are measured on, by name. `before` and `after`: the token
    ids at the borders of each document.
    """

    trainer: str
    study: str
    key: str
    study_sha256: str
    sequence_length: int
    rows: int
    sources: dict[str, int]
    held_out: dict[str, int]
    before: tuple[int, ...]
    after: tuple[int, ...]
    document_masking: bool
    bytes: int

    @property
    def tokens(self) -> int:
        return self.rows * self.sequence_length


@dataclass(frozen=True)
class LaunchText:
    """The text of a study's only trial for the trainer `name`. `file` is the study's own, and `held_out` names JSON
    Lines files that losses are measured on, instead of the corpora's own held-out part.
    """

    study: Study
    trial: Trial
    name: str
    file: Path
    held_out: Mapping[str, str]

    @cached_property
    def key(self) -> str:
        """Identifies what is packed: by the fields of the study that it depends on and the files that they name, by
        size and time. What lies beside the study file may be moved with it: its content counts, not its place.
        """
        return self._key(json.dumps(f"{self._folder}/")[1:-1])

    @cached_property
    def keys(self) -> tuple[str, str]:
        """Also that of earlier versions, which counted a place with other letters than those of ASCII."""
        return self.key, self._key(f"{self._folder}/")

    def _key(self, place: str) -> str:
        """`place`: of the study file, as it is written in JSON."""
        study, training = self.study, self.study.training
        shares = {one.name: str(one.fraction) for one in study.corpora.by_name.values()}
        run = [self.trial.almr, self.trial.seed, training.steps, training.global_batch_tokens]
        run += [training.evaluation_tokens, training.document_masking]
        named = json.dumps([preparation.fields(study), dict(self.held_out)]).replace(place, "")
        return fingerprint_of([VERSION, self.name, named, shares, run, self._files()])

    @property
    def study_sha256(self) -> str:
        return sha256(self.file)

    @property
    def _folder(self) -> Path:
        return self.file.absolute().parent

    def _files(self) -> dict[str, object]:
        own = [file for found in preparation.own_stamps(self.study).values() for file in found]
        own += [file for pattern in self.held_out.values() for file in patterns.matching(pattern)]
        return {self._place(file): self._stamp(Path(file)) for file in sorted(set(own))}

    def _place(self, file: str) -> str:
        return str(Path(file).absolute()).removeprefix(f"{self._folder}/")

    def _stamp(self, file: Path) -> object:
        status = file.stat()
        moves = file.absolute().is_relative_to(self._folder) and status.st_size <= SMALL
        return sha256(file) if moves else (status.st_size, status.st_mtime_ns)


def pack(text: LaunchText, folder: Path, progress: Progress) -> PackedText:
    """Prepare the study and write its only trial's text for its trainer into `folder`, which must not exist.

    Raises InputError for text or a model that cannot be read, and where the disk is too small.
    """
    key = text.key  # before anything is read: a later change is then noticed
    made = prepare.prepare(text.study, progress)
    progress(f"packing the text for {text.name}", 0.0)
    blocks, writer = _to_write(text, made)
    refuse_too_large(folder, writer.size(blocks))
    cache.remove_abandoned_in(folder.parent, glob.escape(folder.name))
    cache.build_once(folder, lambda unfinished: _fill(unfinished, blocks, writer, text, key, progress))
    return read(folder)


def found(text: LaunchText, folder: Path) -> PackedText | None:
    """What was packed into the folder before; None where there is no folder. Raises InputError where it holds something
    else.
    """
    if not folder.exists():
        return None
    try:
        packed = read(folder)
    except (OSError, ValueError):
        raise InputError(f"{folder}: holds other files: name a new folder with --out") from None
    if packed.key not in text.keys:
        raise InputError(
            f"{folder}: holds another study's text, or its files were changed since: delete it, or name a new folder"
        )
    if packed.study_sha256 == text.study_sha256:
        return packed
    return _write(folder, packed.model_copy(update={"study_sha256": text.study_sha256}))  # of another LR, say


def read(folder: Path) -> PackedText:
    return PackedText.model_validate_json((folder / ABOUT).read_bytes())


def _write(folder: Path, about: PackedText) -> PackedText:
    write_atomically(folder / ABOUT, about.model_dump_json(indent=2) + "\n")
    return about


def refuse_too_large(folder: Path, need: float, other: str = "give --out") -> None:
    """Raises InputError where the disk of a folder that may not exist yet has less than `need` bytes free. `other`: how
    to name another folder.
    """
    place = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.is_dir())
    free = shutil.disk_usage(place).free
    if need > free:
        raise InputError(
            f"{folder}: {size(need)} are needed and {size(free)} are free: free some space, or {other} on another disk"
        )


def writers(study: Study) -> dict[str, Any]:
    """What writes the text of a study's stage, by the trainer that reads it."""
    return OF_PAIRS if study.training.stage == "dpo" else dict(WRITERS)


def _to_write(text: LaunchText, made: Ingredients) -> tuple[Any, Any]:
    """The run's blocks, or its preference pairs, and what writes them."""
    rows: Any = exported.LaunchPairs if text.study.training.stage == "dpo" else LaunchBlocks
    return rows.of(text.study, text.trial, made, text.held_out), writers(text.study)[text.name]


def _fill(folder: Path, blocks: Any, writer: Any, text: LaunchText, key: str, progress: Progress) -> None:
    """`blocks`, `writer`: see `_to_write`."""
    done = 0

    def written(rows: int) -> None:
        nonlocal done
        done += rows
        progress(f"packing the text for {text.name}", min(1.0, done / blocks.rows))

    writer.write(blocks, folder, written)
    about = PackedText(
        trainer=text.name,
        study=blocks.study.name,
        key=key,
        study_sha256=text.study_sha256,
        sequence_length=blocks.sequence_length,
        rows=blocks.rows,
        sources=blocks.drawn,
        held_out={part: len(rows) for part, rows in blocks.held_out.items()},
        before=blocks.borders.before,
        after=blocks.borders.after,
        document_masking=blocks.document_masking,
        bytes=cache.size([str(folder)], set()),
    )
    _write(folder, about)
