"""The launch bundle: the files of each trainer format and the evidence for them, written whole or not at all."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from analysis.fit_file.result import FitResult
from analysis.launch import stages
from analysis.launch.confirm import plan as confirm_plan
from analysis.launch.confirm import result as confirm_result
from analysis.launch.confirm import run_files
from analysis.launch.confirm.plan import ConfirmPlan
from analysis.launch.evidence import bundle_folder, evidence, go, readme
from analysis.launch.evidence.evidence import Evidence, ReadBack
from analysis.launch.evidence.gather import WrittenBundle, gather
from analysis.launch.evidence.parity import ParityResult
from analysis.launch.formats import axolotl, llamafactory, megatron, native, torchtitan, trl
from analysis.launch.formats.format import Format
from analysis.launch.formats.preference import llamafactory as llamafactory_pairs
from analysis.launch.formats.preference import trl as trl_pairs
from analysis.launch.plan import make_plan
from analysis.launch.plan.held_out import HeldOutText
from analysis.launch.plan.launch_plan import REPLAYED, LaunchPlan
from analysis.launch.plan.layout import LaunchHardware
from analysis.launch.scripts import starts
from analysis.launch.stages import WrittenStage
from analysis.launch.watching import predicted_path
from sweep.study import CorpusFacts, InputError
from sweep.study.files import disk, unfinished
from sweep.study.files.atomic import sha256
from sweep.study.files.layout import RunFiles
from sweep.study.ingredients import read_ingredients
from sweep.study.sizes.known import EMBEDDED

Reader = Callable[[LaunchPlan, Path, str], ReadBack]  # reads a folder with the files of a format back, by its name
FORMATS: dict[str, Format] = {
    "llamafactory": llamafactory,
    "torchtitan": torchtitan,
    "megatron": megatron,
    "axolotl": axolotl,
    "trl": trl,
    "native": native,
}
PAIRS: dict[str, Format] = {"native": native, "trl": trl_pairs, "llamafactory": llamafactory_pairs}


class Exported(NamedTuple):
    """A written bundle in `folder`. `kept`: the folder of the bundle before it, where that was used. `headline`: the
    verdict of GO.md; `failed`: the checks that fail, which are `accepted` where the user gave a reason. `parity`: the
    newest parity run of each format.
    """

    folder: Path
    kept: Path | None
    read_back: tuple[ReadBack, ...]
    headline: str
    failed: tuple[str, ...] = ()
    accepted: bool = False
    parity: tuple[ParityResult, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return {"verdict": self.headline, "folder": str(self.folder), "failed": list(self.failed)}

    @property
    def notes(self) -> list[str]:
        return [f"the previous bundle was used, and is kept in {self.kept}"] if self.kept else []


@dataclass(frozen=True)
class FittedRun:
    """What a launch is made from: the fit, its run directory, the counts of its text and the held-out text by source,
    what is known of the launch's model and GPUs, and the newest parity run of each format.
    """

    fit: FitResult
    folder: Path
    corpora: dict[str, CorpusFacts]
    target: LaunchHardware | None = None
    held_out: HeldOutText | None = None
    parity: tuple[ParityResult, ...] = ()

    def plan(self, accept_risk: str | None) -> LaunchPlan:
        made = make_plan.make(self.fit, self.corpora, accept_risk, self.target, self.held_out)
        untried = dict.fromkeys(FORMATS, REPLAYED) if made.study.replay else {}
        return replace(made, parity=untried | {result.name: result.line for result in self.parity})

    @property
    def new_rows(self) -> int | None:
        """Rows that the trials' base model was given, if known."""
        made = read_ingredients(RunFiles(self.folder).ingredients)
        return made.base_check.new_rows if made and made.base_check else None


def export(
    run: FittedRun,
    out: Path,
    accept_risk: str | None = None,
    formats: tuple[str, ...] | None = None,
    reader: Reader | None = None,
) -> Exported:
    """Write the bundle to the folder `out`, by default in the formats that the study's launch names.

    A bundle at `out` is replaced, one that was used is kept beside it. `accept_risk` says why a refused winner is
    exported all the same; the bundle repeats it. `reader` reads each format back for the evidence.

    Raises InputError for a refused winner without a reason, for a study without a launch, and where `out` holds other
    files; OSError naming a file that cannot be written: the bundle before it stays.
    """
    plan = _plan(run, accept_risk, formats)
    bundle_folder.refuse_foreign(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    unfinished.remove_abandoned(out.parent)
    with unfinished.becoming(out) as folder:
        gathered = _fill(folder, run, plan, Requested(formats or plan.launch.formats, accept_risk, reader))
        kept = bundle_folder.replace(out, folder)
    return Exported(
        folder=out,
        kept=kept,
        read_back=gathered.read_back,
        headline=gathered.headline,
        failed=tuple(go.failed(gathered, plan.study)),
        accepted=gathered.accepted_reason is not None,
        parity=gathered.parity,
    )


class Requested(NamedTuple):
    """The formats to write, the reason to accept what fails, and who reads the files back."""

    formats: tuple[str, ...]
    accept_risk: str | None = None
    reader: Reader | None = None


def planned(run: FittedRun, out: Path, accept_risk: str | None, formats: tuple[str, ...]) -> LaunchPlan:
    """The plan of a bundle that `export` would write: to be known before hours of parity runs. Writes nothing that
    stays. Raises InputError where `export` would.
    """
    plan = _plan(run, accept_risk, formats)
    bundle_folder.refuse_foreign(out)
    if fault := refusal(plan, formats):
        raise InputError(fault)
    return plan


def _plan(run: FittedRun, accept_risk: str | None, formats: tuple[str, ...] | None) -> LaunchPlan:
    """Raises InputError as `export`, but for what a format finds while it is written."""
    plan = run.plan(accept_risk)
    named = formats or plan.launch.formats
    _refuse_stage(plan, named)
    _refuse_embedded(plan, named)
    if fault := plan.study.vocabulary_fault(named, run.new_rows):
        raise InputError(f"almr export cannot write {fault}")
    return plan


def refusal(plan: LaunchPlan, formats: tuple[str, ...]) -> str | None:
    """Why the launch cannot be written in one of these formats, else None: they are written to see."""
    try:
        _refuse_stage(plan, formats)
        _refuse_embedded(plan, formats)
        with tempfile.TemporaryDirectory() as folder:
            for name in dict.fromkeys(formats):
                write(plan, name, Path(folder) / name)
            stages.write(Path(folder), plan, formats, write)
    except InputError as error:
        return str(error)
    return None


def _refuse_stage(plan: LaunchPlan, formats: tuple[str, ...]) -> None:
    """Raises InputError for a trainer that is not told how to train the study's stage, or cannot on its machines."""
    stage = plan.study.training.stage
    known = stages.TRAINED.get(stage, tuple(FORMATS))  # all train `cpt`
    if others := [name for name in formats if name not in known]:
        raise InputError(
            f"launch.formats: {', '.join(others)}: training.stage {stage} is exported for {', '.join(known)} alone: "
            f"write launch.formats: [{known[0]}]"
        )
    if stage == "dpo" and native.NAME in formats and plan.launch.processes > 1:
        raise InputError(
            f"launch.formats: native: almr's own trainer takes preference pairs in one process, and the launch has "
            f"{plan.launch.processes}: write launch.formats: [trl]"
        )


def _refuse_embedded(plan: LaunchPlan, formats: tuple[str, ...]) -> None:
    """Raises InputError where a trainer other than ours is asked to load an embedded model."""
    others = [name for name in formats if name != native.NAME]
    if others and plan.launch.model in EMBEDDED:
        raise InputError(
            f"launch.model {plan.launch.model} is embedded, so {', '.join(others)} cannot load it: write "
            f"launch.formats: [native], or the folder of a model"
        )


def confirmation(run: FittedRun, accept_risk: str | None = None) -> ConfirmPlan:
    """The confirmation runs that would confirm the launch. Raises InputError as `export`."""
    plan = run.plan(accept_risk)
    confirm = confirm_plan.make(run.fit, plan)
    confirm_plan.refuse_unmeasured(confirm, plan)
    return confirm


def _fill(folder: Path, run: FittedRun, plan: LaunchPlan, requested: Requested) -> Evidence:
    fit, formats = run.fit, {name: format_of(plan, name) for name in dict.fromkeys(requested.formats)}
    reader = requested.reader
    confirm, done = confirm_plan.make(fit, plan), confirm_result.read(run.folder)
    unmeasured = plan.unmeasured(confirm.weights)
    _write_path(folder, run, plan)
    run_files.write(confirm, plan, folder, () if unmeasured else tuple(formats), write)
    confirm_result.copy(run.folder, folder / run_files.FOLDER)
    plan, notes = confirm_result.apply(plan, done, confirm, fit.file.transfer.edge if fit.file.transfer else None)
    valid = done if done and done.of(confirm) else None
    written = [warning for name in formats for warning in write(plan, name, folder / name)]
    warnings = [*notes, *written, *starts.warnings(plan)]
    after = stages.write(folder, plan, tuple(formats), write)
    read = tuple(_read(reader, plan, confirm, folder, name) for name in formats) if reader else ()
    read += tuple(_read_stages(reader, after, folder)) if reader else ()
    # The two pages are files whose hashes the evidence has: they are written from the evidence of the others.
    parity = _of(run.parity, formats)
    written_bundle = WrittenBundle(folder, tuple(formats), warnings, valid, read, parity, tuple(unmeasured))
    gathered = gather(fit, plan, run.folder, written_bundle)
    headline, failed = go.headline(gathered, plan.study), go.failed(gathered, plan.study)
    reason = requested.accept_risk and make_plan.as_text(requested.accept_risk) if failed else None
    gathered = gathered.model_copy(update={"headline": headline, "accepted_reason": reason})
    disk.written(
        folder / readme.NAME,
        readme.text(plan, formats, warnings, headline, [line for one in after for line in one.lines]),
    )
    disk.written(folder / go.NAME, go.page(gathered, plan.study))
    files = gathered.files | {name: sha256(folder / name) for name in (readme.NAME, go.NAME)}
    gathered = gathered.model_copy(update={"files": dict(sorted(files.items()))})
    disk.written(folder / evidence.NAME, gathered.model_dump_json(indent=2) + "\n")
    return gathered


def _write_path(folder: Path, run: FittedRun, plan: LaunchPlan) -> None:
    """Write predicted_path.json, where the trials measured held-out losses on the way."""
    from analysis.launch.watching import trial_paths  # surfaces take a second to import

    if path := trial_paths.predict(run.fit, run.folder, plan.predicted):
        disk.written(folder / predicted_path.NAME, path.model_dump_json(indent=2) + "\n")


def _of(results: tuple[ParityResult, ...], formats: Collection[str]) -> tuple[ParityResult, ...]:
    return tuple(result for result in results if result.name in formats)


def _read(reader: Reader, plan: LaunchPlan, confirm: ConfirmPlan, folder: Path, name: str) -> ReadBack:
    """Read back the launch's files and those of its confirmation runs."""
    found = reader(plan, folder / name, name)
    if found.differences is None:
        return found
    runs = [(where, of) for where, of in run_files.runs(confirm, plan, name) if (folder / where).is_dir()]
    brief = {where: reader(run, folder / where, name) for where, run in runs}
    more = [f"{where}: {line}" for where, one in brief.items() for line in one.differences or ()]
    unread = [f"{where}: {one.why_not}" for where, one in brief.items() if one.differences is None]
    if unread and not (found.differences or more):
        return found.model_copy(update={"differences": None, "why_not": unread[0]})
    return found.model_copy(update={"differences": (*found.differences, *more)})


def _read_stages(reader: Reader, after: list[WrittenStage], folder: Path) -> Iterator[ReadBack]:
    for one in after:
        for name, plan in one.plans.items():
            where = f"{one.stage}/{name}"
            yield reader(plan, folder / where, name).model_copy(update={"name": where})


def format_of(plan: LaunchPlan, name: str) -> Format:
    """The format of this name for the study's stage."""
    return (PAIRS if plan.study.training.stage == "dpo" else FORMATS)[name]


def write(plan: LaunchPlan, name: str, folder: Path) -> list[str]:
    """Write one format's files and start scripts; returns warnings to read before using them."""
    folder.mkdir()
    made = format_of(plan, name)
    warnings = made.write(plan, folder)
    starts.write(plan, folder, name, made.command(plan))
    return [*warnings, *plan.layout(name).warnings(name)]
