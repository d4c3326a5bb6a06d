"""The weights of a Hugging Face directory, read one tensor at a time: little memory does for a model of any size."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from sweep.study import InputError
from trainers.data.readers.opening import refuse_pointer
from trainers.data.readers.place import Place
from trainers.model.loading import AGAIN
from trainers.model.snapshot import WEIGHTS

WHERE = "base_model.pretrained"
AT_ONCE = 2**27  # elements of a tensor that are looked at together


@dataclass(frozen=True)
class Checkpoint:
    """`files`: the file of each tensor, by the tensor's name; `shapes`: its shape."""

    folder: Path
    files: dict[str, Path] = field(default_factory=dict)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def parts(self, name: str) -> Iterator[torch.Tensor]:
        """A tensor, of a large one some rows at a time. Raises InputError where its file is damaged."""
        path = self.files[name]
        try:
            if path.suffix != ".safetensors":
                yield from _rows(_unpickled(path, path.stat().st_mtime_ns)[name])
                return
            with safe_open(path, framework="pt") as opened:
                yield from _rows(opened.get_slice(name) if self.shapes[name] else opened.get_tensor(name))
        except Exception:  # of safetensors, and whatever unpickling meets
            raise _damaged(path) from None

    def not_finite(self) -> list[str]:
        """One phrase for each tensor with values that are NaN or infinite. Reads all weights once."""
        found = []
        for name, path in self.files.items():
            bad = sum(_count_not_finite(part) for part in self.parts(name))
            if bad:
                found.append(f"{name} ({path.name}: {bad:,} {'value' if bad == 1 else 'values'})")
        return found

    def differ(self, one: str, other: str) -> bool:
        """Whether two tensors hold other values."""
        if self.shapes[one] != self.shapes[other]:
            return True
        return any(not torch.equal(a, b) for a, b in zip(self.parts(one), self.parts(other), strict=True))


def opened(folder: Path) -> Checkpoint:
    """Reads the headers of the weights that `from_pretrained` would load.

    Raises InputError where there are none, for a missing part, and for a file that is damaged, cut off or a pointer.
    """
    first = next((folder / name for name in WEIGHTS if (folder / name).exists()), None)
    if first is None:
        raise _fault(folder, _without_weights(folder))
    checkpoint = Checkpoint(folder)
    for file in _listed(first) if first.suffix == ".json" else [first]:
        refuse_pointer(Place(WHERE, str(file)))
        try:
            _read_header(file, checkpoint)
        except Exception:  # of safetensors, and whatever unpickling meets
            raise _damaged(file) from None
    return checkpoint


def _without_weights(folder: Path) -> str:
    if (folder / "adapter_config.json").exists():
        return "is an adapter without its base model: merge the two, and save the result"
    what = "contains no weights" if any(folder.iterdir()) else "is empty"
    return f"{what} ({', '.join(WEIGHTS[::2])}): give a directory that save_pretrained wrote"


def _listed(index: Path) -> list[Path]:
    """The files of an index. Raises InputError where one is missing."""
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (OSError, ValueError, KeyError, AttributeError):
        raise _damaged(index) from None
    missing = [name for name in names if not (index.parent / name).exists()]
    if missing:
        more = f" and {len(missing) - 1} more files" if missing[1:] else ""
        raise _fault(index.parent, f"lacks {missing[0]}{more}, of {len(names)} files of weights: {AGAIN}")
    return [index.parent / name for name in names]


def _read_header(file: Path, into: Checkpoint) -> None:
    if file.suffix != ".safetensors":
        found = {name: tuple(tensor.shape) for name, tensor in _unpickled(file, file.stat().st_mtime_ns).items()}
    else:
        with safe_open(file, framework="pt") as opened:
            found = {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118
    into.shapes.update(found)
    into.files.update(dict.fromkeys(found, file))


@lru_cache(maxsize=1)
def _unpickled(file: Path, changed: int) -> dict[str, torch.Tensor]:
    """Tensors only: unpickling anything else is refused. `changed`: when the file was written."""
    try:
        tensors: dict[str, torch.Tensor] = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except RuntimeError:  # a file of an old torch, which cannot be mapped into memory
        tensors = torch.load(file, map_location="cpu", weights_only=True)
    return tensors


def _rows(tensor: Any) -> Iterator[torch.Tensor]:
    """A tensor, or a slice of safetensors, in parts of AT_ONCE elements."""
    shape = tensor.get_shape() if hasattr(tensor, "get_shape") else tuple(tensor.shape)
    if not shape:
        yield tensor
        return
    per_row = max(1, torch.Size(shape[1:]).numel())
    step = max(1, AT_ONCE // per_row)
    for first in range(0, shape[0], step):
        yield tensor[first : first + step]


def _count_not_finite(part: torch.Tensor) -> int:
    if not (part.is_floating_point() or part.is_complex()):
        return 0
    values = part.float() if part.element_size() == 1 else part  # float8 has no isfinite
    return int((~torch.isfinite(values)).sum())


def _damaged(path: Path) -> InputError:
    what = "" if path.suffix in (".safetensors", ".json") else ", or holds more than tensors"
    return InputError(f"{WHERE}: {path} is damaged or cut off{what}: {AGAIN}")


def _fault(folder: Path, problem: str) -> InputError:
    return InputError(f"{WHERE}: {folder} {problem}")
