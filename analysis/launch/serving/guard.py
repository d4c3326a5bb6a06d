"""Asks for the key on every path but /health. It goes before a server that asks for it on some of its paths only.

vLLM loads it by --middleware guard.KeyGuard. It reads the key from the environment, and needs no package.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

OPEN = ("/health",)
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
BODY = b'{"error": {"message": "the API key is missing or wrong", "type": "authentication_error", "code": 401}}'
HEADERS = [(b"content-type", b"application/json"), (b"www-authenticate", b"Bearer")]


class KeyGuard:
    """ASGI middleware. Without a key in ALMR_API_KEY or VLLM_API_KEY it lets all requests through."""

    def __init__(self, app: Application) -> None:
        self.app = app
        self.key = (os.environ.get("ALMR_API_KEY") or os.environ.get("VLLM_API_KEY") or "").encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or not self.key or scope["path"] in OPEN or self._knows(scope):
            await self.app(scope, receive, send)
        elif scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await receive()  # a client whose body is still on its way would see a reset connection, and no answer
            await send({"type": "http.response.start", "status": 401, "headers": HEADERS})
            await send({"type": "http.response.body", "body": BODY})

    def _knows(self, scope: Scope) -> bool:
        given = dict(scope["headers"]).get(b"authorization", b"")
        scheme, _, key = given.partition(b" ")
        return scheme.lower() == b"bearer" and hmac.compare_digest(key.strip(), self.key)
