"""What a fit was made from, as hashes in `fit.json`: they tell whether the file still belongs to its run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, Self

from pydantic import Field

from sweep.study import Schema, Study
from sweep.study.files.atomic import sha256
from sweep.study.files.layout import RunFiles
from sweep.study.study import fingerprint_of

# How trials and launch are run, and names: no number of a fit depends on these fields. A field not listed here counts.
NOT_FITTED: dict[str, Any] = {
    **dict.fromkeys(("resources", "execution", "tracking", "notify", "keep", "benchmarks", "post_training"), True),
    "trainer": dict.fromkeys(("environment", "container", "variables"), True),
    "launch": {
        **dict.fromkeys(("nodes", "gpus_per_node", "micro_batch_sequences", "gpu", "gpu_gigabytes"), True),
        **dict.fromkeys(("tensor_parallel", "pipeline_parallel", "context_parallel"), True),
        **dict.fromkeys(("checkpoints", "evaluations", "evaluation", "image", "volume_claim", "formats"), True),
        "transfer": {"confirm": True},
    },
}
BASE = PurePosixPath("base")  # the folder of the base model's scores


class FitInputs(Schema):
    """Hashes of all that a fit depends on.

    `study`: fingerprints of the study's sections, without the fields that only say how trials and launch are run.
    `files`: sha256 of the records and benchmark scores, by name within the run. `rungs`: sha256 of the `fit.json` and
    `study.yaml` of the runs that `launch.transfer.rungs` names, by path. `code`: sha256 of the package that fitted:
    another version may find other numbers, but the fit still belongs to the run.
    """

    study: dict[str, str]
    files: dict[str, str]
    rungs: dict[str, str] = Field(default_factory=dict)
    code: str | None = None

    @classmethod
    def of_run(cls, study: Study, run: Path) -> Self:
        """Of the files as they are now. Raises OSError."""
        sections = study.model_dump(mode="json", exclude=NOT_FITTED, exclude_defaults=True)
        for given in sections["corpora"].values():
            for source in given if isinstance(given, list) else [given]:
                source.pop("language", None)
        files = RunFiles(run)
        return cls(
            study={name: fingerprint_of(section) for name, section in sections.items()},
            files={files.name(path): sha256(path) for path in _fitted(files)},
            rungs={str(path): sha256(path) for path in _rungs(study, run)},
            code=_code(),
        )

    def changes(self, now: FitInputs) -> list[str]:
        """What differs now, a sentence each; empty where nothing does."""
        found = [f"study.yaml: {name} changed since the fit" for name in _differing(self.study, now.study)]
        # A rung's folder may be missing where the run is read on another machine than it was fitted on.
        moved = {path: digest for path, digest in now.rungs.items() if self.rungs.get(path) != digest}
        return [*_words(self.files, now.files), *found, *(f"{path} changed since the fit" for path in moved)]


@cache
def _code() -> str:
    package = Path(__file__).parents[1]
    return fingerprint_of({str(path.relative_to(package)): sha256(path) for path in sorted(package.rglob("*.py"))})


def _fitted(files: RunFiles) -> Iterator[Path]:
    """The files that a fit reads: records, and the benchmark scores of their trials and of the base model."""
    records = files.records()
    scores = [files.base.scores, files.base.failures, files.base.questions]
    scores += [files.trial(record.parent.name).questions for record in records]
    yield from (*records, *(path for path in scores if path.is_file()))


def _rungs(study: Study, run: Path) -> Iterator[Path]:
    """Without the run itself, which a fit refuses as a rung: writing the fit would outdate it."""
    rule = study.launch.transfer if study.launch else None
    for rung in rule.rungs if rule else ():
        if rung.run and Path(rung.run).resolve() != run.resolve():
            files = RunFiles(Path(rung.run))
            yield from (path for path in (files.fit, files.study) if path.is_file())


def _differing(old: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    return sorted(name for name in old.keys() | now.keys() if old.get(name) != now.get(name))


def _words(old: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """How many trials are new, changed or missing, with an example; and whether the base model's scores changed."""
    before, after = ({PurePosixPath(name).parent for name in files} for files in (old, now))
    changed = {PurePosixPath(name).parent for name in _differing(old, now)}
    base = ["the base model's scores changed since the fit"] if BASE in changed else []
    differing = sorted(changed - {BASE})
    if not differing:
        return base
    kinds = Counter("new" if one not in before else "missing" if one not in after else "changed" for one in differing)
    counts = ", ".join(f"{kinds[kind]} {kind}" for kind in ("new", "changed", "missing") if kinds[kind])
    return [f"the run now has {counts} trial{'s' if len(differing) > 1 else ''} (for example {differing[0]})", *base]
