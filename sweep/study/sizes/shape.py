"""The shape of a decoder-only transformer of the Llama kind, and its parameter counts."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from sweep.study.fields import Count, Section

LOGITS_BYTES = 2**28  # in float32: larger logits are computed in parts, smaller ones are faster in one piece
# Families whose logits are the unscaled output of the last layer (read in transformers 5.23). Others are not split.
PLAIN_LOGITS = frozenset({"llama", "mistral", "olmo2", "qwen2", "qwen3", "smollm3"})


class Shape(Section):
    """Sizes of a model, under the names of its Hugging Face `config.json`."""

    hidden_size: Count
    """Width of the residual stream."""
    intermediate_size: Count
    """Width of the feed-forward layers."""
    num_hidden_layers: Count
    """Number of layers."""
    num_attention_heads: Count
    """Number of query heads per layer."""
    num_key_value_heads: Count | None = None
    """Number of key and value heads per layer. Default: as many as query heads."""
    head_dim: Count | None = None
    """Width of a head. Default: hidden_size / num_attention_heads."""
    vocab_size: Count
    """Number of tokens in the vocabulary."""
    tie_word_embeddings: bool = False
    """Whether input embedding and output layer share their weights."""
    model_type: str = "llama"
    """Model family."""

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
        """Elements of one token's queries, over all heads."""
        return self.num_attention_heads * (self.head_dim or self.hidden_size // self.num_attention_heads)

    @property
    def key_size(self) -> int:
        """Elements of one token's keys, over all heads; the values have as many."""
        return self.query_size // self.num_attention_heads * (self.num_key_value_heads or self.num_attention_heads)

    @property
    def embedding_parameters(self) -> int:
        """Parameters of the input embedding; an output layer that is not tied has as many again."""
        return self.vocab_size * self.hidden_size

    def rows_at_once(self, tokens: float) -> float:
        """How many tokens' logits the trainer holds at once: a part where they are many and the family allows it."""
        in_parts = self.model_type in PLAIN_LOGITS and 4 * self.vocab_size * tokens > LOGITS_BYTES
        return max(1, LOGITS_BYTES // (4 * self.vocab_size)) if in_parts else tokens

    @property
    def layer_parameters(self) -> int:
        attention = self.hidden_size * (2 * self.query_size + 2 * self.key_size)
        return attention + 3 * self.hidden_size * self.intermediate_size + 2 * self.hidden_size

    @property
    def outer_parameters(self) -> int:
        """Parameters outside the layers: embeddings, output layer and the last norm."""
        return self.embedding_parameters * (1 if self.tie_word_embeddings else 2) + self.hidden_size

    @property
    def parameters(self) -> int:
        return self.num_hidden_layers * self.layer_parameters + self.outer_parameters

    @property
    def multiplied_parameters(self) -> int:
        """Parameters in matrix products; an input embedding that is not tied is only looked up."""
        return self.parameters - (0 if self.tie_word_embeddings else self.embedding_parameters)
