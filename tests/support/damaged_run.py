"""A damaged run is given to every verb in this process: what each may do with it, and what it may not."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pickle
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import whole_run
from damages import MARKED, MISSING, OF_JSON, TRIAL, Case
from time_limits import limited
from typer.testing import CliRunner

from sweep import cli
from sweep.study.study_file import dump
from sweep.verbs.results import fitting

RISK = ("--accept-risk", "a test")
VERBS: dict[str, tuple[str, ...]] = {
    "doctor": ("doctor", whole_run.NAME, "--json"),
    "status": ("status", whole_run.NAME),
    "status --json": ("status", whole_run.NAME, "--json"),
    "plan": ("plan", "study.yaml", "--json"),
    "report": ("report", whole_run.NAME, "--json"),
    "export": ("export", whole_run.NAME, "--json", *RISK),
    "confirm": ("confirm", whole_run.NAME, "--json", *RISK),
    "confirm --results": ("confirm", whole_run.NAME, "--json", "--results", whole_run.RESULTS, *RISK),
    "fit": ("fit", whole_run.NAME, "--json"),
    "run": ("run", "study.yaml", "--json"),
}
SECONDS = 30.0  # for a verb, on a busy machine; a hang takes longer
STATUSES = (0, 2, 3)
KEPT = ("study.yaml", "ingredients.json", "trials/", "base/", "confirmation/")  # what no verb can make again
WRITTEN = {
    "confirm --results": ("confirmation",),
    "run": ("study.yaml", "trial.json", "search.json", "ingredients.json"),
}
LOOSE = ("train.log", "heartbeat", ".mirror.json")  # of which no content is wrong
READ_ONLY = ("doctor", "status", "status --json", "plan")


class HungError(BaseException):
    """A verb that took longer than SECONDS."""


class Outcome(NamedTuple):
    """What a verb did: its exit status, its two streams, and what broke it, if that is no message to a user."""

    status: int
    out: str
    err: str
    broken: str | None
    seconds: float


def call(folder: Path, arguments: tuple[str, ...]) -> Outcome:
    """`almr ARGUMENTS` in a folder."""
    began = time.monotonic()
    with contextlib.chdir(folder), limited(signal.ITIMER_REAL, SECONDS, HungError()):
        try:
            done = CliRunner().invoke(cli.app, arguments)
        except HungError:
            return Outcome(70, "", "", f"took over {SECONDS:g} s", SECONDS)
    error, seconds = done.exception, time.monotonic() - began
    if not isinstance(error, Exception):
        return Outcome(done.exit_code, done.stdout, done.stderr, None, seconds)
    lines, status = cli.terminal.explain(error)
    broken = f"{type(error).__name__}: {error}" if status == 70 else None
    return Outcome(status, done.stdout, done.stderr + "".join(f"almr: {line}\n" for line in lines), broken, seconds)


@contextlib.contextmanager
def fitted_once() -> Iterator[None]:
    """Equal tables are fitted and drawn once: what is tried here is how files are read."""
    fits: dict[bytes, Any] = {}
    drawn: dict[tuple[bytes, bytes], dict[str, bytes]] = {}
    fit_study, write_figures = fitting.fit_study, fitting.plots.write_figures

    def fit(study: Any, table: Any, scored: Any = None) -> Any:
        key = pickle.dumps((dump(study), table.to_csv(), table.attrs, scored))
        if key not in fits:
            fits[key] = fit_study(study, table, scored=scored)
        return fits[key]

    def draw(fitted: Any, folder: Path) -> list[Path]:
        key = _key(fits, fitted), _digest(sorted(folder.glob("trials/*/metrics.jsonl")))
        if key not in drawn:
            drawn[key] = {path.name: path.read_bytes() for path in write_figures(fitted, folder)}
        for name, content in drawn[key].items():
            fitting.write_atomically(folder / "figures" / name, content)
        return [folder / "figures" / name for name in drawn[key]]

    with (
        mock.patch.object(fitting, "fit_study", fit),
        mock.patch.object(fitting.plots, "write_figures", draw),
        whole_run.without_ray(),
    ):
        yield


def _key(fits: dict[bytes, Any], fitted: Any) -> bytes:
    return next((key for key, one in fits.items() if one is fitted), b"%d" % time.monotonic_ns())


def _digest(paths: list[Path]) -> bytes:
    digest = hashlib.sha256()
    for path in paths:
        whole = path.is_file() and path.stat().st_size < 10**6
        digest.update(path.parent.name.encode() + (path.read_bytes() if whole else b"?"))
    return digest.digest()


def _linked(source: str, target: str) -> None:
    """A link to the sound file; a copy of one that the product writes in place."""
    if "confirmation" in target:
        shutil.copy2(source, target)
    else:
        os.link(source, target)


def snapshot(run: Path) -> dict[str, tuple[Any, ...]]:
    """What identifies every file of a run, without reading any."""
    found = {}
    for place, _, names in os.walk(run):
        for name in names:
            stat = (path := Path(place, name)).lstat()
            found[path.relative_to(run).as_posix()] = (stat.st_ino, stat.st_mode, stat.st_size, stat.st_mtime_ns)
    return found


class Attack:
    """Cases on a copy of one whole run, in `folder`, which is mended after each. Files are links to the sound ones."""

    def __init__(self, sound: Path, folder: Path) -> None:
        self.sound, self.folder = sound / "runs" / whole_run.NAME, folder
        shutil.copytree(sound, folder, copy_function=_linked)
        self.run = folder / "runs" / whole_run.NAME
        self.whole = self.before = snapshot(self.run)
        self.case: Case | None = None
        self.untouched = False
        self.answers = {verb: _answer(verb, self._tried(None, verb)[0].out) for verb in VERBS}

    def faults(self, case: Case, verbs: tuple[str, ...] = tuple(VERBS)) -> Iterator[str]:
        """What is wrong with the answers of the verbs to a case, a line each."""
        doctor = self._tried(case, "doctor")
        told = _told(doctor[0], case)
        for verb in verbs:
            outcome, changed = doctor if verb == "doctor" else self._tried(case, verb)
            for fault in self._wrong(case, verb, outcome, changed, told):
                yield f"{case.name} | {verb}: {fault}"
        if not told and _has_to_be_told(case):
            yield f"{case.name} | doctor: does not name it ({doctor[0].status})"
        self._mend()

    def _tried(self, case: Case | None, verb: str) -> tuple[Outcome, list[str]]:
        """What the verb does, and the files that it changed; of a verb that reads only, those that it made too."""
        if self.case is not case or not self.untouched:
            self._mend()
            if case:
                case.apply(self.run)
            self.case, self.before = case, snapshot(self.run)
        outcome, after = call(self.folder, VERBS[verb]), snapshot(self.run)
        self.untouched = after == self.before
        changed = sorted(name for name, file in self.before.items() if after.get(name) != file)
        return outcome, changed + sorted(after.keys() - self.before.keys()) if verb in READ_ONLY else changed

    def _mend(self) -> None:
        """Make the copy whole again."""
        self.case, self.untouched = None, False
        for path in (*self.run.parent.glob("*"), *self.run.glob("*")):  # links, and files in the place of folders
            if path.is_symlink() or (path.is_file() and path.name in ("trials", "base", "figures", "launch", "code")):
                path.unlink()
        now = snapshot(self.run)
        for name in now.keys() - self.whole.keys():
            (self.run / name).unlink(missing_ok=True)
        for name, file in self.whole.items():
            if now.get(name) != file:
                self._restore(self.run / name, self.sound / name)
        for place, folders, names in os.walk(self.run, topdown=False):
            if not folders and not names:
                with contextlib.suppress(OSError):
                    os.rmdir(place)
        self.whole = snapshot(self.run)

    def _restore(self, path: Path, sound: Path) -> None:
        for place in (path, path.parent):
            if place.is_dir() and not place.is_symlink() and place is path:
                shutil.rmtree(place)
            elif os.path.lexists(place) and (place is path or not place.is_dir()):
                place.unlink()
        path.parent.mkdir(parents=True, exist_ok=True)
        _linked(str(sound), str(path))

    def _wrong(self, case: Case, verb: str, outcome: Outcome, changed: list[str], told: bool) -> Iterator[str]:
        if outcome.broken:
            yield outcome.broken[:300]
            return
        if outcome.status not in STATUSES:
            yield f"status {outcome.status}: {outcome.err[:300]}"
        lines = outcome.err.splitlines()
        said = outcome.err + outcome.out  # of a run whose bundle is refused, the answer says why
        if outcome.status == 2 and verb != "doctor" and case.damage != MISSING and not _is_named(case, said):
            yield f"does not name the file: {outcome.err[:300]}"
        if outcome.status == 2 and (len(lines) > 12 or any(len(line) > 700 for line in lines)):
            yield f"{len(lines)} lines of {max(map(len, lines))} letters: {outcome.err[:200]}"
        if outcome.status != 2 or verb == "doctor":
            yield from self._of_answer(case, verb, outcome, told)
        allowed = WRITTEN.get(verb, ())
        lost = [n for n in changed if verb in READ_ONLY or n.startswith(KEPT)]
        if touched := [name for name in lost if not name.endswith(allowed) and not name.startswith(allowed or ("\0",))]:
            yield f"changed {touched[:3]}"

    def _of_answer(self, case: Case, verb: str, outcome: Outcome, told: bool) -> Iterator[str]:
        try:
            answer = _answer(verb, outcome.out)
        except ValueError as error:
            yield f"prints no JSON: {error}"
            return
        if answer != self.answers[verb] and not told and not _is_named(case, outcome.err) and case.damage != MISSING:
            yield f"another answer in silence: {str(answer)[:120]} instead of {str(self.answers[verb])[:120]}"


def _answer(verb: str, out: str) -> Any:
    """What a verb decided. Raises ValueError for what is no JSON."""
    if "--json" not in VERBS[verb]:
        return [line for line in out.splitlines() if line.startswith("best trial")]
    content = json.loads(out, parse_constant=_refuse)
    if verb in ("fit", "run"):
        return [content["winner"], content["trials"]]
    return [content["best"], content["complete"], content["trials"]] if verb.startswith("status") else verb


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


def _is_named(case: Case, text: str) -> bool:
    """Whether a message names the damaged file, its trial or folder."""
    parts = Path(case.file).parts
    return not parts or any(part in text for part in (parts[-1], *parts[1:-1])) or "out of date" in text


def _told(doctor: Outcome, case: Case) -> bool:
    """Whether the doctor names the file, or says that what was fitted has changed."""
    if doctor.broken:
        return False
    if not doctor.out.strip():
        return _is_named(case, doctor.err)
    content = json.loads(doctor.out)
    remarks = [*content["damaged"], *content["notes"]]
    names = [one["file"] for one in remarks]
    changed = any("out of date" in one["message"] for one in remarks)
    return changed or bool(names and not case.file) or any(name and case.file.startswith(name) for name in names)


def _has_to_be_told(case: Case) -> bool:
    """Of the listed damages: a mark is read, a file that was never there is not missed, and a log may say anything."""
    if case.damage in (MARKED, MISSING) or "=" in case.damage.name or case.damage.name.startswith("random"):
        return False
    loose = case.file.endswith(LOOSE) and not case.damage.name.startswith(("a ", "huge"))
    empty = case.damage in OF_JSON and case.damage.name in ("content {}", "content newer")
    return not loose and not empty and case.file != ".mirror.json" and (case.file, case.damage.name) not in SOUND


SOUND = {  # damages after which a file still says what such a file may say
    (f"{TRIAL}/metrics.jsonl", "twice"),
    *((f"{TRIAL}/{name}", "huge") for name in ("train.log", "heartbeat")),
    ("study.yaml", "cut at the end"),  # the name of its table
}
