"""`almr report RUN --serve`: the page on loopback, for people who reach this machine by ssh.

Serves the page and the files that it speaks of, each by a name that is listed here: no path of a request is opened. A
request has to name this machine as its host, so that no page of another site, whose name was pointed here, can read it.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shlex
import socket
import sys
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sweep.store.run import Run
from sweep.study import InputError
from sweep.study.errors import one_line
from sweep.study.files import regular

LOOPBACK = "127.0.0.1"
HOSTS = ("127.0.0.1", "localhost", "[::1]")
FETCH_SECONDS = 20.0  # between looks at an object store
PIECE = 1 << 16  # bytes that a slow line has a minute to take
CONTENT = {
    ".html": "text/html; charset=utf-8",
    ".png": "image/png",
    ".csv": "text/csv; charset=utf-8",
    ".json": "application/json",
    ".md": "text/plain; charset=utf-8",
}
HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def serve(run: Run, port: int | None, tell: Callable[[str], None]) -> None:
    """Serve until the main thread is interrupted. `port`: None takes a free one. Raises InputError for a port that
    cannot be had.
    """
    try:
        server = PageServer((LOOPBACK, port or 0), partial(PageHandler, run))
    except OSError as error:
        raise InputError(f"--port {port}: {error.strerror}: name another, or leave it out for a free one") from None
    with server:
        for line in addresses(server.server_port):
            tell(line)
        server.serve_forever()


def addresses(port: int) -> list[str]:
    """Where the page is, and how to reach it from elsewhere."""
    place = f"{_user()}@{socket.gethostname()}"
    url = f"http://{LOOPBACK}:{port}/"
    forward = shlex.join(["ssh", "-N", "-L", f"{port}:{LOOPBACK}:{port}", place])
    return [f"report: {url}", f"from your own machine: {forward}   then open {url}", "Ctrl-C ends it"]


def files(run: Run) -> dict[str, Path]:
    """What is served, by the path of its address."""
    of = run.files
    named = {of.name(path): path for path in (of.report, of.table, of.fit, of.folder / "scores.csv")}
    figures = {of.name(path): path for path in of.figures.glob("*.png")} if of.figures.is_dir() else {}
    return {"/": of.report, **{f"/{name}": path for name, path in {**named, **figures}.items()}}


class PageServer(ThreadingHTTPServer):
    """Says nothing of a connection that breaks, as it does where a page is left while it loads."""

    def handle_error(self, request: object, address: object) -> None:
        error = sys.exc_info()[1]
        if error and not isinstance(error, OSError):
            print(f"almr: a request was not answered ({type(error).__name__}: {one_line(error)})", file=sys.stderr)


class PageHandler(BaseHTTPRequestHandler):
    """Answers GET alone."""

    protocol_version = "HTTP/1.1"
    timeout = 60.0  # of a connection that says nothing

    def __init__(self, run: Run, *arguments: object) -> None:
        self.run = run
        super().__init__(*arguments)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        host = self.headers.get("Host", "")
        if host.rpartition(":")[0] not in HOSTS and host not in HOSTS:
            return self._refuse(HTTPStatus.MISDIRECTED_REQUEST, "this server answers as 127.0.0.1 or localhost alone")
        path = files(self.run).get(self._asked())
        if path is None or os.path.realpath(path) != str(path):  # a link may lead anywhere
            return self._refuse(HTTPStatus.NOT_FOUND, "no such page")
        if self.run.mirror and path == self.run.files.report:
            with contextlib.suppress(OSError, InputError):  # then the page as it was fetched before
                self.run.mirror.fetch(self.run.files.name(path), every_seconds=FETCH_SECONDS)
        try:
            content = regular.content(path)
        except (OSError, InputError):
            return self._refuse(HTTPStatus.NOT_FOUND, "it is not there yet")
        self._answer(HTTPStatus.OK, content, CONTENT[path.suffix])

    def parse_request(self) -> bool:
        """Whether there is a request that may be answered."""
        if not super().parse_request():
            return False
        if self.command != "GET":
            self.close_connection = True  # its body is not read
            self._refuse(HTTPStatus.METHOD_NOT_ALLOWED, "GET alone")
        return self.command == "GET"

    def _asked(self) -> str:
        """The path of the address, or nothing where it is none."""
        try:
            return unquote(urlsplit(self.path).path)
        except ValueError:
            return ""

    def _refuse(self, status: HTTPStatus, why: str) -> None:
        self._answer(status, f"{why}\n".encode(), "text/plain; charset=utf-8")

    def _answer(self, status: HTTPStatus, content: bytes, kind: str) -> None:
        self.send_response(status)
        more = {"Allow": "GET"} if status is HTTPStatus.METHOD_NOT_ALLOWED else {}
        for name, value in {"Content-Type": kind, "Content-Length": str(len(content)), **HEADERS, **more}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            for start in range(0, len(content), PIECE):
                self.wfile.write(content[start : start + PIECE])

    def version_string(self) -> str:
        return "almr"

    def log_message(self, format: str, *arguments: object) -> None:
        """No line for each load of a page that loads itself every few seconds."""


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return str(os.getuid())
