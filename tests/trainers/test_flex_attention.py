"""Attention that knows documents without a dense mask, as the shipped 8B study trains with it.

On a CPU torch compiles a kernel for the forward pass only. Its reference for the backward pass, in plain operations,
runs there once torch's check of the device is off, as in the last test. The kernels of GPUs were not run.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.attention import flex_attention
from transformers import LlamaConfig, LlamaForCausalLM

from sweep.study import InputError, Study, Trial, study_file
from sweep.study.sections.resources import Execution
from trainers import prepare
from trainers.data.tokens.borders import Borders
from trainers.model import fitting
from trainers.model.token_loss import TokenLoss
from trainers.trials import cpt

END = 0
BORDERS = Borders(after=(END,))
LENGTH = 256


@pytest.fixture(autouse=True)
def _programs() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def llama(attention: str) -> Any:
    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "vocab_size": 128}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    return LlamaForCausalLM(LlamaConfig(**sizes, **heads, attn_implementation=attention))


def documents() -> torch.Tensor:
    tokens = torch.randint(1, 128, (2, LENGTH), generator=torch.Generator().manual_seed(1))
    tokens[0, 100] = tokens[0, 130] = tokens[1, 17] = END
    return tokens


def test_training_on_a_cpu_is_refused_in_one_line(local_study: Study, tmp_path: Path) -> None:
    study = local_study.model_copy(update={"execution": Execution(attention="flex_attention")})
    with pytest.raises(InputError, match=r"^execution\.attention: flex_attention needs a GPU.*write sdpa$"):
        cpt.run_trial(study, Trial(almr=0.5, lr=1e-2, seed=0), prepare.prepare(study), tmp_path)


@pytest.mark.skipif(torch.__version__.startswith("2.8."), reason="torch 2.8 writes a CPU kernel that g++ refuses")
@pytest.mark.slow
def test_the_kernel_has_the_losses_of_a_dense_mask_and_takes_none() -> None:
    tokens, model, masks = documents(), llama("flex_attention"), []
    layer = fitting.layers(model)[0]
    layer.register_forward_pre_hook(lambda _, given, named: masks.append(named["attention_mask"]), with_kwargs=True)
    with torch.no_grad():
        found = TokenLoss(model, borders=BORDERS).sum(tokens)
        expected = TokenLoss(llama("sdpa"), borders=BORDERS).sum(tokens)
        blind = TokenLoss(llama("sdpa")).sum(tokens)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)
    assert not torch.isclose(found, blind, rtol=1e-3)
    [mask] = masks
    assert isinstance(mask, flex_attention.BlockMask)
    held = [value for value in mask.as_tuple() if isinstance(value, torch.Tensor)]
    assert sum(value.numel() for value in held) < LENGTH  # a dense mask: LENGTH squared for each sequence


@pytest.mark.slow
def test_the_8b_studys_execution_has_the_gradients_of_a_dense_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its layers compiled and checkpointed as the study states; attention is not computed again."""
    execution = study_file.load("llama3-8b-zh").execution
    assert execution.compile
    monkeypatch.setattr(flex_attention, "_validate_device", lambda *tensors: None)
    model = llama(execution.attention).train()
    fitting.checkpoint_activations(model, execution)
    for layer in fitting.layers(model):
        layer.forward = torch.compile(layer.forward, backend="aot_eager")
    plain = llama("sdpa").train()
    for one in (model, plain):
        TokenLoss(one, borders=BORDERS).sum(documents()).backward()
    for (name, weight), expected in zip(model.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(weight.grad, expected.grad, rtol=1e-4, atol=1e-5, msg=name)
