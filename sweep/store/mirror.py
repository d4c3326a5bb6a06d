"""A run on an object store, and the local folder that mirrors it.

All code reads and writes a run in a folder. For a run at an address of fsspec (s3://bucket/runs/small), the folder is
a mirror: files that are new in the store are fetched, and files that are new here are put, each whole. The store needs
neither rename nor append.

fsspec.generic.rsync does not serve: it compares sizes only, so that an edited record is missed, writes files in place,
and lists both sides on every call.
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
from pathlib import Path, PurePosixPath
from typing import Any

import pydantic

from sweep.store.remote import open_store
from sweep.store.store_errors import StoreError, patient
from sweep.study import InputError
from sweep.study.files import cache, regular, unfinished
from sweep.study.files.atomic import write_atomically

MANIFEST = ".mirror.json"
_FILES = pydantic.TypeAdapter(dict[str, list[Any]])
DOTTED = (".metadata",)  # the index of a checkpoint of torch.distributed.checkpoint
LAST = "/state.json"  # marks a checkpoint as whole


def scratch(address: str) -> Path:
    """The folder in which this host mirrors a run: always the same, so that only new files are fetched."""
    digest = hashlib.sha256(f"{socket.gethostname()} {address}".encode()).hexdigest()[:16]
    return cache.root() / "mirrors" / digest / address.rstrip("/").rsplit("/", 1)[-1]


class Mirror:
    """Keeps `folder` and the files under `address` in step. Names are paths relative to both.

    Raises InputError for an unknown protocol and a missing package, and StoreError for a store that fails for longer
    than `patience` seconds.
    """

    def __init__(self, address: str, folder: Path) -> None:
        self.address, self.folder = address.rstrip("/"), folder
        self.fs, self.root = open_store(self.address)
        self.lock = threading.RLock()  # a display reads while trials end
        self.known: dict[str, list[Any]] = _read_manifest(folder)  # name -> signature in the store, size and time here
        self.begun = set[str]()  # names of a put that failed: some of these files are in the store
        self.fetched: dict[str, float] = {}
        self.patience = 0.0
        self.waiting: Callable[[], None] = lambda: None  # called before each time that a store is waited for

    @patient
    def pull(self, under: str = "", wanted: Callable[[str], bool] = lambda name: True) -> None:
        """Fetch new and changed files below a folder, with one listing. Files deleted in the store are deleted here."""
        with self.lock:
            self.fs.invalidate_cache()
            listed = self._find(f"{self.root}/{under}".rstrip("/"))
            there = {self._name(path): _signature(info) for path, info in listed.items()}
            there = {name: signature for name, signature in there.items() if _is_inside(name) and wanted(name)}
            self._get({n: s for n, s in there.items() if not self._is_current(n, s)})
            for name in [n for n in self.known if n.startswith(under) and wanted(n) and n not in there]:
                if not self.fs.exists(f"{self.root}/{name}"):  # some stores list a new file late
                    (self.folder / name).unlink(missing_ok=True)
                    del self.known[name]
            self._write_manifest()

    def fetch(self, *names: str, every_seconds: float = 0.0) -> None:
        """Fetch files by name, without a listing, each at most once in `every_seconds`. Missing files are left out."""
        now = time.monotonic()
        due = [n for n in names if now - self.fetched.get(n, -float("inf")) >= every_seconds]
        if not due:
            return
        self.fetched |= dict.fromkeys(due, now)
        self._fetch(due)

    @patient
    def _fetch(self, names: list[str]) -> None:
        with self.lock:
            content = self.fs.cat([f"{self.root}/{name}" for name in names], on_error="return")
            for path, found in content.items():
                if isinstance(found, FileNotFoundError):
                    continue
                if isinstance(found, Exception):
                    raise found
                self._write(self._name(path), found)

    def end_of(self, name: str, most: int) -> bytes:
        """The last bytes of a file of the store, at most so many; none of one that it cannot give now."""
        try:
            return bytes(self.fs.cat_file(f"{self.root}/{name}", start=-most))
        except Exception:  # S3 has no such range of an empty file, and each store's library has errors of its own
            return b""

    @patient
    def push(self, wanted: Callable[[str], bool] = lambda name: True) -> None:
        """Put the files that changed here since the last fetch or put. Files deleted here are deleted in the store."""
        with self.lock:
            new = [name for name in self._local() if wanted(name) and self._is_new(name)]
            self._put(*[name for name in new if not name.endswith(LAST)])
            self._put(*[name for name in new if name.endswith(LAST)])
            gone = [n for n in {*self.known, *self.begun} if wanted(n) and not (self.folder / n).exists()]
            for name in sorted(gone, key=lambda name: not name.endswith(LAST)):
                with contextlib.suppress(FileNotFoundError):
                    self.fs.rm_file(f"{self.root}/{name}")
                self.known.pop(name, None)
                self.begun.discard(name)
            self._write_manifest()

    @contextlib.contextmanager
    def pushing(self, every_seconds: float, wanted: Callable[[str], bool]) -> Iterator[None]:
        """Push every `every_seconds` while the block runs, and once at its end, also after an error."""
        ended = threading.Event()

        def push() -> None:
            while not ended.wait(every_seconds):
                try:
                    self.push(wanted)
                except (InputError, OSError) as error:
                    logging.getLogger(__name__).warning("%s", error)  # only the last push has to succeed

        pusher = threading.Thread(target=push, name="almr-mirror", daemon=True)
        pusher.start()
        try:
            yield
        except StoreError:
            self.patience = 0.0  # it was waited for already
            raise
        finally:
            ended.set()
            with self.impatient():  # the thread's last push: the next one waits
                pusher.join()
            self.push(wanted)

    @contextlib.contextmanager
    def impatient(self) -> Iterator[None]:
        """Within the block, a store that fails is not waited for."""
        before, self.patience = self.patience, 0.0
        try:
            yield
        finally:
            self.patience = before

    @patient
    def put(self, *names: str) -> None:
        """Put files by name."""
        self._put(*names)

    @patient
    def delete(self, name: str) -> None:
        """Delete a file of the store, if it is there."""
        with self.lock:
            with contextlib.suppress(FileNotFoundError):
                self.fs.rm_file(f"{self.root}/{name}")
            self.known.pop(name, None)

    def _put(self, *names: str) -> None:
        if not names:
            return
        with self.lock:
            before = {name: self._stat(name) for name in names}  # a change during the put is put next time
            self.begun |= {*names}
            self.fs.put([str(self.folder / name) for name in names], [f"{self.root}/{name}" for name in names])
            self.begun -= {*names}
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
        try:
            self._download(parts)
        except FileNotFoundError:  # some stores list a deleted file for a while
            parts = {name: path for name, path in parts.items() if self.fs.exists(f"{self.root}/{name}")}
            self._download(parts)
        for name, path in parts.items():
            path.replace(self.folder / name)
            self.known[name] = [new[name], *self._stat(name)]

    def _download(self, parts: dict[str, Path]) -> None:
        if parts:
            self.fs.get([f"{self.root}/{name}" for name in parts], [str(path) for path in parts.values()])

    def _write(self, name: str, content: bytes) -> None:
        write_atomically(self.folder / name, content)
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
        """Names of all files here, except those with a dot: files being written, and the manifest."""
        for folder, folders, files in os.walk(self.folder):
            folders[:] = [f for f in folders if not f.startswith(".")]
            for file in files:
                if not file.startswith(".") or file in DOTTED:
                    yield (Path(folder) / file).relative_to(self.folder).as_posix()

    def _write_manifest(self) -> None:
        write_atomically(self.folder / MANIFEST, json.dumps({"address": self.address, "files": self.known}))


def _read_manifest(folder: Path) -> dict[str, list[Any]]:
    try:
        return _FILES.validate_python(json.loads(regular.content(folder / MANIFEST))["files"], strict=True)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}  # then all files are fetched again


def _is_inside(name: str) -> bool:
    """Whether a name of the store, which may be any text, is of a file of the run: not `../x`, nor `trials/`."""
    return PurePosixPath(name).as_posix() == name != "." and ".." not in PurePosixPath(name).parts


def _signature(info: dict[str, Any]) -> str:
    """A hash of all that the store knows of a file (size, time, ETag): it changes when the file does."""
    return hashlib.sha256(repr(sorted(info.items())).encode()).hexdigest()[:16]


def _part(name: str) -> str:
    return unfinished.beside(Path(name)).as_posix()
