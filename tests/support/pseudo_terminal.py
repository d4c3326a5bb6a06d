"""A command in a pseudo-terminal of 80 columns and 24 lines, and all that it wrote there."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import sys
import termios
import threading
from pathlib import Path

ROOT, SUPPORT = Path(__file__).parents[2], Path(__file__).parent
WITHOUT_RAY = """
import sys
sys.path[:0] = [{root!r}, {support!r}]
import whole_run
from sweep import cli, controller
from sweep.store import provenance
controller.run_trials, provenance.PACKAGES = whole_run.run_trials, ("sweep/store",)
sys.argv[1:] = {arguments!r}
cli.main()
"""


def script(*arguments: str) -> str:
    """`almr` with these arguments as a script of Python, which runs its trials itself."""
    return WITHOUT_RAY.format(root=str(ROOT), support=str(SUPPORT), arguments=list(arguments))


class Terminal:
    """`almr` with these arguments in `folder`, its trials in its own process; reads until that ends."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        code = script(*arguments)
        self.pid, self.end = pty.fork()
        if self.pid == 0:
            for number in (signal.SIGINT, signal.SIGHUP):
                signal.signal(number, signal.SIG_DFL)
            os.chdir(folder)
            os.execve(sys.executable, [sys.executable, "-c", code], os.environ | {"TERM": "xterm-256color"})
        fcntl.ioctl(self.end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.written = b""
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def press(self, key: bytes) -> None:
        os.write(self.end, key)

    def wait(self, seconds: float = 60.0) -> int:
        """The exit status."""
        self.reader.join(seconds)
        if self.reader.is_alive():
            os.kill(self.pid, signal.SIGKILL)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    @property
    def lines(self) -> list[str]:
        """Every line that was ever shown, without its colours and moves."""
        text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.written.decode(errors="replace"))
        return [line for line in re.split(r"[\r\n]+", text) if line.strip()]

    def _read(self) -> None:
        try:
            while content := os.read(self.end, 65536):
                self.written += content
        except OSError:  # as Linux says that nobody writes any more
            return
