"""`answers.json`: how the models of a chain answer the conversations that its fine-tuning held out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field
from rich.console import Console

from sweep.store.run import Run
from sweep.study import InputError, Study
from sweep.study.fields import Schema
from sweep.study.files import reader
from sweep.study.files.atomic import write_atomically
from sweep.study.numbers import percent
from sweep.study.study import fingerprint_of
from trainers.trials.answer_counts import AnswerCounts

FILE, VERSION = "answers.json", 1
MOST = 200  # questions of each source
COUNTING = 2  # raise it where the same answers would be counted otherwise


class ChainAnswers(Schema):
    """By the model's label and the name of a source: the counts of `trainers.trials.held_out_questions`. `keys` say for
    which model and conversations each was counted.
    """

    schema_version: int = VERSION
    keys: dict[str, str] = Field(default_factory=dict)
    counts: dict[str, dict[str, AnswerCounts]] = Field(default_factory=dict)

    def lines(self, study: Study) -> list[str]:
        found = []
        for label, sources in self.counts.items():
            for name, one in sources.items():
                right, own, ended = (
                    percent(n / max(1, one.asked), 0) for n in (one.right, one.in_language, one.stopped)
                )
                found.append(
                    f"{label}: of {one.asked} held-out questions in {study.source_label(name)}, {right} right, "
                    f"{own} in its language, {ended} ended by itself"
                )
        return found


def measure(home: Run, run: Run, models: Mapping[str, str], console: Console) -> ChainAnswers:
    """Ask the models about the held-out conversations of a stage's run, which were not asked yet."""
    from trainers.model.loading import fingerprint
    from trainers.trials.held_out_questions import ask

    made = run.ingredients()
    assert made
    before = _read(home.folder / FILE)
    folders = {name: Path(folder) for name, folder in made.folders.items()}
    facts = {name: one.fingerprint for name, one in made.corpora.items()}
    answers = ChainAnswers()
    for label, model in models.items():
        key = fingerprint_of([COUNTING, MOST, fingerprint(Path(model)), facts])
        kept = before.counts.get(label) if before and before.keys.get(label) == key else None
        with console.status(f"asking {label} about held-out conversations"):
            counts = kept or ask(Path(model), folders, MOST)
        answers = ChainAnswers(keys=answers.keys | {label: key}, counts=answers.counts | {label: counts})
    write_atomically(home.folder / FILE, answers.model_dump_json(indent=2))
    return answers


def _read(path: Path) -> ChainAnswers | None:
    try:
        return read(path)
    except (OSError, InputError):
        return None


def read(path: Path) -> ChainAnswers:
    """Raises FileNotFoundError, and InputError for a broken file."""
    return reader.read(path, ChainAnswers, "file of a chain's answers", VERSION, "delete it: it is written anew")
