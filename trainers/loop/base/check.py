"""The look at a base model before the first trial: its directory, and its loss on a sample of each language.

What was found is cached by the content of model, tokenizer and text, so that it is looked for once.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from sweep.study import Ingredients, InputError, Study
from sweep.study.files import cache
from sweep.study.ingredients import BaseModelCheck
from sweep.study.study import fingerprint_of
from trainers.data.corpus import open_corpora
from trainers.data.tokens.borders import Borders
from trainers.data.tokens.text_tokenizer import TextTokenizer
from trainers.loop.base import measured
from trainers.loop.base.loss import Sample
from trainers.model.base import inspection, resizing
from trainers.workers.device import device_name

VERSION = 2  # of all that is looked at: raise it when a check finds more
LARGEST_ON_A_CPU = 1e9  # parameters: 4 GB in float32, and about a minute for the samples on two cores
LARGEST_AT_A_GLANCE = 2e8
LATER = "the first GPU of the run measures it, before the first trial"


def look(study: Study, folder: Path, tokenizer: Any, key: str) -> BaseModelCheck:
    """The model's directory. `key`: its fingerprint. Raises InputError with one line for each fault."""
    parts = [VERSION, "files", key, study.training.sequence_length, study.documents.recipe(), len(tokenizer)]

    def find() -> BaseModelCheck:
        inspected = inspection.inspect(study, folder, tokenizer)
        if inspected.faults:
            raise InputError("\n".join(inspected.faults))
        return inspected.found.model_copy(update={"new_rows": len(resizing.resized(folder).new)})

    return _once(fingerprint_of(parts), find)


def measure(study: Study, made: Ingredients, device: torch.device | None = None) -> BaseModelCheck:
    """The check of these ingredients with the losses. `device`: a GPU that is free; None: this machine's CPU, on which
    a large model of a study with GPUs is not measured.

    Raises InputError with one line where the base model is broken.
    """
    assert made.base_check
    if study.training.stage == "dpo":  # its loss is ln 2 by definition
        return made.base_check
    found, on = made.base_check, device or torch.device("cpu")
    if device is None and study.resources.gpus and found.parameters > LARGEST_ON_A_CPU:
        return found.model_copy(update={"unmeasured": LATER})
    names = {part: study.source_label(part) for part in made.folders}
    parts = [VERSION, "losses", made.fingerprints(), study.training.document_masking, names, device_name(on)]
    parts += [study.training.sequence_length, torch.__version__]

    def find() -> BaseModelCheck:
        samples = {p: Sample.of(study.source_label(p), corpus) for p, corpus in open_corpora(made).items()}
        return measured.check(study, found, made.base_model, samples, on)

    return _once(fingerprint_of(parts), find)


def glance(study: Study, found: BaseModelCheck, tokenizer: Any, texts: dict[str, list[str]]) -> BaseModelCheck:
    """The check with the losses on some documents of each language, before any corpus is packed: of a small model in a
    directory. Raises InputError as `measure` does.
    """
    length = study.training.sequence_length
    tokens = TextTokenizer(tokenizer, Borders.of(tokenizer, study.documents))
    made = {part: Sample.of_texts(study.source_label(part), some, tokens, length) for part, some in texts.items()}
    enough = {part: sample for part, sample in made.items() if sample}
    if not enough or found.parameters > LARGEST_AT_A_GLANCE:
        return found
    return measured.check(study, found, study.base_model.pretrained or "", enough, torch.device("cpu"))


def _once(key: str, find: Callable[[], BaseModelCheck]) -> BaseModelCheck:
    """What was found, from the cache where it was found before; what was refused is looked for again."""
    found: list[BaseModelCheck] = []

    def build(unfinished: Path) -> None:
        found.append(find())
        (unfinished / "found.json").write_text(found[0].model_dump_json(indent=2))

    folder = cache.build_once(cache.root() / "base_checks" / key, build)
    return found[0] if found else BaseModelCheck.model_validate_json((folder / "found.json").read_bytes())
