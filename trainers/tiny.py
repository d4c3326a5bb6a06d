"""The embedded base models: small Llamas, pre-trained on the original language with a trace of the additional one.

The trace matters: real base models have seen a little of most languages. A model that never saw the additional language
spends a short trial on learning its characters, and its loss surface is flat.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import ByteLevelBPETokenizer
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from sweep.study.files import cache
from sweep.study.sections.recipe.lr_schedule import VERSION as SCHEDULE_VERSION
from sweep.study.sections.recipe.training import Optimizer, Schedule, Training
from sweep.study.sections.text.corpora import Corpora, Corpus
from sweep.study.sections.text.documents import Documents
from sweep.study.study import fingerprint_of
from trainers.data import corpus, documents
from trainers.data.documents import DocumentSource
from trainers.data.hold_out import choice
from trainers.data.hold_out.held_out_texts import FILE, TextFile
from trainers.data.mixture import BatchReader, Mixture
from trainers.data.tokens.borders import Borders
from trainers.data.tokens.text_tokenizer import TextTokenizer
from trainers.loop.learner import train
from trainers.workers import process_memory

CORPORA = Corpora(original=Corpus(embedded="shakespeare"), additional=Corpus(embedded="three-kingdoms"))
TRACE = 0.03
SEED = 0
LR = 4e-3
VOCABULARY = 2048
SHAPE: dict[str, Any] = {"hidden_size": 96, "intermediate_size": 256, "num_hidden_layers": 3, "num_attention_heads": 4}
# Model sizes for ladders: 0.23M, 0.53M, 1.26M, 2.90M and 5.61M parameters. Studies can name those of MODELS.
SIZES: dict[str, dict[str, Any]] = {
    "0.2m": SHAPE | {"hidden_size": 64, "intermediate_size": 176, "num_hidden_layers": 2},
    "tiny": SHAPE,
    "1.2m": SHAPE | {"hidden_size": 160, "intermediate_size": 432},
    "3m": SHAPE | {"hidden_size": 256, "intermediate_size": 688},
    "5m": SHAPE | {"hidden_size": 320, "intermediate_size": 864, "num_hidden_layers": 4},
}
TRAINING = Training(
    sequence_length=128,
    tokens=800 * 2048,
    global_batch_tokens=2048,
    micro_batch_sequences=8,  # 14 % faster than 16 on a CPU core, whose cache holds the logits
    schedule=Schedule(warmup=0.05, min_lr=0.1),
    optimizer=Optimizer(),
)
# The models that studies name, with size and recipe. The larger one, the demo's launch, is pre-trained on half the
# tokens: it costs ten times the FLOPs of `tiny` per token, and a newcomer waits for it.
MODELS = {"tiny": ("tiny", TRAINING), "tiny-5.6m": ("5m", TRAINING.model_copy(update={"tokens": 400 * 2048}))}
MINUTES = {"tiny": "about a minute", "tiny-5.6m": "about 3 minutes"}  # on two cores


def sources() -> dict[str, DocumentSource]:
    """The text that the model is trained on."""
    return {name: documents.resolve(source.spec, name) for name, source in CORPORA.by_name.items()}


def build_named(name: str, progress: Callable[[str, float | None], None]) -> Path:
    """The folder of one of MODELS. `progress` receives the phase and the share of it that is done."""
    size, training = MODELS[name]
    phase = f"pre-training the {name} base model, once, {MINUTES[name]}"
    return build(lambda share: progress(phase, share), size, training)


def build(
    progress: Callable[[float], None] = lambda share: None, size: str = "tiny", training: Training = TRAINING
) -> Path:
    """The folder of an embedded base model; trains it where the cache does not hold it.

    `size` is a name of SIZES, `training` the recipe of the pre-training. `progress` receives the share of training that
    is done. The model and its tokenizer never see the embedded corpora's default held-out documents.
    """
    key = [
        training.model_dump(
            mode="json", exclude={"simulate_epochs", "stage", "dpo"}
        ),  # which came later, and are of trials
        SCHEDULE_VERSION,
        SIZES[size],
        VOCABULARY,
        TRACE,
        LR,
        SEED,
        corpus.PACKING_VERSION,
    ]
    key += [source.fingerprint for source in sources().values()]
    folder = cache.root() / "models" / f"tiny-{fingerprint_of(key)}"
    return cache.build_once(folder, lambda unfinished: _pretrain(unfinished, progress, SIZES[size], training))


def _pretrain(folder: Path, progress: Callable[[float], None], shape: dict[str, Any], training: Training) -> None:
    tokenizer = _train_tokenizer(folder)
    as_text = TextTokenizer(tokenizer, Borders.of(tokenizer, Documents()))
    folders = {name: corpus.prepare(source, as_text, training.sequence_length) for name, source in sources().items()}
    seen = set(_training_texts())
    assert not any(text in seen for folder in folders.values() for text in TextFile(folder / FILE))
    packed = {name: corpus.open_packed(folder) for name, folder in folders.items()}
    process_memory.keep_freed()
    torch.manual_seed(SEED)
    model = LlamaForCausalLM(_config(tokenizer, shape))
    reader = BatchReader(packed, Mixture.of(TRACE, SEED, CORPORA, packed), training.batch_sequences)
    for step in train(model, reader.read(range(training.steps)), training, LR, watch=lambda step: False):
        progress(step.step / training.steps)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _config(tokenizer: Any, shape: dict[str, Any]) -> LlamaConfig:
    return LlamaConfig(
        **shape,
        vocab_size=VOCABULARY,
        max_position_embeddings=TRAINING.sequence_length,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )


def _train_tokenizer(folder: Path) -> Any:
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(_training_texts(), VOCABULARY, special_tokens=["<|end|>"], show_progress=False)
    trained.save(str(folder / "bpe.json"))
    tokenizer: Any = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_file=str(folder / "bpe.json"),
        eos_token="<|end|>",  # noqa: S106
    )
    (folder / "bpe.json").unlink()
    return tokenizer


def _training_texts() -> Iterator[str]:
    for name, source in sources().items():
        texts = documents.read(source)
        sizes = np.array([len(text.encode()) for text in texts["text"]])  # bytes: there is no tokenizer yet
        yield from texts.select(choice.choose(texts, sizes, source.spec, name).training)["text"]
