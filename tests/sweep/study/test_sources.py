"""Corpora of several sources: what a study may say of them, and how losses are named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from samples import make_study, study_content

from sweep.study import InputError, PerLanguage, Record, SourceResult, Status, Study, preparation, study_file

PLAYS = {"embedded": "shakespeare", "name": "plays", "weight": 0.6}
CODE = {"files": "code.txt", "name": "code", "weight": 0.4}
NOVEL = {"embedded": "three-kingdoms"}


def with_sources(original: Any = (PLAYS, CODE), additional: Any = NOVEL, **changes: Any) -> dict[str, Any]:
    original = list(original) if isinstance(original, tuple) else original
    return study_content(corpora={"original": original, "additional": additional}, **changes)


def study(*sources: Any, **changes: Any) -> Study:
    return Study.model_validate(with_sources(sources or (PLAYS, CODE), **changes))


def refusal(folder: Path, content: dict[str, Any]) -> str:
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(InputError) as raised:
        study_file.load(path)
    return str(raised.value).removeprefix(f"{path}: ")


def test_sources_are_listed_by_name_with_their_share_of_the_language() -> None:
    corpora = study().corpora
    assert corpora.source_names() == ("plays", "code", "additional")
    assert corpora.source_names("original") == ("plays", "code")
    assert [source.name for source in corpora.sources("original")] == ["plays", "code"]
    assert [source.share for source in corpora.by_name.values()] == [0.6, 0.4, 1.0]
    assert {name: source.language for name, source in corpora.by_name.items()} == {
        "plays": "original",
        "code": "original",
        "additional": "additional",
    }


@given(st.lists(st.floats(1e-6, 1e12), min_size=2, max_size=6), st.integers(1, 50))
def test_only_the_ratio_of_weights_matters(weights: list[float], factor: int) -> None:
    """Exactly: shares add up to 1, and are the same for weights in percent or in tokens."""
    names = [f"s{number}" for number in range(len(weights))]
    found = study(*({"files": f"{n}.txt", "name": n, "weight": w} for n, w in zip(names, weights, strict=True)))
    assert sum(source.fraction for source in found.corpora.by_name.values() if source.language == "original") == 1
    whole = [round(weight) + 1 for weight in weights]
    one, other = (
        study(*({"files": f"{n}.txt", "name": n, "weight": w * by} for n, w in zip(names, whole, strict=True)))
        for by in (1, factor)
    )
    assert one.fingerprint == other.fingerprint


def test_a_list_of_one_is_its_only_source_and_keeps_the_fingerprint() -> None:
    plain = make_study(corpora={"original": {"embedded": "shakespeare"}, "additional": NOVEL})
    for original in ([{"embedded": "shakespeare"}], [{"embedded": "shakespeare", "weight": 3}]):
        found = make_study(corpora={"original": original, "additional": NOVEL})
        assert found == plain
        assert found.fingerprint == plain.fingerprint
    assert plain.corpora.source_names() == ("original", "additional")
    assert not plain.corpora.named


def test_without_weights_the_shares_are_equal() -> None:
    sources = ({"files": f"{name}.txt", "name": name} for name in "abc")
    assert [source.share for source in study(*sources).corpora.by_name.values()] == pytest.approx([1 / 3] * 3 + [1])


def test_the_recipe_has_names_and_shares_but_not_their_order() -> None:
    plain = study()
    assert study(CODE, PLAYS).fingerprint == plain.fingerprint
    assert study(PLAYS | {"weight": 0.5}, CODE | {"weight": 0.5}).fingerprint != plain.fingerprint
    assert study(PLAYS | {"name": "theatre"}, CODE).fingerprint != plain.fingerprint
    changed = study_file.changed_fields(plain, study(PLAYS | {"weight": 1.6}, CODE))
    assert "corpora.original.plays.weight: 0.6 -> 0.8" in changed


def test_what_is_prepared_does_not_depend_on_weights() -> None:
    other = study(PLAYS | {"weight": 0.5}, CODE | {"weight": 0.5})
    assert preparation.path(other) == preparation.path(study())
    assert preparation.path(study(PLAYS, CODE | {"name": "programs"})) != preparation.path(study())


def test_a_study_of_sources_survives_being_frozen(tmp_path: Path) -> None:
    weights = {"weights": {"plays": 0.3, "code": 0.3, "additional": 0.4}}
    content = with_sources(objective=weights | {"guards": [{"source": "code", "at_most_percent": 1}]})
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(content))
    found = study_file.load(path)
    assert found.corpora.by_name["code"].spec.files == (str(tmp_path / "code.txt"),)
    path.write_text(study_file.dump(found))
    assert study_file.load(path) == found


def test_messages_name_sources_and_their_language() -> None:
    found = study(PLAYS | {"language": "English"}, CODE)
    assert found.language_name("original") == "English"
    assert [found.source_label(name) for name in found.corpora.source_names()] == [
        "plays (English)",
        "code (English)",
        "additional",
    ]


@pytest.mark.parametrize(
    ("original", "expected"),
    [
        ([], "corpora.original: it is empty: write at least one value"),
        ("x", "corpora.original: expected a mapping of fields, found 'x'"),
        ([PLAYS, "x"], "corpora.original[1]: expected a mapping of fields, found 'x'"),
        ([PLAYS, {"files": "b", "nme": "b"}], "corpora.original[1].nme: unknown field. Did you mean name?"),
        ({"embeded": "x"}, "corpora.original.embeded: unknown field. Did you mean embedded?"),
        ([PLAYS, {"files": "b"}], "corpora.original: each of several sources needs a name: add `name` to number 2"),
        ([PLAYS, {"files": "b", "name": "b"}], "corpora.original: some sources have a weight, but not b: give each"),
        ([PLAYS, CODE | {"weight": 0}], "corpora.original[1].weight is 0: must be above 0"),
        ([PLAYS, CODE | {"weight": -1}], "corpora.original[1].weight is -1: must be above 0"),
        ([PLAYS, CODE | {"weight": "40%"}], "corpora.original[1].weight: expected a number, found '40%'. Write 0.4"),
        ([PLAYS, PLAYS | {"name": "b"}], "corpora.original: plays and b are the same text: give it once"),
        ([PLAYS, PLAYS | {"name": "b", "held_out": 0.2}], "corpora.original: plays and b are the same text"),
        ([PLAYS, CODE | {"name": "Plays"}], "corpora: two sources have the name Plays: give one of them another name"),
        ([PLAYS, CODE | {"name": "original"}], "corpora.original[1]: name: original has another meaning in losses"),
        (
            [PLAYS, CODE | {"name": "held_out_code"}],
            "corpora.original[1]: name: held_out_code has another meaning in losses",
        ),
        ([PLAYS, CODE | {"name": "a/b"}], "corpora.original[1].name: 'a/b' is not a name: use letters, digits"),
        (
            [PLAYS | {"language": "English"}, CODE | {"language": "Python"}],
            "corpora.original: its sources are of several languages, English and Python: write one",
        ),
    ],
)
def test_sources_that_cannot_be_mixed_are_one_line(tmp_path: Path, original: Any, expected: str) -> None:
    message = refusal(tmp_path, with_sources(original))
    assert message.startswith(expected)
    assert "\n" not in message


def test_one_text_by_two_paths_is_one_line(tmp_path: Path) -> None:
    """Paths are made absolute after the study was read."""
    paths = ("web.jsonl", str(tmp_path / "web.jsonl"))
    original = [{"files": path, "name": f"s{n}", "weight": 1} for n, path in enumerate(paths)]
    message = refusal(tmp_path, with_sources(original))
    assert message == "corpora.original: s0 and s1 are the same text: give it once, with the sum of their weights"


def test_a_name_is_of_one_source_in_both_languages(tmp_path: Path) -> None:
    message = refusal(tmp_path, with_sources(additional=NOVEL | {"name": "code"}))
    assert message.startswith("corpora: two sources have the name code")


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        ({"weights": {"plays": 1, "cod": 1}}, "objective.weights.cod: 'cod' is no language or source: name one of"),
        ({"weights": {"plays": 1, "original": 1}}, "objective.weights: plays is a part of original: weight the"),
        ({"weights": {"plays": 0, "code": 0}}, "objective.weights: all weights are 0"),
        ({"weights": {"plays": -1}}, "objective.weights.plays is -1: must be at least 0"),
        ({"weights": {"plays": "x"}}, "objective.weights.plays: expected a number, found 'x'"),
        ({"guards": [{"source": "web", "at_most_percent": 1}]}, "objective.guards[0].source: 'web' is no language or"),
        ({"guards": [{"source": "code"}]}, "objective.guards[0]: give exactly one of at_most_drop, at_least_gain, at_"),
        ({"guards": [{"source": "code", "at_most_drop": 1}]}, "objective.guards[0]: the limit of code is of another"),
        ({"guards": [{"task": "t", "at_most_percent": 1}]}, "objective.guards[0]: the limit of t is of another kind"),
        ({"guards": [{"source": "code", "at_most_percent": -1}]}, "objective.guards[0].at_most_percent is -1: must"),
    ],
)
def test_an_objective_names_losses_that_the_study_has(tmp_path: Path, objective: dict[str, Any], expected: str) -> None:
    message = refusal(tmp_path, with_sources(objective=objective))
    assert message.startswith(expected)
    assert "\n" not in message


def record(code: float) -> Record:
    results = {
        "plays": SourceResult(language="original", weight=0.6, loss=3.0, base_loss=3.1),
        "code": SourceResult(language="original", weight=0.4, loss=code, base_loss=2.0),
        "additional": SourceResult(language="additional", weight=1, loss=5.0, base_loss=6.0),
    }
    point = {"trial_id": "t", "fingerprint": "f", "almr": 0.5, "lr": 1e-3, "seed": 0, "attempt": 1}
    language = PerLanguage(original=0.6 * 3.0 + 0.4 * code, additional=5.0)
    base = PerLanguage(original=0.6 * 3.1 + 0.4 * 2.0, additional=6.0)
    return Record(**point, status=Status.COMPLETE, loss=language, base_loss=base, sources=results)


def test_an_objective_of_sources_is_their_weighted_mean() -> None:
    weights = study(objective={"weights": {"plays": 1, "code": 1, "additional": 2}}).objective
    assert weights.shares == {"original": 0, "additional": 0.5, "plays": 0.25, "code": 0.25}
    assert weights.of_record(record(code=2.0)) == pytest.approx(0.25 * 3.0 + 0.25 * 2.0 + 0.5 * 5.0)
    assert study().objective.of_record(record(code=2.0)) == pytest.approx(0.5 * (0.6 * 3 + 0.4 * 2) + 0.5 * 5)


def test_the_guard_of_a_source_limits_its_own_loss() -> None:
    guarded = study(objective={"guards": [{"source": "code", "at_most_percent": 1}]}).objective
    assert guarded.of_record(record(code=2.019)) is not None
    assert guarded.of_record(record(code=2.021)) is None
    [guard] = guarded.loss_guards
    assert guarded.score_guards == ()
    assert guard.bound(2.0) == pytest.approx(2.02)
    assert guard.words == "the loss of code may rise by at most 1%"
    of_language = study(objective={"guards": [{"source": "original", "at_most_percent": 1}]}).objective
    assert of_language.of_record(record(code=2.021)) is not None
