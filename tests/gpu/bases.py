"""Base model and text of the parts: the kit's, or small ones that are made on the spot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ENGLISH = "The quick brown fox jumps over the lazy dog, and dog number {} sleeps on through all of it. "
CHINESE = "天下大势，分久必合，合久必分。第{}回：话说浪花淘尽英雄，是非成败转头空。"
DOCUMENTS, REPEATED = 40, 12
STEPS = 12  # of the model that is made here


def sources(kit: Path | None, gpu: bool, work: Path) -> dict[str, Any]:
    """`base_model` and `corpora` of a study. With a kit or on a GPU: SmolLM2-135M, which a kit or an index carries."""
    if kit or gpu:
        original: dict[str, Any] = {"embedded": "shakespeare"}
        base = {"embedded": "smollm2-135m"}
    else:
        base, original = {"pretrained": str(model(work))}, {"files": str(_text(work, "english", ENGLISH))}
    additional = {"files": str(chinese(kit, gpu, work)), "language": "Chinese"}
    return {"base_model": base, "corpora": {"original": original, "additional": additional}}


def chinese(kit: Path | None, gpu: bool, work: Path) -> Path:
    """The file of the additional language: the kit's verse, the novel of an index, or a few sentences."""
    if kit:
        return kit / "verse.jsonl"
    if not gpu:
        return _text(work, "chinese", CHINESE)
    from trainers.data.origins import embedded

    return embedded.fetch("three-kingdoms")


def documents(file: Path) -> list[str]:
    return [json.loads(line)["text"] for line in file.read_text(encoding="utf-8").splitlines()]


def _text(work: Path, name: str, sentence: str) -> Path:
    path = work / f"{name}.jsonl"
    if not path.is_file():
        rows = ["".join(sentence.format(n * i) for i in range(REPEATED)) for n in range(1, DOCUMENTS + 1)]
        path.write_text("".join(json.dumps({"text": row}, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def model(work: Path) -> Path:
    """A Llama of 0.1M parameters with a byte-level tokenizer of its own. It has learned a little: a base model with
    random weights is refused.
    """
    folder = work / "small-model"
    if (folder / "config.json").is_file():
        return folder
    import torch
    from tokenizers import ByteLevelBPETokenizer
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder.mkdir(parents=True, exist_ok=True)
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator([ENGLISH, CHINESE], 400, special_tokens=["<end>"], show_progress=False)
    trained.save(str(folder / "tokenizer.json"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), eos_token="<end>")
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
    made = LlamaForCausalLM(LlamaConfig(**sizes, vocab_size=400))
    _teach(made, tokenizer)
    made.save_pretrained(folder)
    return folder


def _teach(model: Any, tokenizer: Any) -> None:
    import torch

    text = "".join(sentence.format(n) for sentence in (ENGLISH, CHINESE) for n in range(30))
    ids = torch.tensor([tokenizer(text)["input_ids"]])
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(STEPS):
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
