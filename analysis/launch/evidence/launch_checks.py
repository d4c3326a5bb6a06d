"""The checks of GO.md on the launch itself: its confirmation, its text, and where its numbers come from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from analysis.launch.evidence import parity
from analysis.launch.evidence.check import STATES, GoCheck, State
from analysis.launch.evidence.evidence import Evidence
from analysis.launch.evidence.fit_checks import NOTABLE
from sweep.study import Study
from sweep.study import numbers as formats
from sweep.study.record import OWN_TRAINER


def of_size(evidence: Evidence, study: Study) -> Iterator[GoCheck]:
    yield _confirmation(evidence)
    unmeasured = evidence.unmeasured
    gone = f"none of {', '.join(unmeasured)}, so no confirmation run can be compared: set launch.evaluation"
    detail = gone if unmeasured else "measured"
    yield GoCheck("held-out losses", "warn" if unmeasured else "pass", detail)
    yield from _memory(evidence)


def _memory(evidence: Evidence) -> Iterator[GoCheck]:
    """Of launches on GPUs."""
    if not evidence.launch.gpus_per_node:
        return
    states: list[State] = []
    details = []
    for name, takes in evidence.estimates.items():
        if takes.memory is None or takes.usable_memory is None:
            states.append("not known")
            details.append(f"{name} not checked: {takes.why_not or 'state launch.gpu and launch.shape'}")
            continue
        fits = takes.memory <= takes.usable_memory
        states.append("pass" if fits else "fail")
        fix = "" if fits else ": take more or larger GPUs"
        details.append(f"{name} {formats.size(takes.memory)} of {formats.size(takes.usable_memory)} usable{fix}")
    yield GoCheck("memory of a GPU", min(states, key=STATES.index, default="not known"), "; ".join(details))


def _confirmation(evidence: Evidence) -> GoCheck:
    name, found, transfer = "confirmation at the launch's size", evidence.confirmation, evidence.transfer
    if found is not None:
        undecided = found.judgement.answer == "undecided"
        lost = undecided and found.judgement.diverged
        detail = "; ".join([found.said, *found.kept])
        return GoCheck(name, "fail" if lost else "pass" if found.decided else "warn", detail)
    sizes = {"parameters": transfer.size_ratio, "tokens": transfer.token_ratio}
    if all(ratio is not None and max(ratio, 1 / ratio) <= NOTABLE for ratio in sizes.values()):
        return GoCheck(name, "pass", "not needed: the launch is as large as a trial")
    steps = ", ".join(
        f"{kind} not known" if ratio is None else f"{formats.times(ratio)} the {kind} of a trial"
        for kind, ratio in sizes.items()
    )
    return GoCheck(name, "not known", f"{steps}, and no run at that size: almr confirm RUN plans some")


def of_data(evidence: Evidence, study: Study) -> Iterator[GoCheck]:
    limit = study.objective.max_epochs
    kept = [study.source_label(name) for name in evidence.corpora if name not in evidence.held_out]
    yield _held_out(kept, any(not one.counted for one in evidence.corpora.values()))
    for name, corpus in evidence.launch_corpora.items():
        language = study.language_name(corpus.language)
        label = language if name == corpus.language else f"{name} ({language})"
        passes, statement = corpus.launch_epochs, f"{label} corpus"
        if passes is None:
            yield GoCheck(statement, "not known", "its size: state launch.corpora, with tokens")
        else:
            size = f"{formats.tokens(corpus.corpus_tokens)} tokens, {corpus.size_source}"
            fix = "" if passes <= limit else ": supply a larger corpus"
            detail = f"the launch reads {formats.passes(passes, 'it')}; bound {limit:g} x; {size}{fix}"
            yield GoCheck(statement, "pass" if passes <= limit else "fail", detail)
    if stated_only := [study.source_label(name) for name, one in evidence.corpora.items() if not one.counted]:
        yield GoCheck("counts of the text", "not known", f"as stated, not counted: {', '.join(stated_only)}")
    stated, trained = evidence.launch.tokens, evidence.launch_tokens
    near = trained == stated or abs(trained / stated - 1) < NOTABLE - 1
    detail = f"{evidence.launch_steps:,} steps make {trained:,} tokens of {stated:,}"
    yield GoCheck("whole steps", "pass" if near else "fail", detail)


def _held_out(kept: list[str], replayed: bool) -> GoCheck:
    name = "trials' held-out text"
    if not kept:
        return GoCheck(name, "pass", "left out of the launch")
    if replayed:
        return GoCheck(name, "not known", "a replay reads no text: export a run of the study itself")
    fix = "run almr prepare STUDY, then almr export RUN"
    return GoCheck(name, "warn", f"in the training text of {', '.join(kept)}: {fix}")


def of_origin(evidence: Evidence, study: Study) -> Iterator[GoCheck]:
    origin = evidence.provenance or {}
    commit, code = (_text(origin.get(name)) for name in ("git", "code_sha256"))
    dirty = commit.endswith("-dirty")
    place = f"commit {commit}" if commit else "no git checkout"
    others = _other_code(evidence)
    known: State = "warn" if dirty or others else "pass" if commit or code else "not known"
    yield GoCheck("code of the trials", known, f"{place}, sha256 {_short(code)}{others}")
    hashes = evidence.base_model_fingerprint, evidence.study.sha256
    detail = f"base model and tokenizer {hashes[0] or 'missing'}, study {_short(hashes[1])}"
    yield GoCheck("hashes", "pass" if all(hashes) else "warn", detail)
    wrong = any(found.differences for found in evidence.read_back)
    unread = not evidence.read_back or any(found.differences is None for found in evidence.read_back)
    detail = "; ".join(found.text for found in evidence.read_back) or "not requested: almr export RUN --verify"
    state: State = "fail" if wrong else "not known" if unread else "pass"
    yield GoCheck("read back by the trainers' parsers", state, detail)
    yield from _trainer(evidence)
    yield GoCheck("parity runs", *parity.summary(evidence.parity, evidence.formats, study.replay is not None))


def _other_code(evidence: Evidence) -> str:
    """How many trials were trained by other code than the last session's; empty where none was."""
    stated = (evidence.provenance or {}).get("other_code")
    counts = {_short(code): number for code, number in stated.items()} if isinstance(stated, dict) else {}
    listed = ", ".join(f"{code}: {number}" for code, number in counts.items())
    return f"; of {len(evidence.trials)} trials other code trained some (sha256 {listed})" if listed else ""


def _trainer(evidence: Evidence) -> Iterator[GoCheck]:
    """Where another trainer than ours trained the trials. Of trials by ours, the parity runs say the same."""
    by = {one.name: one.text for one in evidence.trainers}
    if {*by} <= {OWN_TRAINER}:
        return
    trained = f"{' and '.join(one.text for one in evidence.trainers)} trained the trials"
    others = [name for name, same in evidence.same_trainer.items() if not same]
    if not others:
        yield GoCheck("trainer of the trials", "pass", f"{trained} and launches: what was swept is launched")
        return
    passed = {result.name for result in evidence.parity if result.state == "pass"}
    open_ones = [name for name in others if name not in passed]
    measured = f"; their parity runs passed: {', '.join(name for name in others if name in passed)}"
    state: State = "warn" if open_ones else "pass"
    fix = ": almr trainer compare STUDY, or launch with the trainer of the trials" if open_ones else measured
    yield GoCheck("trainer of the trials", state, f"{trained}, but {', '.join(others)} would launch{fix}")


def _text(value: Any) -> str:
    """Of a file that may be damaged."""
    return value if isinstance(value, str) else ""


def _short(digest: str | None) -> str:
    return digest[:12] if digest else "missing"
