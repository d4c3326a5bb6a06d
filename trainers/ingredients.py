"""What all trials of a study are made from, as paths that every worker can open."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Ingredients:
    """`base_model`: a directory or Hugging Face id. `corpora`: the packed folder of each language."""

    base_model: str
    corpora: dict[str, str]
