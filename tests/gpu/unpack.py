"""Receives a kit: verifies its parts, joins them, and installs its packages. Standard library and pip only.

    python -m tests.gpu.unpack      say which parts are here and sound

The packages go to a folder for PYTHONPATH, not into a virtual environment: the Python that holds torch may itself be
one, whose packages a second one would not see.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any, BinaryIO

MANIFEST, DATA, DONE = "manifest.json", "data", "done"
CARRIED = "carried"  # inside the kit: wheels that only carry model and text, for pip to find
PYTHON = (3, 12)  # the host's: the wheels are for it
PACKED, PACKAGES = "packed.tar.xz", "packages"  # inside the kit: all that compresses, and its folder of wheels


def main() -> None:
    kit = Path(__file__).parents[2] / ".gpu-kit"
    if not (kit / MANIFEST).is_file():
        sys.exit(f"{kit.name}/{MANIFEST} is missing: copy it, or pack a kit with make gpu-kit")
    wrong = faults(kit)
    print("\n".join(wrong) or f"{kit.name}: all {len(manifest(kit)['parts'])} parts are here and sound")
    sys.exit(1 if wrong else 0)


def manifest(kit: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((kit / MANIFEST).read_text(encoding="utf-8"))
    return found


def faults(kit: Path) -> list[str]:
    """A line for each part that is missing or damaged."""
    found = []
    for part in manifest(kit)["parts"]:
        file = kit / part["name"] / DATA
        if not file.is_file():
            found.append(f"{kit.name}: {part['name']} is missing: copy that folder")
        elif (sha256 := digest(file)) != part["sha256"]:
            found.append(f"{kit.name}: {part['name']} is damaged (sha256 {sha256[:12]}): copy it again")
    return found


def digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def unpacked(kit: Path) -> Path:
    """The folder of the unpacked kit: `site` for PYTHONPATH, `carried` for pip, and
    `verse.jsonl`. Exits where it is faulty.
    """
    folder, names = kit / "unpacked", [part["name"] for part in manifest(kit)["parts"]]
    mark = "".join(part["sha256"] for part in manifest(kit)["parts"])
    if (folder / DONE).is_file() and (folder / DONE).read_text() == mark:
        return folder
    if wrong := faults(kit):
        sys.exit("\n".join(wrong))
    shutil.rmtree(folder, ignore_errors=True)
    joined = Joined([kit / name / DATA for name in names])
    with tarfile.open(fileobj=joined, mode="r|") as archive:
        archive.extractall(folder, filter="data")
    with tarfile.open(folder / PACKED, mode="r:xz") as archive:
        archive.extractall(folder, filter="data")
    (folder / PACKED).unlink()
    install(folder / PACKAGES, folder / "site")
    shutil.rmtree(folder / PACKAGES)
    (folder / DONE).write_text(mark)
    return folder


def install(wheels: Path, site: Path) -> None:
    """Install every wheel of a folder, with no index; what they require is in the kit or on the host."""
    packages = [str(wheel) for wheel in sorted(wheels.glob("*.whl"))]
    options = ["--quiet", "--disable-pip-version-check", "--no-index", "--no-deps", "--no-compile"]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, "--target", str(site), *packages], check=True)


class Joined:
    """Files one after another, as one stream to read."""

    def __init__(self, files: list[Path]) -> None:
        self.files = iter(files)
        self.opened: BinaryIO | None = None

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes; empty at the end of the last file."""
        content = b""
        while len(content) < size:
            if self.opened is None:
                file = next(self.files, None)
                if file is None:
                    return content
                self.opened = file.open("rb")
            if more := self.opened.read(size - len(content)):
                content += more
            else:
                self.opened.close()
                self.opened = None
        return content


if __name__ == "__main__":
    main()
