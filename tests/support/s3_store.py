"""A local S3 store that fails when told to: the server of moto behind a proxy. moto has to be installed
(`pip install moto[s3,server]`) in this environment, or in that of the interpreter $ALMR_S3_PYTHON.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

PYTHON = os.environ.get("ALMR_S3_PYTHON", sys.executable)
ERROR = '<?xml version="1.0"?><Error><Code>{}</Code><Message>{}</Message></Error>'
ANSWERS = {
    "500": (500, "InternalError", "We encountered an internal error. Please try again."),
    "SlowDown": (503, "SlowDown", "Please reduce your request rate."),
    "denied": (403, "InvalidAccessKeyId", "The AWS access key Id you provided does not exist in our records."),
}
CONTENTS = re.compile(rb"<Contents>.*?</Contents>", re.DOTALL)
KEY = re.compile(rb"<Key>(.*?)</Key>")
STALL_SECONDS = 60.0


def available() -> bool:
    """Whether moto's server and s3fs can be used."""
    found = subprocess.run([PYTHON, "-c", "import moto.server, flask"], capture_output=True, check=False)
    here = subprocess.run([sys.executable, "-c", "import s3fs"], capture_output=True, check=False)
    return found.returncode == here.returncode == 0


class S3Store:
    """`endpoint`: its URL. `fault`: what it does to each request from number `first` on, until `until` (in seconds of
    the monotonic clock): "500", "SlowDown", "denied", "stall" (no answer), "refuse" (the connection is closed).
    `late_seconds`: how long a new key is not listed. `requests`: how many there were since.
    """

    def __init__(self) -> None:
        self.fault, self.first, self.until, self.late_seconds = "", 1, float("inf"), 0.0
        self.requests, self.put_at, self.lock = 0, dict[str, float](), threading.Lock()
        self.port = _free_port()
        command = [PYTHON, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        self._server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._proxy = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.endpoint = f"http://127.0.0.1:{self._proxy.server_address[1]}"
        threading.Thread(target=self._proxy.serve_forever, daemon=True).start()
        self._wait()

    @property
    def environment(self) -> dict[str, str]:
        keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
        return {"FSSPEC_S3_ENDPOINT_URL": self.endpoint, "AWS_ENDPOINT_URL": self.endpoint, **keys}

    def make_bucket(self, name: str) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("PUT", f"/{name}")
        assert connection.getresponse().status == 200

    @contextlib.contextmanager
    def failing(
        self, fault: str = "", first: int = 1, seconds: float = float("inf"), late: float = 0.0
    ) -> Iterator[None]:
        with self.lock:
            self.requests, self.first, self.late_seconds = 0, first, late
            self.until, self.fault = time.monotonic() + seconds, fault
        try:
            yield
        finally:
            self.fault, self.late_seconds = "", 0.0

    def faulty(self) -> str:
        """What this request meets."""
        with self.lock:
            self.requests += 1
            return self.fault if self.requests >= self.first and time.monotonic() < self.until else ""

    def close(self) -> None:
        self._proxy.shutdown()
        self._server.terminate()
        self._server.wait()

    def _wait(self) -> None:
        for _ in range(300):
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            time.sleep(0.1)
        raise TimeoutError("moto's server did not start")


def _handler(store: S3Store) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass_on(self) -> None:
            body = self._body()
            fault = store.faulty()
            if fault == "refuse":
                self.connection.close()
                self.close_connection = True
            elif fault == "stall":
                time.sleep(STALL_SECONDS)
                self.close_connection = True
            elif fault:
                status, code, message = ANSWERS[fault]
                self._answer(status, {"Content-Type": "application/xml"}, ERROR.format(code, message).encode())
            else:
                self._forward(body)

        def _body(self) -> bytes:
            if "chunked" not in self.headers.get("Transfer-Encoding", ""):
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)

        def _forward(self, body: bytes) -> None:
            connection = http.client.HTTPConnection("127.0.0.1", store.port, timeout=60)
            left_out = ("transfer-encoding", "connection", "content-length")
            headers = {name: value for name, value in self.headers.items() if name.lower() not in left_out}
            connection.request(self.command, self.path, body, headers | {"Content-Length": str(len(body))})
            answer = connection.getresponse()
            content = answer.read()
            connection.close()
            path = urlsplit(self.path)
            if self.command == "PUT" and answer.status == 200:
                store.put_at[path.path.split("/", 2)[-1]] = time.monotonic()
            if self.command == "GET" and "list-type" in parse_qs(path.query):
                content = CONTENTS.sub(self._listed, content)
            self._answer(answer.status, dict(answer.getheaders()), content)

        def _listed(self, found: re.Match[bytes]) -> bytes:
            key = KEY.search(found[0])
            age = time.monotonic() - store.put_at.get(key[1].decode() if key else "", -float("inf"))
            return b"" if age < store.late_seconds else found[0]

        def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
            self.send_response(status)
            for name, value in headers.items():
                if name.lower() not in ("content-length", "transfer-encoding", "connection", "date", "server"):
                    self.send_header(name, value)
            length = headers.get("Content-Length") if self.command == "HEAD" else None
            self.send_header("Content-Length", length or str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass_on  # noqa: N815

        def log_message(self, *arguments: Any) -> None:
            pass

    return Handler


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
