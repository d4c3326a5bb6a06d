"""What is measured on: a GPU, or a CPU for a rehearsal with tiny shapes; its base model, text and studies."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sweep.store.run import Run
from sweep.study import Record, Study, Trial
from sweep.study.study_file import dump
from tests.gpu import bases

SEQUENCE = {"cuda": 2048, "cpu": 32}
CPUS = {"cuda": 4, "cpu": 1}
TOLERANCE = 0.02  # nats per token: two ways to compute the same loss in bfloat16 differ by less


@dataclass(frozen=True)
class Setting:
    """`device`: cuda or cpu. `work`: folder of runs, models and the cache. `kit`: the unpacked kit, None: without."""

    device: str
    work: Path
    kit: Path | None

    @staticmethod
    def of_environment() -> Setting:
        kit = os.environ.get("ALMR_GPU_KIT")
        return Setting(os.environ["ALMR_GPU_DEVICE"], Path(os.environ["ALMR_GPU_WORK"]), Path(kit) if kit else None)

    @property
    def environment(self) -> dict[str, str]:
        """What `of_environment` reads, and the product's cache in the same folder."""
        kit = {"ALMR_GPU_KIT": str(self.kit)} if self.kit else {}
        offline = (
            {"HF_HUB_OFFLINE": "1", "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": f"{self.kit}/carried"} if self.kit else {}
        )
        cache = {"ALMR_CACHE": str(self.work / "cache")}
        threads = {} if self.gpu else {"OMP_NUM_THREADS": "1"}  # matrices are tiny: more only wait for each other
        return kit | offline | cache | threads | {"ALMR_GPU_DEVICE": self.device, "ALMR_GPU_WORK": str(self.work)}

    @property
    def gpu(self) -> bool:
        return self.device == "cuda"

    def of(self, gpu: Any, cpu: Any) -> Any:
        """One of two sizes: the GPU's, or the rehearsal's."""
        return gpu if self.gpu else cpu

    @cached_property
    def sequence(self) -> int:
        return SEQUENCE[self.device]

    def content(self, name: str, steps: int, sequences: int, **training: Any) -> dict[str, Any]:
        """A study of one trial: SmolLM2-135M on plays and Chinese verse, `steps` of so many sequences each. Without a
        kit and without a GPU: a small random model on a few sentences.
        """
        batch = sequences * self.sequence
        recipe = {
            "sequence_length": self.sequence,
            "tokens": steps * batch,
            "global_batch_tokens": batch,
            "evaluation_tokens": self.of(16, 4) * self.sequence,
            "precision": self.of("bfloat16", "float32"),
            "log_every": 1,
            "divergence_margin": 5.0,
        }
        return {
            "name": name,
            **bases.sources(self.kit, self.gpu, self.work),
            "training": recipe | training,
            "grid": {"almr": [0.5], "lr": [1e-3]},
            "resources": self.resources,
            "tracking": {"tensorboard": False},
        }

    @property
    def resources(self) -> dict[str, Any]:
        return self.of({"gpus_per_node": 1, "cpus_per_gpu": CPUS["cuda"]}, {"cpus": CPUS["cpu"]})

    def begun(self, content: dict[str, Any]) -> tuple[Run, Study, Trial]:
        """A run of this study in its own new folder, prepared as `almr run` does, and its first trial."""
        from trainers.prepare import prepare

        study = Study.model_validate(content)
        run = Run(fresh(self.work / "runs" / study.name))
        run.keep_ingredients(prepare(study))
        run.freeze(study)
        return run, study, study.grid_trials[0]

    def trained(self, content: dict[str, Any]) -> tuple[Record, list[dict[str, Any]]]:
        """The record of the study's first trial, run as a worker of `almr run` runs it, and its logged steps."""
        from sweep.study.files.reader import json_lines
        from sweep.worker.run_trial import work

        run, _, trial = self.begun(content)
        record = work(run.address, trial)
        lines = json_lines(run.files.trial(trial.id).metrics, "step")
        return record, [line for line in lines if "loss" in line]

    def study_file(self, content: dict[str, Any]) -> Path:
        path = self.work / f"{content['name']}.yaml"
        path.write_text(dump(Study.model_validate(content)), encoding="utf-8")
        return path


def fresh(folder: Path) -> Path:
    import shutil

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def gigabytes(size: float) -> float:
    return round(size / 1e9, 3)
