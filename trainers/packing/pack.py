"""Packs the text of a launch for one trainer into a folder: whole or not at all."""

from __future__ import annotations

import glob
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from sweep.study import InputError, Study, Trial, preparation
from sweep.study.fields import Schema
from sweep.study.files import cache, patterns
from sweep.study.files.atomic import sha256, write_atomically
from sweep.study.numbers import size
from sweep.study.study import fingerprint_of
from trainers import prepare
from trainers.packing import axolotl, llamafactory, megatron, token_file
from trainers.packing.blocks import LaunchBlocks
from trainers.packing.writer import PackedWriter

VERSION = 2  # of the packed files: raise it when the same study would give others
ABOUT = "blocks.json"  # written last
WRITERS: dict[str, PackedWriter] = {
    "torchtitan": token_file,
    "llamafactory": llamafactory,
    "axolotl": axolotl,
    "megatron": megatron,
}
Progress = Callable[[str, float | None], None]


class PackedText(Schema):
    """`blocks.json`: what lies in a folder. `key` identifies the study's text and the trainer.

    `rows` are the blocks of `sequence_length` tokens that the run trains on, in all, and `sources` how many of them are
    from each source. `held_out` are the blocks that losses are measured on, by name. `before` and `after`: the token
    ids at the borders of each document.
    """

    trainer: str
    study: str
    key: str
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


def pack(
    study: Study, trial: Trial, name: str, folder: Path, held_out: Mapping[str, str], progress: Progress
) -> PackedText:
    """Prepare the study and write its only trial's text for the trainer `name` into `folder`, which must not exist.

    `held_out`: JSON Lines files by name, to measure losses on instead of the corpora's own held-out part. Raises
    InputError for text or a model that cannot be read, and where the disk is too small.
    """
    writer = WRITERS[name]
    made = prepare.prepare(study, progress)
    progress(f"packing the text for {name}", 0.0)
    blocks = LaunchBlocks.of(study, trial, made, held_out)
    refuse_too_large(folder, writer.size(blocks))
    cache.remove_abandoned_in(folder.parent, glob.escape(folder.name))
    cache.build_once(folder, lambda unfinished: _fill(unfinished, blocks, name, held_out, progress))
    return read(folder)


def found(study: Study, trial: Trial, name: str, folder: Path, held_out: Mapping[str, str]) -> PackedText | None:
    """What was packed into the folder before; None where there is no folder. Raises InputError where it holds something
    else.
    """
    if not folder.exists():
        return None
    try:
        packed = read(folder)
    except (OSError, ValueError):
        raise InputError(f"{folder}: holds other files: name a new folder with --out") from None
    if packed.key != key(study, trial, name, held_out):
        raise InputError(f"{folder}: holds text of another study, launch or trainer: delete it, or name a new folder")
    return packed


def read(folder: Path) -> PackedText:
    return PackedText.model_validate_json((folder / ABOUT).read_bytes())


def key(study: Study, trial: Trial, name: str, held_out: Mapping[str, str]) -> str:
    """Identifies what is packed, by the fields of the study that it depends on. Text that is excluded or measured
    counts by its content: a bundle may be moved, with its `held_out/`.

    Raises InputError where such a file is missing.
    """
    training, fields = study.training, preparation.fields(study)
    for source in study.corpora.by_name.values():
        if source.spec.exclude:
            described = fields["corpora"][source.language]
            described = described[source.name] if source.fraction < 1 else described
            described["exclude"] = _digests(source.spec.exclude, f"{source.where}.exclude")
    measured = {part: _digests([files], f"--held-out {part}") for part, files in held_out.items()}
    shares = {one.name: str(one.fraction) for one in study.corpora.by_name.values()}
    run = [trial.almr, trial.seed, training.steps, training.global_batch_tokens, training.evaluation_tokens]
    return fingerprint_of([VERSION, name, fields, shares, run, training.document_masking, measured])


def _digests(named: Iterable[str], where: str) -> list[str]:
    try:
        return sorted({sha256(Path(file)) for pattern in named for file in patterns.matching(pattern)})
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


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


def _fill(folder: Path, blocks: LaunchBlocks, name: str, held_out: Mapping[str, str], progress: Progress) -> None:
    done = 0

    def written(rows: int) -> None:
        nonlocal done
        done += rows
        progress(f"packing the text for {name}", min(1.0, done / blocks.rows))

    WRITERS[name].write(blocks, folder, written)
    about = PackedText(
        trainer=name,
        study=blocks.study.name,
        key=key(blocks.study, blocks.trial, name, held_out),
        sequence_length=blocks.sequence_length,
        rows=blocks.rows,
        sources=blocks.mixture.drawn(blocks.rows),
        held_out={part: len(rows) for part, rows in blocks.held_out.items()},
        before=blocks.borders.before,
        after=blocks.borders.after,
        document_masking=blocks.document_masking,
        bytes=cache.size([str(folder)], set()),
    )
    write_atomically(folder / ABOUT, about.model_dump_json(indent=2) + "\n")
