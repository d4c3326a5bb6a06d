"""Inspects one machine: storage, packages, GPUs. Sent to the nodes by value, with the
search for a sandbox: both import the standard library only.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import socket
import subprocess
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trainers.benchmarks.sandbox.engines import refused

LATE_SECONDS = 5.0  # an NFS client may cache for a while that a file does not exist

Inspect = Callable[[dict[str, Any]], dict[str, Any]]


def inspect(request: dict[str, Any]) -> dict[str, Any]:
    """Returns plain values. `request`: `shared` {name: folder that holds the nonce file}, `nonce`, `paths` {name: path
    that must exist}, `packages`, and, where one is needed, `sandbox` (the study's choice). Leaves a reply file
    in each shared folder, for the asking machine to find.
    """
    token = f"{socket.gethostname()}-{uuid.uuid4().hex}"
    nonce = request["nonce"]
    return {
        "host": socket.gethostname(),
        "token": token,
        "unseen": {n: why for n, f in request["shared"].items() if (why := exchange(Path(f), nonce, token))},
        "missing": {name: path for name, path in request["paths"].items() if not Path(path).exists()},
        "versions": {"python": platform.python_version()} | {name: version(name) for name in request["packages"]},
        "cpus": os.cpu_count() or 1,
        "gpus": gpus(),
        "sandbox": refused(choice) if (choice := request.get("sandbox")) else None,
    }


def exchange(folder: Path, nonce: str, token: str) -> str | None:
    """Read the nonce file of a folder and write the reply file; returns what is wrong, or None."""
    question = folder / question_name(nonce)
    until = time.monotonic() + LATE_SECONDS
    while not question.exists() and folder.is_dir() and time.monotonic() < until:
        time.sleep(0.5)
    try:
        if question.read_text() != nonce:
            return "its nonce file has other content"
        (folder / reply_name(nonce, token)).write_text(token)
    except OSError as error:
        return error.strerror or type(error).__name__
    return None


def question_name(nonce: str) -> str:
    return f".almr-check-{nonce}"


def reply_name(nonce: str, token: str) -> str:
    return f".almr-check-{nonce}-{token}"


def version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def gpus() -> list[dict[str, float]]:
    """Bytes of memory of each NVIDIA GPU, total and in use; empty where there is no driver."""
    arguments = ("--query-gpu=memory.total,memory.used", "--format=csv,noheader,nounits")
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    try:
        done = subprocess.run([program, *arguments], capture_output=True, text=True, check=True, timeout=30)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return []
    rows = [[float(part) for part in line.split(",")] for line in done.stdout.splitlines() if line.strip()]
    return [{"total": total * 2**20, "used": used * 2**20} for total, used in rows]
