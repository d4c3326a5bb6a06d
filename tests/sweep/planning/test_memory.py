"""Planned memory and FLOPs agree with what torch counts of our trainer's own step, on fake tensors."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweep.planning import model_shape
from sweep.planning.requirements import TrialMemory
from sweep.study.sections.text.corpora import BaseModelSource
from sweep.study.sizes.family import FAMILIES
from sweep.study.sizes.known import EMBEDDED
from sweep.study.sizes.shape import Shape
from sweep.study.sizes.step import evaluation_sequences

pytest.importorskip("torch.nn.modules.linear_cross_entropy", reason="torch >= 2.13")
from fake_step import fake_learner, flops_of_training, gpu_study, peak_of_training

WIDE = Shape(
    hidden_size=512, intermediate_size=1536, num_hidden_layers=2, num_attention_heads=8, num_key_value_heads=2,
    vocab_size=32000,
)  # fmt: skip
WIDE_HEADS = {"num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128, "intermediate_size": 512}


def of_family(name: str, **change: int) -> Shape:
    return WIDE.model_copy(update={"model_type": name, "vocab_size": 2000} | change)


MANY_WORDS = WIDE.model_copy(update={"vocab_size": 256_000})
TIED = WIDE.model_copy(update={"tie_word_embeddings": True, "vocab_size": 2000, "head_dim": 128})


@pytest.mark.parametrize(
    ("shape", "workers", "sequences", "settings"),
    [
        (WIDE, 1, 4, {}),  # the loss
        (MANY_WORDS, 8, 8, {"checkpointing": "full"}),  # the loss, in sixteen parts
        (WIDE, 8, 1, {"checkpointing": "full", "reshard": False}),
        (WIDE, 2, 8, {"checkpointing": "selective", "micro_batches": 1}),
        (TIED, 1, 8, {"checkpointing": "full", "document_masking": False}),  # a layer
        (TIED, 16, 4, {"optimizer": {"state": "bfloat16"}}),
        (TIED, 1, 4, {"precision": "float32"}),  # one worker without FSDP2
        (of_family("olmo2"), 8, 4, {}),
        (of_family("olmo2"), 1, 4, {"checkpointing": "full", "document_masking": False}),  # the norm after a layer
        (of_family("qwen3", head_dim=128), 1, 4, {"checkpointing": "selective"}),
        (of_family("qwen3", **WIDE_HEADS), 8, 4, {"checkpointing": "full", "document_masking": False}),  # their norms
        (of_family("llama", **WIDE_HEADS), 1, 4, {"checkpointing": "full"}),  # attention
        (of_family("mistral", sliding_window=512), 1, 4, {"document_masking": False}),  # a mask all the same
        (of_family("granite", vocab_size=64000), 1, 1, {}),
        (of_family("smollm3"), 2, 4, {}),
        (of_family("qwen2"), 1, 4, {"checkpointing": "full"}),
    ],
    ids=lambda value: str(value) if isinstance(value, int | dict) else "",
)
def test_planned_memory_is_tracked_memory_or_up_to_a_twentieth_more(
    shape: Shape, workers: int, sequences: int, settings: dict[str, Any]
) -> None:
    study = gpu_study(workers, sequences, 1024, **settings)
    tracked = peak_of_training(study, shape, settings.get("micro_batches", 2))
    planned = TrialMemory(shape, study).at(sequences)
    assert 0 <= planned.total / tracked["Total"] - 1 < 0.05
    state = [tracked[part] for part in ("Sharded Param", "OptState") if part in tracked]
    if state:
        assert sum(state) == pytest.approx(planned.weights + planned.optimizer, rel=0.01)


def test_planned_flops_are_counted_flops_without_what_is_computed_again() -> None:
    plain, full = (flops_of_training(gpu_study(8, 1, 2048, checkpointing=kind), WIDE) for kind in ("none", "full"))
    assert WIDE.training_flops(2048) == pytest.approx(plain["all"] - plain["scores"], rel=0.01)
    layers = WIDE.num_hidden_layers * (2 * (WIDE.layer_parameters - 2 * 512) + 4 * WIDE.query_size * 2048)
    again = layers - WIDE.num_hidden_layers * 2 * 512 * 1536  # the last product of a layer is not needed again
    assert full["all"] - plain["all"] == pytest.approx(again, rel=0.01)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_parameters_are_those_of_each_familys_model(family: str) -> None:
    shape = of_family(family)
    with fake_learner(gpu_study(1, 1, 256, precision="float32"), shape) as learner:
        assert sum(parameter.numel() for parameter in learner.model.parameters()) == shape.parameters


def test_another_familys_memory_is_not_known() -> None:
    found = model_shape.find(BaseModelSource(pretrained="x", shape=of_family("gemma")))
    assert found.shape is None
    assert "base_model.shape: memory and FLOPs of the model_type 'gemma' are not known" in str(found.why_not)


def test_a_window_counts_where_all_layers_have_it() -> None:
    config = WIDE.model_dump() | {"sliding_window": 512}
    assert Shape.of_config(config).sliding_window == 512
    assert Shape.of_config(config | {"use_sliding_window": False}).sliding_window is None
    with pytest.raises(ValueError, match="sliding window"):
        Shape.of_config(config | {"use_sliding_window": True})


def test_the_embedded_models_memory_is_planned() -> None:
    found = model_shape.find(BaseModelSource(embedded="smollm2-135m"))
    assert found.shape == EMBEDDED["smollm2-135m"].shape
    assert found.why_not is None


def test_an_evaluation_computes_all_logits_of_a_family_that_scales_them_and_takes_one_micro_batch() -> None:
    granite = WIDE.model_copy(update={"model_type": "granite", "vocab_size": 128256})
    step = TrialMemory(granite, gpu_study(8, 1, 8192, checkpointing="full")).step(1)
    assert step.evaluation.logits == 10 * 8192 * 128256  # in bfloat16, in float32, and their log-softmax
    assert evaluation_sequences(1, 8192, None) == 1


@given(
    vocabulary=st.sampled_from([50, 32000, 256_000]),
    workers=st.sampled_from([1, 2, 16]),
    family=st.sampled_from(["llama", "granite"]),
    tied=st.booleans(),
    sequences=st.integers(1, 32),
    settings=st.fixed_dictionaries(
        {
            "checkpointing": st.sampled_from(["none", "selective", "full"]),
            "reshard": st.booleans(),
            "micro_batches": st.integers(1, 2),
            "document_masking": st.booleans(),
            "precision": st.sampled_from(["bfloat16", "float32"]),
        }
    ),
)
def test_an_evaluation_never_takes_more_than_training(
    vocabulary: int, workers: int, family: str, tied: bool, sequences: int, settings: dict[str, Any]
) -> None:
    change = {"vocab_size": vocabulary, "tie_word_embeddings": tied, "model_type": family}
    planned = TrialMemory(WIDE.model_copy(update=change), gpu_study(workers, sequences, 1024, **settings))
    assert planned.moment(sequences) == planned.step(sequences).peak
