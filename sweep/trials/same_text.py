"""A user's statement that the text of a run is the same although its files changed: `--same-text REASON`.

The trials before keep their records. What shows that they compare with those to come is the base model's loss on the
held-out text, of which the same documents are held out again.
"""

from __future__ import annotations

from collections.abc import Iterator

from sweep.store.run import Run
from sweep.study import Ingredients, InputError, Study
from sweep.study.files.reader import read_object
from sweep.study.ingredients import SameText
from sweep.study.numbers import number

LEAST_NOISE = 0.002  # nats: rounding of other hardware, and the noise of one trial where nothing was fitted yet
ANOTHER = "restore the text, or give the study another name for a new run"


def state(study: Study, run: Run, reason: str) -> Ingredients:
    """The run's ingredients with the statement, from which those of the changed text are to be prepared.

    Raises InputError where there are no trials that it could be about.
    """
    old = run.ingredients()
    if not reason.strip():
        raise InputError(
            "--same-text: say why it is the same, as in --same-text 'the shards are compressed by zstd now'"
        )
    if study.replay:
        raise InputError("--same-text: a replay reads no text: leave it out")
    if old is None or not run.files.records():
        raise InputError(f"--same-text: {run.address} has no finished trials that had another text: leave it out")
    corpora = {name: facts.fingerprint for name, facts in old.corpora.items()}
    folders = old.held_out_again or old.folders
    before = SameText(reason=reason.strip(), recipe=run.study().fingerprint, corpora=corpora, folders=folders)
    return old.model_copy(update={"same_text": (*old.same_text, before)})


def changed(study: Study, run: Run, made: Ingredients) -> bool:
    """Whether the study reads its text elsewhere, or other text, than the run's trials did."""
    old = run.ingredients()
    return old is None or old.fingerprints() != made.fingerprints() or run.study().fingerprint != study.fingerprint


def checked(study: Study, run: Run, made: Ingredients) -> Ingredients:
    """The new ingredients, with the base model's losses on both texts in the statement.

    Raises InputError, naming both, where they differ by more than the noise of a trial, or are not known.
    """
    old = run.ingredients()
    before, now = (_losses(one) for one in (old, made))
    if not before or before.keys() != now.keys():
        raise InputError(
            f"--same-text: the base model's loss on the held-out text is not known for both texts, so nothing shows "
            f"that they are the same: {ANOTHER}"
        )
    noise = _noise(run)
    for name, loss in now.items():
        language = study.corpora.by_name[name].language
        limit, apart = max(LEAST_NOISE, noise.get(name, 0.0), noise.get(language, 0.0)), abs(loss - before[name])
        if apart > limit:
            raise InputError(
                f"--same-text: the base model's loss on the held-out text of {study.source_label(name)} is "
                f"{number(loss, 4)} nats per token, and was {number(before[name], 4)}: {number(apart, 4)} apart, over "
                f"the noise of a trial, {number(limit, 4)}: it is not the same text: {ANOTHER}"
            )
    *older, last = made.same_text
    both = {name: (before[name], loss) for name, loss in now.items()}
    return made.model_copy(update={"same_text": (*older, last.model_copy(update={"base_losses": both}))})


def lines(study: Study, made: Ingredients) -> Iterator[str]:
    """What was compared, for the user."""
    for name, (before, now) in made.same_text[-1].base_losses.items():
        label = study.source_label(name)
        yield f"--same-text: the base model's loss of {label} is {number(now, 4)}, and was {number(before, 4)}"


def _losses(made: Ingredients | None) -> dict[str, float]:
    check = made.base_check if made else None
    return {name: found.loss for name, found in check.losses.items()} if check else {}


def _noise(run: Run) -> dict[str, float]:
    """The sd of one trial by language or source, in nats, as the run was last fitted; empty before a fit."""
    found = (read_object(run.files.fit) or {}).get("noise")
    measured = found if isinstance(found, dict) else {}
    return {name: float(sd) for name, sd in measured.items() if isinstance(sd, int | float)}
