"""Every JSON file of a run: a newer version's is named as such and kept, a broken one is named with field and fix."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from analysis.fit_file.fit_file import read_fit
from analysis.launch.confirm import result
from analysis.launch.evidence import evidence
from sweep.store.run import Run
from sweep.study import InputError
from sweep.study.files.reader import NewerFileError, json_lines, read_object
from sweep.study.files.trial_files import read_record, read_request
from sweep.study.ingredients import read_ingredients, read_search


class Kind(NamedTuple):
    """A file by its name in a run, its reader, the schema version that it reads, and the fix that it names."""

    name: str
    read: Callable[[Path], Any]
    version: int
    fix: str


KINDS = [
    Kind("record.json", read_record, 1, "delete it to run the trial again"),
    Kind("almr=0.50_lr=1e-04_seed=0/trial.json", read_request, 1, "delete it to request the trial again"),
    Kind("search.json", read_search, 1, "delete it, and run the study again"),
    Kind("ingredients.json", read_ingredients, 1, "delete it, and run the study again"),
    Kind("fit.json", lambda path: read_fit(path.parent), 2, "write it anew: almr fit RUN"),
    Kind(
        "confirmation/judgement.json",
        lambda path: result.read(path.parents[1]),
        2,
        "delete it, and confirm again: almr confirm RUN --results FILE",
    ),
]
POINT = {"almr": 0.5, "lr": 1e-4, "seed": 0, "fingerprint": "f"}
every = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


def refused(kind: Kind, folder: Path, content: bytes) -> InputError:
    """The error of a file with this content, which is one line and names the file, which stays."""
    path = folder / kind.name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        kind.read(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert len(str(caught.value).splitlines()) == 1
    assert path.read_bytes() == content
    return caught.value


@every
def test_a_newer_version_is_named_and_its_file_kept(kind: Kind, tmp_path: Path) -> None:
    content = {"schema_version": kind.version + 1, "a_new_field": {"nested": [1.5]}}
    told = refused(kind, tmp_path, json.dumps(content).encode())
    assert isinstance(told, NewerFileError)
    assert str(told).endswith(
        f"written by a newer version of almr-sweep (schema_version {kind.version + 1}, this one reads {kind.version}): "
        f"upgrade almr-sweep, and keep the file"
    )


@every
@pytest.mark.parametrize("stated", ["2", 1.0, 2.0, True, None, [1], "two"])
def test_a_version_that_is_no_whole_number_is_named_and_its_file_kept(kind: Kind, tmp_path: Path, stated: Any) -> None:
    told = refused(kind, tmp_path, json.dumps({"schema_version": stated}).encode())
    assert isinstance(told, NewerFileError)
    assert f"its schema_version, {str(stated)!r}, is not one that this version of almr-sweep reads" in str(told)
    assert str(told).endswith("upgrade almr-sweep, and keep the file")


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        (KINDS[0], POINT | {"trial_id": "t", "status": "failed", "attempt": 1}),
        (KINDS[1], POINT),
        (KINDS[2], {"strategy": "surface", "budget": 24, "asked": 9}),
        (KINDS[3], {"base_model": "m", "base_model_fingerprint": "f", "folders": {}, "corpora": {}}),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_field_that_only_a_newer_version_knows_is_no_reason_to_delete(
    kind: Kind, content: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / kind.name).parent.mkdir(exist_ok=True)
    (tmp_path / kind.name).write_text(json.dumps(content))
    assert kind.read(tmp_path / kind.name) is not None
    told = str(refused(kind, tmp_path, json.dumps(content | {"a_new_field": 1}).encode()))
    assert "does not know the field a_new_field: if a newer one wrote the file, upgrade almr-sweep and keep it" in told


@every
@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "it is empty"),
        (b'{"half": ', "not JSON: Expecting value"),
        (b'{"a": "\xff"}', "not UTF-8 at byte 7"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a": [0, {"b": NaN}]}', "a.1.b is nan"),
        (b'{"loss": {"original": 1e308}}', "loss.original is 1e+308"),
        (b'{"seed": 1%s}' % (b"0" * 400), "seed is 1000"),
        (b'{"a": -Infinity}', "a is -inf"),
        (b"[]", "(expected a mapping of fields, found [])"),
    ],
    ids=lambda value: value[:20] if isinstance(value, bytes) else "",
)
def test_what_cannot_be_read_is_named_with_the_fix(kind: Kind, tmp_path: Path, content: bytes, says: str) -> None:
    told = refused(kind, tmp_path, content)
    assert says in str(told)
    assert kind.fix in str(told)
    assert not isinstance(told, NewerFileError)


@every
def test_a_field_with_a_wrong_value_is_named_with_the_fix(kind: Kind, tmp_path: Path) -> None:
    told = refused(kind, tmp_path, b"{}")
    assert ": required, but missing)" in str(told)
    assert kind.fix in str(told)


@pytest.mark.parametrize("kind", KINDS[-2:], ids=lambda kind: kind.name)
def test_an_older_version_is_named_with_the_fix(kind: Kind, tmp_path: Path) -> None:
    told = str(refused(kind, tmp_path, b'{"schema_version": 1}'))
    assert "written by an older version of almr-sweep (schema_version 1, this one reads 2)" in told
    assert kind.fix in told


def test_a_record_of_an_impossible_point_is_named(tmp_path: Path) -> None:
    fields = POINT | {"almr": 1.5, "trial_id": "t", "status": "failed", "attempt": 1}
    told = refused(KINDS[0], tmp_path, json.dumps(fields).encode())
    assert "almr is 1.5: must be 0 to 1" in str(told)


def test_a_file_that_is_not_there_is_no_fault(tmp_path: Path) -> None:
    missing = tmp_path / "missing.json"
    assert (read_request(missing), read_search(missing), read_ingredients(missing)) == (None, None, None)
    assert result.read(tmp_path) is None


def test_the_evidence_of_a_newer_version_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "evidence.json"
    path.write_text(json.dumps({"schema_version": evidence.SCHEMA_VERSION + 1, "files": {}, "links": {}}))
    with pytest.raises(NewerFileError, match=f"this one reads {evidence.SCHEMA_VERSION}"):
        evidence.written(tmp_path)
    path.write_text(json.dumps({"schema_version": 4, "files": {}, "links": {}}))
    assert evidence.written(tmp_path) is not None
    path.write_bytes(b"[" * 100_000)
    assert evidence.written(tmp_path) is None


def test_a_run_names_its_files_where_it_is_kept(tmp_path: Path, cache: Path) -> None:
    run = Run(f"file://{tmp_path}/kept")
    run.folder.mkdir(parents=True)
    run.files.ingredients.write_text("{")
    with pytest.raises(InputError, match=rf"^file://{tmp_path}/kept/ingredients\.json: not a list of ingredients"):
        run.ingredients()


def test_json_lines_leave_out_what_is_no_object_with_finite_numbers(tmp_path: Path) -> None:
    log = tmp_path / "metrics.jsonl"
    assert list(json_lines(log, "step")) == []
    good = [b'{"step": 1, "loss": 2.5}', b'{"step": 2, "loss": null}', b'{"other": [1]}']
    bad = [
        b"5",
        b"null",
        b"[]",
        b'"x"',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"\x00\x00",
        b"\xff\xfe5",
        b'{"step": 3, "lo',
    ]
    wrong = [b"NaN", b"Infinity", b"1e400", b"1" * 400, b"1" * 5000, b"[1]", b'"1"', b"true", b"{}"]
    log.write_bytes(b"\n".join([*bad, *good, *(b'{"step": 3, "loss": %s}' % value for value in wrong), b""]))
    assert list(json_lines(log, "step", "loss")) == [json.loads(line) for line in good]


@pytest.mark.parametrize("content", [None, b"[]", b"5", b'"x"', b"{cut", b"[" * 100_000, b"\xff", b'{"a": NaN}'])
def test_a_file_that_is_only_shown_may_be_unreadable(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "provenance.json"
    if content:
        path.write_bytes(content)
    assert read_object(path) is None
    path.write_bytes(b'{"git": "abc"}')
    assert read_object(path) == {"git": "abc"}
