"""Horizons: a branch measures what a run of its length measures, and leaves its main run as it is."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from sweep.study import Record, Status, Study, Trial
from sweep.study.sections.recipe.training import Training
from trainers import prepare
from trainers.loop.held_out import HeldOut
from trainers.loop.learner import Learner, copied_to_host
from trainers.model.token_loss import TokenLoss
from trainers.trials import cpt

COST = {"seconds", "training_seconds", "tokens_per_second", "gpu_hours", "peak_memory_bytes", "trained_tokens"}
WSD = {"name": "wsd", "warmup": 0.125, "decay": 0.25, "min_lr": 0.1}  # of 16 steps: 2 to warm up, 4 to decay
SHORT, MIDDLE, FULL = 1024, 2048, 4096  # 4, 8 and 16 steps


def wsd(study: Study, tokens: int = FULL, warmup_steps: int = 2, **changes: Any) -> Study:
    schedule = WSD | {"warmup": warmup_steps / (tokens // 256)}
    content = study.training.model_dump() | {"tokens": tokens, "schedule": schedule, "log_every": 1} | changes
    return study.model_copy(update={"training": Training.model_validate(content)})


def run(study: Study, folder: Path, lr: float = 1e-2) -> Record:
    folder.mkdir()
    return cpt.run_trial(study, Trial(almr=0.3, lr=lr, seed=0), prepare.prepare(study), folder)


def logged(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(("tokens", "steps"), [(SHORT, 4), (MIDDLE, 8)])
def test_a_branch_is_the_run_of_its_length(local_study: Study, tmp_path: Path, tokens: int, steps: int) -> None:
    branched = run(wsd(local_study, horizons=[SHORT, MIDDLE]), tmp_path / "branched")
    alone = run(wsd(local_study, tokens), tmp_path / "alone")
    found = {horizon.tokens: horizon for horizon in branched.horizons}[tokens]
    assert (found.steps, found.reason) == (steps, None)
    assert found.loss == alone.loss
    assert found.bits_per_byte == alone.bits_per_byte
    last = [line for line in logged(tmp_path / "branched") if line.get("horizon") == tokens and "loss" in line][-1]
    end = [line for line in logged(tmp_path / "alone") if "loss" in line][-1]
    assert {k: last[k] for k in ("step", "tokens", "loss", "lr")} == {
        k: end[k] for k in ("step", "tokens", "loss", "lr")
    }


def test_branches_leave_the_main_run_as_it_was(local_study: Study, tmp_path: Path) -> None:
    one = run(wsd(local_study), tmp_path / "one")
    other = run(wsd(local_study, horizons=[MIDDLE, SHORT]), tmp_path / "other")
    apart = COST | {"horizons", "fingerprint"}
    assert other.model_dump(exclude=apart) == one.model_dump(exclude=apart)
    assert [horizon.tokens for horizon in other.horizons] == [SHORT, MIDDLE]
    assert one.horizons == ()
    assert (one.trained_tokens, other.trained_tokens) == (FULL, FULL + (1 + 2) * 256)
    main_run = [line for line in logged(tmp_path / "other") if "loss" in line and "horizon" not in line]
    assert [line["step"] for line in main_run] == list(range(1, 17))


def test_the_log_says_which_lines_are_a_branchs(local_study: Study, tmp_path: Path) -> None:
    record = run(wsd(local_study, horizons=[MIDDLE]), tmp_path / "trial")
    branch = [line for line in logged(tmp_path / "trial") if line.get("horizon") == MIDDLE]
    assert [line["step"] for line in branch] == [7, 8, 8]
    assert branch[-1]["held_out"] == record.horizons[0].loss.model_dump()


def test_a_branch_that_diverges_has_a_reason_and_no_loss(
    local_study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(local_study, tmp_path / "healthy")  # the base model's loss is measured once, before it breaks
    measure, calls = HeldOut.losses, iter([True])
    broken = {"original": math.inf, "additional": math.inf}
    monkeypatch.setattr(HeldOut, "losses", lambda self, m: broken if next(calls, False) else measure(self, m))
    record = run(wsd(local_study, horizons=[MIDDLE]), tmp_path / "trial")
    assert record.status is Status.COMPLETE
    assert "not finite at step 8" in str(record.horizons[0].reason)
    assert record.horizons[0].loss.original is None


def test_a_main_run_that_diverges_takes_its_later_horizons_with_it(local_study: Study, tmp_path: Path) -> None:
    late = wsd(local_study, 25600, horizons=[SHORT, 23040])
    record = run(late, tmp_path / "trial", lr=50.0)
    assert record.status is Status.DIVERGED
    assert record.horizons[-1].reason == record.reason
    assert record.horizons[-1].loss.additional is None
    assert record.horizons[-1].steps == 90


def test_what_a_branch_draws_at_random_is_put_back() -> None:
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, vocab_size=50
    )
    recipe = Training.model_validate({"sequence_length": 8, "tokens": 256, "global_batch_tokens": 64})
    learner = Learner(TokenLoss(LlamaForCausalLM(config)), recipe, 1e-2)
    data, share = [torch.arange(64).reshape(8, 8) % 50], recipe.lr_schedule(4).share
    list(learner.train(data, share, lambda step: False))
    before = [copied_to_host(learner.model.state_dict()), copied_to_host(learner.optimizer.state_dict())]
    expected = torch.random.get_rng_state()
    with learner.branch():
        torch.rand(3)
        list(learner.train(data * 2, share, lambda step: False))
    assert torch.equal(torch.random.get_rng_state(), expected)
    assert (learner.step, learner.steps_taken) == (1, 3)
    torch.testing.assert_close([learner.model.state_dict(), learner.optimizer.state_dict()], before, rtol=0, atol=0)
