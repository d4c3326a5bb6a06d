"""The launch bundle: the files of each trainer format, and the evidence for them. Whole or not there."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from analysis.fit import Fit
from analysis.launch import confirm_plan, confirmed, evidence, go, page
from analysis.launch import plan as plans
from analysis.launch.confirm_plan import ConfirmPlan
from analysis.launch.formats import axolotl, llamafactory, megatron, native, torchtitan
from analysis.launch.formats.format import Format
from analysis.launch.layout import Target
from analysis.launch.plan import Plan
from analysis.launch.read_back import ReadBack
from analysis.launch.scripts import starts
from sweep.study import InputError
from sweep.trial import CorpusFacts

Reader = Callable[[Plan, Path, str], ReadBack]  # of a format, by name, in a bundle at a path
FORMATS: dict[str, Format] = {
    "llamafactory": llamafactory.FORMAT,
    "torchtitan": torchtitan.FORMAT,
    "megatron": megatron.FORMAT,
    "axolotl": axolotl.FORMAT,
    "native": native.FORMAT,
}


def export(
    fit: Fit,
    run: Path,
    corpora: dict[str, CorpusFacts],
    out: Path,
    accept_risk: str | None = None,
    formats: tuple[str, ...] | None = None,
    target: Target | None = None,
    reader: Reader | None = None,
) -> list[Path]:
    """Write the bundle of some formats, by default those that the study's launch names; returns its files.

    `run` is the run directory of the fit, `corpora` the counts of its text by language (original, additional), `target`
    what is known of the launch's model and GPUs; `reader` reads each format back for the evidence.
    A bundle already at `out` is replaced; a folder that holds anything else is left alone. A refused winner is exported
    only where `accept_risk` says why; the bundle repeats it. Raises InputError.
    """
    plan = plans.make(fit, corpora, accept_risk, target)
    _refuse_foreign(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    unfinished = out.with_name(f".{out.name}.unfinished-{os.getpid()}")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    try:
        _fill(unfinished, fit, plan, run, formats or plan.launch.formats, reader)
        _replace(out, unfinished)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return sorted(out / name for name in (*evidence.contents(out), evidence.NAME))


def confirmation(
    fit: Fit, corpora: dict[str, CorpusFacts], accept_risk: str | None = None, target: Target | None = None
) -> ConfirmPlan:
    """The brief runs that would confirm the launch of a fit. Raises InputError as `export`."""
    return confirm_plan.make(fit, plans.make(fit, corpora, accept_risk, target))


def _fill(folder: Path, fit: Fit, plan: Plan, run: Path, names: tuple[str, ...], reader: Reader | None) -> None:
    formats = {name: FORMATS[name] for name in dict.fromkeys(names)}
    confirm, done = confirm_plan.make(fit, plan), confirmed.read(run)
    confirm_plan.write(confirm, plan, folder, tuple(formats), write)
    confirmed.copy(run, folder / confirm_plan.FOLDER)
    plan, told = confirmed.apply(plan, done, confirm, fit.file.transfer.edge if fit.file.transfer else None)
    valid = done if done and done.of(confirm) else None
    written = [warning for name in formats for warning in write(plan, name, folder / name)]
    warnings = [*told, *written, *starts.warnings(plan)]
    (folder / "README.md").write_text(page.page(plan, formats, warnings), encoding="utf-8")
    read = tuple(reader(plan, folder, name) for name in formats) if reader else ()
    # The page is one of the files whose hashes the evidence has: it is written from the evidence of the others.
    before = evidence.gather(fit, plan, run, warnings, folder, valid, read)
    (folder / go.NAME).write_text(go.page(before, plan.study), encoding="utf-8")
    gathered = evidence.gather(fit, plan, run, warnings, folder, valid, read)
    (folder / evidence.NAME).write_text(gathered.model_dump_json(indent=2) + "\n", encoding="utf-8")


def write(plan: Plan, name: str, folder: Path) -> list[str]:
    """One format's files and start scripts; returns what to know before using them."""
    folder.mkdir()
    warnings = FORMATS[name].write(plan, folder)
    starts.write(plan, folder, name, FORMATS[name].command(plan))
    return [*warnings, *plan.layout(name).warnings(name)]


def _replace(out: Path, finished: Path) -> None:
    """A folder cannot be renamed over a full one: the old bundle steps aside first."""
    old = out.with_name(f".{out.name}.old-{os.getpid()}")
    if out.exists():
        os.replace(out, old)
    os.replace(finished, out)
    shutil.rmtree(old, ignore_errors=True)


def _refuse_foreign(out: Path) -> None:
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise InputError(f"{out}: is not a folder: export to another one")
    foreign = sorted(set(evidence.contents(out)) - _listed(out)) if out.exists() else []
    if foreign:
        raise InputError(f"{out}: holds {foreign[0]}, which no export wrote: move it away or export to another folder")


def _listed(out: Path) -> set[str]:
    """The files that the bundle at `out` says it wrote, by whatever version; none where there is no bundle."""
    try:
        written = json.loads((out / evidence.NAME).read_text(encoding="utf-8"))
        return {*written["files"], *written["links"]}
    except (OSError, ValueError, KeyError, TypeError):
        return set()
