"""`almr serve MODEL --check`: of a server that runs (--url), or of one that is started for the check and ended."""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sweep.study import InputError
from sweep.study.files.atomic import write_atomically
from sweep.verbs.serving import here
from sweep.verbs.serving.check import transcript
from sweep.verbs.serving.check.check import ServingCheck, check
from sweep.verbs.serving.child import running
from sweep.verbs.serving.named import ModelToServe

TRANSCRIPT = Path("serve-check.md")
Progress = Callable[[str], None]


def checked(model: ModelToServe, url: str | None, length: int | None, progress: Progress) -> ServingCheck:
    """Raises InputError where no server can be asked."""
    tokenizer = _tokenizer(model, progress)
    if url:
        return check(_address(url), here.key(), tokenizer, False, progress)
    with _started(model, length, progress) as (address, key):
        return check(address, key, tokenizer, True, progress)


def write(done: ServingCheck, path: Path) -> Path:
    when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return write_atomically(path, transcript.text(done, when))


def _address(url: str) -> str:
    """With /v1, as clients name it."""
    if not url.startswith(("http://", "https://")):
        raise InputError(f"--url {url}: write it with http:// or https://, such as http://127.0.0.1:8000/v1")
    root = url.rstrip("/")
    return root if root.endswith("/v1") else f"{root}/v1"


def _tokenizer(model: ModelToServe, progress: Progress) -> Any:
    progress(f"loading the tokenizer of {model.name}")
    return here.tokenizer(model, lambda phase, share: progress(phase))


@contextlib.contextmanager
def _started(model: ModelToServe, length: int | None, progress: Progress) -> Iterator[tuple[str, str]]:
    """Its address and key: the user's, else one of this check alone."""
    key = here.key() or secrets.token_urlsafe()
    free = here.listen(here.LOOPBACK[0], 0)
    port = free.getsockname()[1]
    free.close()
    words = [
        sys.executable,
        "-m",
        "sweep",
        "serve",
        model.source,
        "--port",
        str(port),
        f"--served-model-name={model.name}",
    ]
    words += ["--max-model-len", str(length)] if length else []
    root = f"http://{here.LOOPBACK[0]}:{port}"
    with (
        tempfile.TemporaryDirectory(prefix="almr-serve-") as place,
        running(words, {**os.environ, "ALMR_API_KEY": key}, f"{root}/health", Path(place) / "log") as server,
    ):
        server.wait_until_healthy(progress)
        yield f"{root}/v1", key
