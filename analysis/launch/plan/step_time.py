"""Estimates the time of the launch's optimizer step with a layout: a small model, to compare layouts and to plan hours.

Compute: the step's FLOPs at the MFU that the study states, else at the nearest published one; full recomputation adds
the forward pass once more, a third (Korthikanti et al., arXiv 2205.05198). Pipeline: p stages and m micro-batches idle
for (p - 1) / m of that (Narayanan et al., arXiv 2104.04473, 2.2). Tensor parallelism: a layer's forward and backward
pass each send the activations as two all-reduces, whose halves sequence parallelism shares out (2205.05198, 4.2); they
are not hidden. Data parallelism with sharded weights (FSDP, ZeRO-3) gathers the weights twice in bfloat16 and scatters
their gradients once in float32 for each micro-batch (Rajbhandari et al., arXiv 1910.02054, 7), behind its compute.
Megatron's distributed optimizer does so once a step. An all-gather of n GPUs moves (n - 1) / n of the whole to each;
across nodes every GPU of a group that is in a node takes its part through its own network adapter. Not counted: stages'
messages, latency, evaluation, checkpoints, and that narrow matrices are slower.
"""

from __future__ import annotations

from dataclasses import dataclass

from analysis.launch.plan.layout import ParallelLayout, TimePart
from sweep.study import Study, numbers
from sweep.study.sections.launch import Format, Launch
from sweep.study.sizes.known import GPUS, Gpu
from sweep.study.sizes.mfu import Setting, assumed
from sweep.study.sizes.shape import BFLOAT16, FLOAT32, Shape

ACHIEVED = 0.8  # of a nominal bandwidth, as large messages reach it
AGAIN = 4 / 3  # with full recomputation: three passes, and the forward pass again
REDUCES = 4  # all-reduces of a layer, without recomputation
GATHERED = 2 * BFLOAT16 + FLOAT32  # bytes a parameter and micro-batch of FSDP: two gathers, one reduction
DISTRIBUTED = BFLOAT16 + FLOAT32  # bytes a parameter and step of Megatron's distributed optimizer


def parts(name: Format, study: Study, shape: Shape, layout: ParallelLayout) -> tuple[TimePart, ...]:
    """Seconds of a step by cause. Empty where the kind of GPU is not stated."""
    launch = study.launch
    assert launch
    if launch.gpu is None or not launch.gpus_per_node or not layout.data:
        return ()
    return _Step(name, launch, shape, layout, GPUS[launch.gpu], *mfu_of(name, study, shape.parameters)).parts


def mfu_of(name: Format, study: Study, parameters: int) -> tuple[float, str]:
    """As the study states it for the trials, else the nearest published figure; and which of them it is."""
    launch = study.launch
    assert launch
    assert launch.gpu
    if stated := study.resources.mfu:
        return stated, "resources.mfu"
    compiled = study.execution.compile and name == "native"
    figure = assumed(Setting(parameters, launch.gpu, launch.processes, launch.sequence_length, compiled))
    return figure.mfu, f"assumed: measured for {figure.measured}"


@dataclass(frozen=True)
class _Step:
    name: Format
    launch: Launch
    shape: Shape
    layout: ParallelLayout
    gpu: Gpu
    mfu: float
    mfu_source: str

    @property
    def parts(self) -> tuple[TimePart, ...]:
        each, count, stages = self._compute + self._tensor, self._micro_batches, self.layout.pipeline
        flops = f"{self._flops * self.layout.data * count:.3g} FLOPs{' x 4/3' if self._full else ''}"
        peak = f"({self.layout.gpus} GPUs x {self.gpu.flops:.3g} x {numbers.percent(self.mfu)} MFU), {self.mfu_source}"
        found = [
            TimePart("compute", count * self._compute, f"{flops} / {peak}"),
            TimePart("pipeline", (stages - 1) * each, f"({stages} - 1) / {count} micro-batches of compute and tensor"),
            TimePart(
                "tensor", count * self._tensor, f"{count} micro-batches x {self._tensor:.3g} s on the node's links"
            ),
        ]
        return (*(part for part in found if part.seconds), *self._data(each))

    @property
    def _micro_batches(self) -> int:
        return self.layout.accumulation(self.launch)

    @property
    def _full(self) -> bool:
        return self.layout.checkpointing == "full"

    @property
    def _tokens(self) -> int:
        """Of a micro-batch of one copy."""
        return self.layout.micro_batch * self.launch.sequence_length

    @property
    def _flops(self) -> float:
        """Of a micro-batch of one copy, without what is computed again."""
        return self._tokens * self.shape.training_flops(self.launch.sequence_length)

    @property
    def _compute(self) -> float:
        """Seconds that a micro-batch takes in one stage."""
        copy = self.layout.tensor * self.layout.pipeline * self.layout.context
        return self._flops * (AGAIN if self._full else 1) / (copy * self.gpu.flops * self.mfu)

    @property
    def _tensor(self) -> float:
        """Seconds of a micro-batch's tensor-parallel messages in one stage."""
        layout, shape = self.layout, self.shape
        layers, reduces = shape.num_hidden_layers / layout.pipeline, REDUCES * (1.5 if self._full else 1)
        whole = BFLOAT16 * shape.hidden_size * self._tokens / layout.context
        return layers * reduces * 2 * (1 - 1 / layout.tensor) * whole / (ACHIEVED * self.gpu.link)

    def _data(self, each: float) -> list[TimePart]:
        """Seconds of the messages between copies. `each`: of a micro-batch's other work, which may hide them."""
        layout, shape = self.layout, self.shape
        group = layout.data * layout.context
        share = (1 - 1 / group) / self._bandwidth
        if self.name == "megatron":
            own = shape.parameters / (layout.tensor * layout.pipeline)
            seconds = DISTRIBUTED * own * share
            told = f"{DISTRIBUTED} bytes x {own:,.0f} parameters at {numbers.size(self._bandwidth)}/s"
            return [TimePart("optimizer", seconds, told)] if seconds else []
        own = shape.parameters / layout.tensor
        seconds = GATHERED * own * share
        told = (
            f"{self._micro_batches} micro-batches x {GATHERED} bytes x {own:,.0f} parameters at "
            f"{numbers.size(self._bandwidth)}/s, {seconds:.3g} s each, behind their compute"
        )
        return [TimePart("gathers", self._micro_batches * max(0.0, seconds - each), told)] if seconds else []

    @property
    def _bandwidth(self) -> float:
        """Bytes/s of one GPU in the group that shards the weights or the optimizer."""
        launch, layout = self.launch, self.layout
        if layout.gpus // layout.pipeline <= launch.gpus_per_node:
            return ACHIEVED * self.gpu.link
        adapter = launch.network_gigabits * 1e9 / 8 if launch.network_gigabits else self.gpu.network
        here = max(1, launch.gpus_per_node // layout.tensor)
        return ACHIEVED * min(self.gpu.link, here * adapter)
