"""The server on this machine: OpenAI's paths for one model, behind guard.py."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse
from starlette.middleware.trustedhost import TrustedHostMiddleware

from analysis.launch.serving.guard import KeyGuard
from sweep.study.errors import one_line
from sweep.verbs.serving.answers import ChatAnswers, LoadedModel, TextAnswers
from sweep.verbs.serving.stops import ClientLeft

SMALLEST, TOKEN_BYTES = 2**16, 256  # bytes of a request that is read, beside those of each token of the model's length


def application(loaded: LoadedModel, hosts: list[str]) -> FastAPI:
    """`hosts`: the names by which it may be asked: a page of another site, whose name was pointed here, has another."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(KeyGuard)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False)
    app.add_exception_handler(HTTPException, _refused)
    _add_answers(app, loaded)
    _add_facts(app, loaded)
    return app


def _add_answers(app: FastAPI, loaded: LoadedModel) -> None:
    handlers: dict[str, Any] = {"/v1/chat/completions": ChatAnswers(loaded), "/v1/completions": TextAnswers(loaded)}

    async def answer(request: Request) -> Any:
        body = await _body(request, loaded)
        needed = "messages" if request.url.path.startswith("/v1/chat") else "prompt"
        if needed not in body:
            raise HTTPException(400, f"{needed}: required, but missing")
        left = ClientLeft()
        watching = None if body.get("stream") else asyncio.create_task(left.watch(request))
        try:
            return await handlers[request.url.path].handle_request(body, uuid.uuid4().hex, left)
        except HTTPException:
            raise
        except asyncio.CancelledError:  # of a server that is stopped, and waits no longer
            return _error(503, "the server was stopped", "server_error")
        except Exception as error:  # told the client; uvicorn would print the traceback
            return _error(500, f"{type(error).__name__}: {one_line(error)}", "server_error")
        finally:
            if watching:
                watching.cancel()

    for path in handlers:
        app.add_api_route(path, answer, methods=["POST"], response_model=None)


def _add_facts(app: FastAPI, loaded: LoadedModel) -> None:
    started = int(time.time())
    model = {"id": loaded.name, "object": "model", "created": started, "owned_by": "almr"}

    async def health() -> dict[str, str]:
        return {"status": "ok"}

    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [model | {"max_model_len": loaded.length}]}

    async def tokenize(request: Request) -> dict[str, Any]:
        """As vLLM's: the ids of a prompt."""
        ids = await asyncio.to_thread(loaded.prompt, await _body(request, loaded))
        return {"count": len(ids), "max_model_len": loaded.length, "tokens": ids}

    app.add_api_route("/health", health, methods=["GET"])
    app.add_api_route("/v1/models", models, methods=["GET"])
    app.add_api_route("/tokenize", tokenize, methods=["POST"])


async def _body(request: Request, loaded: LoadedModel) -> dict[str, Any]:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":  # any page that the user opens may send other kinds here
        raise HTTPException(415, "send the header Content-Type: application/json")
    most, content = SMALLEST + TOKEN_BYTES * loaded.length, bytearray()
    async for part in request.stream():
        content += part
        if len(content) > most:
            raise HTTPException(413, f"the request has over {most:,} bytes: the model reads {loaded.length:,} tokens")
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise HTTPException(400, "the request is no JSON object")
    body.pop("add_generation_prompt", None)  # of /tokenize: it always adds one
    return body


async def _refused(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return _error(error.status_code, str(error.detail), "invalid_request_error")


def _error(status: int, message: str, kind: str) -> JSONResponse:
    return JSONResponse({"error": {"message": message, "type": kind, "code": status}}, status)
