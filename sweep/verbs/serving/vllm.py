"""vLLM's server on this machine's GPUs, where it is installed: with the flags that a written start script has."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from analysis.launch.serving import command, folder
from analysis.launch.serving.plan import ServingGpus, ServingPlan
from sweep.verbs.serving import here
from sweep.verbs.serving.child import running


def program() -> str | None:
    """The path of `vllm`, which has an environment of its own: its pins clash with ours."""
    return shutil.which("vllm")


def gpus_here(most: int | None) -> ServingGpus | None:
    """This machine's GPUs, the smallest of them as the kind of all; None where there are none."""
    import torch

    count = min(torch.cuda.device_count(), most or torch.cuda.device_count()) if torch.cuda.is_available() else 0
    if not count:
        return None
    found = [torch.cuda.get_device_properties(index) for index in range(count)]
    smallest = min(found, key=lambda gpu: gpu.total_memory)
    return ServingGpus(smallest.name, float(smallest.total_memory), count)


def serve(
    plan: ServingPlan,
    vllm: str,
    host: str,
    port: int,
    chat: bool,
    tell: Callable[[str], None],
    wait: Callable[[str], None],
) -> None:
    """Until it is interrupted. Raises InputError where vLLM ends by itself."""
    here.listen(host, port).close()  # a port in use is told at once, not after the weights are loaded
    with tempfile.TemporaryDirectory(prefix="almr-serve-") as place:
        guard = Path(place) / folder.GUARD
        guard.write_text((Path(folder.__file__).parent / folder.GUARD).read_text(encoding="utf-8"), encoding="utf-8")
        words = [vllm, "serve", plan.model.source, *command.arguments(plan), f"--host={host}", f"--port={port}"]
        url = f"http://{f'[{host}]' if ':' in host else host}:{port}/health"
        with running(words, environment(place), url, Path(place) / "vllm.log") as server:
            server.wait_until_healthy(wait)
            for line in here.lines(plan.model.name, host, port, chat):
                tell(line)
            server.wait()


def environment(guard: str) -> dict[str, str]:
    """With the key under the name that vLLM reads, and the folder of guard.py among Python's modules."""
    own = {name: value for name, value in os.environ.items() if name not in here.KEYS}
    paths = os.pathsep.join(path for path in (guard, own.get("PYTHONPATH")) if path)
    found = here.key()
    return own | {"PYTHONPATH": paths} | ({command.KEY: found} if found else {})
