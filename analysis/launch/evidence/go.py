"""GO.md: what has to be true before the large run is started, each line pass, fail or unknown. One page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from analysis.launch.evidence.evidence import Evidence
from sweep.study.sections.transfer import Confirmation
from sweep.study.study import Study

State = Literal["pass", "fail", "unknown"]
NAME = "GO.md"
SAFE = 2.0  # the edge's LR over the launch's
WIDE = 4.0  # upper over lower end of the LR's interval: a factor of 2 either way
BAND, LEAST_INSIDE = "0.9", 0.75
NOTABLE = 1.05


@dataclass(frozen=True)
class GoCheck:
    name: str
    state: State
    detail: str


def checks(evidence: Evidence, study: Study) -> list[GoCheck]:
    parts = (_fit, _transfer, _runs, _data)
    return [check for part in parts for check in part(evidence, study)]


def page(evidence: Evidence, study: Study) -> str:
    found = checks(evidence, study)
    counts = {state: sum(check.state == state for check in found) for state in ("fail", "unknown")}
    failed, unknown = counts["fail"], counts["unknown"]
    word = "NO GO" if failed else "GO" if not unknown else "GO only if what is unknown is accepted"
    rows = [f"| {check.state} | {check.name} | {_cell(check.detail)} |" for check in found]
    head = f"# {word}: {failed} failed, {unknown} unknown, of {len(found)}"
    about = (
        f"The launch of {_cell(evidence.launch.model)} by the study {evidence.study.name}; the numbers: evidence.json."
    )
    return "\n".join([head, "", about, "", "| | check | |", "|---|---|---|", *rows, ""])


def _cell(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text).replace("|", "\\|")


def _state(passed: bool | None) -> State:
    return "unknown" if passed is None else "pass" if passed else "fail"


def _fit(evidence: Evidence, study: Study) -> Iterator[GoCheck]:
    risk = evidence.accepted_risk
    refused = f"refused ({', '.join(f.code for f in risk.refusals)}), accepted: {risk.reason}" if risk else "no refusal"
    yield GoCheck("the fit stands by its winner", _state(risk is None), refused)
    counts = evidence.quality.trials
    told = f"{counts.complete} complete, {counts.diverged} diverged, {counts.failed} failed, {counts.excluded} left out"
    yield GoCheck("no trial failed", _state(not counts.failed), told)
    inside = {name: check.coverage.get(BAND) for name, check in evidence.quality.cross_validation.items()}
    known = [share for share in inside.values() if share is not None]
    shares = ", ".join(f"{name} {share:.0%}" for name, share in inside.items() if share is not None)
    passed = min(known) >= LEAST_INSIDE if known else None
    yield GoCheck("trials lie inside their 90 % bands", _state(passed), shares or "not told")
    warnings = "; ".join(finding.code for finding in evidence.fit_warnings) or "none"
    yield GoCheck("the fit warns of nothing", "unknown" if evidence.fit_warnings else "pass", f"warnings: {warnings}")
    if study.objective.guards or study.objective.forgetting_guard_percent is not None:
        yield GoCheck("guards are kept", _state(risk is None), "a guard that is not kept refuses the fit")
    else:
        yield GoCheck("guards are kept", "unknown", "the study states none")


def _transfer(evidence: Evidence, study: Study) -> Iterator[GoCheck]:
    found = evidence.transfer
    named = study.launch is not None and study.launch.transfer is not None
    yield GoCheck(
        "the transfer rule is named", _state(named), f"{found.rule}: {found.source or 'fitted from its rungs'}"
    )
    low, high = evidence.launch_lr_interval.low, evidence.launch_lr_interval.high
    told = f"LR {evidence.launch_lr:.3g} ({low:.3g} to {high:.3g})"
    yield GoCheck("its LR is known to a factor of 2", _state(high / low <= WIDE), told)
    factor = found.edge.over(evidence.launch_lr) if found.edge else None
    measured = found.edge is not None and found.edge.measured
    told = (
        "not known" if factor is None else f"{factor:.2g} x the LR{'' if measured else ' at least; nothing diverged'}"
    )
    far = None if factor is None or (factor < SAFE and not measured) else factor >= SAFE
    yield GoCheck("the divergence edge, carried, is far", _state(far), told)
    yield _cost(evidence, study)
    ratio, size = found.token_ratio, found.size_ratio
    near = None if ratio is None or max(ratio, 1 / ratio) > NOTABLE else True
    told = "not told" if ratio is None else f"{ratio:.3g} x the trials'"
    yield GoCheck("the token horizon is the trials'", _state(near), told)
    told = "not known: state both sizes" if size is None else f"{size:.3g} x the trials'"
    yield GoCheck("the model's size is the trials'", _state(True if size and size < NOTABLE else None), told)
    history = [warning for warning in found.warnings if warning.startswith("pre-training tokens")]
    known = bool(found.edge)
    told = history[0] if history else "alike" if known else "not told"
    yield GoCheck("pre-training tokens per parameter are alike", "pass" if known and not history else "unknown", told)


def _cost(evidence: Evidence, study: Study) -> GoCheck:
    found, limit = evidence.transfer.lr_cost, _tolerance(study)
    sides = {"half": found.half, "twice": found.double} if found else {}
    known = {name: cost for name, cost in sides.items() if cost is not None}
    told = ", ".join(
        f"{name} the LR {cost.nats:+.4f} nats ({cost.interval.low:+.4f} to {cost.interval.high:+.4f})"
        for name, cost in known.items()
    )
    passed = None if len(known) < 2 else all(cost.interval.high <= limit for cost in known.values())
    return GoCheck(f"an LR off by 2x costs at most {limit:g} nats", _state(passed), told or "outside the measured LRs")


def _tolerance(study: Study) -> float:
    rule = study.launch.transfer if study.launch else None
    return (rule.confirm if rule else Confirmation()).tolerance


def _runs(evidence: Evidence, study: Study) -> Iterator[GoCheck]:
    confirmed = evidence.confirmation
    if confirmed is None:
        yield GoCheck("confirmed at the target size", "unknown", "not run: confirm/plan.json, then almr confirm")
        return
    passed = None if confirmed.judgement.answer == "undecided" else True
    yield GoCheck("confirmed at the target size", _state(passed), confirmed.text)


def _data(evidence: Evidence, study: Study) -> Iterator[GoCheck]:
    for name, corpus in evidence.corpora.items():
        limit, passes = study.objective.max_epochs, corpus.launch_epochs
        told = "its size is not known" if passes is None else f"{passes:.3g} passes, at most {limit:g}"
        yield GoCheck(f"the {name} corpus is enough", _state(None if passes is None else passes <= limit), told)
    exact = evidence.launch_tokens == evidence.launch.tokens
    told = f"{evidence.launch_steps:,} steps, {evidence.launch_tokens:,} of {evidence.launch.tokens:,} tokens"
    near = exact or abs(evidence.launch_tokens / evidence.launch.tokens - 1) < NOTABLE - 1
    yield GoCheck("whole steps make the tokens", _state(near), told)
    origin = evidence.provenance or {}
    clean = None if not origin.get("git") else not str(origin["git"]).endswith("-dirty")
    yield GoCheck("the trials' code is a clean commit", _state(clean), str(origin.get("git") or "not a checkout"))
    hashes = evidence.base_model_fingerprint, evidence.study.sha256, origin.get("code_sha256")
    told = f"base model and tokenizer {hashes[0]}, study {_short(hashes[1])}, code {_short(hashes[2])}"
    yield GoCheck("model, tokenizer, study and code are hashed", _state(True if all(hashes) else None), told)
    yield _read_back(evidence)


def _read_back(evidence: Evidence) -> GoCheck:
    wrong = any(found.differences for found in evidence.read_back)
    unread = not evidence.read_back or any(found.differences is None for found in evidence.read_back)
    told = "; ".join(found.text for found in evidence.read_back) or "not asked: almr export --verify"
    state: State = "fail" if wrong else "unknown" if unread else "pass"
    return GoCheck("the configuration was read back by its trainer", state, told)


def _short(digest: str | None) -> str:
    return digest[:12] if digest else "not there"
