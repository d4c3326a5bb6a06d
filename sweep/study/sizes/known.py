"""GPUs and base models whose numbers are published, so that a study of them is planned without reaching the hub.

Shapes: from the `config.json` of each repository on huggingface.co; of Llama 3 also Grattafiori et al., arXiv
2407.21783, table 3, and of SmolLM2 Allal et al., arXiv 2502.02737. Pre-training tokens: Grattafiori et al. (Llama 3:
about 15T at each size), the model cards of Llama 3.2 (up to 9T), Allal et al. (SmolLM2). Peak LRs of the pre-training:
Grattafiori et al., table 3, and Allal et al., sections 4 and 6; of the embedded models, trainers/tiny.py.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

from pydantic import AfterValidator

from sweep.study.sizes.shape import Shape


class Gpu(NamedTuple):
    """`flops`: dense bfloat16 peak, FLOP/s, without sparsity. `bytes`: memory as sold, decimal gigabytes. `link` and
    `network`: bytes/s that it sends to the GPUs of its node, and to other nodes.
    """

    flops: float
    bytes: float
    link: float
    network: float


# NVIDIA's data sheets of the SXM modules and of the L40S card: nvidia.com/en-us/data-center/{a100,h100,h200,l40s,hgx}.
# Links: half of the bidirectional bandwidth of NVLink, and of the L40S' PCIe 4.0 x16. Networks: the adapter that a DGX
# system has for each GPU (200 Gbit/s with A100, 400 with newer ones); a node with L40S has no such standard: 100.
GPUS = {
    "A100-40GB": Gpu(312e12, 40e9, 300e9, 25e9),
    "A100-80GB": Gpu(312e12, 80e9, 300e9, 25e9),
    "L40S-48GB": Gpu(362e12, 48e9, 32e9, 12.5e9),
    "H100-80GB": Gpu(989e12, 80e9, 450e9, 50e9),
    "H200-141GB": Gpu(989e12, 141e9, 450e9, 50e9),
    "B200-180GB": Gpu(2250e12, 180e9, 900e9, 50e9),
}


def gpu_memory(name: str | None, gigabytes: float | None) -> float | None:
    """Bytes of memory of one GPU: as given, else as sold under this name; None where neither is given."""
    if gigabytes:
        return gigabytes * 1e9
    return GPUS[name].bytes if name else None


def _known(name: str) -> str:
    if name not in GPUS:
        raise ValueError(f"not a known GPU; write one of {', '.join(GPUS)}, or remove it and give gpu_gigabytes")
    return name


GpuName = Annotated[str, AfterValidator(_known)]


class KnownModel(NamedTuple):
    """A model's shape, and the number of tokens and the peak LR of its pre-training; None: not published."""

    shape: Shape
    pretraining_tokens: int
    peak_lr: float | None = None


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
_405B = _llama(16384, 53248, 126, 128, 8, 128256)
_SMOLLM2_135M = KnownModel(_llama(576, 1536, 30, 9, 3, 49152, tied=True), 2 * 10**12, 3e-3)

KNOWN = {
    "meta-llama/Meta-Llama-3-8B": KnownModel(_8B, 15 * 10**12, 3e-4),
    "meta-llama/Llama-3.1-8B": KnownModel(_8B, 15 * 10**12, 3e-4),
    "meta-llama/Meta-Llama-3-70B": KnownModel(_70B, 15 * 10**12, 1.5e-4),
    "meta-llama/Llama-3.1-70B": KnownModel(_70B, 15 * 10**12, 1.5e-4),
    "meta-llama/Llama-3.1-405B": KnownModel(_405B, 15 * 10**12, 8e-5),
    "meta-llama/Llama-3.2-1B": KnownModel(_llama(2048, 8192, 16, 32, 8, 128256, tied=True), 9 * 10**12),
    "meta-llama/Llama-3.2-3B": KnownModel(_llama(3072, 8192, 28, 24, 8, 128256, tied=True), 9 * 10**12),
    "HuggingFaceTB/SmolLM2-135M": _SMOLLM2_135M,
    "HuggingFaceTB/SmolLM2-360M": KnownModel(_llama(960, 2560, 32, 15, 5, 49152, tied=True), 4 * 10**12, 3e-3),
    "HuggingFaceTB/SmolLM2-1.7B": KnownModel(_llama(2048, 8192, 24, 32, 32, 49152, tied=True), 11 * 10**12, 5e-4),
}
EMBEDDED = {
    "tiny": KnownModel(_llama(96, 256, 3, 4, 4, 2048, tied=True), 800 * 2048, 4e-3),
    "tiny-5.6m": KnownModel(_llama(320, 864, 4, 4, 4, 2048, tied=True), 400 * 2048, 4e-3),
    "smollm2-135m": _SMOLLM2_135M,
}
