"""Preparation: the base model is converted, and the text is packed; all other parts find both in the cache."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from typing import Any

from sweep.study import Study
from tests.gpu.setting import Setting


def measure(setting: Setting, write: Callable[..., None]) -> None:
    import torch

    from trainers.prepare import prepare

    write("versions", _versions(setting, torch))
    phases: list[tuple[str, float]] = []
    began = time.perf_counter()

    def progress(phase: str, share: float | None) -> None:
        if not phases or phases[-1][0] != phase:
            phases.append((phase, time.perf_counter()))

    prepare(Study.model_validate(setting.content("prepared", steps=2, sequences=1)), progress)
    ends = [at for _, at in phases[1:]] + [time.perf_counter()]
    took = {f"{phase}, s": round(end - at, 1) for (phase, at), end in zip(phases, ends, strict=True)}
    write("model and text", took | {"all, s": round(time.perf_counter() - began, 1)})


def _versions(setting: Setting, torch: Any) -> dict[str, Any]:
    import transformers

    cuda = {"CUDA": torch.version.cuda, "GPUs": torch.cuda.device_count()} if setting.gpu else {}
    return {
        "Python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    } | cuda
