"""Stands in for LLaMA-Factory in its environment, and for `almr pack`: writes files as it does, and trains nothing.

    fake_trainer.py NAME ARGUMENTS...

NAME is the program that it stands for. FAKE says what goes wrong: `die` once after the checkpoint half-way, `crash`,
`not finite`, `nonsense`, `fails there` on another node than the first, and `stops` once the process that waits for it.
Standard library alone: it starts in an instant.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import time
from pathlib import Path


def pack(arguments: list[str]) -> None:
    folder = Path(arguments[arguments.index("--out") + 1])
    folder.mkdir()
    digest = hashlib.sha256(Path("study.yaml").read_bytes()).hexdigest()
    (folder / "blocks.json").write_text(json.dumps({"study": digest}))


def settings() -> dict[str, str]:
    lines = (line.partition(": ") for line in Path("llamafactory.yaml").read_text().splitlines() if ": " in line)
    return {key: value.strip('"') for key, _, value in lines if not key.startswith("#")}


def train(arguments: list[str]) -> None:
    given, fault = settings(), os.environ.get("FAKE", "")
    out = Path(next(word for word in arguments if word.startswith("output_dir=")).partition("=")[2])
    if fault == "crash":
        sys.exit("RuntimeError: no kernel for this")
    if fault == "not finite":
        sys.exit("[rank0]: RuntimeError: Loss is not finite (global_avg_loss=nan) at step 3. Stopping training.")
    if os.environ["NODE_RANK"] != "0":
        return follow(out)
    out.mkdir(parents=True, exist_ok=True)
    at = max((int(path.name.partition("-")[2]) for path in out.glob("checkpoint-*")), default=0)
    print(f"begins at step {at}, threads {os.environ['OMP_NUM_THREADS']}", flush=True)
    while at < int(given["max_steps"]):
        at += int(given["save_steps"])
        state = out / f"checkpoint-{at}" / "trainer_state.json"
        state.parent.mkdir()
        state.write_text(json.dumps({"global_step": at}))
        while fault == "fails there" and not (out.parent / "lost").exists():
            time.sleep(0.05)
        if fault == "stops" and not (out.parent / "stopped").exists():
            (out.parent / "stopped").touch()
            os.kill(process_of_tune(), signal.SIGSTOP)
            time.sleep(600)
        if fault == "die" and not Path("died").exists() and not (out.parent / "died").exists():
            (out.parent / "died").touch()
            os.kill(os.getpid(), 9)
    (out / "config.json").write_text("{}")


def process_of_tune() -> int:
    """The nearest process of Ray above this one."""
    process = os.getpid()
    while not Path(f"/proc/{process}/cmdline").read_bytes().startswith(b"ray::"):
        process = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    return process


def follow(out: Path) -> None:
    """Another node than the first: it ends with that one, or `fails there` once, after the first checkpoint."""
    lost = out.parent / "lost"
    while not (out / "config.json").exists():
        if os.environ.get("FAKE") == "fails there" and not lost.exists() and list(out.glob("checkpoint-*")):
            lost.touch()
            sys.exit("RuntimeError: the network of node 1 is down")
        time.sleep(0.05)


def read(arguments: list[str]) -> None:
    """As the reader of LLaMA-Factory, run by the environment's Python."""
    assert Path(arguments[2]).name == "run.py", arguments
    name, _, checkpoints, question = arguments[3:]
    [model] = [path.parent for path in Path(checkpoints).glob("*/config.json")]
    steps = [{"step": n, "loss": float("nan"), "lr": 1e-3} for n in range(1, json.loads(question)["steps"] + 1)]
    if os.environ.get("FAKE") == "nonsense":
        print("Traceback")
        return
    print("a warning that it prints")
    print(json.dumps({"steps": steps, "model": str(model), "versions": f"{name} 1.0", "training_seconds": 2.5}))


if __name__ == "__main__":
    {"almr": pack, "torchrun": train, "python": read, "llamafactory-cli": print}[sys.argv[1]](sys.argv[2:])
