"""Reading a checkpoint of torch.distributed.checkpoint without unpickling what it may hold.

Its list of tensors and its values that are no tensors are pickles, which run code of whoever wrote them. Here the list
may name the classes of such lists alone, and the values are read as `weights_only`.
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import Metadata, StorageMeta
from torch.distributed.checkpoint.planner import ReadItem
from torch.distributed.checkpoint.state_dict_loader import load

METADATA = ".metadata"
LISTED = "torch.distributed.checkpoint.metadata"
NAMES = {
    *((LISTED, name) for name in ("Metadata", "MetadataIndex", "StorageMeta", "TensorProperties")),
    *((LISTED, name) for name in ("TensorStorageMetadata", "BytesStorageMetadata", "ChunkStorageMetadata")),
    (LISTED, "_MEM_FORMAT_ENCODING"),
    ("torch.distributed.checkpoint.filesystem", "_StorageInfo"),
    ("torch.serialization", "_get_layout"),
    ("torch", "Size"),
    *((module, name) for module in ("pathlib", "pathlib._local") for name in ("PosixPath", "WindowsPath")),
}


def read(tensors: dict[str, Any], folder: Path, no_dist: bool) -> None:
    """Fill tensors, and values beside them, from a checkpoint. Raises ValueError for one of another writer."""
    reader = PlainReader(folder)
    reader.read_metadata()  # what it raises inside `load` is a BaseException there
    try:
        load(tensors, storage_reader=reader, planner=PlainPlanner(), no_dist=no_dist)
    except CheckpointException as error:
        raise _foreign(folder, next(iter(error.failures.values()))[0]) from None


def random_state(file: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = torch.load(file, weights_only=True)
    return found


def _foreign(folder: Path, error: BaseException) -> ValueError:
    why = str(error).partition(chr(10))[0][:150]
    return ValueError(f"{folder} is not what almr writes ({why}): remove it, and the trial begins anew")


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Raises UnpicklingError for a name that no list of tensors has."""
        if (module, name) in NAMES or (module == "torch" and isinstance(vars(torch).get(name), torch.dtype)):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it names {module}.{name}")


class PlainReader(FileSystemReader):
    """Raises ValueError for a list of tensors that would run code, or that is damaged."""

    def read_metadata(self, *_: Any, **__: Any) -> Metadata:
        folder = Path(self.path)
        try:
            found = _Unpickler(io.BytesIO((folder / METADATA).read_bytes())).load()
        except Exception as error:  # a damaged pickle raises errors of any kind
            raise _foreign(folder, error) from None
        if not isinstance(found, Metadata):
            raise _foreign(folder, ValueError(f"{METADATA} holds no list of tensors"))
        if getattr(found, "storage_meta", None) is None:
            found.storage_meta = StorageMeta()
        assert found.storage_meta is not None
        found.storage_meta.load_id = self.load_id
        return found


class PlainPlanner(DefaultLoadPlanner):
    """Reads values that are no tensors, of which ours are numbers and tuples, as `weights_only`."""

    def load_bytes(self, read_item: ReadItem, value: io.BytesIO) -> None:
        kept = io.BytesIO()
        torch.save(torch.load(value, weights_only=True), kept)
        kept.seek(0)
        super().load_bytes(read_item, kept)
