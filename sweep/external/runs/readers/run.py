"""Runs the reader of one trainer and prints its answer as one line of JSON. Imports nothing of this package.

    python run.py NAME FOLDER CHECKPOINTS QUESTION

FOLDER holds the launch's files; CHECKPOINTS was ALMR_CHECKPOINTS of the run; QUESTION is a JSON object: `steps` of the
run, its `sequence_length` and `batch_sequences`. The answer has the fields of `sweep.external.runs.trace.Trace`.
"""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path


def main() -> None:
    name, folder, checkpoints, question = sys.argv[1:]
    reader = runpy.run_path(str(Path(__file__).with_name(f"{name}.py")))
    print(json.dumps(reader["read"](Path(folder), Path(checkpoints), json.loads(question))))


if __name__ == "__main__":
    main()
