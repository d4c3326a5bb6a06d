"""The verb `pack`: the text of a launch, tokenised and in the order of its run, in the files of one trainer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from sweep.planning import prepared_size
from sweep.study import InputError, Study, Trial, preparation, study_file
from sweep.study.files import cache, patterns
from sweep.study.numbers import almr, size, tokens
from sweep.verbs.plan import phases

if TYPE_CHECKING:
    from trainers.packing.pack import PackedText

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
LEAST = 4  # bytes of a packed token


@dataclass(frozen=True)
class Packed:
    """`kept`: all was there already."""

    study: Study
    folder: Path
    about: PackedText
    kept: bool

    @property
    def text(self) -> str:
        about, name = self.about, self.study.source_label
        sources = ", ".join(f"{name(source)} {count:,}" for source, count in about.sources.items())
        held_out = ", ".join(f"{part} {count:,}" for part, count in about.held_out.items())
        share = almr(self.study.grid_trials[0].almr)
        return "\n".join(
            [
                f"{about.study}: {'was packed already' if self.kept else 'packed'} for {about.trainer}",
                f"to train on: {tokens(about.tokens)} tokens, {about.rows:,} blocks of {about.sequence_length:,}, at "
                f"ALMR {share}: {sources}",
                f"to measure losses on: {held_out} blocks",
                f"disk: {size(about.bytes)}, in {self.folder}",
            ]
        )

    def as_json(self) -> dict[str, Any]:
        return self.about.model_dump(mode="json") | {"folder": str(self.folder), "already_packed": self.kept}


def pack(file: Path, name: str, folder: Path, held_out: Mapping[str, str], console: Console) -> Packed:
    """Pack the text of a study file. Raises InputError for a study of several trials, a trainer that reads no packed
    text, a folder with other files, text that cannot be read, and a disk that is too small.
    """
    study = study_file.load(file)
    trial = _only_trial(study)
    with phases.shown(console) as progress:
        from trainers.packing import pack as packing

        if name not in (known := packing.writers(study)):
            raise InputError(f"--format {name}: no trainer that reads packed text: give {', '.join(known)}")
        text = packing.LaunchText(study, trial, name, file, held_out)
        if before := packing.found(text, folder):
            return Packed(study, folder, before, kept=True)
        packing.refuse_too_large(cache.root(), _unprepared(study), "set ALMR_CACHE to a folder")
        packing.refuse_too_large(folder, LEAST * study.training.tokens)
        return Packed(study, folder, packing.pack(text, folder, progress), kept=False)


def held_out_files(given: list[str] | None) -> dict[str, str]:
    """`NAME=FILES` of the command line, by name. Raises InputError for another form, and for no file."""
    found = dict(one.partition("=")[::2] for one in given or ())
    for name, files in found.items():
        if not files or not NAME.fullmatch(name):
            raise InputError(f"--held-out {name}: write a name and its files, such as original=english.jsonl")
        try:
            patterns.matching(files)
        except InputError as error:
            raise InputError(f"--held-out {name}: {error}") from None
    return found


def _only_trial(study: Study) -> Trial:
    trials = study.grid_trials
    if len(trials) != 1:
        raise InputError(
            f"study {study.name}: its grid has {len(trials)} trials, but a launch is one: give the study.yaml of a "
            f"launch bundle"
        )
    return trials[0]


def _unprepared(study: Study) -> float:
    """Bytes that are yet to be prepared in the cache, as far as they are known before anything is read."""
    return 0.0 if preparation.state(study).ready else sum(filter(None, prepared_size.parts(study, None).values()))
