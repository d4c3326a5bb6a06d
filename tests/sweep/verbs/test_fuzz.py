"""The first inputs of the soak `fuzz`: every reader takes them, or refuses them in a short message with the name."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from fuzz_inputs import KINDS, SEEDS, STUDY, made
from fuzz_readers import READERS, tried

from sweep.study import Study

EACH = 56  # of nine kinds: 504 inputs
SEED = 1_000_000


@pytest.mark.parametrize("kind", KINDS)
def test_fuzzed_inputs_are_read_or_refused(kind: str, tmp_path: Path) -> None:
    answers: dict[int, str] = {}
    for seed in range(SEED, SEED + EACH):
        name, content = made(kind, seed)
        (tmp_path / str(seed)).mkdir()
        (tmp_path / str(seed) / name).write_bytes(content)
        answers[seed] = tried(kind, tmp_path / str(seed) / name)
    assert {seed: answer for seed, answer in answers.items() if answer not in ("read", "refused")} == {}


@pytest.mark.parametrize(("kind", "name", "text"), [(kind, *one) for kind in KINDS for one in SEEDS[kind]])
def test_what_the_soak_damages_is_whole(kind: str, name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    READERS[kind](tmp_path / name)
    assert Study.model_validate(yaml.safe_load(SEEDS["study"][0][1])).search.trials == STUDY["search"]["trials"]
