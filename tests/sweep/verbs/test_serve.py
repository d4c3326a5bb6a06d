"""`almr report RUN --serve`: the page and what it speaks of, on loopback, to requests that name this machine."""

from __future__ import annotations

import http.client
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.parse import quote

import bowl_run
import pytest
from processes import listening

from sweep.store.run import Run
from sweep.verbs.live import serve

PAGE, FIGURE = "report.html", "figures/objective.png"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[subprocess.Popen[str], Path, int, str]]:
    run = tmp_path_factory.mktemp("serve") / "small"
    bowl_run.write_fitted(run)
    (run / "figures" / "link.png").symlink_to("/etc/passwd")
    command = [sys.executable, "-m", "sweep.cli", "report", str(run), "--serve"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr
    lines = [process.stderr.readline() for _ in range(3)]
    yield process, run, int(lines[0].rstrip("/\n").rpartition(":")[2]), "".join(lines)
    process.kill()
    process.communicate()


def ask(port: int, path: str, method: str = "GET", host: str = "127.0.0.1") -> tuple[int, bytes, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(method, path, headers={"Host": host} if host else {})
    answer = connection.getresponse()
    content, headers = answer.read(), {name.lower(): value for name, value in answer.getheaders()}
    connection.close()
    return answer.status, content, headers


def test_the_page_and_its_files_are_served_and_nothing_else(served: tuple[object, Path, int, str]) -> None:
    _, run, port, said = served
    assert f"report: http://127.0.0.1:{port}/" in said
    assert f"ssh -N -L {port}:127.0.0.1:{port} " in said
    status, content, headers = ask(port, "/")
    assert (status, content) == (200, (run / PAGE).read_bytes())
    assert headers["content-type"].startswith("text/html")
    assert (headers["x-content-type-options"], headers["x-frame-options"]) == ("nosniff", "DENY")
    for name in (PAGE, "trials.csv", "fit.json", f"{FIGURE}?x=1"):
        assert ask(port, f"/{name}")[0] == 200, name
    for name in (
        *("study.yaml", "trials/", "code/", "lock.json", "../small/study.yaml", "%2e%2e/study.yaml", "figures/"),
        *("figures/../study.yaml", "//etc/passwd", "figures/..%2fstudy.yaml", "figures/%00.png", "figures/link.png"),
    ):
        status, content, _ = ask(port, f"/{name}")
        assert (status, b"name:" in content, b"root:" in content) == (404, False, False), name


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil:80", "10.0.0.1", "[::2]"])
def test_a_page_of_another_site_cannot_read_it_by_a_name_that_points_here(
    served: tuple[object, Path, int, str], host: str
) -> None:
    status, content, _ = ask(served[2], "/", host=host)
    assert status == 421
    assert b"almr" not in content


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "localhost:9999", "[::1]:80"])
def test_it_may_be_forwarded_to_any_port(served: tuple[object, Path, int, str], host: str) -> None:
    assert ask(served[2], "/", host=host)[0] == 200


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW"])
def test_only_get_is_answered(served: tuple[object, Path, int, str], method: str) -> None:
    status, content, headers = ask(served[2], "/", method)
    assert (status, headers["allow"], b"<html" in content) == (405, "GET", False)


def test_it_listens_on_loopback_alone_and_ctrl_c_ends_it_in_a_line(
    served: tuple[subprocess.Popen[str], Path, int, str],
) -> None:
    process = served[0]
    assert {address.is_loopback for address in listening([process.pid])} == {True}
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, "almr: no longer served\n")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--port", "80000", "--serve"], "--port 80000: no port has this number"),
        (["--port", "8040"], "--port is that of a server: add --serve"),
        (["--serve", "--json"], "leave one out"),
    ],
)
def test_what_cannot_be_served_is_one_line(options: list[str], said: str, tmp_path: Path) -> None:
    run = tmp_path / "small"
    run.mkdir()
    bowl_run.write(run, bowl_run.study())
    command = [sys.executable, "-m", "sweep.cli", "report", str(run), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_who_leaves_while_the_page_loads_and_what_is_no_address_say_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run(tmp_path / "small")
    run.files.figures.mkdir(parents=True)
    run.files.report.write_bytes(b"x" * 10_000_000)
    (run.files.figures / "中 文.png").write_bytes(b"figure")
    with serve.PageServer(("127.0.0.1", 0), partial(serve.PageHandler, run)) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        for request in (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"GET / HT"):
            with socket.create_connection(("127.0.0.1", server.server_port)) as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # reset as it closes
                client.sendall(request)
                client.recv(10) if request.endswith(b"\n") else None
        with socket.create_connection(("127.0.0.1", server.server_port)) as client:
            client.sendall(b"GET http://[ HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 404")
        assert ask(server.server_port, f"/figures/{quote('中 文.png')}")[:2] == (200, b"figure")
        for thread in threading.enumerate():
            if "process_request" in thread.name:
                thread.join(20)
        server.shutdown()
    assert capsys.readouterr().err == ""
