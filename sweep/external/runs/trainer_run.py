"""A run of a format's trainer: its folder is written, prepared and started as a user would, and what it leaves is read."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pydantic

from analysis.launch import bundle
from analysis.launch.plan.launch_plan import LaunchPlan
from sweep.external.runs import start
from sweep.external.runs.halfway import checkpoint, written
from sweep.external.runs.start import Ended, Script, TrainerEnvironment
from sweep.external.runs.trace import Losses, TextRead, Trace
from sweep.study import LANGUAGES, Study
from sweep.study.sections.launch import Format
from sweep.study.sections.recipe.training import Training
from sweep.worker.group.node import free_port, python_path

READERS = Path(__file__).parent / "readers"
READ_SECONDS = 600
NAMES_STEP = ("native", "megatron")  # trainers whose files say which step a run resumed from
QUIET = {"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1", "AXOLOTL_DO_NOT_TRACK": "1", "WANDB_MODE": "disabled"}
Show = Callable[[str], None]


class TrainerRunError(Exception):
    """A trainer's run did not finish, or its log cannot be read; the message is one line."""


@dataclass(frozen=True)
class PreparedFiles:
    """What a model that a trainer leaves is measured on: files with the study and its ingredients."""

    study: Path
    ingredients: Path


@dataclass(frozen=True)
class TrainerRun:
    """The launch of a format in `folder`. `seconds`: time limit of each script; `show` tells a person what happens."""

    name: Format
    plan: LaunchPlan
    folder: Path
    environment: TrainerEnvironment
    prepared: PreparedFiles
    seconds: float
    show: Show

    @property
    def half(self) -> int:
        """The step of the checkpoint half-way."""
        return self.plan.checkpoint_steps

    def write(self) -> None:
        start.fresh(self.folder).rmdir()
        bundle.write(self.plan, self.name, self.folder)

    def train(self) -> Trace:
        """Prepare the data, train to the end, read the log and measure the model. Raises TrainerRunError."""
        self.write()
        if (self.folder / "prepare.sh").is_file():
            self._run("prepare.sh", self.folder)
        checkpoints = start.fresh(self.folder / "checkpoints")
        self._run("start.sh", checkpoints)
        return self.read(checkpoints)

    def train_in_two(self) -> tuple[Trace, int | None]:
        """Train on the data of `train`, killed after the checkpoint half-way and started again; also the step that it
        resumed from, None where it began at step 1: where its log says so, or where the checkpoint half-way is another
        one afterwards, or gone. Raises TrainerRunError.
        """
        checkpoints = start.fresh(self.folder / "checkpoints-resumed")
        first = self._run("start.sh", checkpoints, lambda seconds: bool(self._half_way(checkpoints)))
        mark = self._half_way(checkpoints)
        if not first.stopped or mark is None:
            raise TrainerRunError("it ended before it could be stopped")
        before = written(mark)
        self._run("start.sh", checkpoints)
        kept = written(mark) == before
        found = self.read(checkpoints)
        if self.name in NAMES_STEP:
            return found, found.resumed_from
        return found, self.half if kept else None

    def _half_way(self, checkpoints: Path) -> Path | None:
        return checkpoint(self.name, checkpoints, self.half)

    def _run(self, script: str, checkpoints: Path, stop: Callable[[float], bool] = lambda seconds: False) -> Ended:
        def watch(seconds: float) -> bool:
            self.show(f"{self.name}, {self.folder.name}: {script}, {seconds:,.0f} s")
            return stop(seconds)

        log = self.folder / f"{script}.log"
        made = Script(self.folder / script, self._variables(checkpoints), log, self.seconds).run(watch)
        if made.fault:
            raise TrainerRunError(made.fault)
        return made

    def _variables(self, checkpoints: Path) -> dict[str, str]:
        threads = {} if self.plan.launch.gpus_per_node else {"OMP_NUM_THREADS": str(self.plan.study.resources.cpus)}
        own = {"ALMR_CHECKPOINTS": str(checkpoints), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
        own["ALMR_RESTARTS"] = "0"  # a failure is a result, and the run that is killed half-way stays so
        return QUIET | threads | own | self.environment.all_variables

    def read(self, checkpoints: Path) -> Trace:
        """What the trainer left, with the held-out losses of its model by our own evaluation."""
        self.show(f"{self.name}, {self.folder.name}: reading its log, and measuring its model")
        training = self.plan.study.training
        command = reader_command(self.name, self.environment.python, self.folder, checkpoints, training, self.plan.steps)
        answer = _answer(command)
        try:
            found = Trace.model_validate_json(answer)
        except pydantic.ValidationError as error:
            raise TrainerRunError(f"its log cannot be read: {error.errors()[0]['msg']}") from None
        if found.model is None or self.name == "native":
            return found
        found = found.model_copy(update={"after": measured(self.prepared, found.model)})
        return counted(found, self._text(found), self.plan.study)

    def _text(self, found: Trace) -> TextRead:
        """What the trainer read, beside the trial's text. Raises TrainerRunError."""
        files = [str(self.prepared.study), str(self.prepared.ingredients), self.name, str(self.folder / "data")]
        command = [start.OURS, "-P", "-m", "sweep.external.runs.reference.read_text", *files, json.dumps(found.streams)]
        return TextRead.model_validate_json(_answer(command))


def reader_command(
    name: Format, python: str, folder: Path, checkpoints: Path, training: Training, steps: int
) -> list[str]:
    """What reads the log that a run of `steps` left, under its trainer's own Python; it prints a trace as JSON."""
    asked = {"steps": steps, "sequence_length": training.sequence_length, "batch_sequences": training.batch_sequences}
    # -I: the environment's own packages alone, except that the native reader imports ours. -B: no bytecode beside them.
    flags = ["-B"] if name == "native" else ["-I", "-B"]
    return [python, *flags, str(READERS / "run.py"), name, str(folder), str(checkpoints), json.dumps(asked)]


def counted(found: Trace, text: TextRead, study: Study) -> Trace:
    """With the languages of what it read: of each batch, of the tokens of all steps that it logged, and of the losses
    before training, which a trainer measures by source.
    """
    sources, length = study.corpora.by_name, study.training.sequence_length
    batches = []
    for batch in found.batches or text.batches:
        languages = dict.fromkeys(LANGUAGES, 0)
        for name, count in batch.items():
            languages[sources[name].language] += count
        batches.append(languages)
    done = batches[: max(found.by_step, default=0)]
    tokens = {name: length * sum(batch[name] for batch in done) for name in LANGUAGES} if done else {}
    before = _language_losses(found.before, study) | found.before
    changed = {"batches": tuple(batches), "foreign": text.foreign, "tokens": tokens, "before": before}
    return found.model_copy(update=changed)


def _language_losses(losses: Losses, study: Study) -> Losses:
    """The loss of each language of which all sources were measured: their mean by their shares of its tokens."""
    named = {name: [one for one in study.corpora.by_name.values() if one.language == name] for name in LANGUAGES}
    known = {name: of for name, of in named.items() if all(one.name in losses for one in of)}
    return {name: sum(one.share * losses[one.name] for one in of) for name, of in known.items()}


def on_rows(prepared: PreparedFiles, rows: str) -> Trace:
    """How our own trainer trains on rows that another one read. Raises TrainerRunError."""
    files = [str(prepared.study), str(prepared.ingredients), rows]
    return Trace.model_validate_json(_answer([start.OURS, "-P", "-m", "sweep.external.parity.on_rows", *files]))


def measured(prepared: PreparedFiles, model: str) -> Losses:
    """The held-out losses of a model. Raises TrainerRunError."""
    files = [str(prepared.study), str(prepared.ingredients), model]
    losses: Losses = json.loads(_answer([start.OURS, "-P", "-m", "sweep.external.runs.reference.evaluate", *files]))
    return losses


def _answer(command: list[str]) -> str:
    """The last line that a program of Python prints. Raises TrainerRunError with its last line where it fails."""
    environment = os.environ | {"PYTHONPATH": python_path()}
    try:
        done = subprocess.run(  # noqa: S603
            command, capture_output=True, text=True, check=False, timeout=READ_SECONDS, env=environment
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise TrainerRunError(f"what it left cannot be read: {error}") from None
    lines = (done.stderr if done.returncode else done.stdout).strip().splitlines()
    if done.returncode or not lines:
        raise TrainerRunError(f"what it left cannot be read: {lines[-1] if lines else 'no answer'}")
    return lines[-1]
