"""Chain files: finding and reading them, and the study that each of their stages is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pydantic

from sweep.study import InputError, Study, study_file
from sweep.study.errors import explain
from sweep.study.sections.post_training import Chain
from sweep.study.sections.text.corpora import BaseModelSource


@dataclass(frozen=True)
class ChainStage:
    """A stage as the plain study that it is."""

    stage: str
    study: Study

    def on(self, base_model: BaseModelSource) -> ChainStage:
        """The stage that continues from this model."""
        return replace(self, study=self.study.model_copy(update={"base_model": base_model}))


@dataclass(frozen=True)
class LoadedChain:
    """A chain file, and its stages in their order."""

    path: Path
    chain: Chain
    stages: tuple[ChainStage, ...]


def is_chain(source: str | Path) -> bool:
    """Whether a file has stages after a model, and is no study. Raises InputError where it cannot be read."""
    return study_file.is_chain(study_file.content_of(study_file.find(source)))


def load(source: str | Path) -> LoadedChain:
    """Read a chain file, or a shipped one by its bare name. Raises InputError naming file, field and fix."""
    path = study_file.find(source)
    try:
        chain = Chain.model_validate(study_file.content_of(path))
    except pydantic.ValidationError as error:
        raise InputError("\n".join(f"{path}: {line}" for line in explain(error, Chain))) from None
    stages = tuple(
        ChainStage(stage, study_file.stage_of(chain.name, stage, fields, path))
        for stage, fields in chain.post_training.stages.items()
    )
    return LoadedChain(path, _with_absolute_model(chain, path.parent), stages)


def _with_absolute_model(chain: Chain, folder: Path) -> Chain:
    """A folder is relative to the file; a name of the hub stays as it is."""
    given = chain.model.pretrained
    if given is None or not (folder / given).is_dir():
        return chain
    model = chain.model.model_copy(update={"pretrained": str((folder / given).resolve())})
    return chain.model_copy(update={"model": model})
