"""Fields of the record of a trial by another trainer; what the trainer does not tell is None."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch

from sweep.external.runs.trace import Losses, Trace
from sweep.external.trial.measuring.measured import TrainedRun
from sweep.study import LANGUAGES
from sweep.study.numbers import finite
from sweep.study.record import SAME_TEXT
from trainers.data.corpus import open_corpora
from trainers.data.mixture import Mixture
from trainers.loop.held_out import HeldOut, per_language
from trainers.loop.trial_record import TrialSetup, epochs, flops_per_token
from trainers.model.loading import parameters
from trainers.model.token_loss import TokenLoss
from trainers.workers.device import device_name, mfu

BITS = {"loss": "bits_per_byte", "base_loss": "base_bits_per_byte"}


def losses(held_out: HeldOut, passes: dict[str, float] | None = None, **measured: Losses) -> dict[str, Any]:
    """Losses and bits per byte of each language and source. `passes`: epochs of the text; `measured`: `loss`, and
    `base_loss` where it is wanted, by language and source.
    """
    names = dict.fromkeys((*LANGUAGES, *(source.name for source in held_out.sources)))
    values: dict[str, Losses] = {kind: finite(of) for kind, of in measured.items()}
    known = {kind: {name: loss for name, loss in of.items() if loss is not None} for kind, of in values.items()}
    values |= {BITS[kind]: held_out.bits_per_byte(of) for kind, of in known.items()}
    whole = {kind: {name: of.get(name) for name in names} for kind, of in values.items()}
    whole |= {"epochs": dict(passes)} if passes else {}
    return {kind: per_language(of) for kind, of in whole.items()} | {"sources": held_out.source_results(**whole)}


def counts(setup: TrialSetup, runs: Collection[TrainedRun], trace: Trace) -> dict[str, Any]:
    """`trace`: of the run to the budget, with the tokens that it read. Each horizon was a run of its own."""
    training, read = setup.study.training, sum(trace.tokens.values())
    steps = steps_done(setup, trace)
    if steps is None:
        return {}
    more = [training.steps_of(run.tokens) for run in runs if run.tokens]
    return {
        "steps": steps,
        "tokens": steps * training.global_batch_tokens,
        "trained_tokens": (steps + sum(more)) * training.global_batch_tokens,
        "almr_achieved": trace.tokens.get("additional", 0) / read if read else None,
    }


def steps_done(setup: TrialSetup, trace: Trace) -> int | None:
    """Those of its log; a trainer without one ran them all, or stopped somewhere (None)."""
    if not trace.steps and trace.diverged:
        return None
    return max(trace.by_step, default=setup.study.training.steps)


def passes(setup: TrialSetup, trace: Trace) -> dict[str, float]:
    """Epochs of each source and language, by the number of sequences that the trial reads."""
    mixture = Mixture.of(setup.trial.almr, setup.trial.seed, setup.study.corpora, open_corpora(setup.ingredients))
    return epochs(mixture, (steps_done(setup, trace) or 0) * setup.study.training.batch_sequences)


def speed(setup: TrialSetup, trace: Trace, loss: TokenLoss | None) -> dict[str, Any]:
    """Of the run to the budget."""
    study, seconds, steps = setup.study, trace.training_seconds, steps_done(setup, trace)
    rate = steps * study.training.global_batch_tokens / seconds if steps and seconds else None
    flops = flops_per_token(loss.model, study.training.sequence_length) if loss else None
    achieved = mfu(flops, rate, setup.workers.device, max(1, study.resources.gpus)) if flops and rate else None
    memory = trace.peak_memory_bytes
    return {"training_seconds": seconds, "tokens_per_second": rate, "mfu": achieved, "peak_memory_bytes": memory}


def provenance(setup: TrialSetup, trace: Trace, loss: TokenLoss | None) -> dict[str, Any]:
    resources, stated = setup.study.resources, setup.ingredients.same_text
    resumed = [trace.resumed_from] if trace.resumed_from else []
    return {
        "parameters": parameters(loss.model) if loss else None,
        "device": trace.device or device_name(setup.workers.device),
        "torch": torch.__version__,  # of the evaluation
        "fingerprints": setup.ingredients.fingerprints(),
        **({SAME_TEXT: "; ".join(one.reason for one in stated)} if stated else {}),
        "execution": {"workers": resources.nodes * max(1, resources.gpus_per_node), "gone_on_from_steps": resumed},
    }
