"""What a trial that diverges measures on its way to infinity is written so that it can be read again."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweep.study import PerLanguage, Record, SourceResult, Status, Study, Trial
from sweep.study.files.trial_files import read_trial
from sweep.worker.finite_losses import with_finite_losses
from trainers import prepare
from trainers.trials import cpt


def test_the_record_of_a_trial_that_diverged_far_can_be_read(local_study: Study, tmp_path: Path) -> None:
    """A held-out loss of millions is finite: the reader called the record damaged, also that of the next try."""
    optimizer = local_study.training.optimizer.model_copy(update={"weight_decay": 0.0})
    training = local_study.training.model_copy(update={"optimizer": optimizer})
    study, trial = local_study.model_copy(update={"training": training}), Trial(almr=0.5, lr=316.0, seed=0)
    folder = tmp_path / trial.id
    folder.mkdir()
    made = cpt.run_trial(study, trial, prepare.prepare(study), folder)
    assert made
    assert made.loss.original is not None
    assert made.loss.original > 1e6
    (folder / "record.json").write_text(with_finite_losses(made).model_dump_json())
    record = read_trial(folder / "record.json")
    assert (record.status, record.loss, record.bits_per_byte) == (Status.DIVERGED, PerLanguage(), PerLanguage())
    assert "nats above the base model" in str(record.reason)
    assert record.base_loss == made.base_loss


@pytest.mark.parametrize("loss", [2e6, 1e31, float("inf"), float("nan"), None])
def test_a_loss_that_nothing_can_have_measured_is_no_complete_trial(loss: float | None) -> None:
    found = PerLanguage(original=2.0, additional=loss)
    web = SourceResult(language="additional", weight=1.0, loss=loss, base_loss=3.0)
    trial = Trial(almr=0.5, lr=1e-3, seed=0)
    record = Record(
        **trial.model_dump(), trial_id=trial.id, fingerprint="f", attempt=1, status=Status.COMPLETE, loss=found
    ).model_copy(update={"sources": {"web": web}})
    made = with_finite_losses(record)
    assert made.status is Status.DIVERGED
    assert made.reason == "the held-out loss of additional is not finite, or was not measured"
    assert made.loss == PerLanguage(original=2.0)
    assert (made.sources["web"].loss, made.sources["web"].base_loss) == (None, 3.0)
