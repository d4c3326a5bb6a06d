"""GO.md: what has to be true before the large run is started. One page, one line per check.

A line is `pass` where its statement is true, `fail` where it is false and the launch should not start, `warn` where it
is false or doubtful and someone has to accept that, `untested` where nothing was measured or stated that could show it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from analysis.fit_file.sources import loss_guard_line
from analysis.launch.evidence import parity
from analysis.launch.evidence.evidence import Evidence
from analysis.transfer import sizes
from sweep.study import Study
from sweep.study import numbers as formats
from sweep.study.sections.transfer import Confirmation, TransferRule

State = Literal["pass", "warn", "fail", "untested"]
NAME = "GO.md"
SAFE = 2.0  # the divergence edge's LR over the launch's
WIDE = 4.0  # upper over lower end of the LR's interval: a factor of 2 either way
BAND, LEAST_INSIDE = "0.9", 0.75
NOTABLE = 1.05
HISTORIES_APART = 1.5  # ratio of the pre-training tokens per parameter
GUARD_REFUSALS = {"guard", "unscored"}  # codes of the refusals that say a guard is broken or not tested


@dataclass(frozen=True)
class GoCheck:
    statement: str
    state: State
    detail: str


def checks(evidence: Evidence, study: Study) -> list[GoCheck]:
    parts = (_fit, _transfer, _scale, _confirmation, _data, _origin)
    return [check for part in parts for check in part(evidence, study)]


def headline(evidence: Evidence, study: Study) -> str:
    """The verdict, and how many checks have each state."""
    count = Counter(check.state for check in checks(evidence, study))
    open_points = count["warn"] + count["untested"]
    verdict = "NO GO" if count["fail"] else "GO, if the open points are accepted" if open_points else "GO"
    numbers = f"{count['fail']} failed, {count['warn']} warnings, {count['untested']} untested, {count['pass']} passed"
    return f"{verdict}: {numbers}"


def page(evidence: Evidence, study: Study) -> str:
    rows = [f"| {check.state} | {check.statement} | {_cell(check.detail)} |" for check in checks(evidence, study)]
    about = f"Launch of {_cell(evidence.launch.model)}, study {evidence.study.name}. All numbers: evidence.json."
    table = ["| state | check | numbers |", "|---|---|---|", *rows]
    return "\n".join([f"# {headline(evidence, study)}", "", about, "", *table, ""])


def _cell(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text).replace("|", "\\|")


def _fit(evidence: Evidence, study: Study) -> Iterator[GoCheck]:
    risk = evidence.accepted_risk
    codes = {finding.code for finding in risk.refusals} if risk else set()
    refused = f"refused ({', '.join(sorted(codes))}); exported because: {risk.reason}" if risk else "no refusal"
    yield GoCheck("the fit is not refused", "fail" if risk else "pass", refused)
    counts = evidence.quality.trials
    trials = f"{counts.complete} complete, {counts.diverged} diverged, {counts.failed} failed"
    yield GoCheck("no trial failed", "fail" if counts.failed else "pass", f"{trials}; {counts.excluded} not fitted")
    inside = {name: check.coverage.get(BAND) for name, check in evidence.quality.cross_validation.items()}
    known = {name: share for name, share in inside.items() if share is not None}
    shares = ", ".join(f"{study.language_name(name)} {formats.percent(share)}" for name, share in known.items())
    state: State = "untested" if not known else "pass" if min(known.values()) >= LEAST_INSIDE else "fail"
    statement = f"at least {formats.percent(LEAST_INSIDE)} of the trials are inside their 90 % intervals"
    yield GoCheck(statement, state, shares or "no cross-validation")
    warnings = ", ".join(finding.code for finding in evidence.fit_warnings)
    detail = f"{len(evidence.fit_warnings)} ({warnings}): read them in README.md" if warnings else "none"
    yield GoCheck("the fit has no warnings", "warn" if warnings else "pass", detail)
    if not study.objective.guards and study.objective.forgetting_guard_percent is None:
        yield GoCheck("the guards are kept", "untested", "the study sets no guard")
    else:
        broken = ", ".join(sorted(codes & GUARD_REFUSALS))
        limits = [loss_guard_line(guard, study.language_name) for guard in evidence.loss_guards]
        detail = "; ".join([f"refused ({broken})" if broken else "kept", *limits])
        yield GoCheck("the guards are kept", "fail" if broken else "pass", detail)


def _transfer(evidence: Evidence, study: Study) -> Iterator[GoCheck]:
    found, lr = evidence.transfer, formats.lr(evidence.launch_lr)
    named = study.launch is not None and study.launch.transfer is not None
    rule = f"{found.rule}: {found.source or 'fitted from its rungs'}" if named else "state launch.transfer"
    yield GoCheck("the study states the transfer rule", "pass" if named else "fail", rule)
    interval = evidence.launch_lr_interval
    width: State = "pass" if interval.high / interval.low <= WIDE else "fail"
    yield GoCheck("the LR is known to a factor of 2", width, f"LR {lr} ({formats.interval(interval, 'lr')})")
    yield _edge(evidence)
    yield _cost(evidence, study)


def _edge(evidence: Evidence) -> GoCheck:
    statement = f"the LR is at most 1/{SAFE:g} of the divergence edge, scaled to the launch"
    edge = evidence.transfer.edge
    if edge is None or edge.lr is None:
        return GoCheck(statement, "untested", "the edge is not known")
    factor = edge.lr / evidence.launch_lr
    place = f"{formats.times(factor)} below" if factor >= 1 else f"{formats.times(1 / factor)} above"
    bound = "edge" if edge.measured else "lower bound of the edge (no trial diverged)"
    detail = f"LR {formats.lr(evidence.launch_lr)}, {bound} {formats.lr(edge.lr)}: {place}"
    doubtful = factor >= 1 and not edge.measured
    return GoCheck(statement, "pass" if factor >= SAFE else "warn" if doubtful else "fail", detail)


def _cost(evidence: Evidence, study: Study) -> GoCheck:
    rule = study.launch.transfer if study.launch else None
    found, limit = evidence.transfer.lr_cost, (rule.confirm if rule else Confirmation()).tolerance
    sides = {"half": found.half, "twice": found.double} if found else {}
    known = {name: cost for name, cost in sides.items() if cost is not None}
    detail = ", ".join(
        f"{name} the LR {formats.number(cost.nats, 3, True)} ({formats.number(cost.interval.low, 3, True)} to "
        f"{formats.number(cost.interval.high, 3, True)})"
        for name, cost in known.items()
    )
    cheap = all(cost.interval.high <= limit for cost in known.values())
    state: State = "untested" if len(known) < 2 else "pass" if cheap else "fail"
    return GoCheck(f"an LR off by 2 x costs at most {limit:g} nats", state, detail or "outside the tried LRs")


def _scale(evidence: Evidence, study: Study) -> Iterator[GoCheck]:
    tokens, size = evidence.transfer.token_ratio, evidence.transfer.size_ratio
    same = tokens is not None and max(tokens, 1 / tokens) <= NOTABLE
    detail = "not known" if tokens is None else f"{formats.times(tokens)} as many"
    yield GoCheck("the launch trains as many tokens as a trial", "pass" if same else "untested", detail)
    detail = "not known: state both sizes" if size is None else f"{formats.times(size)} as large"
    yield GoCheck(
        "the launch's model is as large as the trials'", "pass" if size and size < NOTABLE else "untested", detail
    )
    yield _history(study)


def _history(study: Study) -> GoCheck:
    statement = "both models saw as many pre-training tokens per parameter"
    rule = study.launch.transfer if study.launch else None
    step = sizes.step(study, rule or TransferRule(rule="direct"))
    small, large = step.trial.tokens_per_parameter, step.launch.tokens_per_parameter
    if small is None or large is None:
        return GoCheck(statement, "untested", "not known: state both models under launch.transfer")
    apart = max(small / large, large / small)
    detail = f"trials {small:,.0f}, launch {large:,.0f} ({formats.times(apart)} apart)"
    return GoCheck(statement, "pass" if apart < HISTORIES_APART else "warn", detail)


def _confirmation(evidence: Evidence, study: Study) -> Iterator[GoCheck]:
    statement, found = "the LR is confirmed at the launch's size", evidence.confirmation
    if found is None:
        yield GoCheck(statement, "untested", "not run: see confirm/plan.json, then almr confirm")
    else:
        yield GoCheck(statement, "warn" if found.judgement.answer == "undecided" else "pass", found.text)
    unmeasured = evidence.unmeasured
    detail = f"not in {', '.join(unmeasured)}: set launch.evaluation" if unmeasured else ", ".join(evidence.formats)
    yield GoCheck("the runs measure held-out losses", "warn" if unmeasured else "pass", detail)


def _data(evidence: Evidence, study: Study) -> Iterator[GoCheck]:
    limit = study.objective.max_epochs
    kept = [study.source_label(name) for name in evidence.corpora if name not in evidence.held_out]
    if set(evidence.formats) - {"native"}:
        detail = f"not of {', '.join(kept)}: see the warnings" if kept else "with copies and near-copies"
        yield GoCheck("the launch leaves out the trials' held-out text", "warn" if kept else "pass", detail)
    for name, corpus in evidence.launch_corpora.items():
        language = study.language_name(corpus.language)
        label = language if name == corpus.language else f"{name} ({language})"
        passes, statement = corpus.launch_epochs, f"the {label} corpus is large enough"
        if passes is None:
            yield GoCheck(statement, "untested", "its size is not known: state launch.corpora, with tokens")
        else:
            size = f"{formats.tokens(corpus.corpus_tokens)} tokens, {corpus.size_source}"
            detail = f"the launch reads it {formats.times(passes)} (limit {limit:g} x; {size})"
            yield GoCheck(statement, "pass" if passes <= limit else "fail", detail)
    stated, trained = evidence.launch.tokens, evidence.launch_tokens
    near = trained == stated or abs(trained / stated - 1) < NOTABLE - 1
    detail = f"{evidence.launch_steps:,} steps, {trained:,} of {stated:,} tokens"
    yield GoCheck("the steps add up to launch.tokens", "pass" if near else "fail", detail)


def _origin(evidence: Evidence, study: Study) -> Iterator[GoCheck]:
    origin = evidence.provenance or {}
    commit = str(origin.get("git") or "")
    state: State = "untested" if not commit else "fail" if commit.endswith("-dirty") else "pass"
    yield GoCheck("the trials ran the code of a clean commit", state, commit or "not a git checkout")
    hashes = evidence.base_model_fingerprint, evidence.study.sha256, str(origin.get("code_sha256") or "")
    detail = f"base model and tokenizer {hashes[0]}, study {_short(hashes[1])}, code {_short(hashes[2])}"
    yield GoCheck("model, tokenizer, study and code have hashes", "pass" if all(hashes) else "warn", detail)
    wrong = any(found.differences for found in evidence.read_back)
    unread = not evidence.read_back or any(found.differences is None for found in evidence.read_back)
    detail = "; ".join(found.text for found in evidence.read_back) or "not requested: almr export RUN --verify"
    state = "fail" if wrong else "untested" if unread else "pass"
    yield GoCheck("each trainer's own parser read its files back", state, detail)
    known, detail = parity.summary(evidence.parity, evidence.formats)
    state = "untested" if known == "not known" else known
    yield GoCheck("each trainer trained the small model to the trials' losses", state, detail)


def _short(digest: str | None) -> str:
    return digest[:12] if digest else "missing"
