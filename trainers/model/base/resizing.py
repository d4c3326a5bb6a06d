"""A base model with a row for every token of another tokenizer, as a directory in the cache.

A token that the model's own tokenizer has keeps its row, wherever its id moves. Every other token gets the mean of the
rows of all tokens that the model was trained with: it is then predicted with at most the probability of an average
token, and nothing random enters (Hewitt 2021, "Initializing new word embeddings for pretrained language models").

    python -m trainers.model.base.resizing MODEL TOKENIZER FOLDER

does the same to a launch model, for trainers that cannot. MODEL is a directory.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from sweep.study import InputError
from sweep.study.errors import shown
from sweep.study.files import cache
from sweep.study.ingredients import NEW_ROWS_FILE
from sweep.study.sections.text.corpora import BaseModelSource
from sweep.study.study import fingerprint_of
from trainers.data.tokens.borders import Borders
from trainers.data.tokens.text_tokenizer import TextTokenizer
from trainers.model.base import checkpoint, structure, vocabulary
from trainers.model.base.vocabulary import NEW_ROWS
from trainers.model.loading import load_complete, load_own_tokenizer, load_tokenizer

VERSION = 1  # raise it when the same inputs would give other rows
LEAST_SHARED = 0.5  # of the model's own tokens that the new tokenizer must have


@dataclass(frozen=True)
class RowPlan:
    """Which row each token of the new tokenizer takes: `kept` maps its id to a row of the model, `new` are the ids that
    get the mean of the `trained` rows. `rows`: of the resized embedding.
    """

    rows: int
    kept: dict[int, int]
    new: list[int]
    trained: list[int]


def plan(old: Any, new: Any, rows: int) -> RowPlan:
    """For a model of `rows` rows and its own tokenizer `old`."""
    before = {token: number for token, number in old.get_vocab().items() if number < rows}
    after = new.get_vocab()
    kept = {number: before[token] for token, number in after.items() if token in before}
    added = sorted(number for token, number in after.items() if token not in before)
    return RowPlan(max(rows, *(number + 1 for number in after.values())), kept, added, sorted(before.values()))


def refuse_unsuited(base: BaseModelSource, old: Any, new: Any) -> None:
    """Raises InputError for a tokenizer that is no extension of the model's own, or moves ids without `new_rows`."""
    moved = vocabulary.moved(old, new)
    if moved and not base.new_rows:
        raise InputError(
            f"base_model.tokenizer: {base.tokenizer} gives other ids than the model's own tokenizer to {len(moved):,} "
            f"tokens: {vocabulary.named(moved)}: write base_model.{NEW_ROWS}, by which their rows move along, or leave "
            f"`tokenizer` out"
        )
    own = old.get_vocab().keys()
    shared = len(own & new.get_vocab().keys()) / len(own)
    if shared < LEAST_SHARED:
        raise InputError(
            f"base_model.tokenizer: {base.tokenizer} has only {shared:.0%} of the tokens of the model's own tokenizer, "
            f"so most of what the model has learned would be lost: give an extension of the model's own tokenizer"
        )


def build(base: BaseModelSource, folder: Path, key: str, old: Any, new: Any) -> Path:
    """The directory of the resized model with the new tokenizer. `key`: the fingerprint of the model in `folder`.

    The whole model is in host memory meanwhile, in the precision of its checkpoint. Raises InputError for a damaged
    model, as well as `refuse_unsuited` does.
    """
    if base.tokenizer:
        refuse_unsuited(base, old, new)
    name = fingerprint(base, key, new)
    if base.tokenizer and new.chat_template:  # the folder has it too
        name = fingerprint_of([name, new.chat_template])
    made = cache.root() / "models" / f"resized-{name}"
    return cache.build_once(made, lambda unfinished: _build(base, folder, old, new, unfinished))


def fingerprint(base: BaseModelSource, key: str, new: Any) -> str:
    """Of what is learned and measured on plain text, for which a chat template changes nothing."""
    return fingerprint_of([VERSION, key, TextTokenizer(new, Borders()).key, new.bos_token_id, base.new_rows])


class Resized(NamedTuple):
    """Of a resized model: the ids whose rows are the mean, and the directory that it was made from."""

    new: list[int]
    source: str | None


def resized(folder: Path) -> Resized:
    """Nothing new for a model that was not resized."""
    note = folder / NEW_ROWS_FILE
    return Resized(**json.loads(note.read_text())) if note.is_file() else Resized([], None)


def _build(base: BaseModelSource, folder: Path, old: Any, new: Any, unfinished: Path) -> None:
    faults = structure.faults(structure.skeleton(base, folder), checkpoint.opened(folder))
    if faults:
        raise InputError("\n".join(faults))
    model = load_complete(base, str(folder), "auto")
    wanted = plan(old, new, model.get_input_embeddings().weight.shape[0])
    if base.new_rows:
        resize(model, wanted)
    for name in ("eos_token_id", "bos_token_id", "pad_token_id") if base.tokenizer else ():
        for settings in (model.config, model.generation_config):
            setattr(settings, name, getattr(new, name))
    model.save_pretrained(unfinished)
    new.save_pretrained(unfinished)
    note = Resized(wanted.new if base.new_rows else [], str(folder))
    (unfinished / NEW_ROWS_FILE).write_text(json.dumps(note._asdict()))


@torch.no_grad()
def resize(model: Any, wanted: RowPlan) -> None:
    """Give the embedding, and an output layer that is not tied to it, the plan's rows."""
    earlier = [table.clone() for table in _tables(model)]
    model.resize_token_embeddings(wanted.rows, mean_resizing=False)
    for before, after in zip(earlier, _tables(model), strict=True):
        mean = before[wanted.trained].double().mean(dim=0).to(before.dtype)
        after[list(wanted.kept)] = before[list(wanted.kept.values())]
        after[wanted.new] = mean


def _tables(model: Any) -> list[torch.Tensor]:
    """The weights with one row per token: the embedding, an output layer that is not tied to it, and its bias."""
    read, written = model.get_input_embeddings().weight, model.get_output_embeddings()
    own = [] if written is None or written.weight is read else [written.weight]
    bias = getattr(written, "bias", None)
    return [read.data, *(table.data for table in own), *([bias.data] if bias is not None else [])]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m trainers.model.base.resizing",
        description="Write a model with a row for every token of another tokenizer, as base_model.new_rows: mean does.",
    )
    parser.add_argument("model", metavar="MODEL", help="directory of the model")
    parser.add_argument("tokenizer", metavar="TOKENIZER", help="directory, or Hugging Face id, of the tokenizer")
    parser.add_argument("folder", metavar="FOLDER", help="directory to make, for the model with the tokenizer")
    given = parser.parse_args()
    try:
        print(_made(Path(given.model), given.tokenizer, Path(given.folder)))
    except (InputError, OSError) as error:
        fault = str(error).replace("base_model.tokenizer", "TOKENIZER").replace("base_model.pretrained", "MODEL")
        print(f"almr: {fault}", file=sys.stderr)
        sys.exit(2)


def _made(model: Path, tokenizer: str, folder: Path) -> str:
    """Make the folder, and say what is in it."""
    base = BaseModelSource(pretrained=str(model), tokenizer=tokenizer, new_rows="mean")
    if not model.is_dir():
        raise InputError(f"MODEL: {shown(str(model))} is no directory: download the model, and give its directory")
    if folder.exists():
        raise InputError(f"FOLDER: {shown(str(folder))} exists: give a new name, or remove it")
    checkpoint.opened(model)
    old, new = load_tokenizer(base, str(model)), load_own_tokenizer(base, None)
    refuse_unsuited(base, old, new)
    folder.mkdir(parents=True)
    try:
        _build(base, model, old, new, folder)
    except BaseException:
        shutil.rmtree(folder)
        raise
    found, count = resized(folder), len(new.get_vocab())
    return f"{folder}: the model with {len(found.new):,} new rows, the mean of all, of {count:,} tokens"


if __name__ == "__main__":
    main()
