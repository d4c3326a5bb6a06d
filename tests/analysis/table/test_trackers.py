"""Exports of Optuna, Weights & Biases, MLflow and Ray Tune, and units of others, as tables."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest

from analysis.fit.fit import fit_table
from analysis.table.import_table import notes, read_table
from sweep.study import InputError

Load = Callable[..., pd.DataFrame]
GRID = list(itertools.product((0.2, 0.4, 0.6), (1e-5, 2e-5, 4e-5)))


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def write_and_read(content: str, *columns: str, name: str = "mine.csv", **options: Any) -> pd.DataFrame:
        path = tmp_path / name
        path.write_text(content, encoding="utf-8")
        return read_table(path, *columns, **options)

    return write_and_read


def refused(load: Load, *arguments: Any, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        load(*arguments, **options)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def points(table: pd.DataFrame) -> list[tuple[float, float]]:
    return list(table[["almr", "lr"]].itertuples(index=False, name=None))


def finished_optuna_study() -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        sampler=optuna.samplers.GridSampler({"almr": [0.2, 0.4, 0.6], "lr": [1e-5, 2e-5, 4e-5]})
    )

    def objective(trial: optuna.Trial) -> float:
        almr, lr = trial.suggest_float("almr", 0, 1), trial.suggest_float("lr", 1e-6, 1e-3)
        if trial.number == 3:
            raise RuntimeError("out of memory")
        if trial.number == 4:
            raise optuna.TrialPruned
        return 2 + almr + 1e4 * lr

    study.optimize(objective, n_trials=9, catch=(RuntimeError,))
    study.enqueue_trial({"almr": 0.5, "lr": 3e-5})
    return study


def test_optunas_table_is_read_as_it_writes_it(load: Load) -> None:
    frame = finished_optuna_study().trials_dataframe()
    assert {"number", "value", "state", "params_almr", "params_lr"} <= set(frame)
    table = load(frame.to_csv(index=False))
    assert len(table) == 8
    assert table["status"].value_counts().to_dict() == {"complete": 7, "failed": 1}
    assert notes(table) == ["left out: 2 trials that did not finish (1 pruned, 1 waiting), lines 6, 11"]
    done = table[table["status"] == "complete"]
    assert done["loss_total"].tolist() == pytest.approx((2 + done["almr"] + 1e4 * done["lr"]).tolist())


WANDB = (
    '"Name","State","Created","config.lr","config.almr","eval/loss","train/loss","train/learning_rate","_step"\n'
    '"bold-sun-1","finished","2026-11-01","1e-5","0.2","2.31","2.0","0","100"\n'
    '"wild-sea-2","crashed","2026-11-01","2e-5","0.2","","2.1","0","40"\n'
    '"dry-leaf-3","failed","2026-11-01","","","","","",""\n'
    '"old-hill-4","killed","2026-11-01","4e-5","0.2","2.9","2.1","0","40"\n'
    '"new-moon-5","running","2026-11-01","8e-5","0.2","2.5","2.1","8e-5","70"\n'
)
MLFLOW = (
    "run_id,experiment_id,status,start_time,params.learning_rate,params.almr,metrics.eval_original_loss,"
    "metrics.eval_additional_loss,metrics.train_loss,tags.mlflow.user\n"
    "a1,0,FINISHED,2026,1e-5,0.2,2.31,3.5,2.0,me\n"
    "b2,0,FAILED,2026,2e-5,0.2,,,,me\n"
    "c3,0,KILLED,2026,2e-5,0.4,,,,me\n"
    "d4,0,RUNNING,2026,2e-5,0.6,2.5,3.4,,me\n"
    "e5,0,SCHEDULED,2026,,,,,,me\n"
)
RAY = (
    "trial_id,status,config/lr,config/almr,val_loss\n"
    "f00,TERMINATED,1e-5,0.2,2.31\nf01,ERROR,2e-5,0.2,\nf02,PENDING,2e-5,0.4,\nf03,PAUSED,2e-5,0.4,2.4\n"
)


@pytest.mark.parametrize(
    ("text", "states", "note"),
    [
        (WANDB, ["complete", "failed", "failed", "failed"], "1 trial that did not finish (1 running), line 6"),
        (MLFLOW, ["complete", "failed", "failed"], "2 trials that did not finish (1 running, 1 scheduled), lines 5, 6"),
        (RAY, ["complete", "failed"], "2 trials that did not finish (1 pending, 1 paused), lines 4, 5"),
    ],
)
def test_an_export_of_a_tracker_is_understood(load: Load, text: str, states: list[str], note: str) -> None:
    table = load(text)
    assert table["status"].tolist() == states
    assert points(table)[0] == (0.2, 1e-5)
    assert notes(table) == [f"left out: {note}"]
    loss = "loss_original" if text is MLFLOW else "loss_total"
    assert table[loss].tolist()[0] == 2.31


def test_runs_of_a_trackers_api_are_understood_as_json(load: Load) -> None:
    runs = [
        {
            "name": f"run-{n}",
            "state": "finished",
            "config": {"lr": lr, "almr": almr},
            "summary": {"eval/loss": 2 + n / 10},
        }
        for n, (almr, lr) in enumerate(GRID)
    ]
    table = load("\n".join(map(json.dumps, runs)), name="runs.jsonl")
    assert points(table) == GRID
    assert table["loss_total"].tolist() == [2 + n / 10 for n in range(9)]


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        *(
            (name, "lr")
            for name in ("LR", "learning_rate", "Learning Rate", "learningRate", "config/peak_lr", "params.lr")
        ),
        *((name, "almr") for name in ("ALMR", "params_almr", "config.almr", "hparams/almr")),
        *(
            (name, "loss_total")
            for name in (
                "val_loss",
                "eval/loss",
                "Validation Loss",
                "loss (nats per token)",
                "metrics.evalLoss",
                "total_loss",
            )
        ),
        *((name, "loss_original") for name in ("eval_original_loss", "original/val_loss", "summary.loss_original")),
        *((name, "seed") for name in ("config.seed", "random_seed", "params_seed")),
        *((name, "status") for name in ("State", "STATUS")),
    ],
)
def test_a_name_is_known_by_its_words(load: Load, name: str, ours: str) -> None:
    values = {"almr": "0.2", "lr": "1e-5", "loss_total": "2.5", "loss_original": "2.5", "seed": "7", "status": "ok"}
    cells = {"almr": "0.2", "lr": "1e-5"} | ({} if ours in ("loss_total", "loss_original") else {"loss": "2.5"})
    cells = {name if k == ours else k: v for k, v in (cells | {ours: values[ours]}).items()}
    row = load(f"{','.join(cells)}\n{','.join(cells.values())}\n").iloc[0]
    assert str(row[ours]) in (values[ours], "complete", "1e-05")


@pytest.mark.parametrize(
    "name", ["train/loss", "train_loss", "loss_scale", "weighted", "aux_loss", "train/learning_rate"]
)
def test_a_name_with_other_words_is_another_column(load: Load, name: str) -> None:
    assert "no column for a loss: pass --columns" in refused(load, f"almr,lr,{name}\n0.2,1e-5,2.5\n")


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("almr,lr,config.lr,loss", "several columns may be lr: lr, config.lr; choose with --columns lr=lr"),
        ("almr,config.lr,params.lr,loss", "may be lr: config.lr, params.lr; choose with --columns lr=config.lr"),
        ("almr,lr,loss,eval/loss", "may be loss: loss, eval/loss; choose with --columns loss=loss"),
        ("almr,lr,val_loss,test_loss", "may be loss: val_loss, test_loss; choose with --columns loss=val_loss"),
    ],
)
def test_several_columns_of_one_meaning_are_listed(load: Load, header: str, told: str) -> None:
    assert told in refused(load, f"{header}\n0.2,0.5,0.25,0.125\n0.4,0.5,0.25,0.125\n")
    again = header.split(",")[1 if "lr:" in told else 2]
    option = "lr" if "lr:" in told else "loss"
    assert len(load(f"{header}\n0.2,0.5,0.25,0.125\n0.4,0.5,0.25,0.125\n", f"{option}={again}")) == 2
    equal = load(f"{header}\n0.2,0.5,0.5,0.5\n0.4,0.5,5e-1,0.50\n")  # twice the same column is one
    assert equal["lr"].tolist() == [0.5, 0.5]


def test_the_value_of_a_table_that_is_not_optunas_is_no_loss(load: Load) -> None:
    assert "no column for a loss" in refused(load, "almr,lr,value\n0.2,1e-5,2.5\n")


def test_no_finished_trial_is_one_line(load: Load) -> None:
    message = refused(load, "almr,lr,loss,state\n0.2,1e-5,2.5,RUNNING\n0.4,1e-5,2.5,WAITING\n")
    assert message.endswith("no trial has finished (1 running, 1 waiting): run them to their end, and export again")


@pytest.mark.parametrize("name", ["ppl", "perplexity", "eval/perplexity", "val_ppl", "PPL", "metrics.eval_ppl"])
def test_a_perplexity_by_name_becomes_a_loss(load: Load, name: str) -> None:
    text = f"almr,lr,{name}\n0.2,1e-5,10\n0.4,1e-5,20.5\n"
    for table in (load(text), load(text, f"loss={name}")):
        assert table["loss_total"].tolist() == [math.log(10), math.log(20.5)]
        assert notes(table) == [f"column {name!r} is a perplexity: its natural logarithm is the loss"]


def test_perplexities_per_language_and_beside_losses(load: Load) -> None:
    table = load("almr,lr,ppl_original,additional_ppl\n0.2,1e-5,10,20\n")
    assert table[["loss_original", "loss_additional"]].to_numpy().tolist() == [[math.log(10), math.log(20)]]
    assert load("almr,lr,eval_loss,eval_ppl\n0.2,1e-5,2.5,12\n")["loss_total"].tolist() == [2.5]
    assert "line 2: ln ppl -0.6931" in refused(load, "almr,lr,ppl\n0.2,1e-5,0.5\n")
    assert load("almr,lr,ppl\n0.2,1e-2,inf\n0.2,1e-3,9\n")["status"].tolist() == ["diverged", "complete"]


def test_numbers_that_cannot_be_losses_are_one_line_and_doubtful_ones_a_note(load: Load) -> None:
    message = refused(load, "almr,lr,loss\n0.2,1e-5,25.5\n0.4,1e-5,31\n")
    told = (
        "the lowest of column 'loss' is 25.50 nats per token, more than a guess among a million tokens: name the column"
    )
    assert told in message
    table = load("almr,lr,loss\n0.2,1e-5,8.5\n0.4,1e-5,9\n")
    assert "near that of an untrained model: name the column ppl if these are perplexities" in notes(table)[0]
    assert notes(load("almr,lr,loss\n0.2,1e-5,3\n0.4,1e-5,900\n")) == []


@pytest.mark.parametrize(
    ("header", "cells"),
    [
        ("almr", ("30%", "40 %", "62.5%")),
        ("almr_percent", ("30", "40", "62.5")),
        ("ALMR (%)", ("30", "40", "62.5")),
        ("almr %", ("30 %", "40 %", "62.5 %")),
        ("config.almr_pct", ("30", "40", "62.5")),
    ],
)
def test_a_column_that_is_in_percent_and_says_so_is_converted(load: Load, header: str, cells: tuple[str, ...]) -> None:
    table = load(f"{header},lr,loss\n" + "".join(f"{cell},1e-5,2.5\n" for cell in cells))
    assert table["almr"].tolist() == [0.3, 0.4, 0.625]
    assert notes(table) == [f"column {header!r} is in percent: divided by 100"]


def test_shares_under_a_name_of_percent_are_refused_whatever_else_is_in_the_column(load: Load) -> None:
    """A cell that is no number made them percent: 0.3 was read as 0.003."""
    text = "almr_percent,lr,loss\nx,1e-5,2\n0.3,1e-5,2\n0.4,1e-5,2\n"
    with pytest.raises(InputError, match="says percent, but no value is above 1"):
        load(text, drop_bad_rows=True)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "almr,lr,loss\n30,1e-5,2\n40,1e-5,2\n",
            "lines 2, 3: almr 30 is outside 0..1 (in percent? divide by 100)",
        ),
        ("almr,lr,loss\n30 %,1e-5,2\n0.4,1e-5,2\n", "write every ALMR as a share, such as 0.3, or every one with %"),
        ("almr_percent,lr,loss\n0.3,1e-5,2\n", "says percent, but no value is above 1: rename it to almr if these"),
        (
            "almr,lr,loss\n0.3,-5,2\n0.4,-4.7,2\n",
            "lines 2, 3: lr -5 is not above 0 (a logarithm? write the LR itself",
        ),
        ("almr,log10_lr,loss\n0.3,-5,2\n", "the column 'log10_lr' is a logarithm: write the LR itself, such as 1e-5"),
        ("almr,params_log_lr,loss\n0.3,5,2\n", "the column 'params_log_lr' is a logarithm: write the LR itself"),
        ("almr,lr,loss\n0.3,-1e-5,2\n0.4,1e-5,2\n", "line 2: lr -1e-5 is not above 0; correct it"),
    ],
)
def test_units_that_cannot_be_are_one_line_with_the_fix(load: Load, text: str, told: str) -> None:
    assert told in refused(load, text)


def test_a_logarithm_beside_the_lr_is_not_read(load: Load) -> None:
    assert points(load("almr,log10_lr,lr,loss\n0.3,-5,1e-5,2\n")) == [(0.3, 1e-5)]


def test_an_export_that_was_made_twice_counts_once(load: Load) -> None:
    rows = "".join(f"{a},{r},{2 + a},ok,r{n}\n" for n, (a, r) in enumerate(GRID))
    once, twice = load(f"almr,lr,loss,state,run\n{rows}"), load(f"almr,lr,loss,state,run\n{rows}{rows}")
    pd.testing.assert_frame_equal(once, twice)
    assert notes(twice) == ["counted once: 9 copies of earlier rows, lines 11, 12, 13 and 6 more"]


LR_ALONE = "lr,loss,{}\n" + "".join(f"{r},{2 + n / 10},{{}}\n" for n, r in enumerate((1e-5, 2e-5, 1e-5, 2e-5)))


def test_a_table_without_an_almr_has_none(load: Load) -> None:
    table = load(LR_ALONE.format("minutes", 11, 12.5, 13, 9))
    assert table["almr"].isna().all()
    assert table["seed"].tolist() == [0, 0, 1, 1]
    told = "no column holds the ALMR: the fit is of the LR alone; if minutes is the ALMR, pass --columns"
    assert notes(table) == [f"{told} almr=NAME"]
    again = load(table.to_csv(index=False))
    assert again["almr"].isna().all()


def test_another_setting_that_varies_is_no_repeat(load: Load) -> None:
    text = LR_ALONE.format("mix", 0.2, 0.2, 0.4, 0.4)
    told = "no column holds the ALMR, and 'mix' has several values at one LR: name it, --columns almr=mix, or seed=mix"
    assert told in refused(load, text)
    assert load(text, "almr=mix")["almr"].tolist() == [0.2, 0.2, 0.4, 0.4]
    assert load(text, "seed=mix")["almr"].isna().all()
    assert len(load(text, where=["mix=0.2"])) == 2
    assert load(LR_ALONE.format("replicate", 0, 0, 1, 1))["seed"].tolist() == [0, 0, 1, 1]


def crossed(name: str, *values: object) -> str:
    """GRID once for each value of a column, with a loss that depends on it."""
    rows = [(a, lr, value, 2 + a + 9 * n) for n, value in enumerate(values) for a, lr in GRID]
    return f"almr,lr,{name},loss\n" + "".join(f"{a},{lr},{value},{y}\n" for a, lr, value, y in rows)


@pytest.mark.parametrize(
    "name", ["step", "_step", "steps", "global_step", "max_steps", "epoch", "training_iteration", "train_tokens"]
)
def test_rows_of_several_lengths_are_no_repeats(load: Load, name: str) -> None:
    """A history has a row for each step; as repeats, its rows would be fitted to their mean, with huge noise."""
    told = refused(load, crossed(name, 50, 100))
    assert f"'{name}', so that they are not repeats" in told
    assert f"--where {name}=100" in told
    assert len(load(crossed(name, 50, 100), where=[f"{name}=100"])) == len(GRID)
    of_lr = f"lr,{name},loss\n" + "".join(f"{lr},{n},{9 - n / 50}\n" for n in (50, 100) for lr in (1e-5, 2e-5, 4e-5))
    assert f"--where {name}=100" in refused(load, of_lr)


@pytest.mark.parametrize(
    ("name", "values"),
    [("optimizer", ("adamw", "muon")), ("model", ("1b", "8b", "70b")), ("batch_size", (32, 64)), ("wd", (0.1, 0.2))],
)
def test_a_setting_that_varies_beside_both_is_told(load: Load, name: str, values: tuple[object, ...]) -> None:
    (told,) = load(crossed(name, *values)).attrs["settings"]
    assert told.startswith(f"{name}: several values, which the fit does not know")
    assert told.endswith(f"--where {name}={values[0]}")
    seeds = load(crossed(name, *values).replace(name, "seed")) if isinstance(values[0], int) else None
    assert seeds is None or notes(seeds) == seeds.attrs["settings"] == []


def test_a_third_parameter_of_a_search_is_told(load: Load) -> None:
    text = "number,params_almr,params_lr,params_wd,value,state\n" + "".join(
        f"{n},{a},{lr},{0.1 + n / 100},{2 + a},COMPLETE\n" for n, (a, lr) in enumerate(GRID)
    )
    assert load(text).attrs["settings"][0].startswith("params_wd: several values")


@pytest.mark.parametrize("decays", [[0.1 + n / 100 for n in range(9)], [0.1, 0.2, *[0.1] * 7]])
def test_a_setting_that_varies_beside_the_lr_alone_is_a_warning_of_the_fit(load: Load, decays: list[float]) -> None:
    """Optuna's `number` and times count trials: they are no settings."""
    text = "number,value,params_lr,params_weight_decay,duration_s,state\n" + "".join(
        f"{n},{2 + (n - 4) ** 2 / 50},{1e-5 * 1.4**n},{wd},{60 + n / 7},COMPLETE\n" for n, wd in enumerate(decays)
    )
    table = load(text)
    alone = "no column holds the ALMR: the fit is of the LR alone; if params_weight_decay is the ALMR, pass --columns"
    assert notes(table) == [f"{alone} almr=NAME"]
    (told,) = [one for one in fit_table(table).warnings if one.code == "settings"]
    several = "params_weight_decay: several values, which the fit does not know: their effect counts as noise; "
    fix = "keep one with --where params_weight_decay=0.1" if decays[2] == 0.1 else "run trials with one"
    assert told.message == several + fix
    assert load(text, where=["params_weight_decay=0.1"]).attrs["settings"] == []
    assert load(text.replace("params_", "")).attrs["settings"] == [told.message.replace("params_", "")]


def test_a_trial_that_crashed_and_ran_again_is_no_history(load: Load) -> None:
    rows = [(a, lr, state, step) for a, lr in GRID for state, step in (("crashed", 40), ("finished", 100))]
    text = "almr,lr,state,_step,loss\n" + "".join(f"{a},{lr},{s},{n},{2 + a}\n" for a, lr, s, n in rows)
    assert load(text)["status"].value_counts().to_dict() == {"complete": len(GRID), "failed": len(GRID)}


def test_what_is_measured_in_each_trial_is_no_setting(load: Load) -> None:
    rows = [(a, lr, seed, 2 + a + seed / 100) for seed in (0, 1) for a, lr in GRID]
    text = "almr,lr,seed,loss,runtime,host\n" + "".join(
        f"{a},{lr},{seed},{y},{600 + n},node{n % 3}\n" for n, (a, lr, seed, y) in enumerate(rows)
    )
    assert notes(load(text)) == []


@pytest.mark.parametrize("lrs", [(5.0, 4.7, 4.4), (1, 2, 4)])
def test_lrs_in_a_unit_are_told(load: Load, lrs: tuple[float, ...]) -> None:
    text = "almr,lr,loss\n" + "".join(f"{a},{lr},{2 + a}\n" for a in (0.2, 0.4, 0.6) for lr in lrs)
    assert notes(load(text))[0].startswith("the lowest LR of column 'lr' is ")
