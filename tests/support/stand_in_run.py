"""A run whose trials are carried out by a stand-in, written into its staged code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sweep.store.run import Run
from sweep.study import CorpusFacts, Ingredients, Study

LEFT = ("fingerprint", "files", "conversations")
FACTS: dict[str, Any] = {name: 1 for name in CorpusFacts.model_fields if name not in LEFT}


def with_stand_ins(folder: Path, study: Study, replaced: Mapping[str, str]) -> Run:
    """A run that is ready for its first trial. `replaced`: new text of files of our packages, by their paths."""
    run = Run(folder)
    run.freeze(study)
    corpora = {name: CorpusFacts(fingerprint="none", **FACTS) for name in ("original", "additional")}
    run.keep_ingredients(Ingredients(base_model="/base", base_model_fingerprint="none", folders={}, corpora=corpora))
    run.stage_code()
    for name, text in replaced.items():
        (run.files.code / name).write_text(text)
    return run
