"""Replay carries what the table has of a study's horizons."""

from __future__ import annotations

from pathlib import Path

from samples import make_study, study_content

from sweep.study import SourceResult, Trial
from trainers import recorded

TRIAL = Trial(almr=0.5, lr=1e-3, seed=0)


def test_horizons_are_replayed_where_the_table_has_them(tmp_path: Path) -> None:
    table = tmp_path / "trials.csv"
    names = "almr,lr,seed,loss_original,loss_additional,trained_tokens,loss_original@1024,loss_additional@1024"
    table.write_text(f"{names},reason@1024,reason@1536\n0.5,0.001,0,3.5,4.5,2816,3.7,4.8,,not finite\n")
    recipe = study_content()["training"] | {"schedule": {"name": "wsd"}, "horizons": [768, 1024, 1536]}
    study = make_study(training=recipe, replay={"table": str(table)})
    record = recorded.run_trial(study, Trial(almr=0.5, lr=1e-3, seed=0))
    assert record.trained_tokens == 2816
    assert [one.tokens for one in record.horizons] == [1024, 1536]
    assert [one.steps for one in record.horizons] == [4, 6]
    assert record.horizons[0].loss.model_dump() == {"original": 3.7, "additional": 4.8}
    assert record.horizons[0].bits_per_byte.original is None
    assert record.horizons[1].reason == "not finite"


def test_losses_of_sources_are_replayed_where_the_study_names_them(tmp_path: Path) -> None:
    table = tmp_path / "trials.csv"
    names = "almr,lr,seed,loss_original,loss_additional,base_loss_code,loss_plays,loss_code,epochs_code"
    table.write_text(f"{names}\n0.5,0.001,0,3.5,4.5,2.2,4.0,2.0,0.25\n")
    plays = {"embedded": "shakespeare", "name": "plays", "weight": 3}
    corpora = study_content()["corpora"] | {"original": [plays, {"files": "c.txt", "name": "code", "weight": 1}]}
    record = recorded.run_trial(make_study(corpora=corpora, replay={"table": str(table)}), TRIAL)
    assert record.sources["code"] == SourceResult(
        language="original", weight=0.25, loss=2.0, base_loss=2.2, epochs=0.25
    )
    assert record.losses() == {"original": 3.5, "additional": 4.5, "plays": 4.0, "code": 2.0}
    assert recorded.run_trial(make_study(replay={"table": str(table)}), TRIAL).sources == {}
