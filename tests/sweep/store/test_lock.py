"""One driver at a time, on a folder and on an object store; a driver that died is replaced."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import bucket
import pytest

from sweep.store import interruption, lock
from sweep.store.lock import LocalLockFile, LockFile
from sweep.store.owner import Owner
from sweep.store.remote import RemoteLockFile
from sweep.study import InputError


@pytest.fixture(params=["folder", "bucket"])
def file(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LockFile:
    bucket.register()
    monkeypatch.setattr(RemoteLockFile, "settle_seconds", 0.05)
    path = tmp_path / "lock.json"
    return LocalLockFile(path) if request.param == "folder" else RemoteLockFile(f"bucket://{path}")


def owner(seconds_ago: float = 0.0, **changes: object) -> str:
    beat = datetime.now(UTC) - timedelta(seconds=seconds_ago)
    return Owner.here().model_copy(update={"token": "other", "user": "ada", "beat": beat, **changes}).model_dump_json()


def test_a_second_driver_is_told_who_where_since_when_and_what_to_do(file: LockFile) -> None:
    file.create(owner(seconds_ago=100, host="node7", process=42))
    says = (
        rf"^runs/small is already being run by ada on node7 \(pid 42, alive 100 s ago\)\. Watch it: almr status "
        rf"runs/small\. If that process is dead, wait 5 min or delete {re.escape(str(file))}$"
    )
    with pytest.raises(InputError, match=says), lock.held(file, "runs/small"):
        pass
    assert file.read()


def test_a_lock_ends_with_its_block_however_that_ends(file: LockFile) -> None:
    for error in (None, ValueError("a crash"), KeyboardInterrupt()):
        with pytest.raises(type(error)) if error else pytest.MonkeyPatch.context():  # noqa: SIM117
            with lock.held(file, "run"):
                assert json.loads(file.read() or "")["process"] == os.getpid()
                if error:
                    raise error
        assert file.read() is None


@pytest.mark.parametrize("seconds_ago", [lock.STALE_SECONDS + 1, -86400.0])
def test_a_silent_owner_is_replaced(file: LockFile, monkeypatch: pytest.MonkeyPatch, seconds_ago: float) -> None:
    monkeypatch.setattr(lock, "WATCHED_SECONDS", 0.1)
    file.create(owner(seconds_ago, host="node7"))
    with lock.held(file, "run"):
        assert json.loads(file.read() or "")["host"] == Owner.here().host


@pytest.mark.parametrize(
    ("seconds_ago", "side"), [(600.0, r"10 min \d s behind"), (-86400.0, r"2\d h \d+ min ahead of")]
)
def test_a_driver_whose_clock_is_another_keeps_its_lock(file: LockFile, seconds_ago: float, side: str) -> None:
    file.create(owner(seconds_ago, host="node7"))
    beat = threading.Timer(0.3, lambda: file.replace(owner(seconds_ago, host="node7")))
    beat.start()
    says = rf"already being run by ada on node7 \(pid \d+, alive, by a clock {side} this machine's: set them\)"
    with pytest.raises(InputError, match=says), lock.held(file, "run"):
        pass
    beat.join()
    assert json.loads(file.read() or "")["token"] == "other"


@pytest.mark.parametrize(
    ("changes", "gone"),
    [
        ({"started": "1"}, True),  # its process number is another process's now
        ({"process": 2**22 + 1}, True),
        ({"host": "node7", "process": 2**22 + 1}, False),
        ({"namespace": "pid:[1]", "process": 2**22 + 1}, False),  # another container of this host
        ({"boot": "earlier", "machine": "m"}, False),  # another machine with the same name
        ({}, False),
    ],
)
def test_an_owner_of_this_host_is_looked_up(changes: dict[str, object], gone: bool) -> None:
    assert Owner.model_validate_json(owner(**changes)).is_gone() == gone


def test_a_killed_driver_is_replaced_at_once(tmp_path: Path) -> None:
    code = f"""
        import time, pathlib
        from sweep.store import interruption, lock
        with lock.held(lock.LocalLockFile(pathlib.Path({str(tmp_path / "lock.json")!r})), "run"):
            print("held", flush=True); time.sleep(60)
    """
    driver = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True)
    assert driver.stdout
    assert driver.stdout.readline() == "held\n"
    file = LocalLockFile(tmp_path / "lock.json")
    with pytest.raises(InputError, match=rf"\(pid {driver.pid}, alive"), lock.held(file, "run"):
        pass
    driver.kill()
    driver.wait()
    with lock.held(file, "run"):
        pass


def test_of_many_drivers_one_begins(file: LockFile) -> None:
    at_once, all_tried = threading.Barrier(8), threading.Barrier(8)

    def drive() -> str:
        at_once.wait()
        try:
            with lock.held(file, "run"):
                all_tried.wait(20)
                return "held"
        except InputError:
            all_tried.wait(20)
            return "refused"

    with ThreadPoolExecutor(8) as drivers:
        came_to = [future.result() for future in [drivers.submit(drive) for _ in range(8)]]
    assert sorted(came_to) == ["held", *["refused"] * 7]


def test_the_heartbeat_is_written_regularly(file: LockFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "HEARTBEAT_SECONDS", 0.05)
    with lock.held(file, "run"):
        before = json.loads(file.read() or "")
        until(lambda: json.loads(file.read() or "")["beat"] > before["beat"])
        assert json.loads(file.read() or "")["token"] == before["token"]


@pytest.fixture(params=["terminal", "background of a script"])
def signals(request: pytest.FixtureRequest) -> Iterator[None]:
    """The command's handlers of signals; a script's background commands are started with SIGINT ignored."""
    before = {number: signal.getsignal(number) for number in (*interruption.ENDING, interruption.OURS)}
    if request.param == "background of a script":
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    interruption.handle_signals()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("signals")
def test_a_driver_that_was_taken_over_stops_and_leaves_the_lock(
    file: LockFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "HEARTBEAT_SECONDS", 0.05)

    def drive() -> None:
        with lock.held(file, "run"):
            file.replace(owner())
            time.sleep(20)

    with pytest.raises(InputError, match=r"run: ada on .* has taken over this run"):
        drive()
    assert json.loads(file.read() or "")["token"] == "other"


def test_what_is_no_lock_file_is_not_overwritten(file: LockFile) -> None:
    file.create("process 3 on node7")
    with pytest.raises(InputError, match=r"lock\.json: not a lock file .*delete it"), lock.held(file, "run"):
        pass
    assert file.read() == "process 3 on node7"


@pytest.mark.parametrize("content", [b"\xff\xfe{\x00", b'{"user": "\xe4"}', b"[" * 100_000, b""])
def test_what_no_driver_wrote_is_described(file: LockFile, tmp_path: Path, content: bytes) -> None:
    without_zone = owner().replace("Z", "").encode()
    for found in (content, without_zone):
        (tmp_path / "lock.json").write_bytes(found)
        assert lock.holder(file) is None
        with pytest.raises(InputError, match=r"lock\.json: not a lock file .*delete it"), lock.held(file, "run"):
            pass


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)
