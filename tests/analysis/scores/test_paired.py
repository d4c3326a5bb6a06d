import numpy as np
import pytest

from analysis.scores import paired
from analysis.scores.read import QuestionAnswers
from sweep.study import Score


def answers(values, **fields):
    values = np.array(values, float)
    known = values[np.isfinite(values)]
    measured = {"value": known.mean(), "stderr": known.std(ddof=1) / np.sqrt(len(known)), "n": len(known)}
    return QuestionAnswers(Score.model_construct(**measured | {"prompt_sha256": "p"} | fields), values)


def pairs(random, n, discordant, change):
    """0/1 answers of two models over n questions: right in one alone with a probability of `discordant` in all."""
    drawn = random.random(n)
    gained = drawn < (discordant + change) / 2
    lost = (drawn >= (discordant + change) / 2) & (drawn < discordant)
    both = random.random(n) < 0.5
    return answers(np.where(gained | lost, gained, both)), answers(np.where(gained | lost, lost, both))


def differences(repeats, n, discordant, change, seed=0):
    random = np.random.default_rng(seed)
    return [paired.difference(*pairs(random, n, discordant, change)) for _ in range(repeats)]


def inside(found, truth, level):
    return np.mean([(i := d.interval(level)).low <= truth <= i.high for d in found])


@pytest.mark.parametrize(
    ("n", "discordant", "change"), [(30, 0.1, 0.05), (50, 0.3, 0.1), (100, 0.03, 0.02), (300, 0.3, -0.1)]
)
def test_the_paired_interval_holds_the_true_change_as_often_as_it_says(n, discordant, change):
    found = differences(600, n, discordant, change)
    margin = 3 * np.sqrt(0.1 * 0.9 / 600)
    assert inside(found, change, 0.9) >= 0.9 - margin
    if n * discordant >= 15:  # with fewer answers that differ, steps of 1/n make any interval wide
        assert inside(found, change, 0.9) <= 0.9 + margin + 0.02


def test_partial_credit_is_held_too():
    random, found, truth = np.random.default_rng(1), [], 0.03
    for _ in range(600):
        one = np.clip(random.normal(0.5, 0.3, 80), 0, 0.9)
        found.append(paired.difference(answers(one + truth + random.uniform(-0.05, 0.05, 80)), answers(one)))
    assert inside(found, truth, 0.9) == pytest.approx(0.9, abs=0.05)


def test_the_same_questions_tell_far_more_than_two_standard_errors():
    one, other = pairs(np.random.default_rng(0), 400, 0.04, 0.0)
    apart = paired.difference(QuestionAnswers(one.score), QuestionAnswers(other.score))
    assert apart.unpaired == "questions.json does not have its questions"
    assert paired.difference(one, other).unpaired is None
    assert paired.difference(one, other).se < apart.se / 3


def test_models_that_answer_alike_may_still_differ_on_other_questions():
    one = answers([0, 1] * 50)
    found = paired.difference(one, one)
    assert found.value == 0
    assert found.p_value == 1
    assert found.interval(0.9).low < -0.01


def test_no_more_false_verdicts_than_the_level_allows_over_twenty_tasks():
    """Family-wise: a repeat is false where any of its 20 tasks, none of which changed, is told from none."""
    repeats = 400
    p_values = np.array([d.p_value for d in differences(20 * repeats, 100, 0.3, 0.0)]).reshape(repeats, 20)
    corrected = np.array([paired.holm(p) for p in p_values])
    assert np.mean((corrected <= 0.1).any(axis=1)) <= 0.1 + 2.33 * np.sqrt(0.1 * 0.9 / repeats)
    assert np.mean((p_values <= 0.1).any(axis=1)) > 0.6  # uncorrected, most would be false


def test_true_changes_are_found_among_tasks_that_did_not_change():
    found = np.array([differences(100, 400, 0.2, change, seed=k) for k, change in enumerate([0.12] * 5 + [0.0] * 15)])
    corrected = np.array([paired.holm([d.p_value for d in tasks]) for tasks in found.T])
    assert np.mean(corrected[:, :5] <= 0.1) > 0.95
    assert np.mean((corrected[:, 5:] <= 0.1).any(axis=1)) <= 0.1 + 2.33 * 0.03


def test_holm_is_what_his_paper_says():
    assert paired.holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert paired.holm([]).tolist() == []
    assert paired.holm([0.9, 0.9]).tolist() == [1, 1]


@pytest.mark.parametrize("significance", [0.1, 0.005])
def test_the_number_of_questions_it_would_take_is_what_it_takes(significance):
    discordant, change, large = 0.3, 0.08, 100_000
    [whole] = differences(1, large, discordant, change)
    needed = whole.needed(significance)
    told = np.mean([d.p_value <= significance for d in differences(600, needed, discordant, change, seed=2)])
    assert told == pytest.approx(0.8, abs=3 * np.sqrt(0.8 * 0.2 / 600) + 0.02)


def test_no_number_of_questions_tells_nothing_from_nothing():
    one = answers([0, 1] * 50)
    assert paired.difference(one, one).needed(0.1) is None


def test_a_question_that_either_did_not_answer_is_left_out_not_zero():
    one, other = answers([1, 1, np.nan, 1]), answers([0, 1, 1, np.nan])
    found = paired.difference(one, other)
    assert (found.value, found.n) == (0.5, 2)


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [("prompt_sha256", "q", "prompt"), ("version", "2", "version"), ("metric", "f1", "metric")],
)
def test_scores_of_another_task_version_are_not_compared(field, value, why):
    one = answers([0, 1, 1])
    other = answers([0, 1, 1], **{field: value})
    assert paired.incomparable(one, one) is None
    assert paired.incomparable(one, other) == f"scored with a different {why} of the task"


def test_without_questions_and_standard_errors_nothing_is_claimed():
    one = QuestionAnswers(Score(value=0.5))
    assert paired.incomparable(one, one) == "questions.json does not have its questions"


def test_two_standard_errors_of_0_without_questions_are_not_compared():
    one, other = (QuestionAnswers(Score(value=value, stderr=0.0, n=100)) for value in (0.0, 0.0))
    assert "both standard errors are 0" in paired.incomparable(one, other)
    tiny = QuestionAnswers(Score(value=0.0, stderr=1e-300, n=100))
    assert paired.incomparable(one, tiny) is None
    assert paired.mean([paired.difference(one, tiny)] * 2).p_value == 1
    assert paired.incomparable(answers([0, 0, 0]), answers([0, 0, 0])) is None  # question by question, more is known


def test_a_score_that_is_not_the_mean_of_its_questions_is_compared_by_standard_errors():
    one, other = answers([0, 1, 1, 0], value=0.9), answers([0, 1, 0, 0])
    found = paired.difference(one, other)
    assert found.unpaired == "the score is not the mean of its questions"
    assert found.value == pytest.approx(0.65)
    assert paired.difference(answers([0, 1, 1]), answers([0, 1])).unpaired == "the numbers of questions differ"


def test_a_mean_over_tasks_counts_each_the_same_and_keeps_its_coverage():
    parts = zip(differences(400, 40, 0.3, 0.1), differences(400, 400, 0.1, -0.05, seed=1), strict=True)
    found = [paired.mean(both) for both in parts]
    assert np.mean([d.value for d in found]) == pytest.approx(0.025, abs=0.01)
    assert inside(found, 0.025, 0.9) >= 0.9 - 3 * np.sqrt(0.1 * 0.9 / 400)
    assert found[0].n == 440
