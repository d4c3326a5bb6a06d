"""Writes the weights of a Hugging Face folder as a checkpoint of Megatron-LM, which cuts it for any parallelism.

The format and the names are those of to_huggingface.py. There are no arguments in the checkpoint, so none can replace
those given. Layers of Transformer Engine, and some of Megatron's own, ask for a state of their FP8 numbers: an empty
tensor where there are none (transformer_engine/pytorch/module/base.py, set_extra_state).
"""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor
from torch.distributed.checkpoint.default_planner import create_default_global_save_plan
from torch.distributed.checkpoint.filesystem import FileSystemWriter
from torch.distributed.checkpoint.metadata import ChunkStorageMetadata, MetadataIndex, TensorProperties
from torch.distributed.checkpoint.planner import SavePlan, SavePlanner, TensorWriteData, WriteItem, WriteItemType
from torch.distributed.checkpoint.state_dict_saver import save

from sweep.study import InputError
from trainers.packing.to_huggingface import ENDS, LATEST, LAYERS, PARTS, RELEASE, Heads, join, names

STATE = "{}._extra_state/shard_{}_{}"  # of a module: the layer, and the number of layers
WITH_STATE = (
    "self_attention.linear_qkv",
    "self_attention.q_layernorm",
    "self_attention.k_layernorm",
    "self_attention.core_attention",
    "self_attention.linear_proj",
    "mlp.linear_fc1",
    "mlp.linear_fc2",
)
ABOUT = {
    "sharded_backend": "torch_dist",
    "sharded_backend_version": 1,
    "common_backend": "torch",
    "common_backend_version": 1,
}
THREADS = 4


def to_megatron(model: Path, out: Path) -> None:
    """Write a new folder for `--pretrained-checkpoint`. Raises InputError for a model without safetensors."""
    folder = out / RELEASE
    folder.mkdir(parents=True)
    writer = FileSystemWriter(folder, thread_count=THREADS)
    with warnings.catch_warnings(action="ignore", category=UserWarning):  # of a single process
        save({}, storage_writer=writer, planner=WritePlan(HuggingFaceWeights(model)), no_dist=True)
    # A version below 3 would have the rows of queries, keys and values put in order once more.
    torch.save({"checkpoint_version": 3.0, "iteration": 0}, folder / "common.pt")
    (folder / "metadata.json").write_text(json.dumps(ABOUT), encoding="utf-8")
    (out / LATEST).write_text(RELEASE, encoding="utf-8")


class HuggingFaceWeights:
    """The tensors of a folder with safetensors, read one at a time."""

    def __init__(self, folder: Path) -> None:
        self.config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        self.files: dict[str, Path] = {}
        self.shapes: dict[str, list[int]] = {}
        types: set[str] = set()
        for path in sorted(folder.glob("*.safetensors")):
            with safe_open(path, "pt") as opened:
                for name in opened.keys():  # noqa: SIM118 - no dict
                    part = opened.get_slice(name)
                    self.files[name], self.shapes[name] = path, part.get_shape()
                    types.add(part.get_dtype())
        if not self.files:
            raise InputError(f"{folder}: has no *.safetensors, which Megatron-LM's weights are made from: add them")
        self.dtype = torch.float32 if len(types) > 1 else self.read(next(iter(self.files))).dtype

    def read(self, name: str) -> Tensor:
        with safe_open(self.files[name], "pt") as opened:
            tensor: Tensor = opened.get_tensor(name)
        return tensor

    def chunks(self) -> Iterator[tuple[str, list[int], list[int], list[int]]]:
        """What Megatron's tensors are written in: key, offset and shape of the chunk, and shape of the tensor."""
        layers: int = self.config["num_hidden_layers"]
        for key, name in ENDS.items():
            if name in self.files and not (key == "output_layer.weight" and self.config.get("tie_word_embeddings")):
                yield key, [0] * len(self.shapes[name]), self.shapes[name], self.shapes[name]
        for layer in range(layers):
            for part in PARTS:
                if shapes := [self.shapes[name] for name in names(layer, part) if name in self.shapes]:
                    shape = [sum(shape[0] for shape in shapes), *shapes[0][1:]]
                    yield LAYERS + part, [layer, *(0 for _ in shape)], [1, *shape], [layers, *shape]


class WritePlan(SavePlanner):
    """Writes tensors that are read and joined when their turn comes: memory holds a few of them."""

    def __init__(self, source: HuggingFaceWeights) -> None:
        self.source, self.heads = source, Heads.of(source.config)

    def set_up_planner(self, state_dict: Any, storage_meta: Any = None, is_coordinator: bool = False) -> None: ...

    def create_local_plan(self) -> SavePlan:
        layers = self.source.config["num_hidden_layers"]
        states = [STATE.format(LAYERS + module, layer, layers) for module in WITH_STATE for layer in range(layers)]
        states.append(STATE.format("decoder.final_layernorm", 0, 1))
        empty = [WriteItem(MetadataIndex(key), WriteItemType.BYTE_IO) for key in states]
        return SavePlan([*(_item(*chunk, self.source.dtype) for chunk in self.source.chunks()), *empty])

    def create_global_plan(self, all_plans: list[SavePlan]) -> Any:
        return create_default_global_save_plan(all_plans)

    def finish_plan(self, new_plan: SavePlan) -> SavePlan:
        return new_plan

    def resolve_data(self, write_item: WriteItem) -> Tensor | io.BytesIO:
        key, offset = write_item.index.fqn, write_item.index.offset
        if write_item.type == WriteItemType.BYTE_IO:
            torch.save([torch.empty(0, dtype=torch.uint8)], state := io.BytesIO())
            return state
        if key in ENDS or offset is None:
            return self.source.read(ENDS[key]).to(self.source.dtype)
        part = key.removeprefix(LAYERS)
        tensors = [self.source.read(name) for name in names(offset[0], part)]
        return join(part, tensors, self.heads)[None].to(self.source.dtype)


def _item(key: str, offset: list[int], shape: list[int], size: list[int], dtype: torch.dtype) -> WriteItem:
    chunk = ChunkStorageMetadata(torch.Size(offset), torch.Size(shape))
    data = TensorWriteData(chunk, TensorProperties(dtype=dtype), torch.Size(size))
    return WriteItem(MetadataIndex(key, chunk.offsets), WriteItemType.SHARD, tensor_data=data)
