"""The part of each corpus that trials draw from: they read it as often as the launch will read its text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pydantic
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from rich.console import Console
from samples import make_study, study_content

from analysis.launch.plan.source import sources_of
from sweep.planning import epochs
from sweep.planning.plan import StudyPlan, plan
from sweep.store.run import Run
from sweep.study import CorpusFacts, Ingredients, InputError, Study, study_file
from sweep.study.sections.content import Replay
from sweep.trials.progress import RunProgress
from sweep.verbs.plan import prepare as preparing
from sweep.verbs.plan.text import plan_json
from sweep.verbs.running import run as sweep_run
from trainers import prepare
from trainers.data.mixture import Mixture

LENGTH = 32
TOKENS = 64 * LENGTH  # of a trial: 8 steps of 8 sequences
ALMRS = [0.1, 0.5, 0.9]


def facts(blocks: int) -> CorpusFacts:
    counts = dict.fromkeys(
        ("documents", "bytes", "held_out_documents", "held_out_tokens", "held_out_bytes", "held_out_blocks"), 1
    )
    return CorpusFacts(fingerprint="x", tokens=blocks * LENGTH, blocks=blocks, **counts)


def with_launch(tokens: int, corpora: dict[str, Any] | None = None, own: dict[str, Any] | None = None) -> Study:
    launch = {"model": "tiny", "tokens": tokens, "global_batch_tokens": 256, "sequence_length": LENGTH}
    launch |= {"gpus_per_node": 0, "formats": ["native"], "corpora": own}
    training = study_content()["training"] | {"simulate_epochs": True}
    given = {"corpora": corpora} if corpora else {}
    return make_study(training=training, launch=launch, grid={"almr": ALMRS, "lr": [1e-3, 3e-3, 1e-2]}, **given)


def made(**blocks: int) -> Ingredients:
    corpora = {name: facts(count) for name, count in blocks.items()}
    return Ingredients(base_model="", base_model_fingerprint="", folders={}, corpora=corpora)


def planned(study: Study, **blocks: int) -> StudyPlan:
    every = study.grid_trials
    return plan(study, RunProgress(every, every, len(every), []), made(**blocks).corpora)


def test_the_part_is_to_the_launchs_text_as_a_trial_is_to_the_launch() -> None:
    found = epochs.with_trial_blocks(with_launch(10 * TOKENS), made(original=4000, additional=300))
    assert {name: one.trial_blocks for name, one in found.corpora.items()} == {"original": 400, "additional": 30}
    assert found.fingerprints()["corpora.additional.trial_blocks"] == "30"
    assert found.contents() == made(original=4000, additional=300).fingerprints()


@given(
    times=st.integers(5, 50),
    sizes=st.lists(st.integers(2_000, 100_000), min_size=3, max_size=3),
    launch_sizes=st.lists(st.integers(2_000, 100_000), min_size=3, max_size=3),
    weights=st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4), st.integers(1, 4)),
    almr=st.sampled_from(ALMRS),
)
def test_trials_repeat_each_source_as_the_launch_does(
    times: int, sizes: list[int], launch_sizes: list[int], weights: tuple[int, ...], almr: float
) -> None:
    """Also where the launch has other text of each source, and mixes the sources by other weights."""
    names = ["web", "books", "additional"]
    corpora, own = (
        {
            "original": [
                {"embedded": "shakespeare", "name": "web", "weight": two[0]},
                {"dataset": "an/other", "name": "books", "weight": two[1]},
            ],
            "additional": {"embedded": "three-kingdoms"},
        }
        for two in (weights[:2], weights[2:])
    )
    for source, size in zip([*own["original"], own["additional"]], launch_sizes, strict=True):
        source |= {"tokens": size * LENGTH, "dataset": f"the/{source.get('name', 'launch')}"}
        source.pop("embedded", None)
    study = with_launch(times * TOKENS, corpora, own)
    counted = made(**dict(zip(names, sizes, strict=True)))
    assume(not list(epochs.faults(study, counted.corpora)))
    found = epochs.with_trial_blocks(study, counted).corpora
    assume(all(found[name].trial_blocks < found[name].blocks for name in names))
    parts = {name: one.read_blocks for name, one in found.items()}
    mixture = Mixture(almr, 0, tuple(study.corpora.by_name.values()), parts)
    launch = sources_of(study, almr, counted.corpora, names)
    for name, drawn in mixture.drawn(64).items():
        wanted = launch[name].epochs * parts[name]  # blocks, of which a source gives its share to within 1.5
        assert abs(drawn - wanted) <= 1.5 + wanted / (2 * parts[name])


def test_the_plan_has_the_launchs_passes_and_says_what_trials_draw_from() -> None:
    study = with_launch(10 * TOKENS)
    found = planned(study, original=4000, additional=300)
    assert found.epochs["additional"] == pytest.approx([0.1 * 64 / 30, 0.5 * 64 / 30, 0.9 * 64 / 30])
    assert found.launch.passes("additional") == pytest.approx((0.1 * 64 / 30, 0.9 * 64 / 30))
    assert plan_json(study, found)["trial_text_tokens"] == {"original": 400 * LENGTH, "additional": 30 * LENGTH}
    assert not any("epetition" in warning for warning in found.warnings)


def test_before_text_is_counted_the_plan_estimates_what_trials_draw_from() -> None:
    corpora = {name: {"dataset": f"an/{name}", "tokens": 300 * LENGTH} for name in ("original", "additional")}
    found = planned(with_launch(2 * TOKENS, corpora))
    assert found.trial_tokens["additional"] == pytest.approx(150 * LENGTH)
    assert not any("simulate_epochs" in warning for warning in found.warnings)


UNLIKE = "the launch reads additional up to 1.9 x, a trial at most 0.19 x, and repetition moves the best ALMR"


def test_a_plan_warns_of_repetition_that_trials_do_not_have() -> None:
    study = with_launch(10 * TOKENS)
    without = study.model_copy(update={"training": study.training.model_copy(update={"simulate_epochs": False})})
    [warning] = [one for one in planned(without, original=40_000, additional=300).warnings if UNLIKE in one]
    assert warning.endswith("write training.simulate_epochs: true")
    assert not [one for one in planned(study, original=40_000, additional=300).warnings if UNLIKE in one]


NO_TOKENS = {"original": {"embedded": "shakespeare"}, "additional": {"dataset": "a/b"}}
OTHER_NAMES = {
    "original": [{"dataset": "a/b", "name": "web"}, {"dataset": "a/c", "name": "books"}],
    "additional": {"dataset": "a/d"},
}


@pytest.mark.parametrize(
    ("times", "own", "additional", "message"),
    [
        (10, NO_TOKENS, 300, "the size of the launch's text is not known: state tokens of launch.corpora.additional"),
        (100, None, 300, "trials would read 96 tokens of corpora.additional, less than one batch takes of it (256): "),
        (10, OTHER_NAMES, 300, "launch.corpora has no original for original: name its sources as those of corpora"),
        (
            1,
            {"original": {"embedded": "shakespeare"}, "additional": {"dataset": "a/b", "tokens": 50 * LENGTH}},
            20,
            "trials would read corpora.additional up to 2.9 x, the launch 1.2 x: give trials 1.6k tokens of it, or",
        ),
    ],
)
def test_where_trials_cannot_read_as_often_they_are_refused(
    times: int, own: dict[str, Any] | None, additional: int, message: str
) -> None:
    study = with_launch(times * TOKENS, own=own)
    with pytest.raises(InputError, match=r"training\.simulate_epochs: ") as error:
        epochs.with_trial_blocks(study, made(original=40_000, additional=additional))
    assert message in str(error.value)
    [warning] = [one for one in planned(study, original=40_000, additional=additional).warnings if message in one]
    assert warning.startswith("almr run will refuse this study: ")


STATED = {"original": {"embedded": "shakespeare"}, "additional": {"dataset": "a/b", "tokens": 300 * LENGTH}}


@pytest.mark.parametrize(
    ("times", "own", "message"),
    [
        (10, NO_TOKENS, "the size of the launch's text is not known: state tokens of launch.corpora.additional"),
        (10, OTHER_NAMES, "launch.corpora has no original for original: name its sources as those of corpora"),
        (100, STATED, "trials would read 96 tokens of corpora.additional, less than one batch takes of it (256): "),
    ],
)
def test_what_no_count_can_change_is_refused_before_anything_is_prepared(
    times: int, own: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, console = with_launch(times * TOKENS, own=own), Console(quiet=True)
    for name in ("prepare", "fetch"):
        monkeypatch.setattr(prepare, name, pytest.fail)
    for start in (lambda: sweep_run.run(study, Run(tmp_path), console), lambda: preparing.prepare(study, console)):
        with pytest.raises(InputError, match=r"^training\.simulate_epochs: ") as error:
            start()
        assert message in str(error.value)
        assert "\n" not in str(error.value)
    [warning] = [one for one in planned(study).warnings if message in one]
    assert warning.startswith("almr run will refuse this study: ")
    assert not list(tmp_path.iterdir())


def test_a_size_that_is_counted_later_refuses_nothing_before(tmp_path: Path) -> None:
    """Of the trials' own text, and of a file whose tokens are estimated from its bytes."""
    (tmp_path / "a.txt").write_text("a" * 1000)
    small = {"dataset": "a/b", "tokens": 300 * LENGTH}
    counted = made(original=40_000, additional=300).corpora
    counted = {name: one.model_copy(update={"bytes": 4 * one.tokens}) for name, one in counted.items()}
    for own, corpora in (
        (None, {"original": {"dataset": "a/a", "tokens": 40_000 * LENGTH}, "additional": small}),
        (STATED | {"additional": {"files": str(tmp_path / "a.txt")}}, None),
    ):
        study = with_launch(100 * TOKENS, corpora, own)
        epochs.refuse_early(study, {})
        assert [one for one in planned(study).warnings if "will refuse" in one]  # as far as it is known now
        with pytest.raises(InputError, match="less than one batch"):
            epochs.refuse_early(study, counted)


def test_a_replay_reads_no_text_and_is_not_refused() -> None:
    study = with_launch(100 * TOKENS)
    replayed = study.model_copy(update={"replay": Replay(table="/a.csv")})
    assert list(epochs.faults(study, made(original=40_000, additional=300).corpora))
    assert not list(epochs.faults(replayed, made(original=40_000, additional=300).corpora))


def test_without_a_launch_the_epochs_are_not_known() -> None:
    training = study_content()["training"] | {"simulate_epochs": True}
    with pytest.raises(
        pydantic.ValidationError, match="simulate_epochs: the launch's tokens are not known: add launch"
    ):
        make_study(training=training)


def test_only_one_of_both_says_what_trials_draw_from() -> None:
    corpora = {"original": {"embedded": "shakespeare", "trial_tokens": 4096}, "additional": {"dataset": "a/b"}}
    with pytest.raises(pydantic.ValidationError, match=r"corpora.original.trial_tokens: training.simulate_epochs sets"):
        with_launch(TOKENS, corpora)
    with pytest.raises(pydantic.ValidationError, match=r"launch\.corpora: trial_tokens: .* remove it"):
        with_launch(TOKENS, own=corpora)


@pytest.mark.parametrize(("tokens", "refused"), [(1, True), (LENGTH - 1, True), (LENGTH, False)])
def test_a_part_of_less_than_a_sequence_is_refused(tokens: int, refused: bool) -> None:
    corpora = {"original": {"embedded": "shakespeare", "trial_tokens": tokens}, "additional": {"dataset": "a/b"}}
    if refused:
        with pytest.raises(pydantic.ValidationError, match=rf"corpora\.original\.trial_tokens {tokens}: less than one"):
            make_study(corpora=corpora)
    else:
        assert make_study(corpora=corpora).corpora.by_name["original"].spec.trial_tokens == LENGTH


@pytest.mark.parametrize(("tokens", "warned"), [(LENGTH, True), (7 * LENGTH, True), (8 * LENGTH, False)])
def test_a_part_that_does_not_fill_a_batch_is_warned_of(tokens: int, warned: bool) -> None:
    """At the highest ALMR, 0.9, a batch of 8 sequences has up to 8 of the additional language."""
    corpora = {"original": {"embedded": "shakespeare"}, "additional": {"dataset": "a/b", "trial_tokens": tokens}}
    study = make_study(corpora=corpora, grid={"almr": ALMRS, "lr": [1e-3, 3e-3, 1e-2]})
    found = [one for one in planned(study).warnings if "less than one batch takes of it (256)" in one]
    assert len(found) == warned


def test_trials_of_another_launch_have_another_recipe() -> None:
    """What the launch reads is part of it only where trials repeat as it does."""
    one, two = with_launch(10 * TOKENS), with_launch(20 * TOKENS)
    assert study_file.changed_fields(one, two) == ["launch.tokens: 20480 -> 40960"]
    plain = [s.model_copy(update={"training": make_study().training}) for s in (one, two)]
    assert plain[0].fingerprint == plain[1].fingerprint == make_study().fingerprint
