"""Measures the product on a GPU, in at most nine minutes; without a GPU, rehearses the same with tiny shapes on a CPU.

    python -m tests.gpu [--out FOLDER] [--device cuda|cpu] [--only PART ...] [--again PART ...] [--seconds N]

A kit (`make gpu-kit`) in `.gpu-kit` is unpacked first: it holds the packages, the model and the text that a machine
without an index lacks. Results stay in `.cache/gpu`, so that a second call goes on; `--out` gets a copy of them.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from tests.gpu import unpack

ROOT = Path(__file__).parents[2]
KIT, WORK = ROOT / ".gpu-kit", ROOT / ".cache" / "gpu"
SECONDS = 540


def main() -> None:
    began = time.monotonic()
    arguments = parsed()
    kit = unpack.unpacked(KIT) if usable(KIT) and not arguments.without_kit else None
    if kit and str(kit / "site") not in os.environ.get("PYTHONPATH", ""):
        again = [sys.executable, "-m", "tests.gpu", *sys.argv[1:], "--seconds", str(left(arguments.seconds, began))]
        os.execve(sys.executable, again, os.environ | {"PYTHONPATH": f"{ROOT}:{kit / 'site'}"})
    try:
        from tests.gpu import session  # from here on the kit's packages are needed
    except ModuleNotFoundError as error:
        sys.exit(
            f"almr-sweep is not installed for {sys.executable} (no {error.name}): pip install -e "
            "'.[bench,gguf,kernels]' in the checkout, or bring a kit (make gpu-kit)"
        )
    sys.exit(session.run(arguments, kit, WORK))


def usable(kit: Path) -> bool:
    """Whether there is a kit for this Python."""
    if not (kit / unpack.MANIFEST).is_file():
        return False
    if fits := sys.version_info[:2] == unpack.PYTHON:
        return fits
    print(f"{kit.name}: for Python {unpack.PYTHON[0]}.{unpack.PYTHON[1]} only: going on without it", file=sys.stderr)
    return False


def left(seconds: float, began: float) -> float:
    return round(seconds - (time.monotonic() - began), 1)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.gpu", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT") or ROOT / "runs" / "gpu"))
    parser.add_argument("--device", choices=("auto", "cuda", "cpu"), default="auto")
    parser.add_argument("--only", nargs="*", metavar="PART", help="run these parts only")
    parser.add_argument("--again", nargs="*", metavar="PART", default=[], help="run these parts although they are done")
    parser.add_argument("--seconds", type=float, default=None, help=f"for all parts together ({SECONDS})")
    parser.add_argument("--without-kit", action="store_true", help="take what is installed, and a small random model")
    arguments = parser.parse_args()
    arguments.seconds = arguments.seconds or SECONDS
    return arguments


if __name__ == "__main__":
    main()
