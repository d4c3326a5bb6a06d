import json
import math

import pytest

from analysis.table import table as tables
from sweep.study import InputError


def test_a_run_is_read_in_a_stable_order_with_one_row_per_record(tmp_path, make_bowl, make_study, write_run):
    records = make_bowl(almrs=(0.7, 0.1), lrs=(1e-3, 1e-5), seeds=(1, 0))
    table = tables.read_run(write_run(tmp_path / "run", records, make_study()))
    assert list(table.columns) == tables.COLUMNS
    points = list(zip(table["seed"], table["almr"], table["lr"], strict=True))
    assert points == sorted((r.seed, r.almr, r.lr) for r in records)
    assert table["excluded"].isna().all()


def test_what_was_not_measured_is_missing_and_never_zero(make_record):
    table = tables.from_records([make_record(0.5, 1e-4, status="failed", reason="lost node", seconds=None)])
    row = table.iloc[0]
    assert math.isnan(float(row["loss_original"] or "nan"))
    assert math.isnan(float(row["seconds"] or "nan"))
    assert row["excluded"] == "failed: lost node"


def test_each_row_that_is_not_used_says_why(make_record):
    table = tables.from_records(
        [
            make_record(0.1, 1e-4, loss={"original": 3.0, "additional": 4.0}),
            make_record(0.2, 1e-4, status="diverged"),
            make_record(0.3, 1e-4, loss={"original": 3.0}),
            make_record(0.4, 1e-4),
            make_record(0.5, 1e-4, loss={"original": math.nan, "additional": 4.0}),
        ]
    )
    reasons = table["excluded"].astype(object).where(table["excluded"].notna(), None).tolist()
    assert reasons == [
        None,
        "diverged: no reason recorded",
        "no additional loss",
        "no original or additional loss",
        "no original loss",
    ]
    assert tables.usable(table)["almr"].tolist() == [0.1]


def test_scores_become_columns_and_are_missing_where_not_scored(make_record):
    scored = make_record(0.1, 1e-4, scores={"cmmlu": {"value": 0.31, "stderr": 0.01}})
    table = tables.from_records([scored, make_record(0.2, 1e-4)])
    assert table["score_cmmlu"].tolist()[0] == 0.31
    assert math.isnan(table["score_cmmlu"].tolist()[1])


def test_the_objective_is_the_weighted_mean_and_ignores_an_unweighted_language(make_record):
    table = tables.from_records(
        [
            make_record(0.1, 1e-4, loss={"original": 3.0, "additional": 4.0}),
            make_record(0.2, 1e-4, loss={"original": 2}),
        ]
    )
    mixed = tables.objective(table, {"original": 0.25, "additional": 0.75})
    assert mixed.iloc[0] == pytest.approx(3.75)
    assert math.isnan(mixed.iloc[1])
    assert tables.objective(table, {"original": 1.0, "additional": 0.0}).tolist() == [3.0, 2.0]


def test_an_empty_run_says_what_to_do(tmp_path):
    with pytest.raises(InputError, match=r"no finished trials: run the study first"):
        tables.read_run(tmp_path)


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"schema_version": 1}', b"\xff\xfe", b'{"colour": 1}'], ids=repr)
def test_a_broken_record_is_named(tmp_path, content):
    path = tmp_path / "trials" / "t" / "record.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"trials/t/record\.json: not a record \(.*\); delete it"):
        tables.read_run(tmp_path)


def test_a_record_of_another_version_is_refused_and_not_called_broken(tmp_path, make_record):
    path = tmp_path / "trials" / "t" / "record.json"
    path.parent.mkdir(parents=True)
    content = make_record(0.5, 1e-4).model_dump(mode="json") | {"schema_version": 2, "a_new_field": 1}
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"written by a newer version .*schema_version 2, this one reads 1") as caught:
        tables.read_run(tmp_path)
    assert "delete" not in str(caught.value)


@pytest.mark.parametrize("trial_id", [None, "../../evil", "two\nlines" * 99], ids=["a copy", "a path", "lines"])
def test_a_record_in_a_folder_of_another_name_is_refused(tmp_path, make_bowl, make_study, write_run, trial_id):
    run = write_run(tmp_path / "run", make_bowl(), make_study())
    first = next((run / "trials").glob("*/record.json"))
    content = json.loads(first.read_text())
    (run / "trials" / "backup").mkdir()
    path = run / "trials" / "backup" / "record.json"
    path.write_text(json.dumps(content | {"trial_id": trial_id or content["trial_id"]}))
    with pytest.raises(InputError) as refused:
        tables.read_run(run)
    assert len(str(refused.value).splitlines()) == 1
    assert str(refused.value).startswith(f"{path}: the record is of trial {(trial_id or content['trial_id'])[:60]!r}")
    assert str(refused.value).endswith("if the folder is a copy, move it out of trials/, else delete the file")
