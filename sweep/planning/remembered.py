"""What the last preparation of a study found in the cache, by which its next run need not look for it again.

To look for it takes torch and transformers, seconds of imports in a process that trains nothing: a run starts its
workers meanwhile. Kept for studies of which everything lies on this machine; what is on the hub is looked for anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
from pathlib import Path

from sweep.study import Ingredients, Study, preparation
from sweep.study.fields import Schema
from sweep.study.files import cache, reader, stamps
from sweep.study.files.atomic import write_atomically
from sweep.study.files.stamps import Identities
from sweep.study.study import fingerprint_of

VERSION = 2
LIBRARIES = ("torch", "transformers", "tokenizers", "datasets", "numpy", "pyarrow", "safetensors")
CODE = ("trainers", "sweep/study")  # of our packages: what decides what a preparation makes


class Remembered(Schema):
    """A file in `$ALMR_CACHE/remembered/`. `stamps`: of the user's own files, the model's and the packed corpora's."""

    schema_version: int = VERSION
    ingredients: Ingredients
    stamps: Identities


def read(study: Study, earlier: Ingredients | None) -> Ingredients | None:
    """The ingredients of exactly this study; None where they have to be looked for. Reads small files only.

    `earlier`: those that the run was prepared with before, whose measured losses are kept.
    """
    if not _on_this_machine(study) or (earlier and earlier.same_text):
        return None
    try:
        found = reader.read(_path(study), Remembered, "record of what was prepared", VERSION, "delete it")
    except (OSError, ValueError):  # InputError is a ValueError
        return None
    if found.stamps != _stamps(own_stamps(study), found.ingredients):
        return None
    return found.ingredients.with_check_of(earlier)


def own_stamps(study: Study) -> Identities:
    """Of the user's own files, to be taken before they are read."""
    return stamps.identified(file for files in preparation.own_stamps(study).values() for file in files)


def keep(study: Study, made: Ingredients, own: Identities) -> None:
    """Keep what a preparation made or found, where nothing of it can change unseen. `own`: the `own_stamps` before."""
    measured = made.base_check and made.base_check.losses
    if _on_this_machine(study) and measured and not made.commits and not made.same_text:
        found = Remembered(ingredients=made, stamps=_stamps(own, made))
        with contextlib.suppress(OSError):  # the cache may be another user's
            write_atomically(_path(study), found.model_dump_json())


def _on_this_machine(study: Study) -> bool:
    base, specs = study.base_model, [source.spec for source in study.corpora.by_name.values()]
    named = [base.pretrained, *(spec.dataset for spec in specs)]
    own = all(Path(name).is_dir() for name in named if name)
    return own and not base.tokenizer and not base.new_rows and not preparation.has_data(study.benchmarks)


def _stamps(own: Identities, made: Ingredients) -> Identities:
    """With those of the model and the packed corpora. A model of the user's own has those from before it was read."""
    folders = [made.base_model, *made.folders.values()]
    return stamps.identified(str(file) for folder in folders for file in Path(folder).rglob("*")) | own


def _path(study: Study) -> Path:
    key = [study.model_dump(mode="json"), [_version(name) for name in LIBRARIES], _code_sha256(), str(cache.root())]
    return cache.root() / "remembered" / f"{fingerprint_of(key)}.json"


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:  # built from source, and found by its path alone
        return None


def _code_sha256() -> str:
    digest, root = hashlib.sha256(), Path(__file__).parents[2]
    for path in sorted(file for package in CODE for file in (root / package).rglob("*.py")):
        digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()
