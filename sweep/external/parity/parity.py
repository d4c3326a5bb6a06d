"""`almr export RUN --parity`: the parity runs of each format, their verdicts, and the file that keeps them.

Of each format two launches of the small model are trained. `again` is a finished trial again, and is compared with its
record and log. `borders` is a few steps on short documents, and is compared with the same by our own trainer; it is
then trained a second time, killed half-way and started again. docs/parity.md says what each of them can show.
"""

from __future__ import annotations

import datetime
import itertools
import shutil
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from analysis.fit_file.result import FitResult
from analysis.launch.evidence.parity import Kind, ParityResult, ParityRun
from sweep.external.parity import documents, judge, kept, repeat
from sweep.external.parity.judge import ParityBounds
from sweep.external.parity.repeat import RepeatedTrial
from sweep.external.runs import plan, start, trace, trainer_run
from sweep.external.runs.start import TrainerEnvironment
from sweep.external.runs.trace import Trace
from sweep.external.runs.trainer_run import PreparedFiles, Show, TrainerRun, TrainerRunError
from sweep.store.run import Run
from sweep.study import Ingredients, InputError, Study, study_file
from sweep.study.files.atomic import write_atomically
from sweep.study.numbers import clock, quantity
from sweep.study.sections.launch import Format

LEAST_SECONDS, TIMES_A_TRIAL = 1800.0, 10.0
TRIALS = 2  # that a format's parity runs take about as long as, with those on short documents
LARGE = ("checkpoints", "checkpoints-resumed", "data")
Environments = Callable[[str], TrainerEnvironment]


@dataclass(frozen=True)
class Recipe:
    """What the parity runs of a run are made from. `noise`: of its fit, by language."""

    run: Run
    repeated: RepeatedTrial
    noise: Mapping[str, float]
    environments: Environments = start.environment
    show: Show = lambda text: None

    @property
    def folder(self) -> Path:
        return self.run.files.parity_runs

    @property
    def bounds(self) -> ParityBounds:
        training = self.repeated.study.training
        return ParityBounds.of(training.precision, self.noise, training.sequence_length)

    @property
    def bounds_resumed(self) -> ParityBounds:
        """Of a run beside the same without a break."""
        study = self.repeated.study
        exact = study.training.precision == "float32" and not study.resources.gpus_per_node
        return judge.EXACT if exact else self.bounds


@dataclass(frozen=True)
class PreparedStudy:
    """A study of parity runs, its ingredients, and the files with both."""

    study: Study
    ingredients: Ingredients
    files: PreparedFiles


@dataclass
class Parity:
    """The parity runs of several formats, with what they share: the studies, and how our own trainer trains."""

    recipe: Recipe
    again: PreparedStudy
    short: PreparedStudy
    reference: dict[Kind, Trace] = field(default_factory=dict)

    def of(self, name: Format) -> ParityResult:
        """Run and judge one format."""
        recipe, environment = self.recipe, self.recipe.environments(name)
        gpus = plan.launch(self.again.study, name).gpus_per_node
        blank = ParityResult(
            name=name,
            trial_id=recipe.repeated.record.trial_id,
            precision=self.again.study.training.precision,
            made_from=kept.made_from(recipe.run, recipe.repeated, name),
            date=datetime.datetime.now(datetime.UTC).date().isoformat(),
            trainer=start.installed(name),
        )
        why_not = environment.why_not
        if not gpus and name in start.NEEDS_GPU and "PYTHONPATH" not in environment.variables:
            why_not = why_not or f"{name} needs a GPU, and the study's trials have none"
        if why_not:
            return blank.model_copy(update={"why_not": why_not})
        again, found = self._again(name)
        borders, seen = self._borders(name)
        seen = seen or found or Trace(steps=())
        runs = {"runs": (again, *borders), "versions": seen.versions, "device": seen.device}
        result = blank.model_copy(update=runs)
        if result.state == "pass":
            self._clear(name)
        return result

    def _clear(self, name: Format) -> None:
        """Delete the data and checkpoints of runs that passed: at 8B they take hundreds of GB."""
        for kind, what in itertools.product(("again", "borders"), LARGE):
            shutil.rmtree(self.recipe.folder / name / kind / what, ignore_errors=True)

    def _again(self, name: Format) -> tuple[ParityRun, Trace | None]:
        repeated = self.recipe.repeated
        wanted = trace.of_trial(self.recipe.run.trial_folder(repeated.trial), repeated.record)
        return self._judged(self._launch(name, "again", self.again), "again", wanted)

    def _borders(self, name: Format) -> tuple[list[ParityRun], Trace | None]:
        """On short documents, which our own trainer shows the others; and the same, killed and started again."""
        made = self._launch(name, "borders", self.short)
        try:
            wanted = self._native()
        except TrainerRunError as error:
            return [ParityRun(kind="borders", steps=made.plan.steps, why_not=f"native: {error}")], None
        if name == "native":
            return [self._resumed(made, wanted)], wanted
        judged, found = self._judged(made, "borders", wanted)
        return [judged, *([self._resumed(made, found)] if found else [])], found

    def _native(self) -> Trace:
        """Short documents as our own trainer trains on them, once for all formats."""
        if "borders" not in self.reference:
            self.reference["borders"] = self._launch("native", "borders", self.short).train()
        return self.reference["borders"]

    def _judged(self, made: TrainerRun, kind: Kind, wanted: Trace) -> tuple[ParityRun, Trace | None]:
        steps = made.plan.steps
        try:
            found = made.train()
            if found.rows:  # it shuffles by itself: a trial on the same rows is what it should be as
                wanted = trainer_run.on_rows(made.prepared, found.rows).model_copy(update={"tokens": wanted.tokens})
        except TrainerRunError as error:
            return ParityRun(kind=kind, steps=steps, fault=str(error)), None
        means = made.name == "llamafactory" and made.plan.study.training.stage == "sft"  # of batches, not of targets
        checks = judge.judge(wanted, found, steps, self.recipe.bounds, before=not means)
        if made.name != "native":
            repeated = self.recipe.repeated
            checks += judge.text(found, repeated.record.almr, repeated.study.training.batch_sequences)
        return ParityRun(kind=kind, steps=steps, checks=checks), found

    def _resumed(self, made: TrainerRun, whole: Trace) -> ParityRun:
        steps = made.plan.steps
        try:
            found, stopped_at = made.train_in_two()
        except TrainerRunError as error:
            return ParityRun(kind="resumed", steps=steps, fault=str(error))
        checks = judge.resumed(whole, found, steps, stopped_at, self.recipe.bounds_resumed)
        return ParityRun(kind="resumed", steps=steps, checks=checks)

    def _launch(self, name: Format, kind: Kind, of: PreparedStudy) -> TrainerRun:
        recipe = self.recipe
        seconds = max(LEAST_SECONDS, TIMES_A_TRIAL * (recipe.repeated.record.seconds or 0.0))
        return TrainerRun(
            name=name,
            plan=plan.of_study(of.study, recipe.repeated.trial, name, of.ingredients.corpora),
            folder=recipe.folder / name / kind,
            environment=recipe.environments(name),
            prepared=of.files,
            seconds=seconds,
            show=recipe.show,
        )


def recipe(run: Run, fitted: FitResult, trial: str | None, show: Show) -> Recipe:
    """The parity runs that repeat a trial, by default the complete one nearest to the winner. Raises InputError."""
    winner = fitted.file.winner
    record = repeat.choose(kept.records(run), trial, winner.almr, winner.lr)
    return Recipe(run, kept.repeated(run, record), fitted.file.noise, show=show)


def cost(recipe: Recipe, names: Collection[Format]) -> str:
    """What the parity runs take, in a line."""
    record = recipe.repeated.record
    hours = f", {quantity(TRIALS * record.gpu_hours)} GPU-hours" if record.gpu_hours else ""
    each = f", about {clock(TRIALS * record.seconds)}{hours} each" if record.seconds else ""
    return f"parity runs of {', '.join(names)}: {record.trial_id} is trained again{each}"


def carry_out(recipe: Recipe, names: Iterable[Format]) -> None:
    """Run and judge each format, and keep its result. Raises InputError where the trial cannot be repeated."""
    with recipe.run.locked():
        prepared = prepare(recipe)
        for name in names:
            kept.add(recipe.run, prepared.of(name))


def prepare(recipe: Recipe) -> Parity:
    """Prepare the corpora of the repeated trial, and the short documents. Raises InputError where they have changed."""
    study, record = recipe.repeated.study, recipe.repeated.record
    known = recipe.run.ingredients()
    stated = known if known and known.same_text else None  # then the same documents are held out again
    again = _prepared(study, recipe.folder / "again", recipe.show, stated)
    trained = record.provenance.get("fingerprints", {})
    now = again.ingredients.fingerprints()
    if changed := [name for name, digest in trained.items() if name != "base_model" and now.get(name) != digest]:
        raise InputError(f"--parity: {', '.join(changed)} changed since {record.trial_id} was trained: run it again")
    texts = documents.write(study, again.ingredients, recipe.folder / "documents", repeat.short_tokens(study))
    short = _prepared(repeat.short_study(recipe.repeated, texts), recipe.folder / "short", recipe.show)
    return Parity(recipe, again, short)


def _prepared(study: Study, folder: Path, show: Show, earlier: Ingredients | None = None) -> PreparedStudy:
    from trainers import prepare as trainers_prepare

    made = trainers_prepare.prepare(study, lambda phase, share: show(f"parity: {phase}"), earlier)
    files = PreparedFiles(folder / "study.yaml", folder / "ingredients.json")
    write_atomically(files.study, study_file.dump(study))
    write_atomically(files.ingredients, made.model_dump_json(indent=2))
    return PreparedStudy(study, made, files)
