"""The launch that is watched: what its bundle, a format's folder or a confirmation run planned and predicted."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from analysis.launch.evidence import evidence
from analysis.launch.plan import predicted_losses
from analysis.launch.plan.predicted_losses import PredictedLosses
from analysis.launch.watching import predicted_path
from analysis.launch.watching.predicted_path import PredictedPath
from sweep.study import LANGUAGES, InputError, Study, study_file
from sweep.study.files import reader, regular
from sweep.study.files.layout import RunFiles
from sweep.study.sections.recipe.lr_schedule import LrSchedule

START, STUDY = "start.sh", "study.yaml"
SETTINGS = {
    "llamafactory": "llamafactory.yaml",
    "torchtitan": "almr_launch.py",
    "megatron": "megatron_args.txt",
    "axolotl": "axolotl.yaml",
    "trl": "trl.yaml",
}
# The folder that its own run writes into, and where that is by default; other lines may name that of another launch.
CHECKPOINTS = re.compile(
    r"""ALMR_CHECKPOINTS(?::-|"\) or ')(?P<beside>[./]+)(?:\}"/|', ')"""
    r"(?P<name>checkpoints-[A-Za-z0-9._-]+-[0-9a-f]{8})\b"
)
CONFIRM = re.compile(r"confirm-(\d+)-(.+)")
AGAIN = "export again: almr export RUN"


@dataclass(frozen=True)
class WatchedLaunch:
    """`folder` is that of the format. `study`: the launch as a study of one trial. `predicted` and `path`: of this
    setting, None where nothing was predicted of it; `why_not` says why. `branched`: the step from which on a branch
    trains with another LR, and how many times the LR before that it is.
    """

    folder: Path
    format: str
    study: Study
    predicted: PredictedLosses | None = None
    path: PredictedPath | None = None
    why_not: str = ""

    @property
    def steps(self) -> int:
        return self.study.training.steps

    @property
    def step_tokens(self) -> int:
        return self.study.training.global_batch_tokens

    @property
    def almr(self) -> float:
        return self.study.grid.almr[0]

    @property
    def lr(self) -> float:
        return self.study.grid.lrs[0]

    @cached_property
    def schedule(self) -> LrSchedule:
        return self.study.training.lr_schedule(self.steps)

    @property
    def labels(self) -> dict[str, str]:
        return {name: self.study.language_name(name) for name in LANGUAGES}

    @property
    def loss_scale(self) -> float:
        """What a logged loss is multiplied by for nats per predicted token: of plain text LLaMA-Factory divides by all
        L labels of a row, of which L - 1 are predicted. In other stages its losses are as ours.
        """
        training = self.study.training
        length = training.sequence_length
        return length / (length - 1) if self.format == "llamafactory" and training.stage == "cpt" else 1.0

    @cached_property
    def sets(self) -> tuple[str, ...]:
        """The names of the held-out texts, in the order of Megatron's validation sets."""
        arguments = self.folder / SETTINGS["megatron"]
        try:
            words = regular.content(arguments).decode("utf-8").splitlines()
            after = words[words.index("--valid-data-path") + 1 :]
        except (OSError, ValueError):
            return self.study.corpora.source_names()
        own = after[: next((i for i, word in enumerate(after) if word.startswith("--")), len(after))]
        return tuple(Path(word).name.removeprefix("held_out_") for word in own)

    @cached_property
    def output(self) -> Path | None:
        """The folder in which the trainer writes its checkpoints and logs; None where the start script names none."""
        for name in (START, SETTINGS["torchtitan"]):
            try:
                found = CHECKPOINTS.search(regular.content(self.folder / name, AGAIN).decode("utf-8"))
            except (OSError, UnicodeDecodeError):
                continue
            if found:
                stated = os.environ.get("ALMR_CHECKPOINTS")  # relative to where it was started from, as in start.sh
                below = Path(os.path.abspath(stated)) if stated else self.folder / found["beside"]
                return Path(os.path.normpath(below / found["name"]))
        return None


def find(given: Path, logs: Iterable[Path] = ()) -> WatchedLaunch:
    """Raises InputError for a folder that is no launch, and for a bundle of several formats of which none is named."""
    folder = _format_folder(given, bool(list(logs)))
    name = next((name for name, file in SETTINGS.items() if (folder / file).is_file()), "native")
    study = _study(folder)
    if len(study.grid.almr) != 1 or len(study.grid.lrs) != 1:
        raise InputError(f"{folder / STUDY}: a launch is a study of one trial: name a folder that almr export wrote")
    return _with_prediction(WatchedLaunch(folder, name, study))


def _format_folder(given: Path, with_logs: bool) -> Path:
    if not given.is_dir():
        raise InputError(f"{given}: no such folder: name a launch bundle, such as runs/demo/launch")
    launch = RunFiles(given).launch
    bundle = launch if (launch / evidence.NAME).is_file() and not (given / START).is_file() else given
    if (bundle / START).is_file():
        return bundle
    inside = [path.parent for path in sorted(bundle.glob(f"*/{START}"))]
    if len(inside) == 1 and not (bundle / evidence.NAME).is_file():  # a branch
        return inside[0]
    if not (bundle / evidence.NAME).is_file():
        raise InputError(
            f"{given}: no launch bundle (it has no {evidence.NAME}, no {START}): almr export RUN writes one"
        )
    content = evidence.written(bundle) or {}
    names = [name for name in content.get("formats") or () if isinstance(name, str) and (bundle / name).is_dir()]
    started = [name for name in names if (out := WatchedLaunch(bundle / name, name, None).output) and out.is_dir()]  # type: ignore[arg-type]
    if len(names) == 1 or (len(started) == 1 and not with_logs):
        return bundle / (names if len(names) == 1 else started)[0]
    listed = ", ".join(str(bundle / name) for name in names) or "none"
    raise InputError(f"{given}: the launch is there in several formats: name the one that runs, of {listed}")


def _study(folder: Path) -> Study:
    """Of a confirmation run whose text another folder has, the launch's with the run's own LR and tokens."""
    if (folder / STUDY).is_file():
        return study_file.load(folder / STUDY)
    found = CONFIRM.fullmatch(folder.resolve().name)
    plan = reader.read_object(folder.parent / "confirm" / "plan.json") if found else None
    if not found or not plan or not (folder.parent / found[2] / STUDY).is_file():
        raise InputError(
            f"{folder}: it has no {STUDY}, so what was planned is not known: export again: almr export RUN"
        )
    study = study_file.load(folder.parent / found[2] / STUDY)
    try:
        lr, tokens = float(plan["lrs"][int(found[1]) - 1]), int(plan["tokens"])
    except (KeyError, IndexError, TypeError, ValueError):
        raise InputError(f"{folder.parent}/confirm/plan.json: it does not name the LR of {folder.name}") from None
    content = study.model_dump(mode="json", by_alias=True)
    content["grid"] |= {"lr": [lr]}
    content["training"] |= {"tokens": tokens}
    return Study.model_validate(content)


def _with_prediction(launch: WatchedLaunch) -> WatchedLaunch:
    predicted, tokens = _predicted(launch.folder), launch.steps * launch.step_tokens
    if predicted is None:
        why = "the bundle has no predicted losses"
    elif predicted.why_not:
        why = predicted.why_not
    elif not predicted.is_for(launch.almr, launch.lr, tokens):
        why = "the prediction is for another LR, ALMR or number of tokens"
    else:
        path = predicted_path.read(launch.folder.parent)
        own = path if path and (path.almr, path.lr, path.tokens) == (launch.almr, launch.lr, tokens) else None
        return WatchedLaunch(launch.folder, launch.format, launch.study, predicted, own, "" if own else ON_THE_WAY)
    return WatchedLaunch(launch.folder, launch.format, launch.study, why_not=why)


ON_THE_WAY = (
    "only the end is predicted: the trials measured no held-out loss on the way (training.evaluate_every in the study)"
)


def _predicted(folder: Path) -> PredictedLosses | None:
    """Beside the settings, as native has it, else in the evidence of the bundle."""
    if found := predicted_losses.read(folder):
        return found
    content = (evidence.written(folder.parent) or {}).get("predicted")
    try:
        return PredictedLosses.model_validate(content) if content else None
    except ValueError:
        return None
