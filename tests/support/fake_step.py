"""A training step of our own trainer on fake tensors: its peak memory and its FLOPs, as torch itself counts them.

Nothing is computed: `FakeTensorMode` keeps shapes only, and a fake process group stands for the other workers. The
model is built, sharded, checkpointed and fused by the trainer's own code, and `Learner` takes the steps.

A build of torch for CPUs cannot run autograd on fake CUDA tensors, so the tensors are on the CPU. Two operations differ
between the devices in what they keep, and are done as on CUDA: attention (flash without a mask; with one the memory
efficient kernel, and the mask in the compute dtype), and the cross-entropy in parts (its policy "compact").
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch
from samples import make_study
from torch import distributed
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily
from torch.distributed._tools import mem_tracker
from torch.distributed._tools.fsdp2_mem_tracker import FSDPMemTracker
from torch.distributed._tools.mem_tracker import MemTracker
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import _sharding_prop
from torch.nn.modules import linear_cross_entropy as in_parts
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel, masking_utils
from transformers.distributed.utils import TransformersDeviceMesh
from transformers.initialization import no_tie_weights

from sweep.study import Study
from sweep.study.sizes.shape import Shape
from trainers.data.tokens.borders import Borders
from trainers.loop.learner import Learner
from trainers.model import fitting, loading
from trainers.model.token_loss import TokenLoss
from trainers.workers.group import WorkerGroup

aten = torch.ops.aten
BACKWARD = (
    aten._scaled_dot_product_flash_attention_backward,
    aten._scaled_dot_product_efficient_attention_backward,
)
CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)


def gpu_study(
    workers: int,
    sequences: int,
    length: int,
    checkpointing: str = "none",
    reshard: bool = True,
    micro_batches: int = 2,
    **training: Any,
) -> Study:
    """A study of trials on so many GPUs, whose steps have so many micro-batches; with document masking."""
    batch = length * workers * sequences * micro_batches
    recipe = {"precision": "bfloat16", "document_masking": True, "evaluation_tokens": length} | training
    recipe |= {"sequence_length": length, "global_batch_tokens": batch, "tokens": 20 * batch}
    return make_study(
        training=recipe | {"micro_batch_sequences": sequences},
        resources={"gpus_per_node": workers},
        execution={"activation_checkpointing": checkpointing, "reshard_after_forward": reshard},
    )


def peak_of_training(study: Study, shape: Shape, micro_batches: int = 2) -> dict[str, int]:
    """Peak bytes over two optimizer steps of the first worker, each of so many micro-batches: the tracker's parts, and
    their "Total".
    """
    with ExitStack() as stack:
        learner = stack.enter_context(fake_learner(study, shape))
        tracker = stack.enter_context(tracking(learner))
        sequences = (learner.micro_batch.sequences or 1) * micro_batches
        for _ in range(2):
            learner._learn(torch.zeros(sequences, study.training.sequence_length, dtype=torch.int64), 1e-3)
        [found] = tracker.get_tracker_snapshot("peak").values()
    return {getattr(part, "value", part): size for part, size in found.items()}


def flops_of_training(study: Study, shape: Shape) -> dict[str, float]:
    """FLOPs per token of an optimizer step of one micro-batch: `all`, and those of `scores` that attention's backward
    pass computes again, in one of its five products. What checkpointing computes again is in `all`.
    """
    counting = FlopCounterMode(display=False, custom_mapping={aten.addmm_: _addmm_flops})
    with fake_learner(study, shape) as learner, counting as counter, AsOnCuda(study.training.document_masking):
        tokens = torch.zeros(learner.micro_batch.sequences or 1, study.training.sequence_length, dtype=torch.int64)
        learner._learn(tokens, 1e-3)
    by_operation = counter.get_flop_counts()["Global"]
    backward = sum(by_operation.get(operation, 0) for operation in BACKWARD)
    return {"all": counter.get_total_flops() / tokens.numel(), "scores": backward / 5 / tokens.numel()}


def _addmm_flops(added: Any, first: Any, second: Any, **_: Any) -> int:
    """torch's counter knows this product, but not in place."""
    flops: int = 2 * first[0] * first[1] * second[1]
    return flops


@contextmanager
def fake_learner(study: Study, shape: Shape) -> Iterator[Learner]:
    workers = study.resources.workers
    sharded = study.resources.worker_group or study.training.precision == "bfloat16"
    if sharded:
        distributed.init_process_group("fake", store=FakeStore(), rank=0, world_size=workers)
    group = WorkerGroup(0, workers, CPU, sharded=sharded)
    try:
        with (
            FakeTensorMode(allow_non_fake_inputs=True),
            patch.object(loading, "_from_pretrained", lambda *a, **options: _new_model(shape, **options)),
            patch.object(_sharding_prop, "detect_fake_mode", lambda: None),  # its tensors must not count as ours
            patch.object(masking_utils, "is_tracing", lambda *_: False),  # a fake tensor looks like tracing
            patch.object(fitting, "init_device_mesh", _really(fitting.init_device_mesh)),
            patch.object(TransformersDeviceMesh, "get_mesh", _really(TransformersDeviceMesh.get_mesh)),
            patch.object(PreTrainedModel, "to", lambda self, device: self),
            patch.object(WorkerGroup, "sum", lambda self, *values: list(values)),
        ):
            model = loading.load_model(study, "", group)
            model.train()
            borders = Borders(after=(0,)) if study.training.document_masking else None
            yield Learner(TokenLoss(model, borders=borders), study.training, 1e-3, group)
    finally:
        if sharded:
            distributed.destroy_process_group()


def _really(function: Any) -> Any:
    def really(*arguments: Any, **more: Any) -> Any:
        with unset_fake_temporarily():
            return function(*arguments, **more)

    return really


def _new_model(shape: Shape, dtype: Any, attn_implementation: str, distributed_config: Any = None, **_: Any) -> Any:
    """A model of this shape with fresh weights, distributed as `from_pretrained` does."""
    sizes = shape.model_dump(exclude_none=True) | {"sliding_window": shape.sliding_window}
    config = AutoConfig.for_model(**sizes, **dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id")))
    family = AutoModelForCausalLM._model_mapping[type(config)]
    with unset_fake_temporarily():
        distributed_config, _, mesh = family.prepare_distribute_model(distributed_config)
    with no_tie_weights():
        model = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation=attn_implementation)
    family.maybe_distribute_model(model, distributed_config, mesh)
    model.tie_weights()
    return model


@contextmanager
def tracking(learner: Learner) -> Iterator[MemTracker]:
    model = learner.model
    sharded = isinstance(model, FSDPModule)
    tracker = HookFreeTracker(model, learner.optimizer) if sharded else MemTracker()
    take = TokenLoss.sum

    def one_more(self: TokenLoss, *arguments: Any) -> torch.Tensor:
        """Each micro-batch is a new iteration, of which the tracker wants to be told."""
        tracker.reset_mod_stats()
        return take(self, *arguments)

    documents = learner.training.document_masking
    with (
        patch.object(mem_tracker, "_WeakRefInfo", OnOneGpu),
        patch.object(TokenLoss, "sum", one_more),
        ExitStack() as stack,
    ):
        if not sharded:
            tracker.track_external(model)
        stack.enter_context(tracker)
        stack.enter_context(AsOnCuda(documents))
        yield tracker


class HookFreeTracker(FSDPMemTracker):
    """Leaves FSDP2's hooks alone. The base class puts its own in their place, and thereby gathers twice the weights of
    modules that share one group (norm and output layer); it would also tell gathered weights from activations.
    """

    def _instrument_fsdp_module(self) -> None:
        for module in self._root_mod.modules():
            if isinstance(module, FSDPModule):
                for group in module._get_fsdp_state()._fsdp_param_groups:
                    self._instrument_fsdp_sharded_params_grads(group)
        for buffer in self._root_mod.buffers():
            self._update_and_maybe_create_winfos(buffer, self._ref_class.BUFFER)


class OnOneGpu(mem_tracker._WeakRefInfo):
    """All storages are on one GPU, whose allocator rounds sizes up to 512 bytes."""

    def __init__(self, size: int, element_size: int, device: torch.device, reftype: Any) -> None:
        super().__init__(size, element_size, CUDA, reftype)


class AsOnCuda(TorchDispatchMode):
    """Does on fake CPU tensors what happens on CUDA; a value that is read from a tensor is 1, or False."""

    def __init__(self, documents: bool) -> None:
        super().__init__()
        self.documents = documents

    def __enter__(self) -> Any:
        self.attention = patch.object(torch.nn.functional, "scaled_dot_product_attention", attention)
        self.attention.start()
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        self.attention.stop()
        super().__exit__(*error)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is aten._local_scalar_dense.default:
            return not self.documents if args[0].dtype == torch.bool else 1
        if func is torch.ops.torch_nn._linear_cross_entropy_batch_chunked.default:
            return _in_parts(*args)
        return func(*args, **(kwargs or {}))


def _in_parts(*arguments: Any) -> Any:
    """The chunked cross-entropy of torch with the choices that it makes for CUDA, operation by operation."""
    hidden, *others, retain, want_input, want_weight, want_bias = arguments
    others[-2:] = ["compact", torch.float32]
    function = in_parts._linear_cross_entropy_batch_chunked._init_fn
    return function(_SaysCuda(hidden), *others, retain, want_input, want_weight, want_bias)


class _Cuda(str):
    """A device on which tensors are made on the CPU, and which says that it is CUDA."""

    type = "cuda"


class _SaysCuda:
    """A tensor that says it is on CUDA."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor, self.device = tensor, _Cuda("cpu")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.tensor, name)


def attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attn_mask: Any = None, dropout_p: float = 0.0,
    is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False,
) -> torch.Tensor:  # fmt: skip
    """`scaled_dot_product_attention` with the kernels that it chooses on CUDA."""
    if attn_mask is None:
        return aten._scaled_dot_product_flash_attention(query, key, value, dropout_p, is_causal, scale=scale)[0]
    mask = torch.zeros_like(attn_mask, dtype=query.dtype).masked_fill_(attn_mask.logical_not(), -torch.inf)
    mask = mask.expand(*query.shape[:3], key.shape[2])
    kernel = aten._scaled_dot_product_efficient_attention
    return kernel(query, key, value, mask, True, dropout_p, is_causal, scale=scale)[0]
