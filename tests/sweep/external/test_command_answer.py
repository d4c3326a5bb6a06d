"""The answer of a program that trains trials: what is a result, and what a failure with its reason."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest
from command_samples import answered, asked
from hypothesis import given
from hypothesis import strategies as st

from sweep.external.command import answer as answers
from sweep.external.command.answer import AnswerError, CommandAnswer
from sweep.study import LANGUAGES


def read(tmp_path, content) -> CommandAnswer:
    path = tmp_path / "answer.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return answers.read(path, asked())


def test_an_answer_that_does_what_was_asked_is_read(tmp_path):
    log = [{"step": 1, "loss": 5.5, "lr": 5e-4}, {"step": 4, "grad_norm": 0.3}]
    found = read(tmp_path, answered(log=log, peak_memory_bytes=10))
    assert found.loss == {"original": 3.0, "additional": 4.0}
    assert found.divergence is None
    assert [step.step for step in found.logged] == [1, 4]


NAN, NOT_FINITE = math.nan, "the training loss or its gradient is not finite"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "is not JSON"),
        ("[" * 10**5, "is not JSON"),
        ("[1]", "write an object"),
        (answered(losses={}), "losses: unknown field"),
        (
            answered(loss={"original": NAN, "additional": 4.0}),
            "loss.original: expected a finite number, found nan (where",
        ),
        (answered(loss={"original": -1.0, "additional": 4.0}), "loss.original is -1.0: must be at least 0"),
        (answered(loss={"original": "3.0", "additional": 4.0}), "loss.original: expected a number"),
        (answered(loss={"original": 3.0}), "loss: additional is missing"),
        (answered(loss={"original": 3.0, "additional": 4.0, "code": 1.0}), "loss: 'code' is no language or source"),
        (answered(loss={}), "neither model nor loss"),
        (answered(loss={}, model="/nowhere"), "has no config.json"),
        (answered(trainer=""), "trainer: it is empty"),
        (answered(trainer=None), "trainer: "),
        (answered(steps=3), "steps: 3 of 4 were done"),
        (answered(steps=5), "steps: 5 were done, and 4 asked"),
        (answered(steps=True), "steps: expected a whole number"),
        (answered(tokens={"original": 640}), "tokens: additional is missing"),
        (answered(tokens={"original": 320, "additional": 320}), "0.5000 of them are additional, but almr is 0.2500"),
        (answered(tokens={"original": 48, "additional": 16}), "tokens: 64 in all, but 4 steps"),
        (answered(log=[{"step": 2, "lr": 1e-2}]), "log: step 2 had LR 1e-2, but 1e-3 was asked"),
        (answered(log=[{"step": 2}, {"step": 2}]), "log: its steps are not in order"),
        (answered(log=[{"step": 9}]), "log: has step 9 of a training of 4"),
        (answered(schema_version=2), "schema_version: expected 1"),
        (answered(trainer=" \n"), "trainer: it is empty"),
        (answered(loss={"original": 1e308, "additional": 4.0}), "loss.original is 1e+308: must be at most 1e+09"),
        (answered(loss={}, model="/model"), "model: this is the model that it was given"),
        (answered(loss={"original": 3.0, "additional": 4.0, "\x1b[2J\nx": 1.0}), "is no language or source"),
        ('{"steps": 4, "loss": {}, "steps": 5}', "'steps' is written twice"),
    ],
)
def test_a_fault_is_one_line_that_names_the_field(tmp_path, content, reason):
    with pytest.raises(AnswerError, match=r"answer\.json") as raised:
        read(tmp_path, content)
    assert reason in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("leave", "reason"),
    [
        (os.mkfifo, "is no file"),  # whose reader would wait for ever
        (Path.mkdir, "is no file"),
        (lambda path: path.symlink_to("/dev/zero"), "is no file"),  # which has no end
        (lambda path: path.symlink_to(path), "cannot be read"),
        (lambda path: path.touch() or os.truncate(path, 10**9), "has 1,000 MB: at most 100 MB are read"),
    ],
)
def test_what_cannot_be_an_answer_is_not_read(tmp_path, leave, reason):
    leave(tmp_path / "answer.json")
    with pytest.raises(AnswerError, match=reason):
        answers.read(tmp_path / "answer.json", asked())


def test_words_of_a_program_do_not_reach_a_terminal_as_commands(tmp_path):
    trainer = "\x1b[31m训练器\x1b[0m 1\n\x1b]0;title\x07"
    found = read(tmp_path, answered(trainer=trainer, diverged="at\x1b[2J step\x00 3"))
    assert (found.trainer, found.divergence) == ("训练器 1", "at step 3")


def test_a_relative_model_is_in_the_folder_of_the_run(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "config.json").write_text("{}")
    assert read(tmp_path, answered(model="out")).model == str(tmp_path / "out")


def test_no_answer_is_a_fault(tmp_path):
    with pytest.raises(AnswerError, match="it left no answer"):
        answers.read(tmp_path / "answer.json", asked())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (answered(steps=2, tokens={"original": 240, "additional": 80}, loss={}, diverged="loss\nof 99"), "loss of 99"),
        (answered(loss={"original": NAN, "additional": NAN}, diverged="not finite"), "not finite"),
        (
            answered(steps=4, log=[{"step": 3, "loss": NAN}]),
            f"{NOT_FINITE} at step 3",
        ),
        (
            answered(log=[{"step": 1, "grad_norm": math.inf}]),
            f"{NOT_FINITE} at step 1",
        ),
    ],
)
def test_divergence_is_a_result(tmp_path, content, reason):
    assert read(tmp_path, content).divergence == reason


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda parts: st.lists(parts, max_size=3) | st.dictionaries(st.text(max_size=5), parts, max_size=3),
    max_leaves=5,
)
FIELDS = st.sampled_from([*CommandAnswer.model_fields, "other"])
NEAR = st.dictionaries(st.sampled_from([*LANGUAGES, "x"]), st.integers(-10, 1000) | st.floats())
ENTRY = st.dictionaries(st.sampled_from(["step", "loss", "lr", "grad_norm", "x"]), st.integers(-1, 6) | st.floats())


@given(changes=st.dictionaries(FIELDS, JSON | NEAR | st.lists(ENTRY, max_size=3), max_size=3))
def test_whatever_it_answers_is_either_sound_or_refused_in_one_line(changes):
    found, fault = None, None
    try:
        found = answers.parse(json.loads(json.dumps(answered() | changes)), "answer.json")
        fault = answers.fault_of(found, asked())
    except AnswerError as error:
        fault = str(error)
    if fault or found is None:
        assert len((fault or "").splitlines()) == 1
        return
    assert all(math.isfinite(loss) and loss >= 0 for loss in found.loss.values())
    assert found.divergence or (found.steps == 4 and (found.model or set(LANGUAGES) <= set(found.loss)))
    assert abs(sum(found.tokens.values()) - found.steps * 160) <= 32
    assert abs(found.tokens["additional"] - found.steps * 160 * 0.25) <= 32 + 16


@given(additional=st.integers(0, 640))
def test_the_ratio_may_differ_by_one_row(additional):
    content = answered(tokens={"original": 640 - additional, "additional": additional})
    fault = answers.fault_of(answers.parse(content, "answer.json"), asked())
    assert bool(fault) == (abs(additional - 160) > 32)
