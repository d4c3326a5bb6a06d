"""`launch`: the one large run that the winner is exported to."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import model_validator

from sweep.study.fields import Count, Natural, OneOrMore, Positive, Section, Text, nearest_multiple
from sweep.study.sections.text.corpora import Corpora
from sweep.study.sections.transfer import TransferRule
from sweep.study.sizes.known import GpuName, gpu_memory
from sweep.study.sizes.shape import Shape

Format = Literal["llamafactory", "torchtitan", "megatron", "axolotl", "trl", "native"]


class Evaluation(Section):
    """Held-out text for the launch: JSON Lines files with the text in the field `text`."""

    original: Text
    """File or glob pattern of the original language, relative to the study file."""
    additional: Text
    """File or glob pattern of the additional language, relative to the study file."""


class Launch(Section):
    """The one large run that the winner is exported to.

    With `gpu` or `gpu_gigabytes`, and a model whose shape is known or given, the bundle chooses the parallelism and
    checks the memory.
    """

    model: str
    """The large model: a Hugging Face id, or a directory (relative to the study file)."""
    tokens: Count
    """Training tokens of the run."""
    global_batch_tokens: Count
    """Tokens per optimizer step, over all GPUs."""
    sequence_length: Count
    """Tokens per training sequence."""
    corpora: Corpora | None = None
    """Text of the run, apart from the trials'. The trials' held-out text is left out of it. Default: all of theirs."""
    nodes: Count = 1
    """Number of machines. Default: that of `resources`."""
    gpus_per_node: Natural = 8
    """GPUs per machine. 0: no GPUs, one process per machine. Default: that of `resources`, or 8 if trials use none."""
    micro_batch_sequences: Count | None = None
    """Sequences that one copy of the model takes in one forward pass. Default: chosen with the layout, else 1."""
    checkpoints: Count | None = None
    """Number of checkpoints that the run writes. Default: one an hour by the estimated speed, and at least 20."""
    evaluations: Count = 20
    """Number of times that the run measures its held-out losses."""
    evaluation: Evaluation | None = None
    """Held-out text for the run, which is left out of its training text. Default: the trials' held-out text."""
    gpu: GpuName | None = None
    """Kind of GPU, such as H100-80GB, for its memory and speed. Default: that of `resources`."""
    gpu_gigabytes: Positive | None = None
    """Memory of one GPU in GB, where `gpu` is not given or differs. Default: that of `gpu`."""
    network_gigabits: Positive | None = None
    """Network of one GPU in Gbit/s, for the layout and the hours. Default: that of NVIDIA's own systems with `gpu`."""
    price_per_gpu_hour: Positive | None = None
    """Price of one GPU for an hour, in any currency, for the cost of the run. Default: not known."""
    shape: Shape | None = None
    """The model's sizes, where it is not a known model. Default: those of the known model."""
    tensor_parallel: Count | None = None
    """GPUs that share each layer. Default: chosen from memory and speed."""
    pipeline_parallel: Count | None = None
    """Pipeline stages that the layers are split into. Default: chosen from memory and speed."""
    context_parallel: Count | None = None
    """GPUs that share each sequence. Default: 1."""
    image: str | None = None
    """Kubernetes: container image with the trainer. Default: to be filled in."""
    volume_claim: str | None = None
    """Kubernetes: persistent volume claim that holds the bundle and the data. Default: to be filled in."""
    formats: OneOrMore[Format] = ("llamafactory",)
    """Trainers to write configurations for."""
    transfer: TransferRule | None = None
    """How the winner is carried to the large run. Default: rule `direct`, with a warning."""

    @property
    def gpu_bytes(self) -> float | None:
        """Memory of one GPU: as given, else that of `gpu`."""
        return gpu_memory(self.gpu, self.gpu_gigabytes)

    @property
    def processes_per_node(self) -> int:
        return self.gpus_per_node or 1

    @property
    def processes(self) -> int:
        return self.nodes * self.processes_per_node

    @property
    def steps(self) -> int:
        """Whole optimizer steps, nearest to the requested tokens."""
        return round(self.tokens / self.global_batch_tokens)

    def text_recipe(self) -> dict[str, Any]:
        """What decides how often the run reads its text: fields of the recipe of trials that read theirs as often."""
        corpora = self.corpora and self.corpora.model_dump(mode="json", exclude_defaults=True)
        return {"tokens": self.steps * self.global_batch_tokens} | ({"corpora": corpora} if corpora else {})

    @property
    def batch_sequences(self) -> int:
        return self.global_batch_tokens // self.sequence_length

    @property
    def tokens_per_pass(self) -> int:
        """Tokens of one forward pass on all GPUs together."""
        return self.processes * (self.micro_batch_sequences or 1) * self.sequence_length

    @model_validator(mode="after")
    def _whole_batches(self) -> Self:
        if self.global_batch_tokens % self.tokens_per_pass:
            nearest = nearest_multiple(self.global_batch_tokens, self.tokens_per_pass)
            raise ValueError(
                f"global_batch_tokens {self.global_batch_tokens} is not a multiple of nodes x gpus_per_node x "
                f"micro_batch_sequences x sequence_length = {self.tokens_per_pass}: write {nearest}, "
                f"or change one of these"
            )
        if self.tokens < self.global_batch_tokens:
            raise ValueError(
                f"tokens {self.tokens} is less than one global batch: write {self.global_batch_tokens} or more"
            )
        return self

    @model_validator(mode="after")
    def _whole_copies(self) -> Self:
        """One copy of the model takes tensor x pipeline x context GPUs."""
        for name, of in (("tensor_parallel", self.processes_per_node), ("pipeline_parallel", self.nodes)):
            if (degree := getattr(self, name)) and self.processes % degree:
                raise ValueError(f"{name} {degree} does not divide {self.processes} GPUs: write {of}, or 1")
        copy = (self.tensor_parallel or 1) * (self.pipeline_parallel or 1) * (self.context_parallel or 1)
        if self.processes % copy:
            raise ValueError(
                f"tensor_parallel x pipeline_parallel x context_parallel = {copy} does not divide {self.processes} "
                f"GPUs: lower one of them"
            )
        return self
