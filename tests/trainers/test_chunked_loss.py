"""The loss in parts: the same loss and gradients as all logits at once, and as torch's own loss in parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy
from torch.utils._python_dispatch import TorchDispatchMode

from sweep.study.sizes.shape import part_rows
from trainers.model.chunked_loss import IGNORED, TORCHS, chunked_loss, summed_loss

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
TIGHT = {torch.float32: 1e-5, torch.bfloat16: 0.02}  # of the largest gradient; bfloat16 has eight bits


def case(rows: int, vocabulary: int, width: int = 8) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(rows * vocabulary)
    targets = torch.randint(0, vocabulary, (rows,))
    targets[::3] = IGNORED
    return 3 * torch.randn(rows, width), torch.randn(vocabulary, width), targets


def derived(loss: Loss, hidden: torch.Tensor, weight: torch.Tensor, scale: float) -> list[torch.Tensor]:
    """The loss and the gradients of `scale` times it, in float64."""
    leaves = [tensor.clone().requires_grad_() for tensor in (hidden, weight)]
    value = loss(*leaves)
    (scale * value).backward()
    return [value.detach().double(), *(leaf.grad.double() for leaf in leaves if leaf.grad is not None)]


def assert_same(found: list[torch.Tensor], known: list[torch.Tensor], tolerance: float) -> None:
    """Where a target is all but certain, its gradient is what is left of a probability beside 1: a few last digits."""
    torch.testing.assert_close(found[0], known[0], rtol=1e-5, atol=1e-6)
    for one, other in zip(found[1:], known[1:], strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance * max(0.1, float(other.abs().max())))


@pytest.mark.parametrize("dtype", TIGHT)
@settings(max_examples=20, deadline=None)
@given(
    rows=st.integers(1, 40),
    vocabulary=st.integers(2, 60),
    at_once=st.integers(1, 50),
    scale=st.sampled_from([1.0, 2.0]),
)
def test_the_loss_in_parts_is_the_loss(dtype: Any, rows: int, vocabulary: int, at_once: int, scale: float) -> None:
    hidden, weight, targets = case(rows, vocabulary)
    hidden, weight = hidden.to(dtype), weight.to(dtype)
    known = derived(lambda h, w: cross_entropy((h @ w.T).float(), targets, reduction="sum"), hidden, weight, scale)
    for loss in (chunked_loss, summed_loss):
        found = derived(lambda h, w, loss=loss: loss(h, w, targets, at_once), hidden, weight, scale)  # type: ignore[misc]
        assert_same(found, known, TIGHT[dtype])
    with torch.no_grad():
        assert float(chunked_loss(hidden, weight, targets, at_once)) == pytest.approx(float(known[0]), rel=1e-5)


@pytest.mark.skipif(TORCHS is None, reason="torch >= 2.13")
def test_our_loss_in_parts_is_torchs() -> None:
    hidden, weight, targets = case(100, 40)
    found = derived(lambda h, w: chunked_loss(h, w, targets, 7), hidden, weight, 1.0)
    assert_same(found, derived(lambda h, w: summed_loss(h, w, targets, 7), hidden, weight, 1.0), 1e-6)


def test_a_long_sum_in_bfloat16_keeps_its_digits() -> None:
    """A sum of thousands of nats in bfloat16 would be off by tens."""
    hidden, weight, targets = case(3000, 50)
    hidden, weight = hidden.bfloat16(), weight.bfloat16()
    known = float(cross_entropy((hidden @ weight.T).float(), targets, reduction="sum"))
    assert known > 5000
    for tensors in ((hidden, weight), (hidden.requires_grad_(), weight.requires_grad_())):
        found = summed_loss(*tensors, targets, 100).detach()
        assert (found.dtype, float(found)) == (torch.float32, pytest.approx(known, rel=1e-5))


@pytest.mark.parametrize("dtype", TIGHT)
def test_a_gradient_in_bfloat16_is_summed_over_few_parts(dtype: torch.dtype) -> None:
    """Each part rounds the sum: 256 parts would be 1.4 % off. In float32 parts stay as small as they can be."""
    words, rows = 2**20, 4096
    at_once = part_rows(words, rows, dtype.itemsize)
    assert (at_once, part_rows(words, 64, dtype.itemsize)) == ((256, 64) if dtype == torch.bfloat16 else (64, 64))
    hidden, weight = torch.randn(rows, 256).to(dtype), (torch.randn(2000, 256) / 50).to(dtype)
    targets = torch.randint(0, 2000, (rows,))
    found = derived(lambda h, w: chunked_loss(h, w, targets, at_once), hidden, weight, 1.0)[2]
    known = derived(
        lambda h, w: cross_entropy(h @ w.T, targets, reduction="sum"), hidden.double(), weight.double(), 1.0
    )[2]
    assert (found - known).norm() / known.norm() < (6e-3 if dtype == torch.bfloat16 else 1e-5)


class LargestTensor(TorchDispatchMode):
    """Notes the elements of the largest tensor that an operation returns."""

    elements = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        self.elements = max([self.elements, *(t.numel() for t in [result] if isinstance(t, torch.Tensor))])
        return result


@pytest.mark.parametrize("trained", [True, False])
def test_never_all_logits_are_in_memory(trained: bool) -> None:
    hidden, weight, targets = case(200, 50, width=2)
    hidden.requires_grad_(trained), weight.requires_grad_(trained)
    with LargestTensor() as seen, torch.set_grad_enabled(trained):
        loss = chunked_loss(hidden, weight, targets, 10)
        if trained:
            loss.backward()
    assert seen.elements == 10 * 50


def test_a_second_backward_pass_is_refused() -> None:
    hidden, weight, targets = case(20, 5)
    loss = chunked_loss(hidden.requires_grad_(), weight, targets, 4)
    loss.backward(retain_graph=True)
    with pytest.raises(AttributeError):
        loss.backward()
