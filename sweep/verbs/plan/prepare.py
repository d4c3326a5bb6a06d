"""`almr prepare`: downloads, tokenises and packs what a study's trials share, on a machine without GPUs."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from sweep.planning import epochs, remembered
from sweep.study import Study, preparation
from sweep.study.files import cache
from sweep.study.numbers import clock, size
from sweep.study.preparation import Preparation, PreparationState
from sweep.verbs.plan import corpora, phases


@dataclass(frozen=True)
class Prepared:
    """What a preparation left. `record`: None for a replayed study, which needs none. `changed`: what was prepared
    anew, and why; `kept`: all was there already. `missing`: why it is not complete; empty where it is.
    """

    study: Study
    record: Preparation | None
    seconds: float
    changed: list[str]
    kept: bool
    missing: str = ""

    def text(self, name: str) -> str:
        if self.record is None:
            return f"{self.study.name}: nothing to prepare: a replayed study reads its trials from a table"
        how = "was prepared already: nothing has changed" if self.kept else f"prepared in {clock(self.seconds)}"
        but = f", but not {self.missing}" if self.missing else ""
        lines = [f"{self.study.name}: {how}{but}", *(f"anew: {line}" for line in self.changed)]
        lines += [f"{part}: {size(used)}{self._counts(part)}" for part, used in self.record.sizes.items() if used]
        total = size(sum(self.record.sizes.values()))
        lines += corpora.lines(self.study, self.record.ingredients.corpora)
        lines += [f"disk: {total}, in {cache.root()}{self._elsewhere()}"]
        lines += phases.commit_lines(self.record.ingredients.commits)
        lines += phases.base_model_lines(self.study, self.record.ingredients.base_check)
        faults = [f"almr run will refuse this study: {fault}" for fault in self._faults()]
        return "\n".join([*lines, *(faults or [f"next: almr run {name}"])])

    def _faults(self) -> list[str]:
        assert self.record
        return list(epochs.faults(self.study, self.record.ingredients.corpora))

    def _counts(self, part: str) -> str:
        assert self.record
        if part == "text" and self.study.base_model.is_tiny:
            return " (that of the tiny model included)"
        facts = self.record.ingredients.corpora.get(part.removeprefix("corpora."))
        length = self.study.training.sequence_length
        if facts is None:
            return ""
        if self.study.training.stage == "dpo":
            return f" (pairs: {facts.documents:,} to train on, {facts.held_out_documents:,} held out)"
        return f" (blocks of {length:,} tokens: {facts.blocks:,} to train on, {facts.held_out_blocks:,} held out)"

    def _elsewhere(self) -> str:
        assert self.record
        paths = [path for paths in self.record.paths.values() for path in paths]
        outside = any(not path.startswith(str(cache.root())) for path in paths)
        return " and the cache of huggingface_hub" if outside else ""

    def as_json(self) -> dict[str, Any]:
        if self.record is None:
            return {"study": self.study.name, "prepared": True, "already_prepared": True, "disk_bytes": {"total": 0}}
        sizes = self.record.sizes
        return {
            "study": self.study.name,
            "prepared": not self.missing,
            "already_prepared": self.kept and not self.missing,
            "changed": self.changed,
            "seconds": self.seconds,
            "cache": str(cache.root()),
            "disk_bytes": sizes | {"total": sum(sizes.values())},
            "paths": self.record.paths,
            "commits": self.record.ingredients.commits,
            "base_model": looked.model_dump(mode="json") if (looked := self.record.ingredients.base_check) else None,
            "refused": self._faults(),
            "tokens": {name: facts.tokens for name, facts in self.record.ingredients.corpora.items()},
            **corpora.as_json(self.study, self.record.ingredients.corpora),
        }


def prepare(study: Study, console: Console) -> Prepared:
    """Raises InputError for a model or text that cannot be loaded, and before that for a study that a run refuses
    whatever its text is; OSError where the disk does not take it.
    """
    if study.replay:
        return Prepared(study, None, 0.0, [], kept=True)
    before, began = preparation.state(study), time.monotonic()
    epochs.refuse_early(study, before.ready.ingredients.corpora if before.ready else {})
    own = remembered.own_stamps(study)
    with phases.shown(console) as progress:
        from trainers.prepare import fetch

        record = fetch(study, progress)
    remembered.keep(study, record.ingredients, own)
    phases.print_unscored(study, console)
    after, seconds = preparation.state(study), time.monotonic() - began
    changed = _changed(before, after, record)
    kept = before.record is not None and not changed
    return Prepared(study, record, seconds, changed, kept, after.reason)


def _changed(before: PreparationState, after: PreparationState, record: Preparation) -> list[str]:
    """What is not as it was, one line for each: a field's files or folders, a commit, or the content that was read."""
    if before.record is None:
        return [before.reason] if before.reason else []
    mended = {field: why for field, why in before.outdated.items() if after.outdated.get(field) != why}
    old, new = before.record.ingredients, record.ingredients
    moved = {
        phases.field(part): f"{phases.field(part)} at commit {new.commits[part]}, before {old.commits[part]}"
        for part in new.commits.keys() & old.commits.keys()
        if new.commits[part] != old.commits[part]
    }
    was = old.fingerprints()
    other = [part for part, content in new.fingerprints().items() if content != was.get(part)]
    unsaid = [f"{part}: its content has changed" for part in other if part not in mended.keys() | moved.keys()]
    return [*(f"{field}: {why}" for field, why in mended.items()), *moved.values(), *unsaid]
