"""What the torchtitan bundle adds to torchtitan: its loader of packed blocks, and its reading of a config.json.

These run with stand-ins for the classes of torchtitan that the two modules extend; test_torchtitan_training.py trains.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from runpy import run_path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from analysis.launch.formats import torchtitan
from analysis.launch.formats.format import TEMPLATES
from sweep.study import InputError
from sweep.study.sections.recipe import lr_schedule
from trainers.data.tokens.borders import Borders
from trainers.model.token_loss import TokenLoss, positions

BLOCK = 16
TRAINING = {"sequence_length": 4096, "tokens": 10**9, "global_batch_tokens": 2**20}
IGNORED = -100


class StandIn:
    """Any class of torchtitan with a configuration."""

    @dataclass(kw_only=True, slots=True)
    class Config:
        pass


def run_template(name: str) -> dict[str, Any]:
    """The names in a template's module."""
    modules = {"lr_schedule": lr_schedule}
    text = (TEMPLATES / f"{name}.txt").read_text()
    for line in text.splitlines():
        if line.startswith("from torchtitan"):
            module, _, names = line.removeprefix("from ").partition(" import ")
            made = ModuleType(module)
            made.__dict__.update(dict.fromkeys(names.split(", "), StandIn) | {"IGNORE_INDEX": IGNORED})
            modules[module] = made
    with pytest.MonkeyPatch.context() as patch:
        for module, made in modules.items():
            patch.setitem(sys.modules, module, made)
        return run_path(str(TEMPLATES / f"{name}.txt"))


@pytest.fixture(scope="module")
def loader(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Make a BlocksLoader of some rows."""
    made, file = run_template("torchtitan_trainer")["BlocksLoader"], tmp_path_factory.mktemp("rows") / "rows.bin"

    def make(rows: Any, rank: int = 0, ranks: int = 1, local: int = 1, **config: Any) -> Any:
        np.asarray(rows, np.uint32).tofile(file)
        given = {"file": str(file), "before": None, "after": None, "masked": False} | config
        sizes = {"dp_world_size": ranks, "dp_rank": rank, "seq_len": BLOCK, "local_batch_size": local}
        return made(SimpleNamespace(**given), **sizes, tokenizer=None)

    return make


ROWS = st.lists(st.lists(st.integers(0, 3), min_size=BLOCK, max_size=BLOCK), min_size=1, max_size=6)
IDS = st.sampled_from([(), (0,), (1,)])


@given(rows=ROWS, before=IDS, after=IDS, masked=st.booleans())
@example(rows=[[0, 0, 1, 1, 0, 1, 2, 3] * 2], before=(1,), after=(0,), masked=True)
def test_targets_and_positions_are_those_of_the_trials(loader, rows, before, after, masked):
    borders = Borders(before, after) if masked and (before or after) else None
    ids = {"before": next(iter(before), None), "after": next(iter(after), None)}
    tokens = torch.tensor(rows)
    made = list(loader(rows, local=len(rows), masked=borders is not None, **ids))
    [(inputs, targets)] = made
    assert torch.equal(inputs["input"], tokens)
    assert torch.equal(targets, TokenLoss(None, borders=borders)._targets(tokens, None))
    index = torch.arange(BLOCK).expand_as(tokens)
    assert torch.equal(inputs["positions"], positions(tokens, borders) if borders else index)


@given(ranks=st.integers(1, 4), local=st.integers(1, 3), accumulated=st.integers(1, 3), steps=st.integers(1, 3))
def test_each_global_batch_is_a_part_of_the_file(loader, ranks, local, accumulated, steps):
    """Whatever GPUs and micro-batches it is divided into."""
    batch = ranks * local * accumulated
    rows = np.repeat(np.arange(steps * batch)[:, None], BLOCK, axis=1)
    of_rank = [iter(loader(rows, rank, ranks, local)) for rank in range(ranks)]
    for step in range(steps):
        read = [row for _ in range(accumulated) for one in of_rank for row in first_column(next(one))]
        assert sorted(read) == list(range(step * batch, (step + 1) * batch))
    assert all(next(one, None) is None for one in of_rank)


@given(before=st.tuples(st.integers(1, 4), st.integers(1, 3)), after=st.tuples(st.integers(1, 4), st.integers(1, 3)))
def test_a_resumed_run_reads_on_also_on_another_number_of_gpus(loader, before, after):
    rows = np.repeat(np.arange(48)[:, None], BLOCK, axis=1)
    (ranks, local), (later_ranks, later_local) = before, after
    whole = [loader(rows, rank, ranks, local) for rank in range(ranks)]
    seen = [row for one in whole for row in first_column(next(iter(one)))]
    [state] = {frozenset(one.state_dict().items()) for one in whole}
    for rank in range(later_ranks):
        resumed = loader(rows, rank, later_ranks, later_local)
        resumed.load_state_dict(dict(state))
        seen += first_column(next(iter(resumed)))
    assert sorted(seen) == list(range(ranks * local + later_ranks * later_local))


@given(count=st.integers(1, 9), ranks=st.integers(1, 4), local=st.integers(1, 3))
def test_each_held_out_row_counts_once_and_all_gpus_have_as_many_batches(loader, count, ranks, local):
    rows = np.repeat(np.arange(count)[:, None], BLOCK, axis=1)
    batches = [list(loader(rows, rank, ranks, local)) for rank in range(ranks)]
    assert len({len(one) for one in batches}) == 1
    counted = [t for one in batches for _, targets in one for t in targets if (t != IGNORED).any()]
    assert sorted(int(t[0]) for t in counted) == list(range(count))
    assert all((t != IGNORED).sum() == BLOCK - 1 for t in counted)


def first_column(batch: Any) -> list[int]:
    return [int(row[0]) for row in batch[0]["input"]]


LLAMA = {
    "model_type": "llama",
    "rms_norm_eps": 1e-5,
    "max_position_embeddings": 131072,
    "rope_theta": 500000.0,
    "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0},
}


@pytest.fixture(scope="module")
def model() -> Iterator[dict[str, Any]]:
    return run_template("torchtitan_model")


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({}, None),
        ({"model_type": "mistral", "sliding_window": None, "attention_bias": False}, None),
        ({"rope_scaling": None}, None),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 1e4}, "rope_scaling": None}, None),
        ({"model_type": "qwen2"}, "model_type 'qwen2'"),
        ({"attention_bias": True}, "attention_bias True"),
        ({"mlp_bias": True}, "mlp_bias True"),
        ({"hidden_act": "gelu"}, "hidden_act 'gelu'"),
        ({"attention_dropout": 0.1}, "attention_dropout 0.1"),
        ({"model_type": "mistral", "sliding_window": 4096}, "sliding_window 4096"),
        ({"quantization_config": {"bits": 4}}, "quantization_config {'bits': 4}"),
        ({"rope_scaling": {"type": "linear", "factor": 2.0}}, "rope_type 'linear'"),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0}}, "rope_type 'yarn'"),
        ({"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}}, "partial_rotary_factor 0.5"),
    ],
)
def test_what_torchtitans_llama_does_not_have_is_named(model, changed, says):
    assert model["fault"](LLAMA | changed) == says


def test_the_rope_base_is_read_where_either_version_of_transformers_writes_it(model):
    rope_of = model["rope_of"]
    assert rope_of(LLAMA)["rope_theta"] == 500000.0
    assert rope_of(LLAMA)["rope_type"] == "llama3"
    of_5 = {"rope_parameters": {"rope_theta": 250000.0, "rope_type": "default"}}
    assert rope_of(of_5)["rope_theta"] == 250000.0
    assert rope_of({}) == {"rope_type": "default", "rope_theta": 10000.0}  # transformers' default


def test_a_known_model_of_another_architecture_is_refused_at_once(write_format, make_study):
    shape = {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "vocab_size": 100,
        "model_type": "qwen2",
    }
    with pytest.raises(InputError, match="of model_type qwen2: choose another format"):
        write_format("torchtitan", make_study(launch={"model": "some/qwen", "shape": shape}))


def test_sequences_that_context_parallelism_cannot_share_are_refused(write_format, make_study):
    sizes = {"global_batch_tokens": 2**22, "sequence_length": 128, "context_parallel": 2}
    with pytest.raises(InputError, match="not a multiple of 256"):
        write_format("torchtitan", make_study(launch=sizes))


def test_a_launch_on_other_text_does_not_go_on_from_a_checkpoint_of_this_one(make_plan, make_study):
    """Its document mask, say, is not in almr_launch.py."""
    made = [make_plan("torchtitan", make_study(training=TRAINING | {"document_masking": on})) for on in (True, False)]
    first, second = (torchtitan.settings(plan) for plan in made)
    assert first.pop("checkpoints") != second.pop("checkpoints")
    assert first == second


def test_the_modules_that_it_imports_are_beside_it(write_format, make_study):
    folder: Path = write_format("torchtitan", make_study())
    assert {"almr_model.py", "almr_trainer.py", "lr_schedule.py"} <= {path.name for path in folder.iterdir()}
