"""Serves a model from this machine's processors (or its GPU) until it is interrupted."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import json
import os
import shlex
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweep.study import InputError
from sweep.study.errors import one_line
from sweep.study.sections.text.corpora import BaseModelSource
from sweep.verbs.serving.named import ModelToServe

if TYPE_CHECKING:
    from sweep.verbs.serving.answers import LoadedModel

LOOPBACK = ("127.0.0.1", "localhost", "::1")
LENGTH = 4096  # tokens, of a model that does not say for how many it was made
SMALL = 30e6  # parameters of a model whose matrices several threads share at a loss: on two cores they took 15 x longer
KEYS = ("ALMR_API_KEY", "VLLM_API_KEY")
NEEDED = ("fastapi", "openai", "uvicorn")
HANDLERS = "transformers.cli.serving.completion"
EXTRA = "pip install 'almr-sweep[serve]'"
FIELD = "base_model.pretrained: "  # of a study, which has no part in this
Tell = Callable[[str], None]
Progress = Callable[[str, float | None], None]


def key() -> str | None:
    """The key that clients have to give, from the environment alone."""
    return next((os.environ[name] for name in KEYS if os.environ.get(name)), None)


def refuse_open(host: str) -> None:
    """Raises InputError for a place that others reach, without a key."""
    if host not in LOOPBACK and not key():
        raise InputError(f"--host {host}: others reach it: set ALMR_API_KEY to the key that clients have to give")


def refuse_missing() -> None:
    """Raises InputError where the extra is not installed, or transformers is older than it asks for."""
    missing = [name for name in NEEDED if not _is_there(name)]
    if missing:
        raise InputError(f"almr serve needs {', '.join(missing)}: {EXTRA}")
    if not _is_there(HANDLERS):
        version = importlib.metadata.version("transformers")
        raise InputError(f"almr serve needs transformers 5.23 or newer, and this is {version}: {EXTRA}")


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of a package that it would be in
        return False


def listen(host: str, port: int) -> socket.socket:
    """Raises InputError for a place that cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=128)
    except (OSError, OverflowError) as error:
        raise InputError(f"--port {port}: {_why(error)} on {host}: name another (--port, --host)") from None


def _why(error: Exception) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else one_line(error)


def load(model: ModelToServe, length: int | None, progress: Progress) -> LoadedModel:
    """Raises InputError for a model that cannot be loaded."""
    with _in_own_words(model):
        return _loaded(model, length, progress)


@contextlib.contextmanager
def _in_own_words(model: ModelToServe) -> Iterator[None]:
    try:
        yield
    except InputError as error:
        raise InputError(f"{model.name}: {str(error).replace(FIELD, '')}") from None


def _loaded(model: ModelToServe, length: int | None, progress: Progress) -> LoadedModel:
    progress("loading torch and transformers", None)
    import torch

    from sweep.verbs.serving.answers import LoadedModel
    from trainers.model import loading

    folder = _folder(model, progress)
    progress(f"loading {model.name}", None)
    source = BaseModelSource(pretrained=str(folder))
    tokenizer = loading.load_tokenizer(source, str(folder))
    weights = loading.load_complete(source, str(folder), "auto")
    weights = weights.to("cuda" if torch.cuda.is_available() else "cpu").eval()
    if weights.num_parameters() < SMALL and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)
    made = getattr(weights.config, "max_position_embeddings", None) or LENGTH
    ends = _ends(tokenizer, weights.generation_config)
    return LoadedModel(model.name, weights, tokenizer, min(length or made, made), ends)


def _ends(tokenizer: Any, generation: Any) -> list[int]:
    """The template is run for the first time here. Raises InputError for one that is broken."""
    from jinja2 import TemplateError

    from sweep.verbs.serving import template

    try:
        return template.end_ids(tokenizer, generation)
    except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise InputError(f"its chat template cannot be used ({one_line(error, 150)}): correct or remove it") from None


def tokenizer(model: ModelToServe, progress: Progress) -> Any:
    """Raises InputError for one that cannot be loaded."""
    from trainers.model import loading

    with _in_own_words(model):
        folder = _folder(model, progress)
        return loading.load_tokenizer(BaseModelSource(pretrained=str(folder)), str(folder))


def _folder(model: ModelToServe, progress: Progress) -> Path:
    from trainers.benchmarks.models import checkpoint

    return checkpoint.locate(model.source, progress).folder


def serve(loaded: LoadedModel, place: socket.socket, host: str, tell: Tell) -> None:
    """Until the main thread is interrupted."""
    import uvicorn
    from transformers.utils import logging

    from sweep.verbs.serving.application import application

    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    hosts = ["127.0.0.1", "localhost", "[::1]"] if host in LOOPBACK else ["*"]
    # What fails is told the client. Its own log would print a traceback for each answer that Ctrl-C cuts off.
    settings: dict[str, Any] = {"log_level": "critical", "lifespan": "off", "timeout_graceful_shutdown": 1}
    server = uvicorn.Server(uvicorn.Config(application(loaded, hosts), **settings))
    for line in lines(loaded.name, host, place.getsockname()[1], bool(loaded.tokenizer.chat_template)):
        tell(line)
    server.run(sockets=[place])


def lines(name: str, host: str, port: int, chat: bool) -> list[str]:
    """Where it is, and a command to try."""
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}/v1"
    path = "chat/completions" if chat else "completions"
    asked = '"messages": [{"role": "user", "content": "Who is Hamlet?"}]' if chat else '"prompt": "To be,"'
    authorised = ' -H "Authorization: Bearer $ALMR_API_KEY"' if key() else ""
    body = shlex.quote(f'{{"model": {json.dumps(name, ensure_ascii=False)}, {asked}, "max_tokens": 60}}')
    return [
        f"serving {name} at {url}" + ("" if key() else " without a key (ALMR_API_KEY)"),
        f"try: curl {url}/{path}{authorised} -H 'Content-Type: application/json' -d {body}",
        "Ctrl-C ends it",
    ]
