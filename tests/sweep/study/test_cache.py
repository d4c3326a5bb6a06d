"""The cache's folders, which nothing looks at again once they are built."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from sweep.study.files import atomic, cache


def build(folder: Path) -> None:
    (folder / "training").mkdir()
    (folder / "training" / "data.arrow").write_bytes(b"tokens")
    (folder / "facts.json").write_text("{}")
    (folder / "model").symlink_to("/nowhere")  # as a model with another template has


def test_a_folder_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A loss of power after the rename left it with files that are empty or cut, for all later runs."""
    synced: dict[int, bool] = {}  # by inode: whether the folder had its name
    final, sync = tmp_path / "corpora" / "one", os.fsync

    def noted(file: int) -> None:
        sync(file)
        synced[os.fstat(file).st_ino] = final.exists()

    monkeypatch.setattr(os, "fsync", noted)
    cache.build_once(final, build)
    built = [path for path in (final, *final.rglob("*")) if not path.is_symlink()]
    assert {path.stat().st_ino: False for path in built} == synced
    assert len(built) == 4


def test_a_disk_that_fails_meanwhile_is_named_and_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(file: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="corpora/one") as error:
        cache.build_once(tmp_path / "corpora" / "one", build)
    assert error.value.errno == errno.EIO
    assert [*(tmp_path / "corpora").iterdir()] == []


@pytest.mark.parametrize("says", [errno.EINVAL, errno.EACCES])
def test_a_file_system_that_cannot_wait_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: int) -> None:
    """Of a folder, or of a file that is open for reading, as CIFS of older kernels."""

    def unable(file: int) -> None:
        raise OSError(says, os.strerror(says))

    monkeypatch.setattr(os, "fsync", unable)
    atomic.sync_one(tmp_path)
    assert cache.build_once(tmp_path / "one", build).is_dir()
