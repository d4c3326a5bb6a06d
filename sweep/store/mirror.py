"""A run on an object store, and the local folder that mirrors it.

Whoever reads or writes a run does so in a folder. Where the run is kept under an address that fsspec knows
(s3://bucket/runs/small), that folder is a mirror: files are fetched when they are new there, and put when they are new
here, each whole. Neither rename nor append is asked of the store.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sweep.store.remote import one_line, open_store
from sweep.study.errors import InputError
from sweep.study.files import cache

MANIFEST = ".mirror.json"
DOTTED = (".metadata",)  # a checkpoint's index, as torch.distributed.checkpoint names it
LAST = "/state.json"  # says that a checkpoint is whole


def scratch(address: str) -> Path:
    """Where this host mirrors a run: the same folder each time, so that only what is new is fetched."""
    digest = hashlib.sha256(f"{socket.gethostname()} {address}".encode()).hexdigest()[:16]
    return cache.root() / "mirrors" / digest / address.rstrip("/").rsplit("/", 1)[-1]


class Mirror:
    """`folder` mirrors what is under `address`. Names are paths relative to both.

    Raises InputError for a protocol that is not known or whose package is missing, and for a store that cannot be read.
    """

    def __init__(self, address: str, folder: Path) -> None:
        self.address, self.folder = address.rstrip("/"), folder
        self.fs, self.root = open_store(self.address)
        self.lock = threading.RLock()  # a display reads while trials end
        self.known: dict[str, list[Any]] = _read_manifest(folder)  # name -> signature there, size and time here
        self.asked: dict[str, float] = {}

    def pull(self, under: str = "", wanted: Callable[[str], bool] = lambda name: True) -> None:
        """Fetch what is new or changed below a folder, by one listing; what is gone there goes here too."""
        with self.lock, self._explained():
            self.fs.invalidate_cache()
            listed = self._find(f"{self.root}/{under}".rstrip("/"))
            there = {self._name(path): _signature(info) for path, info in listed.items()}
            there = {name: signature for name, signature in there.items() if wanted(name)}
            self._get({n: s for n, s in there.items() if not self._is_current(n, s)})
            for name in [n for n in self.known if n.startswith(under) and wanted(n) and n not in there]:
                (self.folder / name).unlink(missing_ok=True)
                del self.known[name]
            self._keep_manifest()

    def fetch(self, *names: str, every_seconds: float = 0.0) -> None:
        """Fetch some files by name, without a listing, at most so often; one that is not there is left out."""
        now = time.monotonic()
        due = [n for n in names if now - self.asked.get(n, -float("inf")) >= every_seconds]
        if not due:
            return
        self.asked |= dict.fromkeys(due, now)
        with self.lock, self._explained():
            content = self.fs.cat([f"{self.root}/{name}" for name in due], on_error="return")
            for path, found in content.items():
                if isinstance(found, FileNotFoundError):
                    continue
                if isinstance(found, Exception):
                    raise found
                self._write(self._name(path), found)

    def push(self, wanted: Callable[[str], bool] = lambda name: True) -> None:
        """Put what was written here since it was last fetched or put; what was deleted here goes there too."""
        with self.lock, self._explained():
            new = [name for name in self._local() if wanted(name) and self._is_new(name)]
            self.put(*[name for name in new if not name.endswith(LAST)])
            self.put(*[name for name in new if name.endswith(LAST)])
            gone = [n for n in self.known if wanted(n) and not (self.folder / n).exists()]
            for name in gone:
                with contextlib.suppress(FileNotFoundError):
                    self.fs.rm_file(f"{self.root}/{name}")
                del self.known[name]
            self._keep_manifest()

    @contextlib.contextmanager
    def pushing(self, every_seconds: float, wanted: Callable[[str], bool]) -> Iterator[None]:
        """Push while the block runs, and once more at its end, however it ends."""
        ended = threading.Event()

        def push() -> None:
            while not ended.wait(every_seconds):
                try:
                    self.push(wanted)
                except InputError as error:
                    logging.getLogger(__name__).warning("%s", error)  # the last one counts

        pusher = threading.Thread(target=push, name="almr-mirror", daemon=True)
        pusher.start()
        try:
            yield
        finally:
            ended.set()
            pusher.join()
            self.push(wanted)

    def put(self, *names: str) -> None:
        if not names:
            return
        with self.lock, self._explained():
            before = {name: self._stat(name) for name in names}  # what changes meanwhile is put next time
            self.fs.put([str(self.folder / name) for name in names], [f"{self.root}/{name}" for name in names])
            self.known |= {name: [None, *stat] for name, stat in before.items()}

    def _find(self, path: str) -> dict[str, dict[str, Any]]:
        try:
            found: dict[str, dict[str, Any]] = self.fs.find(path, detail=True)
        except FileNotFoundError:
            return {}
        return found

    def _get(self, new: dict[str, str]) -> None:
        if not new:
            return
        parts = {name: self.folder / _part(name) for name in new}
        for path in parts.values():
            path.parent.mkdir(parents=True, exist_ok=True)
        self.fs.get([f"{self.root}/{name}" for name in new], [str(path) for path in parts.values()])
        for name, path in parts.items():
            path.replace(self.folder / name)
            self.known[name] = [new[name], *self._stat(name)]

    def _write(self, name: str, content: bytes) -> None:
        part = self.folder / _part(name)
        part.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content)
        part.replace(self.folder / name)
        self.known[name] = [None, *self._stat(name)]

    def _name(self, path: str) -> str:
        return path.removeprefix(self.root).lstrip("/")

    def _stat(self, name: str) -> tuple[int, int]:
        stat = (self.folder / name).stat()
        return stat.st_size, stat.st_mtime_ns

    def _is_current(self, name: str, signature: str) -> bool:
        return self.known.get(name, [None])[0] == signature and (self.folder / name).exists()

    def _is_new(self, name: str) -> bool:
        return tuple(self.known.get(name, [None])[1:]) != self._stat(name)

    def _local(self) -> Iterator[str]:
        """Names of all files here; those that begin with a dot are still being written, or are ours."""
        for folder, folders, files in os.walk(self.folder):
            folders[:] = [f for f in folders if not f.startswith(".")]
            for file in files:
                if not file.startswith(".") or file in DOTTED:
                    yield (Path(folder) / file).relative_to(self.folder).as_posix()

    def _keep_manifest(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        part = self.folder / f"{MANIFEST}.{os.getpid()}"
        part.write_text(json.dumps({"address": self.address, "files": self.known}))
        part.replace(self.folder / MANIFEST)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """A store raises what its own libraries raise: one line for all."""
        try:
            yield
        except InputError:
            raise
        except Exception as error:
            raise InputError(f"{self.address}: the store does not answer as it should: {one_line(error)}") from error


def _read_manifest(folder: Path) -> dict[str, list[Any]]:
    try:
        files: dict[str, list[Any]] = json.loads((folder / MANIFEST).read_text())["files"]
    except (OSError, ValueError, KeyError):
        return {}
    return files


def _signature(info: dict[str, Any]) -> str:
    """Changes when the file does: of all that the store tells of it (size, time, ETag)."""
    return hashlib.sha256(repr(sorted(info.items())).encode()).hexdigest()[:16]


def _part(name: str) -> str:
    folder, _, file = name.rpartition("/")
    return f"{folder}/.{file}.{os.getpid()}".lstrip("/")
