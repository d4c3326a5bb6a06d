"""Tables that are hostile or absurd: bombs, millions of rows, cells that no trial has."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import zipfile
from collections.abc import Callable

import pyarrow as pa
import pyarrow.parquet as pq

HEAD = "almr,lr,loss\n"
ROWS = "".join(f"{a},{lr},{2 + (a - 0.5) ** 2:.4f}\n" for a in (0.2, 0.4, 0.6, 0.8) for lr in (1e-5, 2e-5, 4e-5, 8e-5))
PIECE = b"0" * 10**6
SHEET = "xl/worksheets/sheet1.xml"
OFFICE = "http://schemas.openxmlformats.org"
BOOK = {
    "xl/workbook.xml": f'<workbook xmlns="{OFFICE}/spreadsheetml/2006/main" xmlns:r="{OFFICE}/officeDocument/2006/'
    f'relationships"><sheets><sheet name="a" sheetId="1" r:id="r1"/></sheets></workbook>',
    "[Content_Types].xml": f'<Types xmlns="{OFFICE}/package/2006/content-types"><Override PartName="/xl/workbook.xml" '
    f'ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/></Types>',
    "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{OFFICE}/package/2006/relationships"><Relationship Id="r1" '
    f'Type="{OFFICE}/officeDocument/2006/relationships/worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
}


def rows(count: int, more: str = "") -> str:
    return HEAD + "".join(f"0.{i % 9 + 1},{1e-5 * 2 ** (i % 7)},{2 + i % 1000 / 1000}{more}\n" for i in range(count))


def each_row(change: Callable[[list[str]], list[str]], head: str = HEAD) -> str:
    return head + "".join(",".join(change(line.split(","))) + "\n" for line in ROWS.splitlines())


def packed(compress: Callable[[bytes], bytes], megabytes: int) -> bytes:
    """Compressed zeros: the frames of every compression here may follow one another."""
    return compress(PIECE) * megabytes


def zstd(content: bytes) -> bytes:
    return bytes(pa.compress(content, "zstd", asbytes=True))


def zipped(members: dict[str, str | bytes], big: str | None = None, megabytes: int = 0) -> bytes:
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
        if big:
            with archive.open(big, "w") as opened:
                for _ in range(megabytes):
                    opened.write(PIECE)
    return raw.getvalue()


def workbook(sheet: str) -> bytes:
    inside = f'<worksheet xmlns="{OFFICE}/spreadsheetml/2006/main">{sheet}</worksheet>'
    return zipped(BOOK | {SHEET: inside})


def parquet(count: int, cell: str = "x") -> bytes:
    raw = io.BytesIO()
    columns = {"almr": [0.5] * count, "lr": [1e-3] * count, "loss": [2.0] * count, "more": [cell] * count}
    pq.write_table(pa.table(columns), raw)
    return raw.getvalue()


Made = tuple[str, Callable[[], str | bytes], str]
UNPACKED, MANY = "unpacked it is over 32 MB: give one row per trial", "rows, over 50,000: a table has one row per trial"
# By name: the file's name, how it is made, and what its one message says. `megabytes` of a bomb are the caller's.
BOMBS: dict[str, tuple[str, Callable[[int], bytes], str]] = {
    "gzip": ("t.csv.gz", lambda n: packed(gzip.compress, n), UNPACKED),
    "bzip2": ("t.csv.bz2", lambda n: packed(bz2.compress, n), UNPACKED),
    "xz": ("t.jsonl.xz", lambda n: packed(lzma.compress, n), UNPACKED),
    "zstd": ("t.csv.zst", lambda n: packed(zstd, n), UNPACKED),
    "zip": ("t.zip", lambda n: zipped({}, "t.csv", n), UNPACKED),
    "workbook": ("t.xlsx", lambda n: zipped(BOOK, SHEET, n), "over 32: save it as .csv"),
    "parquet": ("t.parquet", lambda n: parquet(n, "0" * 10**6), "unpacked it is over 32 MB"),
}
REFUSED: dict[str, Made] = {
    "a million rows": ("t.csv", lambda: HEAD + "0.5,1e-3,2\n" * 10**6, MANY),
    "a million objects": ("t.jsonl", lambda: '{"almr":0.5}\n' * 10**6, MANY),
    "a million rows of parquet": ("t.parquet", lambda: parquet(10**6), MANY),
    "1e5 columns": ("t.csv", lambda: HEAD[:-1] + ",x" * 10**5 + "\n" + ROWS, "100,003 columns, over 5,000"),
    "too many cells": (
        "t.csv",
        lambda: rows(900).replace(HEAD, HEAD[:-1] + "".join(f",c{i}" for i in range(4000)) + "\n"),
        "900 rows x 4,003 columns = 3,602,700 cells, over 2,000,000",
    ),
    "one row": ("t.csv", lambda: HEAD + "0.5,1e-3,2\n", "1 usable trials"),
    "all diverged": (
        "t.csv",
        lambda: each_row(lambda c: [*c, "diverged"], "almr,lr,loss,status\n"),
        "diverged",
    ),
    "all failed": ("t.csv", lambda: each_row(lambda c: [*c, "failed"], "almr,lr,loss,status\n"), "failed"),
    "infinite losses": ("t.csv", lambda: each_row(lambda c: [*c[:2], "inf"]), "diverged"),
    "all NaN": (
        "t.csv",
        lambda: HEAD + "nan,nan,nan\n" * 22,
        "almr, lr, loss: no value in any of 22 rows (line 2: 'nan'; line 3: 'nan')",
    ),
    "no loss": (
        "t.csv",
        lambda: each_row(lambda c: [*c[:2], "nan"]),
        "16 of 16 rows cannot be used: lines 2, 3, 4 and",
    ),
    "LRs of 1e300": ("t.csv", lambda: each_row(lambda c: [c[0], "1e300", c[2]]), "lr 1e300 is beyond every LR"),
    "LRs of 1e-300": ("t.csv", lambda: each_row(lambda c: [c[0], "1e-300", c[2]]), "lr 1e-300 is beyond every LR"),
    "mixed separators": ("t.csv", lambda: HEAD + ROWS + "0.5;1e-3;2\n", "'0.5;1e-3;2' is not a number"),
    "an open quote": ("t.csv", lambda: f'{HEAD}0.5,"1e-3,2\n{ROWS}', "line 2: a quote opens and never closes"),
    "a zero byte": ("t.csv", lambda: f"{HEAD}0.5\0,1,2\n{ROWS}", "it is not text: line 2 holds a NUL"),
    "terminal codes": ("t.csv", lambda: f"{HEAD}\x1b[2J0.5,1,2\n{ROWS}", "holds the control character '\\x1b'"),
    "two headers": ("t.csv", lambda: HEAD + ROWS + HEAD + ROWS, "line 18: almr 'almr' is not a number"),
    "formulas": ("t.csv", lambda: f"{HEAD}=1+1,=cmd|' /C calc'!A0,2\n{ROWS}", "almr '=1+1' is not a number"),
    "nested too deeply": ("t.json", lambda: "[" * 100_000 + "]" * 100_000, "nested too deeply"),
    "nested lines": ("t.jsonl", lambda: '{"almr":' * 100_000 + "1" + "}" * 100_000, "nested too deeply"),
    "cells without columns": ("t.json", lambda: '{"columns":["almr"],"data":[[1,2]]}', "row 1 of its data has not the"),
    "entities that explode": (
        "t.xlsx",
        lambda: zipped(BOOK | {SHEET: laughing_sheet()}),
        "not readable as a table",
    ),
    "a sheet of gaps": (
        "t.xlsx",
        lambda: workbook('<sheetData><row r="9999999"><c r="A9999999"><v>1</v></c></row></sheetData>'),
        "over 2,000,000 cells",
    ),
    "a torn workbook": ("t.xlsx", lambda: b"PK\x03\x04" + b"x" * 100, "not readable as a table"),
    "a torn parquet": ("t.parquet", lambda: parquet(9)[:200], "not readable as a table"),
    "a torn gzip": ("t.csv.gz", lambda: gzip.compress(rows(99).encode())[:99], "not readable as a table"),
}
READ: dict[str, tuple[str, Callable[[], str | bytes]]] = {
    "50,000 rows": ("t.csv", lambda: rows(49_000)),
    "integers of 5,000 digits": ("t.jsonl", lambda: "".join(json_row(i, "9" * 5000) for i in range(9))),
    "a cell of 10 MB": ("t.csv", lambda: f"almr,lr,loss,note\n{ROWS}0.5,1e-5,2,{'x' * 10**7}\n"),
}


def json_row(i: int, more: str) -> str:
    return json.dumps({"almr": 0.5, "lr": 1e-5 * 2**i, "loss": 2 + (i - 4) ** 2 / 100})[:-1] + f', "more": {more}}}\n'


def laughing_sheet() -> str:
    entities = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 10))
    cell = '<row r="1"><c r="A1" t="str"><v>&a9;</v></c></row>'
    space = f'xmlns="{OFFICE}/spreadsheetml/2006/main"'
    return f'<!DOCTYPE l [<!ENTITY a0 "ha">{entities}]><worksheet {space}><sheetData>{cell}</sheetData></worksheet>'
