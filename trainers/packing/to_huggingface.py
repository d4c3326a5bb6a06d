"""Writes a checkpoint of Megatron-LM (core 0.16) as a Hugging Face folder.

    python to_huggingface.py CHECKPOINTS MODEL OUT

writes the newest checkpoint in CHECKPOINTS, with the config.json and tokenizer of the folder MODEL that the run began
with. It needs torch and safetensors only.

The format is `torch_dist` (core/dist_checkpointing): whole tensors, whatever tensor and pipeline parallelism the run
had, under the same keys for Transformer Engine and for Megatron's own layers (sharded_state_dict_keys_map in
core/models/gpt/gpt_layer_specs.py). Those of all layers are one tensor, with the layer as its first dimension. Of each
group of heads the rows of its queries, its key and its value follow each other, and the gate stands above the up
projection (core/transformer/attention.py and mlp.py).
"""

from __future__ import annotations

import json
import pickle
import shutil
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.distributed._shard._utils import narrow_tensor_by_index
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import ChunkStorageMetadata
from torch.distributed.checkpoint.planner import LoadPlan, LoadPlanner
from torch.distributed.checkpoint.planner_helpers import create_read_items_for_chunk_list
from torch.distributed.checkpoint.state_dict_loader import load

ENDS = {
    "embedding.word_embeddings.weight": "model.embed_tokens.weight",
    "decoder.final_layernorm.weight": "model.norm.weight",
    "output_layer.weight": "lm_head.weight",
}
QKV = "self_attention.linear_qkv."
PARTS = {
    QKV + "layer_norm_weight": ("input_layernorm.weight",),
    QKV + "weight": tuple(f"self_attn.{name}_proj.weight" for name in "qkv"),
    QKV + "bias": tuple(f"self_attn.{name}_proj.bias" for name in "qkv"),
    "self_attention.q_layernorm.weight": ("self_attn.q_norm.weight",),
    "self_attention.k_layernorm.weight": ("self_attn.k_norm.weight",),
    "self_attention.linear_proj.weight": ("self_attn.o_proj.weight",),
    "mlp.linear_fc1.layer_norm_weight": ("post_attention_layernorm.weight",),
    "mlp.linear_fc1.weight": ("mlp.gate_proj.weight", "mlp.up_proj.weight"),
    "mlp.linear_fc2.weight": ("mlp.down_proj.weight",),
}
LAYERS = "decoder.layers."
LISTED = {  # what a list of tensors names
    "torch": ("Size",),
    "torch.serialization": ("_get_layout",),
    "torch.distributed.checkpoint.filesystem": ("_StorageInfo",),
    "torch.distributed.checkpoint.metadata": (
        *("Metadata", "MetadataIndex", "StorageMeta", "TensorProperties", "_MEM_FORMAT_ENCODING"),
        *("TensorStorageMetadata", "BytesStorageMetadata", "ChunkStorageMetadata"),
    ),
}
LATEST = "latest_checkpointed_iteration.txt"
RELEASE = "release"  # Megatron's name of a checkpoint without a training state
OTHER_FILES = (".json", ".model", ".txt", ".jinja")  # of a model's folder: configuration and tokenizer


@dataclass(frozen=True)
class Heads:
    """Attention heads of a layer: `keys` groups of query heads, each with one key and one value head."""

    queries: int
    keys: int

    @staticmethod
    def of(config: dict[str, Any]) -> Heads:
        queries = config["num_attention_heads"]
        return Heads(queries, config.get("num_key_value_heads") or queries)

    def join(self, parts: list[Tensor]) -> Tensor:
        """Queries, keys and values, each (rows, ...) -> of each group its queries, its key, its value."""
        grouped = [part.reshape(self.keys, part.shape[0] // self.keys, *part.shape[1:]) for part in parts]
        return torch.cat(grouped, 1).flatten(0, 1)

    def split(self, joined: Tensor) -> list[Tensor]:
        """The inverse of `join`."""
        each = self.queries // self.keys
        width = joined.shape[0] // (self.keys * (each + 2))
        grouped = joined.reshape(self.keys, (each + 2) * width, *joined.shape[1:])
        return [part.flatten(0, 1) for part in torch.split(grouped, [each * width, width, width], 1)]


def names(layer: int, part: str) -> list[str]:
    """The tensors in a Hugging Face folder that are one of Megatron's."""
    return [f"model.layers.{layer}.{name}" for name in PARTS[part]]


def join(part: str, tensors: list[Tensor], heads: Heads) -> Tensor:
    """Tensors of a layer in the order of `PARTS` as Megatron's tensor."""
    return heads.join(tensors) if part in (QKV + "weight", QKV + "bias") else torch.cat(tensors)


def split(part: str, tensor: Tensor, heads: Heads) -> list[Tensor]:
    """The inverse of `join`."""
    return heads.split(tensor) if part in (QKV + "weight", QKV + "bias") else list(tensor.chunk(len(PARTS[part])))


class Listed(pickle.Unpickler):
    """Reads the list of a checkpoint's tensors, which is a pickle, without running what else it may name: that becomes
    empty classes, Megatron's own among it.
    """

    def find_class(self, module: str, name: str) -> Any:
        if name in LISTED.get(module, ()) or (module == "torch" and isinstance(vars(torch).get(name), torch.dtype)):
            return super().find_class(module, name)
        return type(name, (), {"__init__": lambda self, *_: None})


class Reader(FileSystemReader):
    """Reads a checkpoint whose list of tensors may come from anyone."""

    def read_metadata(self, *_: Any, **__: Any) -> Any:
        with (Path(self.path) / ".metadata").open("rb") as file:
            return Listed(file).load()


class ReadPlan(LoadPlanner):
    """Reads parts of tensors: `wanted` has the tensor to fill, and the offset at which it begins, by key."""

    def __init__(self, wanted: dict[str, tuple[Tensor, list[int]]]) -> None:
        self.wanted = wanted

    def set_up_planner(self, state_dict: Any, metadata: Any = None, is_coordinator: bool = False) -> None:
        self.known = metadata.state_dict_metadata

    def create_local_plan(self) -> LoadPlan:
        items = []
        for key, (tensor, offset) in self.wanted.items():
            chunk = ChunkStorageMetadata(torch.Size(offset), tensor.shape)
            items += create_read_items_for_chunk_list(key, self.known[key], [chunk])
        return LoadPlan(items)

    def create_global_plan(self, global_plan: list[LoadPlan]) -> list[LoadPlan]:
        return global_plan

    def finish_plan(self, central_plan: LoadPlan) -> LoadPlan:
        return central_plan

    def load_bytes(self, read_item: Any, value: Any) -> None: ...

    def resolve_tensor(self, read_item: Any) -> Tensor:
        tensor = self.wanted[read_item.dest_index.fqn][0]
        part: Tensor = narrow_tensor_by_index(tensor, read_item.dest_offsets, read_item.lengths)
        return part

    def commit_tensor(self, read_item: Any, tensor: Tensor) -> None: ...


class TorchDistCheckpoint:
    """The newest checkpoint in a folder. Raises FileNotFoundError where it is not of the format `torch_dist`."""

    def __init__(self, checkpoints: Path) -> None:
        name = (checkpoints / LATEST).read_text(encoding="utf-8").strip()
        folder = checkpoints / (name if name == RELEASE else f"iter_{int(name):07d}")
        if not (folder / "metadata.json").is_file():
            raise FileNotFoundError(f"{folder} is no checkpoint of the format torch_dist")
        self.reader = Reader(folder)
        self.known: dict[str, Any] = dict(self.reader.read_metadata().state_dict_metadata)

    def read(self, keys: list[str], layer: int | None = None) -> dict[str, Tensor]:
        """Those of the tensors that it has, whole, or of one layer."""
        wanted = {}
        for key in filter(self.known.__contains__, keys):
            size = list(self.known[key].size) if layer is None else [1, *self.known[key].size[1:]]
            offset = [layer or 0, *(0 for _ in size[1:])]
            wanted[key] = (torch.empty(size, dtype=self.known[key].properties.dtype), offset)
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # of a single process
            load({}, storage_reader=self.reader, planner=ReadPlan(wanted), no_dist=True)
        return {key: tensor if layer is None else tensor[0] for key, (tensor, _) in wanted.items()}


def parts(checkpoint: TorchDistCheckpoint, config: dict[str, Any]) -> Iterator[dict[str, Tensor]]:
    """The tensors of a Hugging Face folder: those outside the layers, without added rows, then layer by layer."""
    words = config["vocab_size"]
    ends = checkpoint.read(list(ENDS))
    yield {ENDS[key]: tensor[:words] if tensor.dim() > 1 else tensor for key, tensor in ends.items()}
    for layer in range(config["num_hidden_layers"]):
        found: dict[str, Tensor] = {}
        for key, tensor in checkpoint.read([LAYERS + part for part in PARTS], layer).items():
            part = key.removeprefix(LAYERS)
            found |= dict(zip(names(layer, part), split(part, tensor, Heads.of(config)), strict=True))
        yield found


def to_huggingface(checkpoints: Path, model: Path, out: Path) -> None:
    """Write a new folder, with a file for each layer: memory holds one of them at a time."""
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    checkpoint = TorchDistCheckpoint(checkpoints)
    out.mkdir(parents=True)
    for path in model.iterdir():
        if path.suffix in OTHER_FILES and ".index." not in path.name:
            shutil.copyfile(path, out / path.name)
    index: dict[str, str] = {}
    for i, tensors in enumerate(parts(checkpoint, config)):
        name = f"model-{i:05d}-of-{config['num_hidden_layers']:05d}.safetensors"
        save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, out / name, {"format": "pt"})
        index |= dict.fromkeys(tensors, name)
    listed = {"metadata": {}, "weight_map": dict(sorted(index.items()))}
    (out / "model.safetensors.index.json").write_text(json.dumps(listed, indent=2), encoding="utf-8")


if __name__ == "__main__":
    to_huggingface(*map(Path, sys.argv[1:4]))
