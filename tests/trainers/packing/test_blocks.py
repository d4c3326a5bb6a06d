"""The blocks that are packed for a launch are those that our own trainer reads and measures on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from samples import ENGLISH, RHYME, with_sources

from sweep.study import InputError, Study
from trainers import prepare
from trainers.data.mixture import BatchReader
from trainers.loop import trial_training
from trainers.packing import token_file
from trainers.packing.blocks import LaunchBlocks
from trainers.trials import cpt


def joined(parts: Any) -> NDArray[np.int64]:
    return np.concatenate([np.asarray(part) for part in parts]).astype(np.int64)


def test_they_are_what_a_trial_trains_and_is_measured_on(
    launch: Callable[..., Study], blocks: Callable[..., LaunchBlocks], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, measured = [], {}

    def watched(self: BatchReader, steps: range) -> Any:
        for batch in of_reader(self, steps):
            read.append(batch)
            yield batch

    def kept(**parts: Any) -> Any:
        measured.update(parts["held_out"].tokens)
        return of_training(**parts)

    of_reader, of_training = BatchReader.read, trial_training.TrialTraining
    monkeypatch.setattr(BatchReader, "read", watched)
    monkeypatch.setattr(cpt, "TrialTraining", kept)
    study = launch(tokens=1024)
    cpt.run_trial(study, study.grid_trials[0], prepare.prepare(study), tmp_path)
    trained, read[:] = list(read), []
    made = blocks(study)
    np.testing.assert_array_equal(joined(made.train()), joined(trained))
    assert {name: rows.tolist() for name, rows in made.held_out.items()} == {n: t.tolist() for n, t in measured.items()}


def test_a_shorter_run_reads_the_first_of_them(blocks: Callable[..., LaunchBlocks]) -> None:
    whole, part = (joined(blocks(tokens=tokens).train()) for tokens in (2048, 768))
    assert len(part) == 768 // 32
    np.testing.assert_array_equal(whole[: len(part)], part)


@pytest.mark.parametrize("almr", [0, 0.3, 1])
def test_every_batch_has_the_exact_mixture(blocks: Callable[..., LaunchBlocks], almr: float) -> None:
    made = blocks(almr=almr)
    additional = {row.tobytes() for row in np.asarray(made.corpora["additional"].training["input_ids"], np.uint32)}
    counts = np.cumsum([[row.tobytes() in additional for row in batch] for batch in made.train()])
    assert counts.tolist() == [int(of) for of in np.diff([round(n * almr) for n in range(made.rows + 1)]).cumsum()]


def test_each_source_has_blocks_of_its_own(
    launch: Callable[..., Study], blocks: Callable[..., LaunchBlocks], tmp_path: Path
) -> None:
    content = with_sources(launch().model_dump(mode="json", by_alias=True), tmp_path)
    made = blocks(Study.model_validate(content))
    assert list(made.held_out) == ["original-prose", "rhymes", "additional-prose", "poems"]
    assert made.mixture.drawn(made.rows).keys() == made.held_out.keys()


def test_stated_text_is_measured_on_instead(blocks: Callable[..., LaunchBlocks], tmp_path: Path) -> None:
    texts = [f"{i} {RHYME}" for i in range(30)]
    (tmp_path / "own.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    made = blocks(held_out={"rhymes": str(tmp_path / "*.jsonl")}, evaluation_tokens=128)
    assert {name: rows.shape for name, rows in made.held_out.items()} == {"rhymes": (4, 32)}
    begin = made.tokenizer.tokenizer.decode(made.held_out["rhymes"][0].tolist())
    assert texts[0].startswith(begin[:40])


def test_the_tokens_at_borders_are_those_of_the_trials(blocks: Callable[..., LaunchBlocks], tmp_path: Path) -> None:
    (tmp_path / "two.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in (ENGLISH, RHYME) * 9))
    made = blocks(held_out={"two": str(tmp_path / "two.jsonl")}, evaluation_tokens=4096)
    rows = made.held_out["two"]
    ends = np.argwhere(rows == made.tokenizer.tokenizer.eos_token_id)
    starts = np.argwhere(made.starts(rows)).tolist()
    assert len(ends)
    assert starts == sorted([[row, 0] for row in range(len(rows))] + [[row, at + 1] for row, at in ends if at < 31])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "--held-out rhymes: "),
        ('{"text": "short"}\n', "--held-out rhymes: .* tokens, less than one block of 32: add text"),
        ('{"text": 5}\n', "--held-out rhymes"),
    ],
)
def test_stated_text_that_cannot_be_used_is_refused(
    blocks: Callable[..., LaunchBlocks], tmp_path: Path, content: str | None, message: str
) -> None:
    file = tmp_path / "own.jsonl"
    if content is not None:
        file.write_text(content)
    with pytest.raises(InputError, match=message):
        blocks(held_out={"rhymes": str(file)})


def test_torchtitan_reads_rows_of_tokens(blocks: Callable[..., LaunchBlocks], packed: Callable[..., Path]) -> None:
    made = blocks()
    folder = packed(token_file, made)
    found = np.fromfile(folder / "train.bin", "<u4").reshape(-1, made.sequence_length)
    np.testing.assert_array_equal(found, joined(made.train()))
    for name, rows in made.held_out.items():
        np.testing.assert_array_equal(np.fromfile(folder / f"held_out_{name}.bin", "<u4").reshape(rows.shape), rows)
    assert sum(file.stat().st_size for file in folder.iterdir()) == token_file.size(made)
