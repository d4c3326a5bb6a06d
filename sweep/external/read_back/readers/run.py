"""Runs the reader of one format and prints its answer as one line of JSON. Imports nothing of this package.

    python run.py NAME FOLDER QUESTION

Exit status 4: the trainer is not installed here.
"""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

PACKAGES = {
    "axolotl": "axolotl 0.19",
    "llamafactory": "llamafactory 0.9.5",
    "megatron": "megatron-core 0.16",
    "torchtitan": "torchtitan 0.3",
    "trl": "trl 1.16",
}


def main() -> None:
    name, folder, question = sys.argv[1:]
    try:
        reader = runpy.run_path(str(Path(__file__).with_name(f"{name}.py")))
    except ImportError as error:
        print(f"{PACKAGES.get(name, name)} is not installed here ({error})", file=sys.stderr)
        sys.exit(4)
    print(json.dumps(reader["read"](Path(folder), json.loads(question))))


if __name__ == "__main__":
    main()
