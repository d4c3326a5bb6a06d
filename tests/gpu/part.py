"""One part in a process of its own: `python -m tests.gpu.part MODULE [ARGUMENT ...] ROWS_FILE`.

A module of `tests.gpu.parts` has `measure(setting, write, *arguments)`, where `write(measured, values, failed)` adds a
row.
"""

from __future__ import annotations

import importlib
import sys
from functools import partial
from pathlib import Path

from tests.gpu import runner
from tests.gpu.setting import Setting


def main() -> None:
    module, *arguments, rows = sys.argv[1:]
    measure = importlib.import_module(f"tests.gpu.parts.{module}").measure
    measure(Setting.of_environment(), partial(runner.write_row, Path(rows)), *arguments)


if __name__ == "__main__":
    main()
