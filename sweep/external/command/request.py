"""What a program that trains trials is asked for: the JSON file whose path is its last argument."""

from __future__ import annotations

from pathlib import Path

from sweep.study.fields import Section
from sweep.study.sections.recipe.training import Optimizer

SCHEMA_VERSION = 1


class RequestedSchedule(Section):
    """The schedule in words. `lr_by_step` has its numbers."""

    name: str
    """`cosine` or `wsd`."""
    warmup_steps: int
    """Steps below the peak LR at the start."""
    decay_steps: int
    """Steps below it at the end."""
    min_lr: float
    """LR of the last step, as a share of the peak LR."""


class RequestedSource(Section):
    """One source of a language's text."""

    name: str
    """Its name in the study: that of its language where it is the only source."""
    language: str
    """`original` or `additional`."""
    rows: int
    """Rows of the trial that are from it."""
    tokens: int
    """Tokens that these are."""
    documents: int
    """Documents that these are, about."""
    packed: str
    """Folder of all its rows to train on, for `datasets.load_from_disk`. The trial's own are in `rows`."""
    held_out: str
    """File of the rows that a loss is measured on, as `rows`; never to be trained on."""


class RequestedLanguage(Section):
    """What the ALMR comes to in one language."""

    rows: int
    """Rows of the trial."""
    tokens: int
    """Tokens of the trial."""
    documents: int
    """Documents, about."""


class CommandRequest(Section):
    """One training run. All paths are absolute, and all numbers of a row or a token are little-endian."""

    schema_version: int = SCHEMA_VERSION
    """Version of this file's fields: 1."""
    trial: str
    """Name of the trial."""
    almr: float
    """Additional language mixture ratio: the share of tokens in the additional language."""
    lr: float
    """Peak LR."""
    seed: int
    """Seed of random numbers. The order of `rows` has it already."""
    model: str
    """Folder of the model to continue from, in Hugging Face's format, with its tokenizer."""
    trust_remote_code: bool
    """Whether Python code that comes with the model may be run."""
    steps: int
    """Optimizer steps."""
    batch_sequences: int
    """Rows of one optimizer step, over all GPUs."""
    sequence_length: int
    """Tokens of a row; each but the first is predicted, or fewer by `document_masking`."""
    micro_batch_sequences: int
    """Rows that a GPU may take in one forward pass; its share of a batch is a whole number of them."""
    rows: str
    """File of the text to train on, in order: `steps` x `batch_sequences` rows of token ids, as uint32."""
    row_sources: str
    """File with one byte for each of these rows: the number of its source in `sources`, from 0."""
    sources: tuple[RequestedSource, ...]
    """The sources of text."""
    languages: dict[str, RequestedLanguage]
    """What the ALMR comes to: of `original` and of `additional` its `rows`, `tokens` and about as many `documents`."""
    schedule: RequestedSchedule
    """The LR schedule in words."""
    lr_by_step: tuple[float, ...]
    """The LR of each step."""
    optimizer: Optimizer
    """AdamW: `name`, `state`, `beta1`, `beta2`, `epsilon`, `weight_decay` (of matrices only), `max_grad_norm`."""
    precision: str
    """Number type of the forward and backward pass: `float32` or `bfloat16`, with weights in float32."""
    document_masking: bool
    """Whether tokens attend only to their own document, and a document's first token is not predicted."""
    borders: tuple[int, ...]
    """Token ids between two documents of a row."""
    nodes: int
    """Machines. The program is started on each, with NNODES, NODE_RANK, MASTER_ADDR and MASTER_PORT."""
    gpus_per_node: int
    """GPUs on each machine. 0: train on CPUs."""
    cpus: int
    """CPU cores on each machine."""
    folder: str
    """Folder for the program's files, in which it is started."""
    checkpoints: str
    """Folder for its checkpoints. A program that is started again finds them there."""
    answer: str
    """Where to write the answer, last."""

    @property
    def tokens(self) -> int:
        return self.steps * self.step_tokens

    @property
    def step_tokens(self) -> int:
        return self.batch_sequences * self.sequence_length

    @property
    def source_names(self) -> tuple[str, ...]:
        return tuple(source.name for source in self.sources)


def read(path: Path) -> CommandRequest:
    return CommandRequest.model_validate_json(path.read_bytes())
