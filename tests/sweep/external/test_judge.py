"""Each way in which a trainer was seen to train otherwise is found, by runs that really train so."""

from __future__ import annotations

import math
from functools import cache as once

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from samples import CHINESE, ENGLISH, POEM, RHYME
from transformers import AutoModelForCausalLM, AutoTokenizer

from analysis.launch.evidence.parity import ParityRun
from sweep.external.parity import judge
from sweep.external.parity.judge import ParityBounds
from sweep.external.runs.trace import LoggedStep, Trace
from sweep.study.sections.recipe.training import Training
from trainers.data.tokens.borders import Borders
from trainers.loop.held_out import evaluate
from trainers.loop.learner import Learner
from trainers.model.token_loss import TokenLoss

LENGTH, BATCH, STEPS = 48, 8, 12
LR = 5e-3
TRAINING = Training.model_validate(
    {"sequence_length": LENGTH, "tokens": LENGTH * BATCH * STEPS, "global_batch_tokens": LENGTH * BATCH}
)
BOUNDS = ParityBounds()
SHARE = TRAINING.lr_schedule(STEPS).share


@once
def tokenizer(folder):
    return AutoTokenizer.from_pretrained(folder)


def rows(folder, seed, count, parts=(ENGLISH, RHYME, CHINESE, POEM)):
    """Blocks of short documents, each of a text's letters from a random place on, and its end-of-text."""
    draw, of, stream = np.random.default_rng(seed), tokenizer(folder), []
    while len(stream) < count * LENGTH:
        text = parts[draw.integers(len(parts))]
        start = draw.integers(len(text) // 2)
        stream += [*of(text[start : start + 30])["input_ids"], of.eos_token_id]
    return torch.tensor(stream[: count * LENGTH]).reshape(count, LENGTH)


@pytest.fixture(scope="module")
def trained(small_model):
    """Train the small model on such rows as `masked` says, with one thing changed; returns what it would log."""

    def run(blocks=None, masked=True, share=SHARE, change=lambda model: None, loss_of=TokenLoss, parts=None):
        end = tokenizer(small_model).eos_token_id
        model = AutoModelForCausalLM.from_pretrained(small_model, dtype=torch.float32)
        change(model)
        borders = Borders((), (end,)) if masked else None
        right = TokenLoss(model, borders=Borders((), (end,)))
        held_out = {"original": rows(small_model, 8, 6, (ENGLISH,)), "additional": rows(small_model, 9, 6, (CHINESE,))}

        def measure():
            return {name: evaluate(right, tokens, 6) for name, tokens in held_out.items()}

        blocks = (
            rows(small_model, 1, BATCH * STEPS, parts or (ENGLISH, RHYME, CHINESE, POEM)) if blocks is None else blocks
        )
        before, learner = measure(), Learner(loss_of(model, borders=borders), TRAINING, LR)
        logged = [
            LoggedStep(step=step.step, loss=step.loss, lr=step.lr, grad_norm=step.grad_norm)
            for step in learner.train(torch.split(blocks, BATCH), share, lambda step: False)
        ]
        counted = {"original": LENGTH * BATCH * STEPS // 2, "additional": LENGTH * BATCH * STEPS // 2}
        return Trace(steps=tuple(logged), before=before, after=measure(), tokens=counted)

    return run


@pytest.fixture(scope="module")
def right(trained):
    return trained()


def failed(wanted, found, bounds=BOUNDS):
    return {check.what for check in judge.judge(wanted, found, STEPS, bounds) if check.state == "fail"}


def test_the_same_training_passes_and_every_number_was_compared(right, trained):
    checks = judge.judge(right, trained(), STEPS, BOUNDS)
    assert {check.state for check in checks} == {"pass"}
    assert len(checks) == 11


class EndOfTextUntrained(TokenLoss):
    """As where the pad token is end-of-text, and padding is left out of the loss."""

    def _targets(self, tokens, counted):
        targets = super()._targets(tokens, counted)
        return targets.masked_fill(targets == self.borders.after[0], -100)


class PositionsAlone(TokenLoss):
    """Positions restart with each document, and its tokens attend to those of the documents before."""

    def sum(self, tokens, counted=None):
        inner, model = super().sum, self.model
        length = tokens.shape[1]
        mask = torch.ones(length, length, dtype=torch.bool).tril()[None, None].expand(len(tokens), 1, -1, -1)
        wrapped = lambda **given: model(**given, attention_mask=mask)  # noqa: E731
        wrapped.config = model.config
        object.__setattr__(self, "model", wrapped)
        try:
            return inner(tokens, counted)
        finally:
            object.__setattr__(self, "model", model)


class WithDropout(TokenLoss):
    """Dropout of a tenth of the embeddings' entries while it trains."""

    def sum(self, tokens, counted=None):
        if not self.model.training:
            return super().sum(tokens, counted)
        drop = self.model.get_input_embeddings().register_forward_hook(
            lambda module, given, made: torch.nn.functional.dropout(made, 0.1)
        )
        try:
            return super().sum(tokens, counted)
        finally:
            drop.remove()


def other_rope_base(model):
    inner = model.model.rotary_emb
    size = inner.inv_freq.shape[0]
    inner.inv_freq = 1 / (100.0 ** (torch.arange(size) / size))


FIRST = "loss of step 1"


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({"loss_of": EndOfTextUntrained}, FIRST),
        ({"masked": False}, FIRST),
        ({"loss_of": PositionsAlone}, FIRST),
        ({"change": other_rope_base}, FIRST),
        ({"change": other_rope_base}, "base model's loss"),
        ({"loss_of": WithDropout}, FIRST),
        ({"share": lambda step: SHARE(step + 1)}, "LR"),
        ({"share": lambda step: SHARE(max(0, step - 1))}, "LR"),
        ({"parts": (ENGLISH, RHYME)}, "loss after training"),
    ],
    ids=[
        "end-of-text is not trained",
        "documents see each other",
        "positions without a mask",
        "another rope base",
        "another rope base, before training",
        "dropout",
        "the LR of the next step",
        "the LR of the step before",
        "a language is missing",
    ],
)
def test_a_fault_in_training_is_found(right, trained, changed, found):
    assert found in failed(right, trained(**changed))


def test_another_order_of_the_same_batches_is_found(right, trained, small_model):
    blocks = rows(small_model, 1, BATCH * STEPS).reshape(STEPS, -1, LENGTH)[[0, *range(STEPS - 1, 0, -1)]]
    assert failed(right, trained(blocks=blocks.flatten(0, 1))) == {"loss of each step", "loss after training"}


def test_batches_of_one_language_each_are_found(trained, small_model):
    """As where all ranks of torchtitan draw their languages with one seed: the same blocks, but no batch is mixed."""
    english, chinese = (rows(small_model, 3, BATCH * STEPS // 2, (part,)) for part in (ENGLISH, CHINESE))
    mixed = torch.stack([english, chinese], 1).flatten(0, 1)
    whole = [part.split(BATCH) for part in (english, chinese)]
    apart = torch.cat([batch for pair in zip(*whole, strict=True) for batch in pair])
    assert sorted(map(tuple, mixed.tolist())) == sorted(map(tuple, apart.tolist()))
    assert {FIRST, "loss of each step"} <= failed(trained(blocks=mixed), trained(blocks=apart))


def trace(steps=20, **fields):
    logged = tuple(LoggedStep(step=n, loss=5 - 0.01 * n, lr=1e-3 / n, grad_norm=0.7) for n in range(1, steps + 1))
    losses = {"original": 3.7, "additional": 5.0}
    return Trace(
        **{"steps": logged, "before": losses, "after": losses, "tokens": {"original": 400, "additional": 600}} | fields
    )


def changed(of, step, **fields):
    return of.model_copy(
        update={"steps": tuple(s.model_copy(update=fields) if s.step == step else s for s in of.steps)}
    )


def judged(found, steps=20, bounds=BOUNDS):
    return {check.what: check for check in judge.judge(trace(), found, steps, bounds) if check.state != "pass"}


@pytest.mark.parametrize("step", [1, 7, 20])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_a_number_fails(step, value):
    check = judged(changed(trace(), step, loss=value))["loss of each step"]
    assert (check.fault, check.step) == ("not a finite number", step)


def test_a_log_that_ends_early_fails():
    short = trace(12)
    check = judged(short)["steps"]
    assert (check.found, check.wanted, check.state) == (12, 20, "fail")


def test_a_log_with_a_gap_fails():
    whole = trace()
    gap = whole.model_copy(update={"steps": tuple(s for s in whole.steps if s.step not in (4, 5))})
    assert judged(gap)["steps"].fault == "its log lacks 2 steps, the first 4"


def test_a_language_without_tokens_fails():
    found = judge.judge(trace(), trace(tokens={"original": 1000}), 20, BOUNDS)
    assert {check.of for check in found if check.state == "fail"} == {"original", "additional"}


def test_what_a_trainer_does_not_log_is_not_known_and_does_not_pass():
    silent = trace(before={}, after={}, tokens={})
    assert {(name, check.state) for name, check in judged(changed(silent, 1, grad_norm=None)).items()} == {
        ("base model's loss", "not known"),
        ("loss after training", "not known"),
        ("gradient norm of step 1", "not known"),
        ("tokens", "not known"),
    }


def bare(**fields):
    """A log whose steps lack these numbers."""
    return tuple(one.model_copy(update=fields) for one in trace().steps)


SILENT = dict.fromkeys(("loss", "lr", "grad_norm"))
LOSSES = {f"{what} of {name}" for what in ("base model's loss", "loss after training") for name in trace().before}
STEPS_OF_LOG = {"loss of step 1", "loss of each step", "LR"}


@pytest.mark.parametrize(
    ("found", "missing"),
    [
        ({"steps": bare(**SILENT)}, STEPS_OF_LOG),
        ({"steps": bare(lr=None), "before": {}, "after": {}}, {"LR", *LOSSES}),
        ({"after": {"original": 3.7}}, {"loss after training of additional"}),
        ({"before": {"additional": 5.0}}, {"base model's loss of original"}),
        ({"tokens": {}}, {"tokens of original", "tokens of additional"}),
        ({"steps": (*trace().steps[:6], bare(lr=None)[6], *trace().steps[7:])}, {"LR"}),
        ({"steps": (bare(grad_norm=None)[0], *trace().steps[1:])}, {"gradient norm of step 1"}),
        ({"steps": bare(grad_norm=None)}, set()),
    ],
    ids=[
        "no loss, LR or norm",
        "no LR and no held-out loss",
        "a language's loss after training",
        "a language's base loss",
        "no tokens",
        "the LR of one step",
        "the norm of step 1",
        "a trainer that logs no norm",
    ],
)
def test_a_run_passes_only_where_every_number_was_measured(found, missing):
    run = ParityRun(kind="again", steps=20, checks=judge.judge(trace(), trace().model_copy(update=found), 20, BOUNDS))
    assert set(run.missing) == missing
    assert run.state == ("not known" if missing else "pass")
    assert all(name in run.text for name in missing)


def test_a_trial_whose_record_lacks_a_loss_is_no_proof():
    wanted = trace(after={"original": 3.7})
    run = ParityRun(kind="again", steps=20, checks=judge.judge(wanted, trace(), 20, BOUNDS))
    assert (run.state, run.missing) == ("not known", ["loss after training of additional"])


def batches(*additional, of=10):
    return tuple({"original": of - count, "additional": count} for count in additional)


@pytest.mark.parametrize(
    ("counts", "foreign", "states"),
    [
        ((8, 8), 0, ["pass", "pass"]),
        ((9, 7), 0, ["pass", "pass"]),
        ((2, 2), 0, ["pass", "fail"]),
        ((10, 6), 0, ["pass", "fail"]),
        ((8, 8), 3, ["fail", "pass"]),
        ((), None, ["not known", "not known"]),
        ((8,), 0, ["pass", "not known"]),
    ],
    ids=["even", "within a sequence", "swapped", "uneven", "other text", "not read", "a batch is missing"],
)
def test_the_text_and_each_batchs_mixture_are_the_trials(counts, foreign, states):
    found = trace(2, batches=batches(*counts), foreign=foreign)
    assert [check.state for check in judge.text(found, 0.8, 10)] == states


def test_tokens_of_swapped_languages_fail_and_a_rounded_sequence_does_not():
    bounds = ParityBounds.of("float32", {}, 100)
    for tokens, fails in (({"original": 600, "additional": 400}, 2), ({"original": 500, "additional": 500}, 0)):
        found = judge.judge(trace(), trace(tokens=tokens), 20, bounds)
        assert len([check for check in found if check.state == "fail"]) == fails


def test_a_trial_that_was_logged_every_tenth_step_is_compared_at_those():
    every_tenth = trace().model_copy(update={"steps": tuple(s for s in trace().steps if s.step in (1, 10, 20))})
    assert not [c for c in judge.judge(every_tenth, trace(), 20, BOUNDS) if c.state != "pass"]


NUMBERS = st.sampled_from(["loss", "lr", "grad_norm"])


@settings(max_examples=60)
@given(step=st.integers(1, 20), name=NUMBERS, times=st.floats(0.2, 5.0).filter(lambda t: abs(t - 1) > 0.01))
def test_a_number_fails_exactly_where_it_is_beyond_its_bound(step, name, times):
    bound = {"loss": BOUNDS.first_loss if step == 1 else BOUNDS.loss, "lr": BOUNDS.lr, "grad_norm": BOUNDS.norm}[name]
    value = getattr(trace().by_step[step], name)
    apart = bound * times * (1.0 if name == "loss" else value)
    found = judged(changed(trace(), step, **{name: value + apart}))
    compared = name != "grad_norm" or step == 1
    assert bool(found) == (compared and times > 1)


def test_the_bounds_in_bfloat16_are_the_noise_of_the_fit():
    bounds = ParityBounds.of("bfloat16", {"original": 0.004, "additional": 0.0001})
    assert (bounds.first_loss, bounds.final) == (0.004, {"original": 0.004, "additional": judge.LOSS})
    near = trace(after={"original": 3.703, "additional": 5.003})
    assert {(c.what, c.of) for c in judge.judge(trace(), near, 20, bounds) if c.state == "fail"} == {
        ("loss after training", "additional")
    }


@pytest.mark.parametrize(
    ("found", "stopped_at", "fails"),
    [
        ({}, 10, set()),
        ({"after": {"original": 3.700002, "additional": 5.0}}, 10, {"loss after training"}),
    ],
)
def test_a_run_that_was_resumed_has_to_end_the_same(found, stopped_at, fails):
    checks = judge.resumed(trace(), trace(**{"resumed_from": 10} | found), 20, stopped_at)
    assert {check.what for check in checks if check.state == "fail"} == fails


def test_a_resumed_run_on_a_gpu_has_the_bounds_of_its_precision():
    near = trace(after={"original": 3.7002, "additional": 5.0})
    states = {
        bounds.held_out: {check.state for check in judge.resumed(trace(), near, 20, 10, bounds)}
        for bounds in (judge.EXACT, BOUNDS)
    }
    assert states == {judge.RESUMED: {"pass", "fail"}, judge.LOSS: {"pass"}}


def test_a_run_that_began_again_was_not_resumed():
    [first, *_] = judge.resumed(trace(), trace(), 20, None)
    assert (first.what, first.state) == ("resumed from its checkpoint", "fail")


def test_a_check_says_both_numbers_and_the_bound():
    text = judged(changed(trace(), 1, loss=4.87))[FIRST].text
    assert text == "loss of step 1: 4.87, should be 4.99: 0.12 apart (bound 1e-05)"
