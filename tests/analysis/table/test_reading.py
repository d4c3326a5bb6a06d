"""Files of other programs, read: separators, encodings, compressions, JSON and workbooks give the same table."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.table.import_table import notes, read_table
from sweep.study import InputError

ROWS = [(0.2, 1e-5, 2.3125), (0.2, 2e-5, 2.25), (0.4, 1e-5, 2.5), (0.4, 2e-5, 1.0625)]
NAMES = ("almr", "lr", "loss")
TEXT = "almr,lr,loss\n" + "".join(f"{a},{r},{y}\n" for a, r, y in ROWS)
COMMAS = TEXT.replace(",", ";").replace(".", ",")
Load = Callable[..., pd.DataFrame]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def write_and_read(content: str | bytes, name: str = "mine.csv", **options: Any) -> pd.DataFrame:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return read_table(path, **options)

    return write_and_read


def points(table: pd.DataFrame) -> list[tuple[float, ...]]:
    return list(table[["almr", "lr", "loss_total"]].itertuples(index=False, name=None))


def refused(load: Load, *arguments: Any, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        load(*arguments, **options)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "first_line"),
    [
        (TEXT, 2),
        (COMMAS, 2),
        (TEXT.replace(",", "\t"), 2),
        (TEXT.replace(",", "|"), 2),
        (TEXT.replace(",", ":"), 2),
        (TEXT.replace(",", "   "), 2),
        (TEXT.replace(",", " \t "), 2),
        (TEXT.replace(",", ", "), 2),
        (TEXT.replace("\n", "\r\n"), 2),
        (TEXT.replace("\n", "\r"), 2),
        ("sep=;\n" + COMMAS, 3),
        ("Sweep of June\n\n" + TEXT, 4),
        ("# made by us\n# twice\n" + TEXT, 4),
        ("# " + TEXT.replace(",", " "), 2),  # as numpy.savetxt writes it
        ("almr lr loss\n" + "".join(f'"{n}" {a} {r} {y}\n' for n, (a, r, y) in enumerate(ROWS, 1)), 2),  # as R does
        (pd.DataFrame(ROWS, columns=NAMES).to_string(), 2),
        (pd.DataFrame(ROWS, columns=NAMES).to_csv(), 2),
        ("| almr | lr | loss |\n|:---|---|---:|\n" + "".join(f"| {a} | {r} | {y} |\n" for a, r, y in ROWS), 3),
        (TEXT.replace("loss\n", "loss,note\n").replace("2.25\n", '2.25,"two\nlines, and ; more"\n'), 2),
        (TEXT + "\x1a", 2),
    ],
)
def test_any_separator_is_read_with_the_lines_of_the_file(load: Load, text: str, first_line: int) -> None:
    table = load(text)
    assert points(table) == ROWS
    assert table["trial_id"][0] == f"row {first_line}"
    assert notes(table) == []


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "gb18030"])
def test_chinese_column_names_are_read_in_any_encoding(load: Load, encoding: str) -> None:
    text = TEXT.replace("almr,lr,loss", "混合比例,学习率,验证损失").replace("2.25\n", "2.25\n")
    table = load(text.encode(encoding), columns="almr=混合比例,lr=学习率,loss=验证损失")
    assert points(table) == ROWS
    assert notes(table) == (["read as gb18030, because it is not UTF-8"] if encoding == "gb18030" else [])


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1"])
@pytest.mark.parametrize("name", ["größe", "été", "año", "déjà vu", "µ", "Verlust °C"])
def test_western_column_names_are_read(load: Load, name: str, encoding: str) -> None:
    table = load(TEXT.replace("loss", name).encode(encoding), columns={"loss": name})
    assert points(table) == ROWS
    assert notes(table) == ["read as cp1252, because it is not UTF-8"]


def test_a_quotation_mark_of_windows_is_text(load: Load) -> None:
    text = TEXT.replace("loss\n", "loss,note\n").replace("2.25\n", "2.25,“fine” – 10 €\n")
    assert points(load(text.encode("cp1252"))) == ROWS


def zipped(**members: bytes) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    return content.getvalue()


PACKED = {
    "gz": gzip.compress,
    "zst": lambda content: pa.compress(content, codec="zstd", asbytes=True),
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zip": lambda content: zipped(**{"mine.csv": content, "__MACOSX/mine.csv": b"x"}),
}


@pytest.mark.parametrize("suffix", PACKED)
@pytest.mark.parametrize("name", ["mine.csv.{}", "mine.{}", "mine.csv"])
def test_a_compression_is_known_by_its_bytes(load: Load, suffix: str, name: str) -> None:
    assert points(load(PACKED[suffix](TEXT.encode()), name.format(suffix))) == ROWS


def as_json(form: str) -> str:
    frame = pd.DataFrame(ROWS, columns=NAMES)
    if form == "nested":
        rows = [{"config": {"almr": a, "lr": r}, "summary": {"eval": {"loss": y}}} for a, r, y in ROWS]
        return "\n\n".join(map(json.dumps, rows))
    if form == "lines":
        return frame.to_json(orient="records", lines=True, double_precision=15)
    if form == "pretty":
        return json.dumps(frame.to_dict("records"), indent=2)
    if form == "lists":
        return json.dumps(frame.to_dict("list"))
    return frame.to_json(orient=form, double_precision=15)


@pytest.mark.parametrize("form", ["lines", "records", "pretty", "columns", "lists", "split", "table", "nested"])
@pytest.mark.parametrize("name", ["mine.json", "mine.jsonl", "mine.txt"])
def test_json_is_read_in_every_form_that_pandas_writes(load: Load, form: str, name: str) -> None:
    table = load(as_json(form), name)
    assert points(table) == ROWS
    assert table["trial_id"].tolist()[1] == ("row 3" if form == "nested" else "row 2")


def test_a_missing_key_is_a_missing_cell(load: Load) -> None:
    message = refused(load, '{"almr": 0.1, "lr": 1e-5, "loss": 3}\n\n{"lr": 1e-5, "loss": NaN}\n', "mine.jsonl")
    assert "line 3: almr is missing; loss is missing" in message


def workbook(*sheets: tuple[str, list[list[Any]]]) -> bytes:
    book = pytest.importorskip("openpyxl").Workbook()
    book.remove(book.active)
    for title, rows in sheets:
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(row)
    content = io.BytesIO()
    book.save(content)
    return content.getvalue()


def test_a_workbook_is_read_with_the_rows_of_its_sheet(load: Load) -> None:
    cells = [["A sweep"], [], [*NAMES, None, "note"], *([*row, None, "x"] for row in ROWS)]
    table = load(workbook(("empty", []), ("Trials", cells), ("Notes", [["a", "b"]])), "mine.xlsx")
    assert points(table) == ROWS
    assert table["trial_id"].tolist()[0] == "row 4"
    assert notes(table) == ["read the sheet 'Trials', the first of 2 with cells"]
    cells[5][0] = "0,x"
    assert "mine.xlsx, row 6: almr '0,x' is not a number" in refused(load, workbook(("T", cells)), "mine.xlsx")


def test_a_workbook_without_openpyxl_is_one_line(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "openpyxl", None)
    message = refused(load, zipped(**{"xl/workbook.xml": b""}), "mine.xlsx")
    assert "it needs openpyxl: pip install 'almr-sweep[excel]', or save it as .csv" in message


@pytest.mark.parametrize(
    ("tokens", "loss", "expected"),
    [
        ("2048", "2,345", 2.345),  # the ALMRs show that commas are decimal marks
        ("2048", "2,3e0", 2.3),
        ("2048", ",5", 0.5),
        ("2048", "2.3", 2.3),  # another column of the same file may have points
    ],
)
def test_decimal_commas_are_read_where_the_file_shows_them(load: Load, tokens: str, loss: str, expected: float) -> None:
    table = load(f"almr;lr;tokens;loss\n0,25;1e-5;{tokens};{loss}\n0,5;0,00001;{tokens};{loss}\n")
    assert points(table) == [(0.25, 1e-5, expected), (0.5, 1e-5, expected)]
    assert table["tokens"].tolist() == [2048, 2048]


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("0,25;1e-5;1.048;2,5", "tokens '1.048'"),  # 1,048 or 1.048?
        ("0,25;1e-5;1.048.576;2,5", "tokens '1.048.576'"),
        ("0.25;1e-5;1,048,576;2.5", "tokens '1,048,576'"),
        ("0.25;1e-5;1 048 576;2.5", "tokens '1 048 576'"),
        ("0.25;1e-5;1'048'576;2.5", "tokens \"1'048'576\""),
        ("0.25;1e-5;2048;2,345", "loss '2,345'"),
        ("0,25;1e-5;2048;1.234,5", "loss '1.234,5'"),
    ],
)
def test_thousands_are_told_and_never_guessed(load: Load, row: str, told: str) -> None:
    message = refused(load, f"almr;lr;tokens;loss\n{row}\n")
    assert f"line 2: {told} may have its thousands apart (write " in message


def test_a_number_of_one_group_is_told_with_both_ways_to_write_it(load: Load) -> None:
    message = refused(load, "almr,lr,loss\n0.2,1e-5,'2,345'\n".replace("'", '"'))
    assert "line 2: loss '2,345' may have its thousands apart (write 2345 or 2.345); correct it" in message


def test_a_list_of_gpus_is_no_decimal_comma(load: Load) -> None:
    table = load('almr,lr,loss,gpus\n0.2,1e-5,2.345,"0,1"\n0.4,1e-5,2.512,"0,1"\n')
    assert table["loss_total"].tolist() == [2.345, 2.512]


def test_random_text_in_names_stays_on_one_line(load: Load) -> None:
    message = refused(load, 'a,"b\nc",' + "d" * 200 + "\n1,2,3\n")
    assert r"its columns are a, b\nc, ddd" in message


CELL = st.one_of(st.text(max_size=8), st.floats(), st.integers(), st.none(), st.sampled_from(["0,5", "1.000", "30 %"]))
NAME = st.one_of(
    st.sampled_from([*NAMES, "status", "seed", "ppl", "config.lr", "params_lr", "value"]), st.text(max_size=6)
)
SEPARATORS = st.sampled_from([",", ";", "\t", "|", " ", "  ", ":", "^", "\x01", '"', ""])
ENCODINGS = st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "gb18030", "utf-7", "utf-32"])
JSON = st.recursive(CELL, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAME, inner, max_size=4))


@st.composite
def separated(draw: Any) -> bytes:
    mark, width = draw(SEPARATORS), draw(st.integers(0, 5))
    row = st.lists(CELL, min_size=width, max_size=width + 1)
    rows = [draw(st.lists(NAME, min_size=width, max_size=width)), *draw(st.lists(row, max_size=6))]
    text = draw(st.sampled_from(["\n", "\r\n", "\r"])).join(mark.join(map(str, cells)) for cells in rows)
    return text.encode(draw(ENCODINGS), "surrogatepass" if draw(st.booleans()) else "replace")


CONTENT = st.one_of(
    st.binary(max_size=200),
    separated(),
    JSON.map(lambda value: json.dumps(value).encode()),
    st.lists(JSON, max_size=4).map(lambda rows: "\n".join(map(json.dumps, rows)).encode()),
)


@given(content=CONTENT, packing=st.sampled_from([None, None, *PACKED]), cut=st.integers(0, 60), suffix=st.booleans())
@settings(max_examples=100, deadline=None)
def test_whatever_the_bytes_are_it_is_a_table_or_one_line(
    content: bytes, packing: str | None, cut: int, suffix: bool
) -> None:
    content = PACKED[packing](content) if packing else content
    content = content[:-cut] if cut > 50 else content
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ("mine.csv" if suffix else "mine.parquet")
        path.write_bytes(content)
        for drop in (False, True):
            told = outcome(path, drop)
            assert all(line.isprintable() and len(line) < 2000 for line in told), told


def outcome(path: Path, drop: bool) -> list[str]:
    """The one line of the refusal, or what is said of the table that was read."""
    try:
        table = read_table(path, drop_bad_rows=drop)
    except InputError as error:
        return [str(error)]
    fitted = table[table["excluded"].isna()]
    assert np.isfinite(fitted[["almr", "lr"]].dropna(axis=1, how="all").to_numpy(float)).all()
    return notes(table)


def test_a_quote_without_an_end_is_told_with_its_line(load: Load) -> None:
    with pytest.raises(InputError, match=r"line 4: a quote opens and never closes"):
        load('almr,lr,loss,note\n0.2,1e-5,2,ok\n0.2,2e-5,2,ok\n0.4,1e-5,2,"cut\n0.4,2e-5,2,ok\n')


def test_a_cell_may_be_as_long_as_a_trackers_configuration(load: Load) -> None:
    table = load("almr,lr,loss,config\n" + "".join(f"{a},{r},{y},{'x' * 200_000}\n" for a, r, y in ROWS))
    assert points(table) == ROWS


@pytest.mark.parametrize("form", [lambda rows: {"study": "mine", "trials": rows}, lambda rows: dict(enumerate(rows))])
def test_json_rows_inside_an_object_are_read(load: Load, form: Callable[[list[Any]], Any]) -> None:
    rows = [dict(zip(NAMES, row, strict=True)) for row in ROWS]
    assert points(load(json.dumps(form(rows)), "mine.json")) == ROWS


def test_a_list_of_lists_has_no_names(load: Load) -> None:
    with pytest.raises(InputError, match="row 1 is no object"):
        load(json.dumps(ROWS), "mine.json")
