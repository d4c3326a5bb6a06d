"""The commit of our code, where it lies in a checkout."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from sweep.store import provenance


def git(folder: Path, *arguments: str) -> str:
    own = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-C", str(folder)]
    return subprocess.run(["git", *own, *arguments], check=True, capture_output=True, text=True).stdout.strip()


def test_it_is_read_without_a_lock_and_says_what_was_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code := tmp_path / "code.py").write_text("a = 1\n")
    monkeypatch.setattr(provenance, "__file__", str(code))
    git(tmp_path, "init", "-q")
    assert provenance._git_sha() is None, "an installed copy in another project's checkout"
    git(tmp_path, "add", "code.py")
    git(tmp_path, "commit", "-q", "-m", "first")
    commit, index = git(tmp_path, "rev-parse", "HEAD"), tmp_path / ".git" / "index"
    before = index.read_bytes()
    os.utime(code, (1, 1))  # what lets git write its index anew
    assert provenance._git_sha() == commit
    assert index.read_bytes() == before, "a kill meanwhile would leave index.lock"
    code.write_text("a = 2\n")
    assert provenance._git_sha() == f"{commit}-dirty"
