"""A filesystem for tests as object stores are: whole puts only, no rename, no append, no folders. Kept in a real
folder, so that several processes share it: bucket://PATH is the folder PATH.
"""

from __future__ import annotations

import io
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import fsspec
from fsspec.spec import AbstractFileSystem

PART = ".unfinished-"


class Bucket(AbstractFileSystem):
    protocol = "bucket"
    calls: list[str] = []  # noqa: RUF012 (of all instances in this process)

    def ls(self, path: str, detail: bool = True, **options: Any) -> list[Any]:
        self.calls.append("ls")
        path = self._strip_protocol(path)
        try:
            entries = list(os.scandir(path))
        except OSError:
            raise FileNotFoundError(path) from None
        infos = [self.info(e.path) for e in entries if not e.name.startswith(PART)]
        return infos if detail else [info["name"] for info in infos]

    def find(self, path: str, detail: bool = False, **options: Any) -> Any:
        """One listing, as object stores give all keys under a prefix at once."""
        self.calls.append("list")
        paths = [str(p) for p in Path(path).rglob("*") if p.is_file() and not p.name.startswith(PART)]
        return {p: self.info(p) for p in paths} if detail else paths

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        path = self._strip_protocol(path)
        stat = os.stat(path)
        kind = "directory" if Path(path).is_dir() else "file"
        return {"name": path, "size": stat.st_size, "type": kind, "etag": f"{stat.st_ino}-{stat.st_mtime_ns}"}

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **options: Any) -> bytes:
        self.calls.append(f"get {Path(path).name}")
        return Path(self._strip_protocol(path)).read_bytes()[start:end]

    def get_file(self, rpath: str, lpath: str, **options: Any) -> None:
        Path(lpath).write_bytes(self.cat_file(rpath))

    def put_file(self, lpath: str, rpath: str, **options: Any) -> None:
        self.pipe_file(rpath, Path(lpath).read_bytes())

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **options: Any) -> None:
        self.calls.append(f"put {Path(path).name}")
        target = Path(self._strip_protocol(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, part = tempfile.mkstemp(prefix=PART, dir=target.parent)
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(value)
        if mode == "create":
            os.link(part, target)
            os.unlink(part)
        else:
            os.replace(part, target)

    def rm_file(self, path: str) -> None:
        os.unlink(self._strip_protocol(path))

    def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        if mode != "rb":
            raise NotImplementedError("a file is put whole")
        return io.BytesIO(self.cat_file(path))


def register() -> None:
    fsspec.register_implementation("bucket", Bucket, clobber=True)


def install(folder: Path) -> None:
    """Makes `folder`, on PYTHONPATH, a place from which other processes know the protocol."""
    metadata = folder / "bucket_for_tests-1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: bucket-for-tests\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text("[fsspec.specs]\nbucket = bucket:Bucket\n")
    (folder / "bucket.py").write_text(Path(__file__).read_text(encoding="utf-8"), encoding="utf-8")


def time_passes() -> None:
    time.sleep(0.02)
