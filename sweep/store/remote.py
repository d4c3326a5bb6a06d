"""Object stores: opening their addresses by fsspec, with one clear line for every failure, and a lock file there."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sweep.store.store_errors import explained
from sweep.study import InputError
from sweep.study.errors import one_line

# On these, a file is visible before it is whole, or nothing can be put.
NOT_WHOLE = ("sftp", "ssh", "ftp", "hdfs", "webhdfs", "smb", "http", "https")


def is_remote(address: str) -> bool:
    """Whether an address names a protocol, as in s3://bucket/run; else it is a folder."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+:", address) is not None and "://" in address


def refuse_remote(path: Path, option: str = "--out") -> None:
    """Raises InputError for an address where a place on this machine is meant: a path takes one of its slashes away."""
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", str(path)):
        raise InputError(f"{option} {path}: an address: name a place on this machine, and copy from there")


class RemoteLockFile:
    """A lock file on an object store, created only where none exists, as far as the store can do that."""

    settle_seconds = 1.0  # some stores look for the file first, then write it

    def __init__(self, address: str) -> None:
        self.shown = address
        self.fs, self.path = open_store(address)

    def __str__(self) -> str:
        return self.shown

    def create(self, text: str) -> None:
        try:
            self.fs.pipe_file(self.path, text.encode(), mode="create")
        except FileExistsError:
            raise
        except Exception as error:
            if self.read() is None:
                raise explained(error, self.shown) from error
            raise FileExistsError(self.shown) from None  # stores report an existing file in many ways

    def read(self) -> str | None:
        self.fs.invalidate_cache()
        try:
            return bytes(self.fs.cat_file(self.path)).decode(errors="replace")
        except FileNotFoundError:
            return None
        except Exception as error:
            raise explained(error, self.shown) from error

    def replace(self, text: str) -> None:
        with self._explained():
            self.fs.pipe_file(self.path, text.encode())

    def remove(self) -> None:
        with self._explained(), contextlib.suppress(FileNotFoundError):
            self.fs.rm_file(self.path)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            raise explained(error, self.shown) from error


def _options(protocol: str) -> dict[str, Any]:
    """s3fs and the library below it both try again: 25 times 15 s for a store that does not answer. Here s3fs does."""
    from fsspec.config import conf

    own = "config_kwargs" in conf.get(protocol, {})
    return {} if own or protocol not in ("s3", "s3a") else {"config_kwargs": {"retries": {"total_max_attempts": 1}}}


def open_store(address: str) -> tuple[Any, str]:
    """The fsspec filesystem of an address, and the path on it. Raises InputError where it cannot be opened."""
    from fsspec.core import url_to_fs

    protocol = address.split(":", 1)[0]
    if protocol in NOT_WHOLE:
        raise InputError(f"{address}: {protocol} does not write files whole: mount it, and give the folder")
    try:
        fs, root = url_to_fs(address, use_listings_cache=False, **_options(protocol))
    except ImportError as error:
        extra = "gcs" if protocol in ("gs", "gcs") else "s3"
        raise InputError(f"{address}: {one_line(error)}: pip install 'almr-sweep[{extra}]'") from None
    except Exception as error:
        raise InputError(f"{address}: fsspec cannot open this storage: {one_line(error)}") from None
    return fs, str(root).rstrip("/")
