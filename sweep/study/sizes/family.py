"""Families of models whose layers are of the Llama kind, and what each of them adds (read in transformers 5.23)."""

from __future__ import annotations

from typing import NamedTuple


class Family(NamedTuple):
    """How a family's layer differs from Llama's: two RMSNorms before attention and feed-forward part, no biases.

    `plain_logits`: logits are the unscaled output of the last layer. `biased`: queries, keys and values have biases.
    `normed_heads`: each head's queries and keys pass an RMSNorm; `normed_queries`: all heads' together. `norms_after`:
    the two norms stand after attention and feed-forward part, and norms are scaled in float32. `head_dim`: its default.
    """

    plain_logits: bool = True
    biased: bool = False
    normed_heads: bool = False
    normed_queries: bool = False
    norms_after: bool = False
    head_dim: int | None = None


FAMILIES = {
    "granite": Family(plain_logits=False),
    "llama": Family(),
    "mistral": Family(),
    "olmo2": Family(normed_queries=True, norms_after=True),
    "qwen2": Family(biased=True),
    "qwen3": Family(normed_heads=True, head_dim=128),
    "smollm3": Family(),
}
PLAIN_LOGITS = frozenset(name for name, family in FAMILIES.items() if family.plain_logits)
OTHER = Family(plain_logits=False)  # a family that is not known
