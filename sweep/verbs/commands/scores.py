"""The verb `scores`: several checkpoints on the same questions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from sweep.store.run import Run
from sweep.study import InputError
from sweep.verbs.commands.terminal import err, interruptible, out, show
from sweep.verbs.options import RUNS, AsJson, grouped

if TYPE_CHECKING:
    from trainers.benchmarks.models.asked import Asked

DEFAULT = Path("scores")
UNSCORED = 1
WIDTHS = (80, 100)


@dataclass(frozen=True)
class QuestionOptions:
    """Which questions are asked. What a help text of one screen cannot hold is hidden, and in docs/gains.md."""

    suite: Annotated[str | None, typer.Option(metavar="NAME", help="embedded, or almr.")] = None
    tasks: Annotated[list[str] | None, typer.Option(metavar="NAMES", help="Of lm-evaluation-harness: gsm8k,cmmlu")] = (
        None
    )
    study: Annotated[str | None, typer.Option(metavar="STUDY", help="Its benchmarks and held-out text.")] = None
    run: Annotated[str | None, typer.Option("--run", metavar="RUN", help="The same; the run's report shows it.")] = None
    data: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Local copies of the tasks' data.")] = None
    limit: Annotated[int | None, typer.Option(metavar="N", help="Most questions of a task or subject.")] = None
    unsafe_code: Annotated[bool, typer.Option("--unsafe-code", help="Also run code that models write.")] = False
    shots: Annotated[int | None, typer.Option(metavar="N", help="Solved examples.", hidden=True)] = None
    include: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Task files.", hidden=True)] = None
    task_code: Annotated[bool, typer.Option("--task-code", help="Trust their Python.", hidden=True)] = False
    sandbox: Annotated[str | None, typer.Option(metavar="NAME", help="What holds code.", hidden=True)] = None

    def stated(self) -> dict[str, Any]:
        """As fields of `benchmarks`."""
        tasks = [name for text in self.tasks or () for name in text.split(",") if name]
        folders = {name: str(path.resolve()) for name in ("data", "include") if (path := getattr(self, name))}
        names = ("suite", "limit", "shots", "unsafe_code", "task_code", "sandbox")
        return {name: getattr(self, name) for name in names} | {"tasks": tasks} | folders


@dataclass(frozen=True)
class AskingOptions:
    """How models are asked."""

    chat: Annotated[bool, typer.Option("--chat", help="Ask in each model's chat template.")] = False
    max_tokens: Annotated[
        int | None, typer.Option(metavar="N", help="Of an answer, at most.  [default: the task's]")
    ] = None
    batch: Annotated[int | None, typer.Option(metavar="N", help="Requests at once.  [default: 16]")] = None
    device: Annotated[str | None, typer.Option(metavar="NAME", help="cpu, cuda:1, or auto: all GPUs.")] = None
    precision: Annotated[str | None, typer.Option(metavar="NAME", help="Of the weights.", hidden=True)] = None
    temperature: Annotated[float, typer.Option(metavar="T", help="0: greedy.", hidden=True)] = 0.0


@grouped
def scores(
    models: Annotated[list[str], typer.Argument(metavar="MODEL", hidden=True)],
    reference: Annotated[
        list[str] | None, typer.Option("--reference", metavar="MODEL", help="In the table, but not compared.")
    ] = None,
    questions: QuestionOptions = QuestionOptions(),
    asking: AskingOptions = AskingOptions(),
    folder: Annotated[Path | None, typer.Option("--out", metavar="FOLDER", help="[default: scores]")] = None,
    runs: Annotated[str, typer.Option(metavar="FOLDER", help="Folder of runs.", hidden=True)] = RUNS,
    as_json: AsJson = False,
) -> None:
    """Ask MODELs (or label=MODEL) the same questions: what each gained."""
    from sweep.verbs.scores import named, score

    every = named.read(models, reference or ())
    console = err if as_json else out
    with interruptible("finished tasks are kept; run the same command again to go on"):
        found = Run.find(questions.run, runs) if questions.run else None
        asked = _asked(questions, asking, found, console)
        place = folder or (found.files.gains if found else DEFAULT)
        made = score.score_models(every, asked, place, console)
    if found and not folder:
        found.share()
    show(made.as_json() if as_json else made.text(min(max(out.width, WIDTHS[0]), WIDTHS[1])))
    raise typer.Exit(UNSCORED if made.unscored else 0)


def _asked(given: QuestionOptions, how: AskingOptions, run: Run | None, console: Console) -> Asked:
    from sweep.verbs.scores import questions

    if given.study and run:
        raise InputError("--study and --run: both name questions: leave one out")
    study = run.study() if run else questions.study_of(given.study) if given.study else None
    benchmarks = questions.benchmarks(given.stated() | {"batch": how.batch}, study)
    way = questions.How(how.chat, how.temperature, how.max_tokens, how.precision, how.device)
    if benchmarks.suite != "embedded":
        return questions.asked(benchmarks, None, way)
    if study is None:
        raise InputError("--suite embedded: asks about held-out text of a study: name it: --study STUDY, or --run RUN")
    return questions.asked(benchmarks, questions.of_run(run) if run else questions.held_out(study, console), way)
