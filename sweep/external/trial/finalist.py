"""Scoring of a finished trial by another trainer: its saved model or, where none was saved, the same trained again.

    python -m sweep.external.trial.finalist STUDY INGREDIENTS RECORD ANSWER

scores the saved model beside RECORD, in a process of its own, and writes the record with its scores to ANSWER.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from sweep.external.runs.trainer_run import PreparedFiles
from sweep.external.trial.flow import TrialFlow, logged, of_ours
from sweep.external.trial.job import ExternalTrainer, TrialNodes
from sweep.store.run import Run
from sweep.study import Record, Study, Trial, study_file
from sweep.study.files.atomic import write_atomically
from sweep.study.files.layout import TrialFiles
from sweep.study.files.trial_files import read_record
from sweep.study.ingredients import read_ingredients
from sweep.study.record import SCORING
from sweep.study.sections.resources import Tracking

MODULE = "sweep.external.trial.finalist"
SCORED = ("base_scores", "scoring_seconds", "questions")  # of the provenance


def score(run: Run, trial: Trial, trainer: ExternalTrainer, nodes: TrialNodes) -> Record:
    """The trial's record with its scores, written; all else in it stays. Raises as the trial does where it is trained
    again and fails.
    """
    done, study = run.record(trial), run.study()
    assert done, "a finalist has its record"
    with logged(run.log(trial), run.start(trial, study)):
        scored = _saved(run, done, nodes) if run.files.trial(trial.id).model.is_dir() else None
        record = scored or _again(run, study, done, trainer, nodes)
    run.keep_base_scores(record)
    run.finish(record)
    return record


def _saved(run: Run, done: Record, nodes: TrialNodes) -> Record:
    files = run.files.trial(done.trial_id)
    answer = files.folder / ".scored.json"
    asked = (run.files.study, run.files.ingredients, files.record, answer)
    nodes.run(of_ours(MODULE, *asked, watched=files.heartbeat))
    try:
        return read_record(answer)
    finally:
        answer.unlink(missing_ok=True)


def _again(run: Run, study: Study, done: Record, trainer: ExternalTrainer, nodes: TrialNodes) -> Record:
    """Train the trial again for its scores. Those of another model are none."""
    assert study.benchmarks
    own = {"benchmarks": study.benchmarks.model_copy(update={"when": "all"}), "keep": "none"}
    training = study.training.model_copy(update={"horizons": ()})
    once = study.model_copy(update=own | {"training": training, "tracking": Tracking(tensorboard=False)})
    home = run.files.trial(done.trial_id).again
    files = PreparedFiles(home / "study.yaml", run.files.ingredients)
    write_atomically(files.study, study_file.dump(once))
    again = TrialFlow(once, done.trial, files, home).carry_out(trainer, nodes, done.attempt)
    if fault := done.another_model(again, study.language_name):
        shutil.rmtree(home)
        return done.model_copy(update={"score_failures": {SCORING: fault}})
    if (questions := TrialFiles(home).questions).exists():
        write_atomically(run.files.trial(done.trial_id).questions, questions.read_bytes())
    shutil.rmtree(home)
    provenance = done.provenance | {key: again.provenance[key] for key in SCORED if key in again.provenance}
    scores = {"scores": again.scores, "score_failures": again.score_failures}
    if not (again.scores or again.score_failures):
        scores["score_failures"] = {SCORING: "the trainer left no model to score"}
    return done.model_copy(update=scores | {"provenance": provenance})


def main() -> None:
    from trainers.trials import finalist

    paths = [Path(argument) for argument in sys.argv[1:]]
    ingredients, record = read_ingredients(paths[1]), read_record(paths[2])
    assert ingredients
    study = study_file.load(paths[0])
    alone = study.model_copy(update={"resources": study.resources.model_copy(update={"nodes": 1, "processes": 1})})
    found = finalist.score(alone, record, ingredients, paths[2].parent)
    assert found, "one process scores"
    write_atomically(paths[3], found.model_dump_json())


if __name__ == "__main__":
    main()
