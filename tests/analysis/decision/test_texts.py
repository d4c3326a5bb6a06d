"""Trials of changed files that are stated to be the same text: used with a warning, refused where they differ."""

from __future__ import annotations

import pytest

from analysis.fit.fit import fit_study
from analysis.table import table as tables
from sweep.study.record import SAME_TEXT

STATED = ["moved", "more shards"]


def fitted(make_bowl, make_study, base: float):
    """A bowl whose last ten trials were trained after the second statement, on text of this base loss."""
    made = make_bowl()
    after = {
        "provenance": {SAME_TEXT: "; ".join(STATED)},
        "base_loss": made[0].base_loss.model_copy(update={"original": base}),
    }
    table = tables.from_records([*made[:-10], *(record.model_copy(update=after) for record in made[-10:])])
    table.attrs[SAME_TEXT] = STATED
    return fit_study(make_study(), table).file


@pytest.mark.parametrize("base", [3.4, 3.4015])
def test_the_same_text_is_used_and_told(base, make_bowl, make_study):
    file = fitted(make_bowl, make_study, base)
    [found] = [warning for warning in file.warnings if warning.code == "same_text"]
    assert found.message == (
        "20 of 30 trials were trained before the files of the text changed; they count because it is stated to be the "
        'same text: "moved" and "more shards"'
    )
    assert "same_text" not in [refusal.code for refusal in file.refusals]
    assert file.trials.excluded == 0


def test_texts_of_other_base_losses_are_refused_with_both(make_bowl, make_study):
    [found] = [refusal for refusal in fitted(make_bowl, make_study, 3.43).refusals if refusal.code == "same_text"]
    assert "loss on the held-out text is 3.4000 and 3.4300 nats per token" in found.message


def test_without_a_statement_nothing_is_said(make_bowl, make_study):
    file = fit_study(make_study(), tables.from_records(make_bowl())).file
    assert "same_text" not in [finding.code for finding in (*file.refusals, *file.warnings)]
