"""Shapes of public base models, so that a study of one is planned without reaching the hub.

From the `config.json` of each repository on huggingface.co; of Llama 3 also Grattafiori et al., arXiv 2407.21783,
table 3, and of SmolLM2 Allal et al., arXiv 2502.02737.
"""

from __future__ import annotations

from sweep.study.sizes.shape import Shape


def _llama(
    hidden: int, intermediate: int, layers: int, heads: int, keys: int, vocabulary: int, tied: bool = False
) -> Shape:
    return Shape(
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=keys,
        vocab_size=vocabulary,
        tie_word_embeddings=tied,
    )


_8B = _llama(4096, 14336, 32, 32, 8, 128256)
_70B = _llama(8192, 28672, 80, 64, 8, 128256)

KNOWN = {
    "meta-llama/Meta-Llama-3-8B": _8B,
    "meta-llama/Llama-3.1-8B": _8B,
    "meta-llama/Meta-Llama-3-70B": _70B,
    "meta-llama/Llama-3.1-70B": _70B,
    "meta-llama/Llama-3.2-1B": _llama(2048, 8192, 16, 32, 8, 128256, tied=True),
    "meta-llama/Llama-3.2-3B": _llama(3072, 8192, 28, 24, 8, 128256, tied=True),
    "HuggingFaceTB/SmolLM2-135M": _llama(576, 1536, 30, 9, 3, 49152, tied=True),
    "HuggingFaceTB/SmolLM2-360M": _llama(960, 2560, 32, 15, 5, 49152, tied=True),
    "HuggingFaceTB/SmolLM2-1.7B": _llama(2048, 8192, 24, 32, 32, 49152, tied=True),
}
