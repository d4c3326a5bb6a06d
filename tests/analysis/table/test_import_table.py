"""A team's own table, as a file: what is read from it, and what is refused with which words."""

from __future__ import annotations

import gzip
import io
import itertools
import math
import re
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.table.import_table import notes, read_table
from analysis.table.table import COLUMNS, usable
from sweep.study import InputError

DENSE = Path(__file__).parents[2] / "data" / "dense.csv"
MAPPED = "almr=mix,lr=peak_lr,original=en_loss,additional=zh_loss"
THEIRS = "mix,peak_lr,en_loss,zh_loss\n0.1,1e-5,3.1,4.5\n0.3,2e-5,3.2,4.25\n"
FINE = "almr,lr,loss\n0.1,1e-5,3.1\n"
MEND = "; correct it, or pass --drop-bad-rows to leave it out"
MEND_ALL = "; correct them, or pass --drop-bad-rows to leave them out"

COLUMN_OF = {"almr": 0, "lr": 1, "seed": 3, "tokens": 4}

Read = Callable[..., pd.DataFrame]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Writes text (or bytes) to a file of that name and reads it."""

    def write_and_read(content: str | bytes, *args: Any, name: str = "mine.csv", **options: Any) -> pd.DataFrame:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return read_table(path, *args, **options)

    return write_and_read


def zipped(**members: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return content.getvalue()


def refusal(read: Read, tmp_path: Path, *args: Any, **options: Any) -> str:
    """The message without the folder."""
    with pytest.raises(InputError) as caught:
        read(*args, **options)
    return str(caught.value).replace(f"{tmp_path}/", "")


def reasons(table: pd.DataFrame) -> list[str | None]:
    return [reason if isinstance(reason, str) else None for reason in table["excluded"]]


def test_our_own_table_needs_no_columns() -> None:
    table, plain = read_table(DENSE), pd.read_csv(DENSE, float_precision="round_trip")
    numeric = list(plain.select_dtypes("number").dropna(axis=1, how="all"))
    assert len(numeric) > 15
    pd.testing.assert_frame_equal(table[numeric], plain[numeric], check_exact=True)
    assert list(table.columns) == COLUMNS
    assert table["trial_id"].tolist() == plain["trial_id"].tolist()
    assert table["fingerprint"].tolist() == plain["fingerprint"].tolist()
    assert reasons(table) == reasons(plain)


@pytest.mark.parametrize("name", ["mine.csv", "mine.csv.gz", "mine.tsv", "MINE.CSV", "mine.parquet", "indexed.parquet"])
def test_every_kind_of_file_reads_alike(tmp_path: Path, name: str) -> None:
    path = tmp_path / "almr=0.9" / name  # a folder's name is never data
    path.parent.mkdir()
    if path.suffix == ".parquet":
        frame = pd.DataFrame(
            {"mix": [0.1, 0.3], "peak_lr": [1e-5, 2e-5], "en_loss": [3.1, 3.2], "zh_loss": [4.5, 4.25]}
        )
        (frame.set_index("mix") if name.startswith("indexed") else frame).to_parquet(path)
    else:
        text = "\ufeff" + THEIRS.replace("mix,", " mix ,").replace(",", "\t" if path.suffix == ".tsv" else ",")
        path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    table = read_table(path, MAPPED)
    assert list(table.columns) == COLUMNS
    assert table[["almr", "lr", "loss_original", "loss_additional"]].to_numpy().tolist() == [
        [0.1, 1e-5, 3.1, 4.5],
        [0.3, 2e-5, 3.2, 4.25],
    ]
    assert table["status"].tolist() == ["complete", "complete"]
    assert table["trial_id"].tolist() == (["row 1", "row 2"] if path.suffix == ".parquet" else ["row 2", "row 3"])
    assert reasons(table) == [None, None]
    assert table["tokens"].isna().all()


@pytest.mark.parametrize(
    ("header", "columns", "found"),
    [
        ("almr,lr,loss", None, {"loss_total": 3.0}),
        ("almr,lr,loss_total", None, {"loss_total": 3.0}),
        ("almr,lr,total", "loss=total", {"loss_total": 3.0}),
        ("almr,lr,original,additional", None, {"loss_original": 3.0, "loss_additional": 4.0}),
        ("almr,lr,loss_original,loss", None, {"loss_original": 3.0}),
        ("almr,lr,en,loss_additional", "original=en", {"loss_original": 3.0, "loss_additional": 4.0}),
        ("almr,lr,en,loss_total", "original=en", {"loss_original": 3.0}),
        ("almr,lr,loss_original,loss_additional", "loss=loss_additional", {"loss_total": 4.0}),
        ("lr,almr,loss_original", "almr=lr,lr=almr", {"loss_original": 3.0, "almr": 0.5, "lr": 1e-5}),
    ],
)
def test_losses_are_found_by_the_stated_name_or_a_standard_one(
    read: Read, header: str, columns: str | None, found: dict[str, float]
) -> None:
    values = ["0.5", "1e-5", "3", "4"][: header.count(",") + 1]
    row = read(f"{header}\n{','.join(values)}\n", columns).iloc[0]
    losses = {name: row[name] for name in row.index if name.startswith("loss") and not math.isnan(row[name])}
    assert losses | {name: row[name] for name in ("almr", "lr") if name in found} == found


def test_scores_parameters_and_base_losses_come_along(read: Read) -> None:
    header, columns = "almr,lr,loss,n,base,score_cmmlu,colour", "parameters=n,base_original=base"
    table = read(f"{header}\n0.5,1e-5,3,8000000000,2.5,0.31,red\n0.7,1e-5,3,8000000000,2.5,,red\n", columns)
    assert list(table.columns) == [*COLUMNS, "loss_total", "parameters", "score_cmmlu"]
    assert table["parameters"].tolist() == [8 * 10**9] * 2
    assert table["base_loss_original"].tolist() == [2.5, 2.5]
    assert table["score_cmmlu"].isna().tolist() == [False, True]
    assert read("almr,lr,loss,tokens\n0.5,1e-5,3,1e30\n")["tokens"].tolist() == [1e30]


@pytest.mark.parametrize(
    ("status", "loss", "expected"),
    [
        ("", "3.1", "complete"),
        ("n/a", "3.1", "complete"),
        (" OK ", "3.1", "complete"),
        ("Finished", "3.1", "complete"),
        ("NaN", "", "diverged"),
        ("exploded", "inf", "diverged"),
        ("", "inf", "diverged"),
        ("OOM", "", "failed"),
        ("killed", "junk", "failed"),
    ],
)
def test_a_status_is_understood(read: Read, status: str, loss: str, expected: str) -> None:
    row = read(f"almr,lr,loss,status\n0.1,1e-5,{loss},{status}\n0.1,1e-5,3,ok\n").iloc[0]
    assert row["status"] == expected
    assert row["excluded"] == f"{expected}: no reason recorded" or (expected == "complete" and pd.isna(row["excluded"]))
    assert math.isnan(row["loss_total"]) == (loss != "3.1")


def test_a_reason_is_kept_and_the_files_own_exclusion_is_kept(read: Read) -> None:
    table = read(
        "almr,lr,loss,status,reason,excluded,tokens\n0.1,1e-2,9,diverged,over the margin,,64\n"
        "0.1,1e-5,,failed,disk full,,\n0.1,1e-5,,,,wrong data,\n0.1,1e-5,3,,,none,64\n"
    )
    assert reasons(table) == ["diverged: over the margin", "failed: disk full", "wrong data", None]


def test_a_flag_that_says_no_excludes_nothing(read: Read) -> None:
    table = read("almr,lr,loss,excluded\n0.1,1e-5,3,False\n0.1,1e-5,3.1,0\n0.1,1e-5,,True\n")
    assert reasons(table) == [None, None, "True"]


def test_replicates_are_numbered_in_the_files_order_where_there_is_no_seed(read: Read) -> None:
    assert read("almr,lr,loss\n0.1,1e-5,3\n0.1,2e-5,3\n0.1,1e-5,3.1\n0.1,1e-5,3.2\n")["seed"].tolist() == [0, 0, 1, 2]


def test_a_trial_that_was_written_twice_counts_once(read: Read) -> None:
    """Without seeds, rounded losses may agree by chance: only rows that agree in every cell are one trial."""
    table = read("almr,lr,loss,note\n0.1,1e-5,3,a\n0.1,2e-5,3,a\n0.1,1e-5,3,a\n0.1,1e-5,3,b\n0.1,1e-5,3.1,a\n")
    assert table["trial_id"].tolist() == ["row 2", "row 3", "row 5", "row 6"]
    assert table["seed"].tolist() == [0, 0, 1, 2]
    assert notes(table) == ["counted once: 1 copy of an earlier row, line 4"]


def test_one_seed_twice_is_a_replicate_unless_its_losses_agree(read: Read) -> None:
    table = read("almr,lr,loss,seed,run\n0.1,1e-5,3,7,a\n0.1,1e-5,3.1,7,b\n0.1,1e-5,3,7,c\n0.1,1e-5,3,8,d\n")
    assert table["trial_id"].tolist() == ["row 2", "row 3", "row 5"]
    assert table["seed"].tolist() == [7, 7, 8]


def test_a_loss_that_cannot_be_one_is_named(read: Read, tmp_path: Path) -> None:
    message = refusal(read, tmp_path, "almr,lr,loss\n0.1,1e-5,1.7e308\n")
    assert "line 2: loss 1.7e308 is too large for a loss (give the row a status" in message


def test_a_row_is_named_by_its_line_whatever_stands_above_it(read: Read) -> None:
    table = read('\nalmr,lr,loss,note\n0.1,1e-5,3,"two\nlines"\n\n,,,\n0.3,1e-5,3\n')
    assert table["trial_id"].tolist() == ["row 3", "row 7"]
    named = read("trial_id,almr,lr,loss\nfirst,0.1,1e-5,3\n,0.3,1e-5,3\n")
    assert named["trial_id"].tolist() == ["first", "row 3"]


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ("30,1e-5,3,0,64,ok", "almr 30 is outside 0..1 (in percent? divide by 100)"),
        ("300,1e-5,3,0,64,ok", "almr 300 is outside 0..1 (write the additional language's share of tokens)"),
        ("-0.1,1e-5,3,0,64,ok", "almr -0.1 is outside 0..1 (a share cannot be negative)"),
        (
            "30%,1e-5,3,0,64,ok",
            "almr '30%' is not a number (write every ALMR as a share, such as 0.3, or every one with %)",
        ),
        (",1e-5,3,0,64,diverged", "almr is missing"),
        ("0.3,1e-5,,,,diverged", "seed is missing"),
        ("0.3,0,3,0,64,ok", "lr 0 is not above 0"),
        ("0.3,inf,3,0,64,diverged", "lr 'inf' is not finite"),
        ("0.3,1e-5,3,a,64,ok", "seed 'a' is not a number"),
        ("0.3,1e-5,3,0,,ok", "tokens is missing"),
        ("0.3,1e-5,3,0,64,weird", "status 'weird' is not complete, diverged, failed or running"),
        (
            "0.3,1e-5,3,0,1.048.576,ok",
            "tokens '1.048.576' may have its thousands apart (write its digits together, with a decimal point)",
        ),
        ("0.3,1e-5,,0,64,", "loss is missing (give the row a status, diverged or failed, or remove it)"),
        ("0.3,1e-5,nan,0,64,", "loss is missing (give the row a status, diverged or failed, or remove it)"),
        (
            "0.3,1e-5,inf,0,64,ok",
            "loss 'inf' is not finite (give the row a status, diverged or failed, or remove it)",
        ),
        (
            "0.3,1e-5,x,,64,ok",
            "seed is missing; loss 'x' is not a number (give the row a status, diverged or failed, or remove it)",
        ),
        ("7,-1,3,0,64,ok", "almr 7 is outside 0..1 (in percent? divide by 100); lr -1 is not above 0"),
    ],
)
def test_a_bad_row_is_refused_by_its_line_or_kept_with_its_reason(
    read: Read, tmp_path: Path, row: str, fault: str
) -> None:
    text = f"almr,lr,loss,seed,tokens,status\n0.1,1e-5,3,5,64,ok\n{row}\n0.2,1e-5,3,5,64,ok\n"
    assert refusal(read, tmp_path, text) == f"mine.csv, line 3: {fault}{MEND}"
    table = read(text, drop_bad_rows=True)
    assert reasons(table) == [None, f"bad row: {fault}", None]
    assert notes(table) == [f"left out: 1 bad row, line 3: {fault}"]
    assert table["loss_total"].isna().tolist() == [False, True, False]
    for name in ("almr", "lr", "seed", "tokens"):
        offends = f"{name} " in fault or not row.split(",")[COLUMN_OF[name]]
        assert table[name].isna().tolist() == [False, offends, False], name


def test_a_parquet_counts_rows_and_bad_cells_may_be_of_any_type(tmp_path: Path) -> None:
    path = tmp_path / "mine.parquet"
    pd.DataFrame({"almr": [0.1, None], "lr": [1e-5, 1e-5], "loss": [3.0, 3.0], "status": [None, "ok"]}).to_parquet(path)
    with pytest.raises(InputError) as caught:
        read_table(path)
    assert str(caught.value) == f"{path}, row 2: almr is missing{MEND}"
    assert reasons(read_table(path, drop_bad_rows=True)) == [None, "bad row: almr is missing"]
    pd.DataFrame({"almr": [True], "lr": [1e-5], "loss": [3.0]}).to_parquet(path)
    with pytest.raises(InputError, match="row 1: almr 'True' is not a number"):
        read_table(path)


def test_a_hundred_bad_rows_are_one_line(read: Read, tmp_path: Path) -> None:
    percent = "almr 30 is outside 0..1 (in percent? divide by 100)"
    message = refusal(read, tmp_path, "almr,lr,loss\n" + "".join(f"30,1e-5,{n}\n" for n in range(1, 101)))
    assert message == f"mine.csv: 100 of 100 rows cannot be used: lines 2, 3, 4 and 97 more: {percent}{MEND_ALL}"
    message = refusal(read, tmp_path, "almr,lr,loss\n40,0,3\n0.3,1e-5,3\n30,1e-5,3\n50,1e-5,3\n")
    told = f"lines 4 and 1 more: {percent}; line 2: {percent.replace('30', '40')}; lr 0 is not above 0"
    assert message == f"mine.csv: 3 of 4 rows cannot be used: {told}{MEND_ALL}"


def test_only_three_kinds_of_faults_are_named(read: Read, tmp_path: Path) -> None:
    rows = itertools.product(("", "x", "2", "-1"), ("", "x", "0"), ("", "x"), ("3",))
    message = refusal(read, tmp_path, "\n".join(["almr,lr,seed,loss", "1,1,1,1", *map(",".join, rows)]))
    assert message.startswith("mine.csv: 24 of 25 rows cannot be used: line 3: ")
    assert message.endswith(f"; and 21 rows with other faults{MEND_ALL}")
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize("column", ["loss_original", "loss_additional", "base_loss_original", "base_loss_additional"])
@pytest.mark.parametrize("loss", ["0", "-3.1"])
def test_a_loss_is_above_0(read: Read, tmp_path: Path, column: str, loss: str) -> None:
    cells = {"almr": "0.1", "lr": "1e-5", "loss_original": "3", "loss_additional": "4"} | {column: loss}
    message = refusal(read, tmp_path, f"{','.join(cells)}\n{','.join(cells.values())}\n")
    assert message.startswith(f"mine.csv, line 2: {column} {loss} is not above 0")


def test_a_trial_that_failed_or_is_excluded_may_stand_again(read: Read) -> None:
    header = "almr,lr,loss,seed,status,excluded\n"
    assert len(usable(read(header + "0.1,1e-5,,0,failed,\n0.1,1e-5,3,0,,old data\n0.1,1e-5,3,0,,\n"))) == 1


def test_a_bad_row_takes_no_ones_place(read: Read) -> None:
    table = read("almr,lr,loss,seed\n0.1,1e-5,,0\n0.1,1e-5,3,0\n", drop_bad_rows=True)
    assert usable(table)["trial_id"].tolist() == ["row 3"]
    assert read("almr,lr,loss\n1,1e-5,3\n,1e-5,3\n,1e-5,3\n", drop_bad_rows=True)["seed"].tolist() == [0, 0, 1]


def test_a_blank_column_is_none_at_all_unless_the_table_needs_it(read: Read, tmp_path: Path) -> None:
    assert read("almr,lr,loss,seed,tokens,status\n0.1,1e-5,3,,,\n0.1,1e-5,3.1,,,\n")["seed"].tolist() == [0, 1]
    assert reasons(read("almr,lr,loss,status\n0.1,1e-5,,oom\n")) == ["failed: no reason recorded"]
    assert refusal(read, tmp_path, "almr,lr,loss\n,,3\n").startswith("mine.csv: almr, lr: no value in any of 1 rows")


def test_a_column_has_one_use(read: Read) -> None:
    table = read("almr,mix,lr,loss,tokens\n0.1,0.2,1e-5,3,7\n0.1,0.2,1e-5,3,8\n", "almr=mix,seed=tokens")
    assert table["almr"].tolist() == [0.2, 0.2]
    assert table["seed"].tolist() == [7, 8]
    assert table["tokens"].isna().all()


@pytest.mark.parametrize("condition", ["tokens=2048", "n=2.048e3", " model = small", "original=3"])
def test_a_filter_takes_the_files_names_and_ours(read: Read, condition: str) -> None:
    text = "almr,lr,en,n,model\n0.1,1e-5,3.0,2048,small\n0.1,1e-5,4.0,4096,large\nwhat,1e-5,4.0,4096,large\n"
    table = read(text, "original=en,tokens=n", where=[condition])
    assert table["trial_id"].tolist() == ["row 2"]  # the bad row was filtered before it was checked
    assert table["tokens"].tolist() == [2048]


def test_filters_all_have_to_hold(read: Read, tmp_path: Path) -> None:
    text = "almr,lr,loss,k\n0.1,1e-5,3,a\n0.1,2e-5,3,a\n0.1,2e-5,3,b\n"
    assert read(text, where=["lr=0.00002", "k=b"])["trial_id"].tolist() == ["row 4"]
    no_row = refusal(read, tmp_path, text, where=["lr=1e-5", "k=b"])
    assert no_row == "mine.csv: no row has k=b; the values are a"
    many = "almr,lr,loss\n" + "".join(f"0.{n},1e-5,3\n" for n in range(10, 22))
    assert refusal(read, tmp_path, many, where=["almr=3"]).endswith("0.18, 0.19 and 2 more")
    absent = refusal(read, tmp_path, text, where=["loos=3"])
    assert absent == "mine.csv: no column 'loos' (did you mean 'loss'?); its columns are almr, lr, loss, k"
    assert refusal(read, tmp_path, text, where=["lr"]) == "--where: 'lr' is not name=value, as in tokens=2048"


@pytest.mark.parametrize("name", ["tokens", "parameters"])
def test_several_lengths_or_sizes_are_not_one_surface(read: Read, tmp_path: Path, name: str) -> None:
    text = f"almr,lr,loss,status,{name}\n" + "".join(f"0.1,1e-5,3,ok,{n}\n" for n in (8192, 2048, 4096))
    message = f"3 values of {name} (2048, 4096, 8192): a fit takes one; choose with --where {name}=2048"
    assert refusal(read, tmp_path, text) == f"mine.csv: {message}"
    assert len(read(text, where=[f"{name}=4096"])) == 1
    assert len(read(f"almr,lr,loss,status,{name}\n0.1,1e-5,3,ok,64\n0.1,1e-2,9,diverged,32\n")) == 2


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ("mix", "--columns: 'mix' is not ours=theirs, as in almr=mix"),
        (f"{MAPPED},", "--columns: '' is not ours=theirs, as in almr=mix"),
        ("almr=", "--columns: 'almr=' is not ours=theirs, as in almr=mix"),
        ("ratio=mix", "--columns: 'ratio' is not one of almr, lr, original, additional, loss, seed, tokens, "),
        ("almr=mix,almr=peak_lr", "--columns: almr is given twice; leave one out"),
        ("original=en_loss,additional=en_loss", "--columns: en_loss is given twice; leave one out"),
        ("loss=en_loss,additional=zh_loss", "--columns: give loss, or original and additional, not both"),
        (
            "almr=Mixx",
            "mine.csv: no column 'Mixx' (did you mean 'mix'?); its columns are mix, peak_lr, en_loss, zh_loss",
        ),
        ("almr=q=q", "mine.csv: no column 'q=q'; its columns are mix, peak_lr, en_loss, zh_loss"),
        (
            "almr=mix",
            "mine.csv: no column for a loss: pass --columns almr=...,lr=...,original=...,additional=... (",
        ),
        (None, "mine.csv: no column for almr, a loss: pass --columns almr="),
    ],
)
def test_columns_that_cannot_be_are_refused(read: Read, tmp_path: Path, columns: str | None, message: str) -> None:
    assert refusal(read, tmp_path, THEIRS, columns).startswith(message)


def test_a_combined_loss_beside_one_per_language_has_to_be_chosen(read: Read, tmp_path: Path) -> None:
    text = "almr,lr,loss_original,loss_total\n0.1,1e-5,3,4\n"
    message = (
        "has a combined loss and one per language: choose with --columns original=loss_original or loss=loss_total"
    )
    assert refusal(read, tmp_path, text) == f"mine.csv: {message}"
    assert read(text, "loss=loss_total")["loss_total"].tolist() == [4.0]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("mine.yaml", b"x", "not one of .csv, .tsv, .txt, .dat, .json, .jsonl, .ndjson, .parquet, .xlsx; save the"),
        ("mine.csv", b"", "no rows in it; name a table with a header and one row per trial"),
        ("mine.csv", b"almr,lr,loss\n\n", "no rows in it; "),
        (
            "mine.csv",
            b"\x00\x01\x02\xff" * 20,
            "not readable as a table (it is not text: line 1 holds a NUL); ",
        ),
        (
            "mine.csv",
            b'almr,lr,loss\n"0.1,1e-5,3\n',
            "not readable as a table (line 2: a quote opens and never",
        ),
        ("mine.csv", b"almr,lr,loss\n0,1,1e-5,3\n", "not readable as a table (line 2 has 4 cells, the header 3: write"),
        ("mine.csv", b"0.1,1e-5,3\n0.2,1e-5,3\n", "not readable as a table (its first line holds numbers: write the"),
        ("mine.csv", b"almr\n0.1\n", "not readable as a table (its header is one column, 'almr': separate the"),
        ("mine.csv", b"lr,almr, lr\n1,0,1\n", "two columns are named 'lr'; rename one"),
        ("mine.csv.gz", gzip.compress(FINE.encode(), mtime=0)[:-9], "not readable as a table ("),
        ("mine.zip", zipped(a=FINE, b=FINE), "not readable as a table (it holds 2 files, 'a', 'b': unpack the one to"),
        ("mine.zip", zipped(), "not readable as a table ("),
        ("mine.parquet", b"PAR1 and no more PAR1", "not readable as a table ("),
        ("mine.jsonl", b'{"almr": 0.1}\n{"almr": 0.\n', "not readable as a table (line 2: Expecting"),
        ("mine.jsonl", b'{"almr": 0.1}\n[1, 2]\n', "not readable as a table (line 2 is no object: write a list of"),
        ("mine.json", b'[{"almr": 0.1},\n{"almr"]', "not readable as a table (line 2: Expecting"),
        ("mine.json", b'{"almr": [0.1, 0.2], "lr": [1e-5]}', "not readable as a table (it is one object: write a list"),
        ("mine.json", b'[{"a":' * 100_000, "its values are nested too deeply"),
        ("mine.xlsx", b"PK\x03\x04 and no more", "not readable as a table ("),
    ],
)
def test_a_file_that_is_no_table_is_refused_in_one_line(
    read: Read, tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    refused = refusal(read, tmp_path, content, name=name)
    assert refused.startswith(f"{name}: {message}")
    assert "\n" not in refused


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(InputError, match=r"folder\.csv: a directory; name a table's file"):
        read_table(tmp_path / "folder.csv")
    with pytest.raises(InputError, match=r"absent\.csv: no such file; name a table's file"):
        read_table(tmp_path / "absent.csv")


def test_what_was_read_and_written_reads_the_same(read: Read) -> None:
    text = "mix,lr,loss,status\n0.1,1e-5,3.1,\n7,1e-5,3,\n0.2,1e-2,inf,\n0.3,1e-5,,oom\n"
    once = read(text, "almr=mix", drop_bad_rows=True)
    again = read(once.to_csv(index=False))
    assert len(usable(once)) == 1
    assert reasons(again) == reasons(once)
    pd.testing.assert_frame_equal(again, once, check_exact=True, check_dtype=False)
    with_index = read(once.to_csv())
    pd.testing.assert_frame_equal(with_index, once, check_exact=True, check_dtype=False)


COUNTED = re.compile(
    r"mine\.csv(?:, line \d+: .*; correct it|: (\d+) of (\d+) rows cannot be used: .*; correct them), or pass "
)
LOSS = st.floats(0, 13, exclude_min=True)
GOOD = st.tuples(st.floats(0, 1), st.floats(1e-30, 1e3), LOSS, st.integers(0, 2**32 - 1))
BAD = st.sampled_from(
    ["2,1,1,0", "-1e-9,1,1,0", "x,1,1,0", ",1,1,0", "0.5,-0.0,1,0", "0.5,1,,0", "0.5,1,1,", "0,1,-inf,0"]
)


@given(st.lists(st.one_of(GOOD, BAD), max_size=20))
@settings(max_examples=40, deadline=None)
def test_every_good_number_comes_back_and_every_bad_row_is_counted(
    rows: list[tuple[float, float, float, int] | str],
) -> None:
    """Of rows that are equal in all numbers the first counts."""
    rows = [(0.5, 1.0, 1.0, 1), *rows]  # so that no column is blank
    good = list(dict.fromkeys(row for row in rows if not isinstance(row, str)))
    bad = [line for line, row in enumerate(rows, start=2) if isinstance(row, str)]
    cells = [row if isinstance(row, str) else ",".join(map(repr, row)) for row in rows]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mine.csv"
        path.write_text("\n".join(["almr,lr,loss,seed", *cells]))
        table = read_table(path, drop_bad_rows=True)
        assert table.loc[table["excluded"].notna(), "trial_id"].tolist() == [f"row {line}" for line in bad]
        numbers = usable(table)[["almr", "lr", "loss_total", "seed"]].itertuples(index=False, name=None)
        assert list(numbers) == good
        if bad:
            with pytest.raises(InputError) as caught:
                read_table(path)
            told = COUNTED.search(str(caught.value))
            assert told, str(caught.value)
            assert (int(told[1] or 1), int(told[2] or len(rows))) == (len(bad), len(rows))
