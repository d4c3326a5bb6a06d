"""Counts of corpora, as the launch's tests have them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sweep.study import CorpusFacts


@pytest.fixture
def make_facts() -> Callable[..., CorpusFacts]:
    def facts(**fields: Any) -> CorpusFacts:
        counts = {"documents": 1000, "tokens": 500_000, "bytes": 2_000_000, "blocks": 1220}
        held_out = {f"held_out_{name}": value // 20 for name, value in counts.items()}
        return CorpusFacts.model_validate({"fingerprint": "0" * 16} | counts | held_out | fields)

    return facts
