"""The shape of a decoder-only transformer of the Llama kind, and what it counts to. A leaf: pydantic only."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from sweep.study.fields import Count, Schema

LOGITS_BYTES = 2**28  # in float32: more are computed a part at a time, fewer are faster at once
# Families whose logits are their output layer's, unscaled: read in transformers 5.23. Others keep their own way.
PLAIN_LOGITS = frozenset({"llama", "mistral", "olmo2", "qwen2", "qwen3", "smollm3"})


class Shape(Schema):
    """Sizes under the names that a Hugging Face `config.json` has for them. Without `num_key_value_heads` every head
    has keys of its own; without `head_dim` the heads part the hidden size. `model_type` is the family.
    """

    hidden_size: Count
    intermediate_size: Count
    num_hidden_layers: Count
    num_attention_heads: Count
    num_key_value_heads: Count | None = None
    head_dim: Count | None = None
    vocab_size: Count
    tie_word_embeddings: bool = False
    model_type: str = "llama"

    @model_validator(mode="after")
    def _heads_part_the_hidden_size(self) -> Self:
        if self.head_dim is None and self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is not a multiple of num_attention_heads {self.num_attention_heads}: "
                f"correct one of them, or add head_dim"
            )
        return self

    @property
    def query_size(self) -> int:
        """Elements of one token's queries, all heads together."""
        return self.num_attention_heads * (self.head_dim or self.hidden_size // self.num_attention_heads)

    @property
    def key_size(self) -> int:
        """Elements of one token's keys; its values have as many."""
        return self.query_size // self.num_attention_heads * (self.num_key_value_heads or self.num_attention_heads)

    @property
    def embedding_parameters(self) -> int:
        """Of the input embedding; the output layer has as many of its own where it is not tied."""
        return self.vocab_size * self.hidden_size

    def rows_at_once(self, tokens: float) -> float:
        """Of how many tokens the trainer has the logits at once: in parts where they are many and the family is known
        to allow it.
        """
        in_parts = self.model_type in PLAIN_LOGITS and 4 * self.vocab_size * tokens > LOGITS_BYTES
        return max(1, LOGITS_BYTES // (4 * self.vocab_size)) if in_parts else tokens

    @property
    def layer_parameters(self) -> int:
        attention = self.hidden_size * (2 * self.query_size + 2 * self.key_size)
        return attention + 3 * self.hidden_size * self.intermediate_size + 2 * self.hidden_size

    @property
    def outer_parameters(self) -> int:
        """Embeddings, output layer and the last norm: all that is in no layer."""
        return self.embedding_parameters * (1 if self.tie_word_embeddings else 2) + self.hidden_size

    @property
    def parameters(self) -> int:
        return self.num_hidden_layers * self.layer_parameters + self.outer_parameters

    @property
    def multiplied_parameters(self) -> int:
        """Those that a token is multiplied with; an input embedding that is not tied is only looked up."""
        return self.parameters - (0 if self.tie_word_embeddings else self.embedding_parameters)
