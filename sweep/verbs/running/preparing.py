"""What the trials share, prepared before the first of them, and said on the console."""

from __future__ import annotations

from rich.console import Console

from sweep.planning import epochs, remembered
from sweep.store.run import Run
from sweep.study import Ingredients, Study
from sweep.verbs.plan import phases


def prepare(study: Study, run: Run, console: Console) -> None:
    """Prepare the study for this run, and keep in it what that made."""
    run.keep_ingredients(prepared(study, run, console, run.ingredients()))


def prepared(study: Study, run: Run, console: Console, earlier: Ingredients | None) -> Ingredients:
    """What the study's preparation makes, said on the console. `earlier`: what the run's last preparation made."""
    for line in phases.preparation_lines(study):
        console.print(line, markup=False, soft_wrap=True)
    made = epochs.with_trial_blocks(study, remembered.read(study, earlier) or _looked_for(study, console, earlier))
    for line in phases.base_model_lines(study, made.base_check):
        console.print(line, markup=False, soft_wrap=True)
    phases.print_unscored(study, console)
    return made


def _looked_for(study: Study, console: Console, earlier: Ingredients | None) -> Ingredients:
    own = remembered.own_stamps(study)
    with phases.shown(console) as progress:
        from trainers import prepare

        made = prepare.prepare(study, progress, earlier)
    remembered.keep(study, made, own)
    return made


def measured(study: Study, run: Run, console: Console, made: Ingredients, address: str | None) -> Ingredients:
    """With the base model's loss, where the preparation left it to a GPU. Raises InputError for a broken one."""
    from sweep.controller import base_model

    if base_model.is_needed(study, made):
        with console.status("measuring the base model on a GPU"):
            made = base_model.measure(study, run, made, address)
        for line in phases.base_model_lines(study, made.base_check):
            console.print(line, markup=False, soft_wrap=True)
    return made
