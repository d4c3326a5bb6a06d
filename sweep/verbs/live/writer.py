"""Writes the page of a run while its driver runs it. A process of low priority, which ends with the driver.

    python -m sweep.verbs.live.writer ADDRESS FOLDER PID

FOLDER: where the driver was started; PID: the driver. Standard input gets JSON lines from it: `running`, the ids of the
trials that run; `done`, when it has ended as it should and writes its own report; `stopped`, why it ends else, null
where it was interrupted. Where the input ends, the driver was killed. The page is then written for the last time. What
goes wrong is one line on standard output.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import select
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

START_SECONDS = 3.0  # a run that is shorter costs no import
LOOK_SECONDS = 2.0
PUT_SECONDS = 60.0  # between puts of the page to an object store
AGAIN_SECONDS = 60.0  # after a page that could not be written
LAST_SECONDS = 10.0  # of the processor, for the last page: then this process ends whatever it does
LONGEST_SECONDS = 120.0  # the same by the clock, on a machine where it hardly runs
NICE = 10  # where trials take all cores: a tenth of one for a moment; SCHED_IDLE gave no page for minutes
FIRST_TO_GO = 1000  # of what the kernel may kill where memory is short


def main() -> None:
    address, folder, driver = sys.argv[1], sys.argv[2], int(sys.argv[3])
    step_back()
    orders = Orders(driver)
    threading.Thread(target=orders.listen, name="almr-orders", daemon=True).start()
    orders.ended.wait(START_SECONDS)
    os.chdir(folder)
    try:
        _write(address, orders)
    except Exception as error:  # the run goes on without its page
        _warn(error)
    os._exit(0)


class Orders:
    """What the driver says, and whether it is there."""

    def __init__(self, driver: int) -> None:
        self.driver = driver
        self.running: list[str] = []
        self.ended = threading.Event()
        self.stopped: str | None = None
        self.ended_at = math.inf
        self.sign_off: Callable[[], None] = lambda: None  # where this process's time is over before its last page

    def listen(self) -> None:
        """Until the driver ends. Then this process has a few seconds of the processor."""
        rest = b""
        while os.getppid() == self.driver:
            if not select.select([sys.stdin], [], [], 1.0)[0]:
                continue
            text = os.read(sys.stdin.fileno(), 65536)
            if not text:
                break
            *lines, rest = (rest + text).split(b"\n")
            for line in lines:
                self._take(json.loads(line))
        self.ended_at, used = time.time(), time.process_time()
        self.ended.set()
        while time.process_time() - used < LAST_SECONDS and time.time() - self.ended_at < LONGEST_SECONDS:
            time.sleep(0.5)
        with contextlib.suppress(Exception):
            self.sign_off()
        os._exit(1)

    def _take(self, order: dict[str, Any]) -> None:
        if order.get("done"):
            os._exit(0)
        self.running = order.get("running", self.running)
        self.stopped = order.get("stopped", self.stopped)


def step_back() -> None:
    """Yield the processor to trials, and be the first that the kernel kills for memory."""
    with contextlib.suppress(OSError):
        os.nice(NICE)
    for file, text in (("autogroup", NICE), ("oom_score_adj", FIRST_TO_GO)):  # Linux alone
        with contextlib.suppress(OSError):
            Path("/proc/self", file).write_text(str(text))


def _write(address: str, orders: Orders) -> None:
    from sweep.store.run import Run

    run = Run(address)
    run.study()  # one that cannot be read ends this process before it imports what takes long
    from sweep.verbs.live.page import LivePage, Stop

    page, put = LivePage(run), Put(run)

    def last() -> None:
        if not _taken_over(run, orders.ended_at, page.written):
            page.sign_off(Stop(orders.stopped))
            put(0.0)

    orders.sign_off = last
    while not orders.ended.is_set():
        try:
            if page.write(orders.running):
                put(PUT_SECONDS)
        except Exception as error:  # such as a full disk
            _warn(error)
            orders.ended.wait(AGAIN_SECONDS)
        orders.ended.wait(LOOK_SECONDS)
    last()  # of the fit that there is
    if not _taken_over(run, orders.ended_at, page.written):
        page.write(stop=Stop(orders.stopped))
        put(0.0)


def _taken_over(run: Any, since: float, own: int | None) -> bool:
    """Whether another driver runs it, or somebody fitted it or wrote its page, since its driver ended. `own`: when this
    process wrote the page, in ns.
    """
    report = run.files.report
    files = [path for path in (run.files.lock, run.files.fit, report) if path.is_file()]
    times = [(path, path.stat().st_mtime_ns) for path in files]
    return any(at > 1e9 * since and (path, at) != (report, own) for path, at in times)


class Put:
    """Puts the page where the run is kept, if that is an object store. A store that fails is tried again later."""

    def __init__(self, run: Any) -> None:
        self.run, self.last = run, -PUT_SECONDS

    def __call__(self, every_seconds: float) -> None:
        if not self.run.mirror or time.monotonic() - self.last < every_seconds:
            return
        self.last = time.monotonic()
        files = [path for path in (self.run.files.live, self.run.files.report) if path.is_file()]
        try:
            self.run.mirror.put(*map(self.run.files.name, files))
        except Exception as error:
            _warn(error)


_warned = threading.Event()


def _warn(error: Exception) -> None:
    """Once."""
    from sweep.study.errors import one_line

    if not _warned.is_set():
        _warned.set()
        print(f"{type(error).__name__}: {one_line(error)}", flush=True)


if __name__ == "__main__":
    main()
