"""Weights of a Llama-like model as a checkpoint of Megatron-LM (core 0.16), and back as a Hugging Face folder.

    python megatron_weights.py CHECKPOINTS MODEL OUT

writes the newest checkpoint in CHECKPOINTS as a Hugging Face folder, with the config.json and tokenizer of MODEL. It
needs torch and safetensors only. Reading a checkpoint unpickles its metadata: read only those of your own runs.

The format is `torch_dist` (core/dist_checkpointing): whole tensors, which Megatron cuts itself for any tensor and
pipeline parallelism, under the same keys for Transformer Engine and for its local layers (sharded_state_dict_keys_map
in core/models/gpt/gpt_layer_specs.py). Those of all layers are one tensor with the layer as its first dimension. A
group's queries, its key and its value are rows that follow each other; the gate stands above the up projection
(core/transformer/attention.py and mlp.py). There are no arguments in the checkpoint, so none can replace those given.
Modules of Transformer Engine ask for a state of their FP8 numbers, which is an empty tensor where there are none
(transformer_engine/pytorch/module/base.py, set_extra_state).
"""

from __future__ import annotations

import io
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from safetensors import safe_open
from safetensors.torch import save_file
from torch.distributed._shard._utils import narrow_tensor_by_index
from torch.distributed.checkpoint.default_planner import create_default_global_save_plan
from torch.distributed.checkpoint.metadata import ChunkStorageMetadata, MetadataIndex, TensorProperties
from torch.distributed.checkpoint.planner import SavePlan, TensorWriteData, WriteItem, WriteItemType
from torch.distributed.checkpoint.planner_helpers import create_read_items_for_chunk_list

ENDS = {
    "embedding.word_embeddings.weight": "model.embed_tokens.weight",
    "decoder.final_layernorm.weight": "model.norm.weight",
    "output_layer.weight": "lm_head.weight",
}
PARTS = {
    "self_attention.linear_qkv.layer_norm_weight": ("input_layernorm.weight",),
    "self_attention.linear_qkv.weight": ("self_attn.q_proj.weight", "self_attn.k_proj.weight", "self_attn.v_proj.weight"),
    "self_attention.linear_qkv.bias": ("self_attn.q_proj.bias", "self_attn.k_proj.bias", "self_attn.v_proj.bias"),
    "self_attention.q_layernorm.weight": ("self_attn.q_norm.weight",),
    "self_attention.k_layernorm.weight": ("self_attn.k_norm.weight",),
    "self_attention.linear_proj.weight": ("self_attn.o_proj.weight",),
    "mlp.linear_fc1.layer_norm_weight": ("post_attention_layernorm.weight",),
    "mlp.linear_fc1.weight": ("mlp.gate_proj.weight", "mlp.up_proj.weight"),
    "mlp.linear_fc2.weight": ("mlp.down_proj.weight",),
}
LAYERS = "decoder.layers."
STATE = "._extra_state/shard_{}_{}"  # of a layer, and the number of layers
WITH_STATE = (
    "self_attention.linear_qkv",
    "self_attention.q_layernorm",
    "self_attention.k_layernorm",
    "self_attention.core_attention",
    "self_attention.linear_proj",
    "mlp.linear_fc1",
    "mlp.linear_fc2",
)
LATEST = "latest_checkpointed_iteration.txt"
RELEASE = "release"  # Megatron's name of a checkpoint without a training state
BACKEND = {"sharded_backend": "torch_dist", "sharded_backend_version": 1}
COMMON = {"common_backend": "torch", "common_backend_version": 1}
THREADS = 4


@dataclass(frozen=True)
class Heads:
    """Attention heads of a layer: `keys` groups of query heads that share a key and a value head."""

    queries: int
    keys: int

    @staticmethod
    def of(config: dict[str, Any]) -> Heads:
        queries = config["num_attention_heads"]
        return Heads(queries, config.get("num_key_value_heads") or queries)

    def join(self, parts: list[torch.Tensor]) -> torch.Tensor:
        """Queries, keys and values (rows, ...) -> per group its queries, its key, its value."""
        grouped = [part.reshape(self.keys, part.shape[0] // self.keys, *part.shape[1:]) for part in parts]
        return torch.cat(grouped, 1).flatten(0, 1)

    def split(self, joined: torch.Tensor) -> list[torch.Tensor]:
        """The inverse of `join`."""
        each = self.queries // self.keys
        width = joined.shape[0] // (self.keys * (each + 2))
        grouped = joined.reshape(self.keys, (each + 2) * width, *joined.shape[1:])
        return [part.flatten(0, 1) for part in torch.split(grouped, [each * width, width, width], 1)]


class HuggingFaceWeights:
    """The tensors of a folder with safetensors, read one at a time."""

    def __init__(self, folder: Path) -> None:
        self.config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        self.files: dict[str, Path] = {}
        self.shapes: dict[str, list[int]] = {}
        for path in sorted(folder.glob("*.safetensors")):
            with safe_open(path, "pt") as opened:
                for name in opened.keys():
                    self.files[name] = path
                    self.shapes[name] = opened.get_slice(name).get_shape()
        if not self.files:
            raise FileNotFoundError(f"{folder} has no *.safetensors")

    def read(self, name: str) -> torch.Tensor:
        with safe_open(self.files[name], "pt") as opened:
            return opened.get_tensor(name)


class _WritePlan(dcp.SavePlanner):
    """Writes tensors that are read, and joined, when their turn comes: memory holds one of a layer at a time."""

    def __init__(self, source: HuggingFaceWeights) -> None:
        self.source, self.heads = source, Heads.of(source.config)
        self.layers: int = source.config["num_hidden_layers"]

    def set_up_planner(self, state_dict: Any, storage_meta: Any = None, is_coordinator: bool = False) -> None: ...

    def create_local_plan(self) -> SavePlan:
        dtype = self.source.read("model.norm.weight").dtype
        tensors = [_item(key, layer, shape, layers, dtype) for key, layer, shape, layers in self._shapes()]
        states = [STATE.format(layer, self.layers) for layer in range(self.layers)]
        names = [LAYERS + module + state for module in WITH_STATE for state in states]
        names.append("decoder.final_layernorm" + STATE.format(0, 1))
        return SavePlan([*tensors, *(WriteItem(MetadataIndex(name), WriteItemType.BYTE_IO) for name in names)])

    def create_global_plan(self, all_plans: list[SavePlan]) -> Any:
        return create_default_global_save_plan(all_plans)

    def finish_plan(self, new_plan: SavePlan) -> SavePlan:
        return new_plan

    def resolve_data(self, write_item: WriteItem) -> torch.Tensor | io.BytesIO:
        key = write_item.index.fqn
        if write_item.type == WriteItemType.BYTE_IO:
            torch.save([torch.empty(0, dtype=torch.uint8)], state := io.BytesIO())
            return state
        if key in ENDS:
            return self.source.read(ENDS[key])
        assert write_item.index.offset is not None
        part = key.removeprefix(LAYERS)
        tensors = [self.source.read(name) for name in _names(write_item.index.offset[0], part)]
        return join(part, tensors, self.heads)[None]

    def _shapes(self) -> Iterator[tuple[str, int, list[int], int]]:
        """Key, layer, shape in one layer and number of layers (0: a tensor outside of them)."""
        tied = self.source.config.get("tie_word_embeddings")
        for key, name in ENDS.items():
            if name in self.source.files and not (tied and name == "lm_head.weight"):
                yield key, 0, self.source.shapes[name], 0
        for layer in range(self.layers):
            for part in PARTS:
                shapes = [self.source.shapes[name] for name in _names(layer, part) if name in self.source.shapes]
                if shapes:
                    yield LAYERS + part, layer, [sum(shape[0] for shape in shapes), *shapes[0][1:]], self.layers


def _item(key: str, layer: int, shape: list[int], layers: int, dtype: torch.dtype) -> WriteItem:
    offset = torch.Size([layer, *(0 for _ in shape)] if layers else [0] * len(shape))
    chunk = ChunkStorageMetadata(offset, torch.Size([1, *shape] if layers else shape))
    size = torch.Size([layers, *shape] if layers else shape)
    data = TensorWriteData(chunk, TensorProperties(dtype=dtype), size)
    return WriteItem(MetadataIndex(key, offset), WriteItemType.SHARD, tensor_data=data)


def _names(layer: int, part: str) -> list[str]:
    return [f"model.layers.{layer}.{name}" for name in PARTS[part]]


def join(part: str, tensors: list[torch.Tensor], heads: Heads) -> torch.Tensor:
    """The tensors of a layer in Hugging Face's order as Megatron's tensor `part`."""
    return heads.join(tensors) if "linear_qkv" in part and len(tensors) > 1 else torch.cat(tensors)


def split(part: str, tensor: torch.Tensor, heads: Heads) -> list[torch.Tensor]:
    """The inverse of `join`."""
    if "linear_qkv" in part and len(PARTS[part]) > 1:
        return heads.split(tensor)
    return list(tensor.chunk(len(PARTS[part])))


def to_megatron(model: Path, out: Path) -> None:
    """Write the weights of a Hugging Face folder as a checkpoint, for `--pretrained-checkpoint OUT`."""
    folder = out / RELEASE
    folder.mkdir(parents=True)
    source = HuggingFaceWeights(model)
    writer = dcp.FileSystemWriter(folder, thread_count=THREADS)
    dcp.save({}, storage_writer=writer, planner=_WritePlan(source), no_dist=True)
    torch.save({"checkpoint_version": 3.0, "iteration": 0}, folder / "common.pt")
    (folder / "metadata.json").write_text(json.dumps(BACKEND | COMMON), encoding="utf-8")
    (out / LATEST).write_text(RELEASE, encoding="utf-8")


class _ReadPlan(dcp.LoadPlanner):
    """Reads parts of tensors: `wanted` has the tensor to fill and the offset at which it begins, by key."""

    def __init__(self, wanted: dict[str, tuple[torch.Tensor, list[int]]]) -> None:
        self.wanted = wanted

    def set_up_planner(self, state_dict: Any, metadata: Any = None, is_coordinator: bool = False) -> None:
        self.known = metadata.state_dict_metadata

    def create_local_plan(self) -> dcp.LoadPlan:
        items = []
        for key, (tensor, offset) in self.wanted.items():
            chunk = ChunkStorageMetadata(torch.Size(offset), tensor.shape)
            items += create_read_items_for_chunk_list(key, self.known[key], [chunk])
        return dcp.LoadPlan(items)

    def create_global_plan(self, global_plan: list[dcp.LoadPlan]) -> list[dcp.LoadPlan]:
        return global_plan

    def finish_plan(self, central_plan: dcp.LoadPlan) -> dcp.LoadPlan:
        return central_plan

    def load_bytes(self, read_item: Any, value: Any) -> None: ...

    def resolve_tensor(self, read_item: Any) -> torch.Tensor:
        tensor = self.wanted[read_item.dest_index.fqn][0]
        return narrow_tensor_by_index(tensor, read_item.dest_offsets, read_item.lengths)

    def commit_tensor(self, read_item: Any, tensor: torch.Tensor) -> None: ...


def newest(checkpoints: Path) -> Path:
    """The folder of the newest checkpoint. Raises FileNotFoundError where there is none in the format `torch_dist`."""
    name = (checkpoints / LATEST).read_text(encoding="utf-8").strip()
    folder = checkpoints / (name if name == RELEASE else f"iter_{int(name):07d}")
    if not (folder / "metadata.json").is_file():
        raise FileNotFoundError(f"{folder} is not a checkpoint of the format torch_dist")
    return folder


def to_huggingface(checkpoints: Path, model: Path, out: Path) -> None:
    """Write the newest checkpoint as a Hugging Face folder, a file for each layer. `model`: where the run began."""
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    reader = dcp.FileSystemReader(newest(checkpoints))
    known = reader.read_metadata().state_dict_metadata
    out.mkdir(parents=True)
    for path in model.iterdir():
        if path.suffix in (".json", ".model", ".txt", ".jinja") and ".index." not in path.name:
            shutil.copyfile(path, out / path.name)
    layers = config["num_hidden_layers"]
    tasks: list[Callable[[], dict[str, torch.Tensor]]] = [lambda: _ends(reader, known, config["vocab_size"])]
    tasks += [lambda layer=layer: _layer(reader, known, layer, Heads.of(config)) for layer in range(layers)]
    index: dict[str, str] = {}
    for i, task in enumerate(tasks, 1):
        name, tensors = f"model-{i:05d}-of-{len(tasks):05d}.safetensors", task()
        save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, out / name, {"format": "pt"})
        index |= dict.fromkeys(tensors, name)
    listed = {"metadata": {}, "weight_map": dict(sorted(index.items()))}
    (out / "model.safetensors.index.json").write_text(json.dumps(listed, indent=2), encoding="utf-8")


def _read(reader: dcp.FileSystemReader, wanted: dict[str, tuple[torch.Tensor, list[int]]]) -> None:
    dcp.load({}, storage_reader=reader, planner=_ReadPlan(wanted), no_dist=True)


def _ends(reader: dcp.FileSystemReader, known: dict[str, Any], words: int) -> dict[str, torch.Tensor]:
    """Without the rows that pad the vocabulary."""
    wanted = {key: (_empty(known[key], known[key].size), [0] * len(known[key].size)) for key in ENDS if key in known}
    _read(reader, wanted)
    return {ENDS[key]: tensor[:words] if tensor.dim() > 1 else tensor for key, (tensor, _) in wanted.items()}


def _layer(reader: dcp.FileSystemReader, known: dict[str, Any], layer: int, heads: Heads) -> dict[str, torch.Tensor]:
    wanted = {}
    for key in (LAYERS + part for part in PARTS):
        if key in known:
            size = known[key].size
            wanted[key] = (_empty(known[key], [1, *size[1:]]), [layer, *(0 for _ in size[1:])])
    _read(reader, wanted)
    found = {}
    for key, (tensor, _) in wanted.items():
        part = key.removeprefix(LAYERS)
        found |= dict(zip(_names(layer, part), split(part, tensor[0], heads), strict=True))
    return found


def _empty(like: Any, size: Any) -> torch.Tensor:
    return torch.empty(list(size), dtype=like.properties.dtype)


if __name__ == "__main__":
    to_huggingface(*map(Path, sys.argv[1:]))
