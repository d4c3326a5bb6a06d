"""Files of a run that are damaged: every verb says which in a line, and `almr doctor` finds them all at once.

The soak of the same list in full: python -m tests.benchmarks.soaks.damage
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import pytest
import whole_run
from damaged_run import Attack, call, fitted_once, snapshot
from damages import LOCK, TRIAL, listed
from hypothesis import given
from hypothesis import strategies as st

from sweep.store import provenance
from sweep.study.files import regular, unfinished
from sweep.study.numbers import json_text
from sweep.verbs.results import fitting

VERBS = ("doctor", "status --json", "report", "fit")
EVERY = 61  # of the listed cases
DOCTOR = ("doctor", whole_run.NAME, "--json")


@pytest.fixture(scope="module")
def attack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attack]:
    folder = tmp_path_factory.mktemp("damaged")
    with mock.patch.object(fitting.plots, "write_figures", return_value=[]), fitted_once():
        whole_run.write(folder / "sound", search={"strategy": "grid"})
        yield Attack(folder / "sound", folder / "tried")


def test_every_verb_says_which_file_is_damaged_and_changes_nothing(attack: Attack) -> None:
    there = [case for case in listed(attack.run) if not case.file or (attack.run / case.file).exists()]
    assert len(there) > 500
    assert [fault for case in there[::EVERY] for fault in attack.faults(case, VERBS)] == []


def test_the_doctor_finds_all_damages_at_once_and_changes_nothing(attack: Attack) -> None:
    run, files = attack.run, ("record.json", "trial.json", "questions.json")
    attack._mend()
    assert call(attack.folder, DOCTOR).status == 0
    (run / "lock.json").write_text(json.dumps(LOCK))
    (run / ".fit.json.unfinished-00000000-1").write_text("{")
    unfinished.beside(run / "launch").mkdir()  # of an export that goes on
    for name in files:
        (run / TRIAL / name).unlink()
        (run / TRIAL / name).write_text("{")
    (run / "code" / "more.py").write_text("")
    before = snapshot(run)
    outcome = call(attack.folder, DOCTOR)
    assert snapshot(run) == before
    found = json.loads(outcome.out)
    damaged = {one["file"]: one["message"] for one in found["damaged"]}
    assert (outcome.status, found["sound"], found["records"]) == (2, False, 8)
    assert {*damaged} == {"code", *(f"{TRIAL}/{name}" for name in files)}
    assert damaged[f"{TRIAL}/record.json"].endswith("delete it to run the trial again")
    notes = {one["file"]: one["message"] for one in found["notes"]}
    assert "has ended or is silent" in notes["lock.json"]
    assert notes[".fit.json.unfinished-00000000-1"].endswith("delete it")
    assert len(call(attack.folder, DOCTOR[:2]).out.splitlines()) == len(damaged) + len(notes) + 1
    assert not [name for name in notes if name.startswith(".launch")]
    (run / "code" / "more.py").unlink()
    unfinished.beside(run / "launch").rmdir()
    attack._mend()


def test_a_study_that_is_gone_is_named_and_the_doctor_looks_at_the_rest(attack: Attack) -> None:
    attack._mend()
    (attack.run / "study.yaml").unlink()
    told = call(attack.folder, ("status", whole_run.NAME))
    assert (told.status, len(told.err.splitlines())) == (2, 1)
    assert f"{attack.run}/study.yaml: is missing: copy the study file of this run there" in told.err
    found = json.loads(call(attack.folder, DOCTOR).out)
    assert [one["file"] for one in found["damaged"]] == ["study.yaml"]
    attack._mend()


@pytest.mark.parametrize("name", ["trials.csv", "fit.json", "report.html"])
def test_a_folder_in_place_of_a_file_that_almr_makes_has_to_be_moved_away(attack: Attack, name: str) -> None:
    attack._mend()
    (attack.run / name).unlink()
    (attack.run / name).mkdir()
    found = json.loads(call(attack.folder, DOCTOR).out)
    [message] = [one["message"] for one in found["damaged"] if one["file"] == name]
    assert "move it away, then write it anew: almr " in message
    (attack.run / name).rmdir()
    attack._mend()


@pytest.mark.parametrize("name", ["ingredients.json", "surfaces.json"])
def test_a_file_that_another_verb_needs_is_missed(attack: Attack, name: str) -> None:
    attack._mend()
    (attack.run / name).unlink()
    found = json.loads(call(attack.folder, DOCTOR).out)
    assert [(one["file"], one["message"].partition(":")[0]) for one in found["damaged"]] == [(name, "is missing")]
    attack._mend()


def test_a_possible_number_that_was_changed_in_a_fit_is_told(attack: Attack) -> None:
    attack._mend()
    path = attack.run / "fit.json"
    content = json.loads(path.read_text())
    content["winner"]["objective"] += 0.001
    path.unlink()
    path.write_text(json.dumps(content))
    found = json.loads(call(attack.folder, DOCTOR).out)
    assert [(one["file"], one["message"][:48]) for one in found["damaged"]] == [
        ("fit.json", "content: was changed after almr fit wrote the fi")
    ]
    told = call(attack.folder, ("report", whole_run.NAME))
    assert (told.status, told.err.count("\n")) == (2, 1)
    assert "fit.json: content: was changed after almr fit wrote the file; write it anew: almr fit" in told.err
    attack._mend()


def _with_bars_apart(text: str) -> str:
    return text.replace(" | ", "   |  ").replace("---", "-----").replace("\n", "  \r\n")


def _quoted(text: str) -> str:
    rows = list(csv.reader(io.StringIO(text)))
    again = io.StringIO()
    csv.writer(again, quoting=csv.QUOTE_ALL, lineterminator="\r\n").writerows(rows)
    return again.getvalue()


@pytest.mark.parametrize(
    ("name", "again", "old", "new"),
    [
        ("trials.csv", _quoted, "0.003", "0.0030"),
        ("scores.csv", _quoted, "40", "40.0"),
        ("scores.md", _with_bars_apart, "", ""),
    ],
)
def test_a_table_that_was_saved_anew_is_the_same(
    attack: Attack, name: str, again: Callable[[str], str], old: str, new: str
) -> None:
    attack._mend()
    path = attack.run / name
    text = again(path.read_text())
    assert old in text
    path.unlink()
    for content, damaged in [(text.replace(f'"{old}"', f'"{new}"'), []), (text.replace("7", "8"), [name])]:
        path.write_text(content, encoding="utf-8-sig", newline="")
        found = json.loads(call(attack.folder, DOCTOR).out)
        assert [one["file"] for one in found["damaged"]] == damaged
    attack._mend()


def test_code_that_workers_compiled_is_the_same_code(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("a = 1")
    before = provenance.code_sha256(tmp_path)
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "a.pyc").write_bytes(b"x")
    assert provenance.code_sha256(tmp_path) == before


def test_opening_a_pipe_waits_for_nobody(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/nowhere")
    with pytest.raises(regular.UnreadableFileError, match="is a link to /nowhere, which is not there; restore it"):
        regular.content(tmp_path / "link")
    with pytest.raises(regular.UnreadableFileError, match="is a folder, not a file"):
        regular.content(tmp_path)
    with pytest.raises(FileNotFoundError):
        regular.content(tmp_path / "none")


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda part: st.lists(part) | st.tuples(part) | st.dictionaries(st.text(), part),
    max_leaves=20,
)


@given(content=values)
def test_json_is_valid_whatever_the_numbers(content: object) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    read = json.loads(json_text(content), parse_constant=refuse)
    finite = not isinstance(content, float) or math.isfinite(content)
    assert (read is None) == (content is None or not finite)
