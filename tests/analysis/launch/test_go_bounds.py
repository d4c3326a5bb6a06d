"""The bounds of GO.md on plausible surfaces: a sound sweep keeps them, so a line that fails says something."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from coarse_lattice import coarse

from analysis.fit.fit import fit_run
from analysis.launch import bundle
from analysis.launch.bundle import FittedRun
from analysis.launch.evidence import evidence as evidence_file
from analysis.launch.evidence import go
from sweep.study import PerLanguage, Record, Study, Trial, study_file
from sweep.study.files.layout import RunFiles
from sweep.study.sections.grid import Search
from trainers.trials import recorded

SURFACES = 10
# Of an 8B and a 70B model, and of 95 times the tokens: no surface changes it.
OF_THE_LAUNCH = {
    "pre-training tokens per parameter",
    "LR known to a factor of 2",
}


def surface(rng: np.random.Generator):
    """A loss surface as in tests/simulated_table.py, with curvatures, gains, coupling and best ALMR drawn at random."""
    curves, gain, power = rng.uniform(0.006, 0.04, 2), rng.uniform(0.2, 0.5), rng.uniform(0.25, 0.6)
    best, coupling = rng.uniform(0.3, 0.8), rng.uniform(0, 1)
    forgetting = gain * power * best ** (power - 2) / 2
    best_lr = math.exp(rng.uniform(math.log(2.5e-5), math.log(7e-5)))
    diverges = best_lr * rng.uniform(5, 20)

    def losses(almr: float, lr: float) -> dict[str, float] | None:
        x = math.log(lr / best_lr) + coupling * (almr - best)
        if lr > diverges:
            return None
        return {
            "original": 2.06 + forgetting * almr**2 + curves[0] * (x + 0.2) ** 2,
            "additional": 2.64 - gain * almr**power + curves[1] * (x - 0.2) ** 2,
        }

    return losses


def write(study: Study, folder: Path, rng: np.random.Generator) -> None:
    losses, noise = surface(rng), rng.uniform(0.0008, 0.003)
    for almr, lr, seed in study.grid.points:
        trial, found = Trial(almr=almr, lr=lr, seed=seed), losses(almr, lr)
        loss = {name: value + rng.normal(0, noise) for name, value in found.items()} if found else {}
        record = Record(
            **trial.model_dump(),
            trial_id=trial.id,
            fingerprint=study.fingerprint,
            attempt=1,
            status="complete" if found else "diverged",
            tokens=study.training.tokens,
            loss=PerLanguage(**loss),
            base_loss=PerLanguage(original=2.05, additional=2.64),
        )
        path = RunFiles(folder).trial(trial.id).record
        path.parent.mkdir(parents=True)
        path.write_text(record.model_dump_json())
    RunFiles(folder).study.write_text(study_file.dump(study))


@pytest.fixture(scope="module")
def states(tmp_path_factory) -> dict[str, Counter]:
    """How often each check has each state."""
    study = study_file.load("llama3-8b-zh").model_copy(update={"search": Search()})
    found: dict[str, Counter] = {}
    for seed in range(SURFACES):
        folder = tmp_path_factory.mktemp("run")
        write(study, folder, np.random.default_rng(seed))
        with coarse():
            fitted = fit_run(study, folder)
        run = FittedRun(fitted, folder, recorded.ingredients(study).corpora)
        bundle.export(run, folder / "launch", accept_risk="a simulation", formats=("native",))
        content = evidence_file.Evidence.model_validate_json((folder / "launch" / evidence_file.NAME).read_text())
        for check in go.checks(content, study):
            found.setdefault(check.statement, Counter())[check.state] += 1
    return found


@pytest.mark.slow
def test_no_check_of_the_fit_or_the_transfer_fails_on_most_plausible_surfaces(states):
    about = ["the fit", "the trials", "cross-validation", "warnings of the fit", "gain over the base model", "the ALMR"]
    about += ["transfer rule", "divergence", "sensitivity to the LR"]
    assert set(about) <= states.keys()
    often = {name: states[name]["pass"] / SURFACES for name in about}
    assert {name: share for name, share in often.items() if share < 0.6} == {}, states


@pytest.mark.slow
def test_no_check_has_one_bad_state_on_every_surface_but_those_that_no_surface_can_change(states):
    """What a fit cannot show is not known everywhere: the confirmation, the text, the trainers."""
    always = {name for name, count in states.items() if count["fail"] + count["warn"] == SURFACES}
    assert always <= {*OF_THE_LAUNCH, "trials' held-out text", "hashes", "English corpus", "Chinese corpus"}, states
