"""Ray of this machine: who may reach it, what it writes, what is left of it, and what is said when it fails."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from replay_study import replayed

from sweep.controller import local_ray, needs
from sweep.store import temporary
from sweep.study import InputError

ALMR = [sys.executable, "-m", "sweep.cli"]


@contextlib.contextmanager
def short_folder() -> Iterator[Path]:
    """A temporary directory with a path that Ray can use: those of pytest are too long."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="t-", dir="/tmp") as place:
        yield Path(place)


class Slow:
    """A head whose Ray does not start in time, at first or always."""

    started = 0
    never = False

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        type(self).started += 1

    def address(self) -> str:
        if self.never or self.started == 1:
            raise local_ray.RayEndedError(f"Ray did not start: The current node {local_ray.TOO_SLOW}. This")
        return "127.0.0.1:1"

    def stop(self) -> None: ...


@pytest.mark.parametrize("never", [False, True])
def test_a_slow_start_is_tried_a_second_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, never: bool) -> None:
    monkeypatch.setattr(local_ray, "_Head", type("Head", (Slow,), {"never": never}))
    with pytest.raises(local_ray.RayEndedError) if never else contextlib.nullcontext():
        assert local_ray._start(local_ray._begin(tmp_path))[1] == "127.0.0.1:1"
    assert local_ray._Head.started == 2
    assert len(list(tmp_path.iterdir())) == 1  # with the logs that the message names, or those of the second


def test_too_small_an_address_space_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda limit: (2_000_000 * 1024, -1))
    with pytest.raises(InputError, match="ulimit -v is 2000000 kB"), local_ray.started():
        pass


@pytest.mark.parametrize("name", ["临时", "x" * 60])
def test_a_temporary_directory_that_ray_cannot_use_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (odd := tmp_path / name).mkdir()
    monkeypatch.setenv("RAY_TMPDIR", str(odd))
    monkeypatch.setattr("tempfile.tempdir", str(odd))
    assert needs.place() == Path("/tmp")
    monkeypatch.setattr(needs, "NEEDED_BYTES", 2**80)
    with pytest.raises(InputError, match=r"no folder for Ray's temporary files .*/tmp: \d+ MB free.*RAY_TMPDIR"):
        needs.place()


@pytest.mark.slow
@pytest.mark.ray
def test_ray_that_does_not_start_is_one_line(tmp_path: Path) -> None:
    """Its processes end at their first log line: files may have no content."""
    with short_folder() as place:
        script = 'ulimit -f 100; exec "$@"'
        command = ["bash", "-c", script, "", *ALMR, "run", str(replayed(tmp_path))]
        environment = os.environ | {"TMPDIR": str(place)}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 2, done.stderr
        [line] = done.stderr.splitlines()
        assert line.startswith(
            "almr: Ray did not start: raylet was killed by SIGXFSZ (files may have 100 kB: ulimit -f)"
        )
        assert line.endswith("run the same command again")
        assert len(line) < 300
        [logs] = place.glob("almr-ray-*/*/session_2*/logs")
        assert f"; its logs: {logs}; " in line


def test_only_folders_of_dead_processes_are_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = temporary.make("ray", tmp_path)
    theirs = tmp_path / "almr-ray-theirs"
    (other := tmp_path / "almr-other").mkdir()
    script = "import sys; from pathlib import Path; from sweep.store import temporary; "
    script += f"print(temporary.make('ray', Path({str(tmp_path)!r})))"
    dead = Path(
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip()
    )
    theirs.mkdir()
    assert dead.is_dir()
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    temporary.sweep()
    assert not dead.exists()
    assert mine.is_dir()
    assert theirs.is_dir()  # without an owner, it may be just being made
    assert other.is_dir()


def test_a_closed_terminal_is_as_ctrl_c() -> None:
    script = "import os, signal; from sweep import cli; from sweep.study import study_file\n"
    script += "study_file.load = lambda name: os.kill(os.getpid(), signal.SIGHUP)\ncli.main()"
    done = subprocess.run([sys.executable, "-c", script, "run", "demo"], capture_output=True, text=True, timeout=60)
    said = "almr: interrupted; run the same command again\n"
    assert (done.returncode, done.stderr) == (130, said)
