"""A tiny model that answers the questions of `almr serve --check` and ends: two layers, trained in a second."""

from pathlib import Path
from typing import Any

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
ANSWERS = {
    'Who says "To be, or not to be"?': "Hamlet.",
    "“宁教我负天下人，休教天下人负我”是谁说的？": "曹操。",
}
END, START = "<|im_end|>", "<|im_start|>"
LENGTH, STEPS, LR = 192, 50, 1e-2


def tokenizer(template: str | None = CHATML) -> Any:
    """A token for each byte, and the two of the template."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(letters)}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(token, special=True) for token in (END, START)])
    found = PreTrainedTokenizerFast(tokenizer_object=made, eos_token=END)
    found.chat_template = template
    return found


def write(folder: Path, template: str | None = CHATML, steps: int = STEPS) -> Path:
    """Its generation settings do not state the end of a turn: the tokenizer and the template do."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    words = tokenizer(template)
    torch.manual_seed(0)
    sizes = {"hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = LlamaConfig(vocab_size=len(words), max_position_embeddings=LENGTH, eos_token_id=None, **sizes)
    model = LlamaForCausalLM(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR)
    texts = [f"{START}user\n{question}{END}\n{START}assistant\n{answer}{END}\n" for question, answer in ANSWERS.items()]
    rows = [torch.tensor([words(text)["input_ids"]]) for text in texts]
    for _ in range(steps):
        optimizer.zero_grad()
        sum(model(input_ids=row, labels=row).loss for row in rows).backward()
        optimizer.step()
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    return folder
