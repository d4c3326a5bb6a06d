"""Losses of sources as columns: of `trials.csv`, read back, replayed, and of other people's tables."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from several_sources import ALMRS, LRS, records, study

from analysis.decision.objectives import GuardedGoal, WeightedGoal, goal
from analysis.table import table as tables
from analysis.table.import_table import read_table
from sweep.study import InputError, Record, Study, Trial
from sweep.verbs.options import ObjectiveOptions, TableOptions
from sweep.verbs.results import fitting
from trainers.trials import recorded

SHORTER = {"tokens": 1024, "steps": 4, "loss": {"original": 3.0, "additional": 4.5}}
MEASURED = ("loss", "base_loss", "bits_per_byte", "base_bits_per_byte", "epochs")


def with_horizon(one: Record) -> Record:
    shorter = {
        name: {"language": of.language, "weight": of.weight, "loss": of.loss + 0.1, "bits_per_byte": of.bits_per_byte}
        for name, of in one.sources.items()
    }
    return Record.model_validate(one.model_dump() | {"horizons": [SHORTER | {"sources": shorter}]})


def wsd(**changes: object) -> Study:
    recipe = study().training.model_dump(mode="json") | {"schedule": {"name": "wsd"}, "horizons": [1024]}
    return study(training=recipe, **changes)


def test_a_replay_of_the_table_of_a_run_gives_its_sources_again(tmp_path: Path) -> None:
    made = [with_horizon(one) for one in records(wsd())]
    table = tables.from_records(made)
    table.to_csv(tmp_path / "trials.csv", index=False)
    replayed = wsd(replay={"table": str(tmp_path / "trials.csv")})
    for one in made[:3]:
        again = recorded.run_trial(replayed, Trial(almr=one.almr, lr=one.lr, seed=0))
        assert again.sources == one.sources
        assert again.horizons[0].sources == one.horizons[0].sources
        assert again.losses() == one.losses()
        assert again.losses("base_loss") == one.losses("base_loss")


def test_the_table_of_a_run_is_read_as_any_table(tmp_path: Path) -> None:
    made = tables.from_records(records(study()))
    made.to_csv(tmp_path / "trials.csv", index=False)
    table = read_table(tmp_path / "trials.csv")
    for column in [f"{kind}_{name}" for kind in MEASURED for name in ("web", "code")]:
        assert table[column].to_numpy(float) == pytest.approx(made[column].to_numpy(float), rel=1e-15)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    rows = [(a, r, 3 + a, 4 - a, 2 + a) for a in ALMRS for r in LRS]
    frame = pd.DataFrame(rows, columns=["almr", "lr", "en", "zh", "their code"])
    frame.to_csv(tmp_path / "own.csv", index=False)
    return tmp_path / "own.csv"


def read(path: Path, base: str | None = None) -> pd.DataFrame:
    columns = "original=en,additional=zh,loss_code=their code"
    return fitting.read(path, TableOptions(columns=columns, base=base)).table


def test_the_options_of_a_table_name_sources(own: Path) -> None:
    table = read(own, "original=3.2,code=2.5")
    assert table["loss_code"].tolist() == pytest.approx([2 + a for a in ALMRS for _ in LRS])
    weighed = goal(fitting.objective(ObjectiveOptions(weights="code=1,additional=3")), table)
    assert weighed == WeightedGoal({"original": 0.0, "additional": 0.75, "code": 0.25})
    guarded = goal(fitting.objective(ObjectiveOptions(guard="code=10,original=5")), table)
    assert guarded == GuardedGoal(
        {"code": 2.75, "original": pytest.approx(3.36)}, 0.9, {"original": 0.5, "additional": 0.5}
    )
    assert goal(fitting.objective(ObjectiveOptions(guard="5")), table).bounds == {"original": pytest.approx(3.36)}


@pytest.mark.parametrize(
    ("options", "base", "expected"),
    [
        ({"weights": "web=1"}, None, "needs the loss of 'web'"),
        ({"guard": "code=1"}, None, "base_loss_code"),
        ({"guard": "web\n=1"}, "code=2.5", "needs the loss of 'web'"),
        ({"guard": "code=-1"}, "code=2.5", "--guard: code=-1: write a percentage, 0 or above"),
        ({"guard": "code=1,code=2"}, None, "--guard code=1,code=2: a name is given twice"),
        ({"guard": "code"}, None, "--guard code: write it as"),
        ({"guard": "nan"}, None, "--guard"),
        ({}, "cod=2.5", "--base: the table has no loss of 'cod': its losses are original, additional, code"),
    ],
)
def test_what_options_cannot_name_is_one_line(
    own: Path, options: dict[str, str], base: str | None, expected: str
) -> None:
    with pytest.raises(InputError) as raised:
        goal(fitting.objective(ObjectiveOptions(**options)), read(own, base))
    assert expected in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


def test_a_loss_of_a_source_that_cannot_be_is_missing_and_its_trial_left_out_where_it_is_needed(own: Path) -> None:
    frame = pd.read_csv(own).astype({"their code": object})
    frame.loc[:3, "their code"] = ["-1", "oops", "1e9", ""]
    frame.to_csv(own, index=False)
    table = read(own)
    assert np.isnan(table["loss_code"][:4]).all()
    assert table["excluded"].isna().all()
    needed = tables.with_losses(table, ["code"])
    assert needed["excluded"].dropna().tolist() == ["no code loss"] * 4


@pytest.mark.parametrize("ours", ["source_web", "loss-web", "loss_", "web"])
def test_other_words_are_no_names_of_columns(own: Path, ours: str) -> None:
    with pytest.raises(InputError, match=r"--columns: '.*' is not one of .* or loss_ with a source's name"):
        read_table(own, f"original=en,additional=zh,{ours}=their code")
