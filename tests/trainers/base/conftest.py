"""A base model that has learned the texts of the tests well."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from base_models import changed, teach, texts


@pytest.fixture(scope="session")
def trained(small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    def learn(model: object, tokenizer: object) -> None:
        with torch.enable_grad():
            teach(model, tokenizer, texts(), steps=60)

    return changed(small_model, tmp_path_factory.mktemp("trained") / "model", learn)
