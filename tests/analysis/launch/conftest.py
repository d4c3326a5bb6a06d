"""A study whose winner is given, not fitted, so that the bundle's files are the same on every machine."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from analysis.fit_file.findings import Finding, NextTrial
from analysis.fit_file.fit_file import FitFile
from analysis.fit_file.result import FitResult
from analysis.fit_file.transfer import Exponent, Transfer
from analysis.fit_file.winner import Interval, LossAtWinner, Winner
from analysis.launch.bundle import write
from analysis.launch.plan.launch_plan import LaunchPlan
from analysis.launch.plan.make_plan import make as make_plan_of
from analysis.table import table as tables
from analysis.transfer import differences
from analysis.transfer.rules import unchanged
from sweep.planning import model_shape
from sweep.study import LANGUAGES, CorpusFacts, Record, Study, Trial
from sweep.study.study_file import dump

LAUNCH = {
    "model": "meta-llama/Meta-Llama-3-70B",
    "tokens": 10_000_000_000,
    "global_batch_tokens": 4_194_304,
    "sequence_length": 8192,
    "nodes": 16,
    "gpus_per_node": 8,
    "checkpoints": 10,
}
CERTAIN = Exponent(value=0.0, interval=None, fitted=False)  # the tokens leave the LR as it is
CORPORA = {"original": {"files": "/data/english.jsonl"}, "additional": {"files": ["/data/chinese.parquet"]}}


def study(launch: dict[str, Any] | None = None, **fields: Any) -> Study:
    """`launch` changes some of its fields; None values leave them out."""
    content = {
        "name": "llama3-8b-zh",
        "base_model": {"pretrained": "meta-llama/Meta-Llama-3-8B"},
        "corpora": CORPORA,
        "training": {"sequence_length": 4096, "tokens": 10**9, "global_batch_tokens": 2**20},
        "grid": {"almr": [0.1, 0.5], "lr": [1e-5, 1e-4], "seeds": [3]},
        "launch": LAUNCH | (launch or {}),
    }
    return Study.model_validate(content | fields)


def facts(**fields: Any) -> CorpusFacts:
    """10,000 documents to train on, of 500 tokens each, and 500 held out."""
    counts = {"documents": 10_000, "tokens": 5_000_000, "bytes": 20_000_000, "blocks": 1220}
    held_out = {"documents": 500, "tokens": 250_000, "bytes": 1_000_000, "blocks": 61}
    content = {"fingerprint": "0" * 16} | counts | {f"held_out_{name}": value for name, value in held_out.items()}
    return CorpusFacts.model_validate(content | fields)


@pytest.fixture(scope="session")
def make_study() -> Callable[..., Study]:
    return study


@pytest.fixture(scope="session")
def make_facts() -> Callable[..., CorpusFacts]:
    return facts


@pytest.fixture
def corpora() -> dict[str, CorpusFacts]:
    """Large corpora: English documents of 800 tokens, Chinese ones of 1,600."""
    sizes = {"documents": 20_000_000, "held_out_documents": 0, "held_out_tokens": 0}
    return {
        "original": facts(files=("/data/english.jsonl",), tokens=16_000_000_000, **sizes),
        "additional": facts(files=("/data/chinese.parquet",), tokens=32_000_000_000, **sizes),
    }


def records(of: Study) -> list[Record]:
    trials = [Trial(almr=a, lr=lr, seed=s) for s in of.grid.seeds for a in of.grid.almr for lr in of.grid.lrs]
    measured = {"original": 2.5, "additional": 2.75}
    identity = {"fingerprint": of.fingerprint, "attempt": 1}
    outcomes = [{"status": "complete", "loss": measured}] * (len(trials) - 1) + [{"status": "diverged"}]
    return [
        Record.model_validate({"trial_id": trial.id} | trial.model_dump() | identity | outcome)
        for trial, outcome in zip(trials, outcomes, strict=True)
    ]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """An empty run directory: `make_fit` writes its records there."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "provenance.json").write_text(json.dumps({"git_sha": "abc"}))
    return folder


@pytest.fixture(scope="session")
def refusal() -> Finding:
    message = "the best LR is the highest that was measured (0.0001); the optimum may lie beyond"
    return Finding(code="edge", message=message, next=(NextTrial(almr=0.4, lr=3e-4), NextTrial(almr=0.4, lr=1e-3)))


@pytest.fixture(scope="session")
def warning() -> Finding:
    return Finding(code="few", message="4 usable trials are few for a surface over two hyper-parameters")


@pytest.fixture
def make_fit(run: Path) -> Callable[..., FitResult]:
    def make(of: Study | None = None, almr: float = 0.4, lr: float = 2e-5, **fields: Any) -> FitResult:
        """`fields` of the fit file, such as `refusals`, replace those of a clean one."""
        of = of or study()
        for record in records(of):
            folder = run / "trials" / record.trial_id
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "record.json").write_text(record.model_dump_json())
        (run / "study.yaml").write_text(dump(of))
        return FitResult(table=tables.read_run(run), file=_file(of, almr, lr, fields), study=of)

    return make


def _file(of: Study, almr: float, lr: float, fields: dict[str, Any]) -> FitFile:
    winner = _winner(almr, lr)
    check = {"rmse": 0.002, "plain_rmse": 0.003, "coverage": {"0.5": 0.5, "0.8": 0.75, "0.9": 1}}
    content = {
        "study": of.name,
        "weights": {"original": 0.5, "additional": 0.5},
        "guard": None,
        "winner": winner,
        "region": None,
        "curve": [],
        "best_almr": [],
        "coupling": None,
        "front": [],
        "divergence": {"trials": 1, "lr": 1e-4, "factor": 1e-4 / lr},
        "forms": dict.fromkeys(LANGUAGES, "ALMR"),
        "noise": {"original": 0.001, "additional": 0.002},
        "cross_validation": dict.fromkeys(LANGUAGES, check),
        "trials": {"complete": 3, "diverged": 1, "failed": 0, "excluded": 1},
        "refusals": [],
        "warnings": [],
        "transfer": _transfer(winner, of) if of.launch else None,
    }
    return FitFile.model_validate(content | fields)


def _transfer(winner: Winner, of: Study) -> Transfer:
    warnings = tuple(differences.lengths(of, of.launch)) if of.launch else ()
    return unchanged(winner).model_copy(update={"tokens": CERTAIN, "warnings": warnings})


def _winner(almr: float, lr: float) -> Winner:
    loss = Interval(low=2.59, high=2.61)
    return Winner(
        almr=almr,
        lr=lr,
        objective=2.6,
        objective_interval=loss,
        almr_interval=Interval(low=almr, high=almr),
        lr_interval=Interval(low=lr / 2, high=lr * 2),
        level=0.9,
        at_edge=(),
        edge_probability={"almr": 0.0, "lr": 0.01},
        losses={name: LossAtWinner(mean=2.6, interval=loss) for name in LANGUAGES},
    )


@pytest.fixture
def make_plan(make_fit: Callable[..., FitResult], corpora: dict[str, CorpusFacts]) -> Callable[..., LaunchPlan]:
    """The plan of a study for a format, with its layout; `counted` replaces the corpora."""

    def make(
        name: str, of: Study | None = None, counted: Any = None, accept_risk: str | None = None, **fit: Any
    ) -> LaunchPlan:
        of = of or study()
        target = model_shape.launch_hardware(of, (name,))  # type: ignore[arg-type]
        return make_plan_of(make_fit(of, **fit), counted or corpora, accept_risk, target)

    return make


@pytest.fixture
def write_format(make_plan: Callable[..., LaunchPlan], tmp_path: Path) -> Callable[..., Path]:
    """Write a format, with its start scripts, for a study; returns its folder."""

    def written(name: str, *arguments: Any, **fields: Any) -> Path:
        folder = tmp_path / name
        write(make_plan(name, *arguments, **fields), name, folder)
        return folder

    return written
