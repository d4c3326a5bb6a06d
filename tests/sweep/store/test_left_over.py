"""What killed processes leave is removed; what only looks like it, because the user named it so, stays."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from analysis.launch.evidence import bundle_folder
from sweep.store import temporary
from sweep.store.owner import Owner
from sweep.study.files import cache, unfinished

LONG_AGO = time.time() - 2 * unfinished.ABANDONED_SECONDS
ENDED = 2**22  # above the greatest number of a process


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.setattr(temporary, "places", lambda: [tmp_path])
    return tmp_path


def old(path: Path) -> Path:
    os.utime(path, (LONG_AGO, LONG_AGO))
    return path


def ended(made: Path) -> Path:
    owner = Owner.here().model_copy(update={"process": ENDED})
    (made / temporary.OWNER).write_text(owner.model_dump_json())
    return made


def test_a_folder_that_the_user_called_as_ours_is_not_swept(place: Path) -> None:
    (runs := place / "almr-trial-runs").mkdir()
    (runs / "record.json").write_text("{}")
    (nameless := place / "almr-ray-k3f09_ab").mkdir()  # of a process that was killed as it made it
    temporary_of_the_dead = ended(temporary.make("node", place))
    old(runs), old(nameless)
    temporary.sweep()
    assert (runs / "record.json").read_text() == "{}"
    assert not nameless.exists()
    assert not temporary_of_the_dead.exists()


def test_a_removal_that_is_cut_short_is_ended_at_the_next_start(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = ended(temporary.make("ray", place))
    (made / "session" / "logs").mkdir(parents=True)
    with monkeypatch.context() as patch:
        patch.setattr(unfinished, "remove", lambda path: None)
        temporary.remove(made)
    assert (made / temporary.OWNER).is_file()
    temporary.sweep()
    assert not made.exists()


@pytest.mark.parametrize("name", [".zshrc.old-2024", ".zshrc.old-20240105-1", ".ssh.old-20240105-093012-mine"])
def test_a_hidden_file_that_the_user_put_away_is_not_removed(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    old(tmp_path / name)
    unfinished.remove_abandoned(tmp_path)
    assert (tmp_path / name).read_text() == "mine"


def test_an_unfinished_folder_of_the_cache_is_removed_with_links_that_lead_nowhere(tmp_path: Path) -> None:
    """As of a base model of the user's, of which a copy with links was begun, and which was moved since."""
    owner = unfinished.owner().replace(str(os.getpid()), str(ENDED))
    (found := tmp_path / f"{cache.UNFINISHED}model.{owner}-k3f09_ab").mkdir()
    (found / "weights").symlink_to(tmp_path / "moved")
    cache.remove_abandoned_in(tmp_path)
    assert not found.exists()


def test_what_an_earlier_process_with_our_number_left_is_not_in_the_way(tmp_path: Path) -> None:
    """In a container that is started again, almr has the same number each time."""
    out = tmp_path / "launch"
    for left in (unfinished.beside(out), unfinished.beside(out, replaced=True)):
        (left / "native").mkdir(parents=True)
    out.mkdir()
    with unfinished.becoming(out) as made:
        assert not list(made.iterdir())
        (made / "README.md").write_text("new")
        assert bundle_folder.replace(out, made) is None
    assert [path.name for path in tmp_path.rglob("*")] == ["launch", "README.md"]


def test_what_a_bundle_replaced_is_removed_once_its_export_was_killed(tmp_path: Path) -> None:
    mine = unfinished.beside(tmp_path / "launch", replaced=True)
    dead = mine.with_name(mine.name.replace(str(os.getpid()), str(ENDED)))
    for folder in (mine, dead):
        (folder / "native").mkdir(parents=True)
    unfinished.remove_abandoned(tmp_path)
    assert list(tmp_path.iterdir()) == [mine]
