"""Commands on a disk that is full, over its quota, read-only, broken or stale: a few cases of the soak of storage."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import bowl_run
import pytest
from disk_faults import COMPILER, Commands, FaultyDisk
from storage_cases import BROKEN, FULL, ON_A_RUN, QUOTA, READ_ONLY, STALE, Attack, Case

from sweep.controller import stopping
from sweep.study.files import cache, disk, unfinished
from sweep.study.files.atomic import write_atomically

FEW = [
    ("report", FULL, 2), ("report", QUOTA, 4), ("report", READ_ONLY, 1), ("report", STALE, 3), ("report", BROKEN, 9),
    ("fit", FULL, 10), ("export", FULL, 94),
]  # fmt: skip


@pytest.fixture(scope="module")
def attack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attack]:
    if not COMPILER:
        pytest.skip("no C compiler: a disk cannot be made to fail")
    place = tmp_path_factory.mktemp("disk")
    faulty, fresh = FaultyDisk(place), place / "fresh" / "small"
    fresh.parent.mkdir()
    bowl_run.write_fitted(fresh)
    commands = Commands(faulty, place, ALMR_CACHE=str(place / "cache"))
    yield Attack(faulty, commands, place / "attacked", fresh)
    commands.close()


@pytest.mark.slow
@pytest.mark.parametrize(("verb", "fault", "first"), FEW)
def test_a_command_names_the_file_leaves_nothing_torn_and_is_whole_afterwards(
    attack: Attack, verb: str, fault: tuple[int, int], first: int
) -> None:
    outcome = attack.once(Case(verb, ON_A_RUN[verb], fault), first, again=verb != "report")
    assert outcome.fault == ""
    assert outcome.calls >= first  # else nothing was tried


@pytest.mark.parametrize(
    ("error", "number", "named"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/a", None, "/b"), errno.ENOSPC, "/b"),
        (OSError("3 requested and 1 written"), errno.EIO, "/run"),
        (RuntimeError("SafetensorError: I/O error: No space left on device (os error 28)"), errno.ENOSPC, "/run"),
        (RuntimeError("OSError: [Errno 122] Disk quota exceeded: '/x/y'"), errno.EDQUOT, "/x/y"),
        (RuntimeError("OSError: [Errno 2] No such file or directory: '/x'"), None, ""),
    ],
)
def test_a_fault_of_a_disk_is_known_in_the_errors_of_every_library(
    error: Exception, number: int | None, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "free", lambda place: 2**40)
    found = disk.fault(error, "/run")
    assert (found and found.errno) == number
    assert (found.filename if found else "") == named


def test_a_disk_that_refuses_one_trial_ends_the_sweep_and_a_stale_handle_is_tried_again(tmp_path: Path) -> None:
    full = stopping.of_worker(OSError(errno.EDQUOT, "Disk quota exceeded", "/run/record.json"), tmp_path)
    assert full
    found = stopping.told(full)
    assert isinstance(found, OSError)
    assert (found.errno, found.filename) == (errno.EDQUOT, "/run/record.json")
    assert stopping.of_worker(OSError(errno.ESTALE, "Stale file handle", "/run/record.json"), tmp_path) is None


def test_what_a_killed_process_was_writing_is_removed_and_what_a_live_one_writes_stays(tmp_path: Path) -> None:
    mine = unfinished.beside(tmp_path / "report.html")
    dead = mine.with_name(mine.name.replace(mine.name.rpartition("-")[2], "4194304"))  # above the kernel's greatest
    folder = dead.with_name(dead.name.replace("report.html", "launch"))
    elsewhere = tmp_path / ".fit.json.unfinished-00000000-1-abc"
    for path in (mine, dead, elsewhere, tmp_path / ".of-the-user"):
        path.write_text("half")
    (folder / "native").mkdir(parents=True)
    unfinished.remove_abandoned(tmp_path, tmp_path / "not-there")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([mine.name, elsewhere.name, ".of-the-user"])
    write_atomically(tmp_path / "report.html", "whole")
    assert (tmp_path / "report.html").read_text() == "whole"


def test_a_folder_of_the_cache_that_cannot_be_built_is_named_as_it_would_be_called(tmp_path: Path) -> None:
    def full(building: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(building / "train.bin"))

    with pytest.raises(OSError, match="No space left") as raised:
        cache.build_once(tmp_path / "corpora" / "prose", full)
    assert raised.value.filename == str(tmp_path / "corpora" / "prose" / "train.bin")
    assert list((tmp_path / "corpora").iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="File exists"):  # as it was
        cache.build_once(tmp_path / "file" / "prose", full)
