from dataclasses import replace

import numpy as np
import pytest

from analysis.decision.findings import score_findings
from analysis.scores import across
from analysis.scores.read import QuestionAnswers, Scored, ScoredModel
from analysis.scores.summary import summarise
from analysis.scores.targets import targets
from analysis.table.table import TriedPoints
from sweep.study import Score

NEAR = (0.5, 1.58e-4)  # the grid's own point nearest to the winner
FEW = [(0.1, 1e-5), NEAR, (0.7, 6.31e-5)]
GRID = [(a, float(f"{r:.3g}")) for a in (0.1, 0.3, 0.5, 0.7, 0.9) for r in np.geomspace(1e-5, 1e-3, 6)]


@pytest.fixture(scope="module")
def whole(bowl_case, scores_of):
    """Every point of the grid scored, with English falling as ALMR rises."""
    guards = {"task": "ceval", "at_least_gain": 0.1}, {"group": "English", "at_most_drop": 0.05}
    return summarise(bowl_case(*guards), scores_of(GRID, n=500, drop=0.8)).file


def row(scores, name):
    return next(row for row in scores.rows if row.name == name)


def findings(case, scored):
    case = replace(case, scores=scored and summarise(case, scored).file)
    return list(score_findings.refused(case, TriedPoints.of(case.table)))


def test_each_score_is_told_from_the_base_model_or_not(whole):
    verdicts = {r.name: r.verdict for r in whole.rows}
    assert verdicts == {
        "ceval": "better",
        "cmmlu": "better",
        "arc": "worse",
        "mmlu": "worse",
        "coin": "not distinguishable",
        "Chinese": "better",
        "English": "worse",
    }
    assert whole.comparisons == 7
    coin = row(whole, "coin")
    assert coin.needed > coin.change.n
    assert row(whole, "ceval").needed is None


def test_the_winners_trial_is_the_nearest_and_the_best_trial_is_widened_for_its_choice(whole):
    assert (whole.winner_trial.almr, whole.winner_trial.lr) == NEAR
    assert 0 < whole.winner_trial.steps < 0.5
    found = row(whole, "ceval")
    assert found.best.among == 30
    assert found.best.almr in (0.7, 0.9)
    assert found.best.value > found.winner
    assert found.best.change == pytest.approx(found.best.value - found.base)
    single, chosen = found.change.interval, found.best.change_interval
    assert chosen.high - chosen.low > 1.5 * (single.high - single.low)


def test_a_group_is_the_mean_of_its_tasks(whole):
    found = row(whole, "Chinese")
    parts = [row(whole, task) for task in ("ceval", "cmmlu")]
    assert found.winner == pytest.approx(np.mean([p.winner for p in parts]))
    assert found.change.value == pytest.approx(np.mean([p.change.value for p in parts]))
    assert found.change.n == 1000


def test_a_scores_own_optimum_is_found_and_a_flat_score_has_none(whole):
    best = row(whole, "ceval").optimum
    assert best.almr_interval.low <= 0.83
    assert best.almr == pytest.approx(0.8, abs=0.1)
    assert best.lr == pytest.approx(1.1e-4, rel=0.3)
    assert best.holds_winner is False
    assert 0 < best.behind_interval.low <= best.behind <= best.behind_interval.high
    coin = row(whole, "coin")
    assert coin.optimum is None
    assert coin.why_no_optimum.startswith("not distinguishable across the grid")
    assert row(whole, "mmlu").optimum.at_edge


def test_loss_foretells_a_score_of_its_language_and_not_a_coin(whole):
    found = row(whole, "ceval").correlation
    assert (found.loss, found.trials) == ("additional", 30)
    assert -1 < found.interval.low < found.value < found.interval.high < -0.7
    assert row(whole, "coin").correlation.interval.high > -0.2


def test_guards_are_judged_at_the_winner_with_their_probability(whole):
    gain, drop = whole.guards
    assert gain.kept
    assert gain.source == "the surface of 30 trials"
    assert gain.interval.low < gain.change < gain.interval.high
    assert drop.probability < 0.1
    assert not drop.kept


def test_a_guard_that_is_broken_refuses_the_winner_with_the_numbers(bowl_case, scores_of):
    case = bowl_case({"group": "English", "at_most_drop": 0.05})
    [found] = findings(case, scores_of(FEW, n=500, drop=0.8))
    assert found.code == "guard"
    assert (
        "English may drop by at most 0.05: at the winner the score changes by -0.0980 (90 % interval -0.11"
        in found.message
    )
    assert "by the nearest scored trial, almr=0.50_lr=1.58e-04_seed=0" in found.message
    assert "90 % is required" in found.message
    assert found.next
    assert findings(case, scores_of(FEW, n=3000)) == []


def test_a_guard_that_is_kept_only_on_average_is_broken(bowl_case, scores_of):
    scored = scores_of(FEW, n=100)
    change = summarise(bowl_case(), scored).file.rows[0].change.value
    [found] = findings(bowl_case({"task": "ceval", "at_least_gain": change - 0.005}), scored)
    assert "kept with a probability of 5" in found.message


@pytest.mark.parametrize(
    ("guard", "why"),
    [
        ({"task": "gsm8k", "at_most_drop": 0.1}, "no task of that name was scored (scored: arc, ceval, cmmlu"),
        ({"group": "Math", "at_most_drop": 0.1}, "no group of that name was scored (scored: Chinese, English"),
        ({"task": "mmlu", "at_most_drop": 2}, "mmlu is a score from 0 to 1: write 0.02 for 2 points"),
    ],
)
def test_a_guard_that_cannot_be_judged_says_why(bowl_case, scores_of, guard, why):
    [found] = findings(bowl_case(guard), scores_of(FEW))
    assert found.code == "unscored"
    assert why in found.message


def test_a_guard_where_nothing_was_scored_cannot_be_judged(bowl_case):
    case = bowl_case({"group": "English", "at_most_drop": 0.02})
    [found] = findings(case, None)
    assert found.code == "unscored"
    assert "English may drop by at most 0.02" in found.message
    assert findings(bowl_case(), None) == []


def test_a_language_can_be_guarded_by_its_name(bowl_case, scores_of):
    guarded = summarise(bowl_case({"group": "additional", "at_least_gain": 0.05}), scores_of(FEW)).file
    assert guarded.guards[0].kept
    assert "additional" not in [r.name for r in guarded.rows]  # the same tasks as Chinese: one comparison


def test_what_failed_has_no_number_and_a_reason(bowl_case, scores_of):
    scored = scores_of(FEW)
    del scored.trials[1].answers["ceval"]
    scored.trials[1].failures["ceval"] = "the model answered NaN"
    scores = summarise(bowl_case({"task": "ceval", "at_least_gain": 0.01}), scored).file
    found = row(scores, "ceval")
    assert (found.winner, found.change, found.verdict) == (None, None, None)
    assert found.why_no_change == "the model answered NaN"
    assert found.best.among == 2
    assert row(scores, "Chinese").winner is None
    assert row(scores, "Chinese").why_no_change == "ceval: the model answered NaN"
    assert scores.guards[0].probability is None
    assert "No score for ceval in 1 of 3 trials: the model answered NaN" in scores.notes


def test_a_task_that_every_model_fails_has_no_change_and_a_reason(bowl_case, scores_of):
    scored = scores_of(FEW)
    for model in scored.models:
        model.answers["gsm8k"] = QuestionAnswers(Score(value=0.0, stderr=0.0, n=100, group="math"))
    found = row(summarise(bowl_case({"task": "gsm8k", "at_most_drop": 0.01}), scored).file, "gsm8k")
    assert (found.change, found.best.change) == (None, None)
    assert "both standard errors are 0" in found.why_no_change


def asked_otherwise(scored, low, task="ceval"):
    """The trials below an ALMR were scored on few other questions of a task, and look perfect."""
    for point, model in zip(scored.points, scored.trials, strict=True):
        if point.almr < low:
            changed = model.answers[task].score.model_copy(update={"prompt_sha256": "other", "value": 1.0, "n": 20})
            model.answers[task] = QuestionAnswers(changed, np.ones(20))
    return scored


def test_scores_of_other_questions_are_left_out_of_all_that_compares_trials(bowl_case, scores_of):
    guard = {"task": "ceval", "at_least_gain": 0.1}
    scores = summarise(bowl_case(guard), asked_otherwise(scores_of(GRID, n=500), 0.4)).file
    found = row(scores, "ceval")
    assert (found.best.among, found.best.almr >= 0.4, found.correlation.trials, found.optimum.trials) == (
        18,
        True,
        18,
        18,
    )
    assert scores.guards[0].source == "the surface of 18 trials"
    assert row(scores, "cmmlu").best.among == 30
    assert row(scores, "Chinese").best.among == 18
    left = "No score for ceval in 12 of 30 trials: left out: scored with a different prompt of the task"
    assert left in scores.notes


def test_without_the_base_model_the_questions_of_most_trials_count(bowl_case, scores_of):
    scored = asked_otherwise(scores_of(GRID, n=50), 0.6)
    scores = summarise(bowl_case(), Scored(ScoredModel({}, {}), scored.points, scored.trials)).file
    assert row(scores, "ceval").best.among == 18
    assert row(scores, "ceval").best.value == 1


def test_without_the_base_model_no_change_is_claimed(bowl_case, scores_of):
    scored = scores_of(FEW)
    case = bowl_case({"group": "English", "at_most_drop": 0.02})
    scores = summarise(case, Scored(ScoredModel({}, {}), scored.points, scored.trials)).file
    assert scores.comparisons == 0
    assert all(r.change is None and r.base is None and r.winner is not None for r in scores.rows)
    assert scores.guards[0].why_not == "against the base model: arc: not scored"
    warned = list(score_findings.warned(replace(case, scores=scores), TriedPoints.of(case.table)))
    assert [f.message for f in warned] == ["changes against the base model are unknown: score the base model"]


def test_a_scored_trial_far_from_the_winner_is_said_to_be_far(bowl_case, scores_of):
    case = bowl_case()
    scores = summarise(case, scores_of([(0.1, 1e-5)])).file
    [far] = [f for f in score_findings.warned(replace(case, scores=scores), TriedPoints.of(case.table)) if f.next]
    assert "grid steps away: score one beside it" in far.message


def test_lower_is_better_turns_the_verdict_and_other_scales_stay_out_of_a_mean(bowl_case, scores_of):
    scored = scores_of([NEAR])
    for model, value in ((scored.base, 40.0), (scored.trials[0], 30.0)):
        answers = value + np.random.default_rng(0).normal(size=50)
        fields = {"value": answers.mean(), "n": 50, "stderr": 0.2, "higher_is_better": False, "group": "English"}
        model.answers["perplexity"] = QuestionAnswers(Score(**fields), answers)
    scores = summarise(bowl_case({"task": "perplexity", "at_least_gain": 5}), scored).file
    found = row(scores, "perplexity")
    assert found.verdict == "better"
    assert found.change.value == pytest.approx(-10)
    assert scores.guards[0].kept
    assert scores.guards[0].change == pytest.approx(10)
    assert row(scores, "English").left_out == ("perplexity",)
    assert "perplexity" not in row(scores, "English").tasks


def test_trials_that_do_not_differ_are_told_to_at_most_at_the_level(scores_of):
    """The test of flatness, on trials that differ by luck alone."""
    p_values = []
    for k in range(60):
        random = np.random.default_rng(k)
        ease = random.standard_normal(100)
        every = [ease + 0.5 * random.standard_normal(100) > 0 for _ in range(12)]
        trials = [
            ScoredModel({"quiz": QuestionAnswers(Score(value=a.mean(), metric="acc"), a.astype(float))}, {})
            for a in every
        ]
        scored = Scored(ScoredModel({}, {}), [None] * 12, trials)
        p_values.append(across.across(scored, targets(scored)[0]).p_value())
    assert np.mean(np.array(p_values) <= 0.1) <= 0.1 + 2.33 * np.sqrt(0.09 / 60)
    assert np.mean(np.array(p_values) <= 0.5) >= 0.25


def test_the_interval_of_a_rank_correlation_holds_the_truth():
    random, truth, found = np.random.default_rng(0), 6 / np.pi * np.arcsin(0.8 / 2), []
    for _ in range(300):
        x = random.standard_normal(25)
        found.append(across.correlation("l", x, 0.8 * x + 0.6 * random.standard_normal(25), 0.9))
    assert np.mean([c.interval.low <= truth <= c.interval.high for c in found]) == pytest.approx(0.9, abs=0.055)
    assert across.correlation("l", [1, 2, 3, 4], [1, 2, 3, 4], 0.9) is None
    assert across.correlation("l", range(9), [1] * 9, 0.9) is None


def test_a_score_whose_best_point_is_known_has_its_surface(bowl_case, scores_of):
    found = summarise(bowl_case(), scores_of(GRID, n=500, drop=0.8))
    known = {row.name: row.optimum for row in found.file.rows if row.optimum}
    assert found.surfaces.keys() == known.keys() != set()
    for name, best in known.items():
        (there, elsewhere), _ = found.surfaces[name].on([best.almr, 0.1], [best.lr, 1e-5])
        assert there > elsewhere
