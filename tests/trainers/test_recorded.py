"""Replay carries what the table has of a study's horizons."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from samples import make_study, study_content

from sweep.study import InputError, SourceResult, Trial
from trainers.trials import recorded

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


@pytest.mark.parametrize(
    ("name", "encoding"), [("trials.csv", "utf-8-sig"), ("trials.csv", "utf-16"), ("trials.jsonl", "utf-8")]
)
def test_a_table_is_replayed_whatever_wrote_it(tmp_path: Path, name: str, encoding: str) -> None:
    names = "almr;lr;seed;status;reason;steps;loss_original;loss_additional"
    rows = ["0,5;0,001;0;;;4;3,5;4,25", "0,5;0,002;0;diverged;12;;;"]
    text = "\n".join([names, *rows, ""])
    if name.endswith(".jsonl"):
        cells = [row.replace(",", ".").split(";") for row in rows]
        text = "\n".join(json.dumps(dict(zip(names.split(";"), row, strict=True))) for row in cells)
    (table := tmp_path / name).write_text(text, encoding=encoding)
    study = make_study(replay={"table": str(table)})
    found = recorded.run_trial(study, Trial(almr=0.5, lr=1e-3, seed=0))
    assert found.loss.model_dump() == {"original": 3.5, "additional": 4.25}
    assert (found.status, found.reason, found.steps) == ("complete", None, 4)
    lost = recorded.run_trial(study, Trial(almr=0.5, lr=2e-3, seed=0))
    assert (lost.status, lost.reason, lost.loss.original) == ("diverged", "12", None)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (
            b"\x01\x02" * 9,
            "it is not text: line 1 holds the control character '\\x01'); correct that, or save it",
        ),
        (b"almr,lr\n0.5,1e-3\n", "no column seed, loss_original, loss_additional; set replay.table to a trials.csv"),
        (
            b"almr,lr,seed,loss_original,loss_additional\nx,1e-3,0,1,1\n",
            "no row for almr=0.50_lr=1e-03_seed=0: leave it out, or replay another table",
        ),
    ],
)
def test_a_table_that_cannot_be_replayed_is_one_line(tmp_path: Path, content: bytes, told: str) -> None:
    (table := tmp_path / "trials.csv").write_bytes(content)
    with pytest.raises(InputError) as caught:
        recorded.run_trial(make_study(replay={"table": str(table)}), Trial(almr=0.5, lr=1e-3, seed=0))
    assert told in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_budget_of_gpu_hours_needs_a_table_that_has_them(tmp_path: Path) -> None:
    (without := tmp_path / "without.csv").write_text("almr,lr,seed,loss_original,loss_additional\n0.5,1e-3,0,3,4\n")
    (table := tmp_path / "table.csv").write_text(
        "almr,lr,seed,loss_original,loss_additional,gpu_hours\n0.5,1e-3,0,3,4,\n0.5,2e-3,0,3,4,1.5\n"
    )
    search, resources = {"strategy": "surface", "gpu_hours": 50}, {"gpus_per_node": 1}
    studies = [make_study(replay={"table": str(path)}, search=search, resources=resources) for path in (without, table)]
    with pytest.raises(InputError, match=r"no gpu_hours, so search\.gpu_hours cannot be counted: write search\.trials"):
        recorded.refuse_unusable(studies[0])
    recorded.refuse_unusable(studies[1])
    recorded.refuse_unusable(make_study(replay={"table": str(without)}))


@pytest.mark.parametrize(
    "objective", [{"forgetting_guard_percent": 2}, {"guards": [{"source": "original", "at_most_percent": 2}]}]
)
def test_a_guard_needs_a_table_with_the_base_models_loss(tmp_path: Path, objective: dict[str, object]) -> None:
    (table := tmp_path / "table.csv").write_text("almr,lr,seed,loss_original,loss_additional\n0.5,1e-3,0,3,4\n")
    study = make_study(replay={"table": str(table)}, objective=objective)
    with pytest.raises(InputError, match=r"table\.csv: no base_loss_original, so the guard of original has no limit"):
        recorded.refuse_unusable(study)
    table.write_text("almr,lr,seed,loss_original,loss_additional,base_loss_original\n0.5,1e-3,0,3,4,3.5\n")
    recorded._rows.cache_clear()
    recorded.refuse_unusable(study)


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


def test_what_a_replay_read_nothing_of_is_as_the_study_states_it(tmp_path: Path) -> None:
    corpora = study_content()["corpora"]
    corpora["original"] |= {"tokens": 1_000_000, "held_out": 0.1, "documents": 500}
    study = make_study(corpora=corpora, replay={"table": str(tmp_path / "trials.csv")})
    found = recorded.ingredients(study)
    assert found.folders == {}
    assert not found.corpora["original"].counted
    assert (found.corpora["original"].tokens, found.corpora["original"].held_out_tokens) == (900_000, 100_000)
    assert (found.corpora["original"].documents, found.corpora["original"].held_out_documents) == (450, 50)


def test_a_record_of_a_simulated_table_says_so(tmp_path: Path) -> None:
    table = tmp_path / "trials.csv"
    table.write_text(
        "almr,lr,seed,loss_original,loss_additional,simulated_by\n0.5,0.001,0,3.5,4.5,a formula\n0.5,0.002,0,3,4,\n"
    )
    study = make_study(replay={"table": str(table)})
    assert recorded.run_trial(study, TRIAL).provenance["simulated_by"] == "a formula"
    assert "simulated_by" not in recorded.run_trial(study, Trial(almr=0.5, lr=2e-3, seed=0)).provenance


def test_a_replayed_trial_names_the_trainer_of_its_row(tmp_path: Path) -> None:
    """Where the table has rows of several trainers, a study replays those of its own."""
    (table := tmp_path / "trials.csv").write_text(
        "almr,lr,seed,loss_original,loss_additional,trainer,trainer_version\n"
        "0.5,0.001,0,3.5,4.5,native,\n0.5,0.001,0,3.6,4.6,megatron,0.16\n0.5,0.002,0,3.7,4.7,nanotron,0.4\n"
    )
    replay = {"table": str(table)}
    own, other = make_study(replay=replay), make_study(replay=replay, trainer="megatron")
    assert recorded.run_trial(own, TRIAL).trainer.text == "native"
    found = recorded.run_trial(other, TRIAL)
    assert (found.trainer.text, found.loss.original) == ("megatron 0.16", 3.6)
    unknown = Trial(almr=0.5, lr=2e-3, seed=0)
    assert recorded.run_trial(own, unknown).trainer.text == "command nanotron 0.4"
    with pytest.raises(InputError, match=r"no row for almr=0\.50_lr=2e-03_seed=0 by megatron"):
        recorded.run_trial(other, unknown)


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (
            "0.5,0.001,0,,inf,4.5,",
            "line 2: loss_original is inf, no finite number, but the trial counts as complete: write",
        ),
        (
            "0.5,0.001,0,complete,3.5,,",
            "line 2: loss_additional is empty, but the trial counts as complete: write diverged",
        ),
        ("0.5,0.001,0,,3.5,n/a,", "line 2: loss_additional is empty, but the trial counts as complete"),
        ("0.5,0.001,0,,3.5,x,", "line 2: loss_additional is 'x', no finite number, but the trial counts as complete"),
        ("0.5,0.001,0,done,3.5,4.5,", "line 2: status 'done': write complete, diverged or failed, or leave it empty"),
        ("0.5,0.001,0,,3.5,4.5,inf", "line 2: seconds is inf, no finite number"),
        ("0.5,0.001,0,diverged,inf,,", "line 2: loss_original is inf: leave it empty"),
        ("0.5,0.001,0,,3.5,4.5,-1", "line 2: seconds is -1.0: write the time"),
        ("0.5,0.001,0,,3.5,4.5,1e300", "line 2: seconds is 1e+300: write the time"),
    ],
)
def test_a_row_that_no_trial_can_be_is_refused_with_its_line_and_the_fix(tmp_path: Path, row: str, told: str) -> None:
    (table := tmp_path / "trials.csv").write_text(
        f"almr,lr,seed,status,loss_original,loss_additional,seconds\n{row}\n0.5,0.002,0,Diverged,,,1\n"
    )
    with pytest.raises(InputError) as refused:
        recorded.refuse_unusable(make_study(replay={"table": str(table)}))
    assert f"{table}, {told}" in str(refused.value).replace('"', "'")
    assert len(str(refused.value).splitlines()) == 1
