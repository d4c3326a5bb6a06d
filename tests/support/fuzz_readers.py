"""What reads each kind of fuzzed input, and whether its answer is one: success, or a short message with the file."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import hostile_tables
from time_limits import limited

from analysis.launch.confirm import results_table
from analysis.table import too_few
from analysis.table.import_table import read_table
from sweep.external.command import answer
from sweep.external.trial import reason
from sweep.study import InputError, study_file
from sweep.study.errors import LINE, MOST_LINES
from sweep.study.files import reader
from sweep.study.files.trial_files import read_record
from sweep.study.sections.benchmarks import Benchmarks
from sweep.study.sections.text.corpora import Corpus
from sweep.trials import also
from sweep.verbs.commands import terminal
from sweep.verbs.options import ObjectiveOptions
from sweep.verbs.results import fitting
from trainers.benchmarks import definitions
from trainers.data import documents

CONFIRM: Any = SimpleNamespace(weights={"original": 0.5, "additional": 0.5}, columns=("lr", "loss_original"))


def _table(path: Path) -> None:
    too_few.refuse(read_table(path), path.name)


def _log(path: Path) -> None:
    list(reader.json_lines(path, "step", "loss"))
    assert reason.of_log(path.read_text(encoding="utf-8", errors="replace"), 1)


def _command_line(path: Path) -> None:
    """The text as each option that has a form of its own."""
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    table = path.with_name("t.csv")
    table.write_text(hostile_tables.HEAD + hostile_tables.ROWS)
    for read in (
        lambda: also.read([text]),
        lambda: read_table(table, columns=text),
        lambda: read_table(table, where=[text]),
        lambda: fitting.objective(ObjectiveOptions(weights=text)),
        lambda: fitting.objective(ObjectiveOptions(guard=text)),
    ):
        fault = None
        try:
            read()
        except InputError as error:
            fault = _fault(error, ("--", "t.csv"))
        if fault:
            raise RuntimeError(fault)


READERS: dict[str, Callable[[Path], Any]] = {
    "study": study_file.load,
    "table": _table,
    "record": read_record,
    "corpus": lambda path: documents.beginnings(Corpus(files=str(path)), "corpora.original"),
    "task file": lambda path: definitions.leaves(Benchmarks(tasks=("own",), include=str(path.parent)), "own"),
    "log": _log,
    "results": lambda path: results_table.read(path, CONFIRM),
    "answer": answer.load,
    "command line": _command_line,
}


def _fault(error: Exception, names: tuple[str, ...]) -> str | None:
    """What is wrong with a refusal, None where it is as it should be."""
    shown = terminal.explain(error).lines
    if not any(name in str(error) for name in names):
        return f"the message names no file: {shown[0]}"
    if len(shown) > MOST_LINES or max(map(len, shown)) > LINE:
        return f"the message has {len(shown)} lines of up to {max(map(len, shown))} letters: {shown[0]}"
    return None


def tried(kind: str, path: Path, seconds: float = 5.0) -> str:
    """ "read", "refused", or what is wrong with the answer."""
    try:
        late = TimeoutError(f"no answer in {seconds:.0f} s of processor")
        with limited(signal.ITIMER_VIRTUAL, seconds, late):
            READERS[kind](path)
    except (InputError, answer.AnswerError) as error:
        return _fault(InputError(str(error)), (path.name,)) or "refused"
    except ValueError as error:  # of a task: it fails, and the run goes on
        told = kind == "task file" and "\n" not in str(error) and len(str(error)) < 1000
        return "refused" if told else f"{type(error).__name__}: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "read"
