"""The confirmation in the bundle: what it plans and costs, how results are read, and the launch that it rewrites."""

import json
import math
import os
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from analysis.fit_file.inputs import FitInputs
from analysis.fit_file.transfer import EdgeAfter, Exponent, RuleEstimate
from analysis.fit_file.winner import Interval
from analysis.launch import bundle
from analysis.launch.bundle import FittedRun
from analysis.launch.confirm import plan as confirm_plan
from analysis.launch.confirm import result, results_table
from analysis.launch.evidence import bundle_folder, go
from analysis.launch.evidence.evidence import Evidence, ReadBack
from analysis.launch.plan.held_out import HeldOutText
from analysis.transfer.bracket import compare
from analysis.transfer.rules import near_edge
from sweep import cli
from sweep.planning import model_shape
from sweep.study import Ingredients, InputError, numbers, study_file

UNREAD = ReadBack(name="llamafactory", differences=None, why_not="not installed")
RULE = {"rule": "direct", "confirm": {"runs": 5, "factor": 2}}


@pytest.fixture
def out(run):
    return run / "launch"


@pytest.fixture
def fit(make_fit, make_study):
    return make_fit(make_study(launch={"transfer": RULE}))


def written(folder):
    return yaml.safe_load((folder / "llamafactory.yaml").read_text())


NOISE = {"original": 0.001, "additional": 0.002, "code": 0.003}


def line_of(page, statement, state):
    """The check's line in GO.md, which has to have the state."""
    [line] = [line for line in page.splitlines() if f"| {statement} |" in line]
    assert line.startswith(f"| {state} |")
    return line


TRAINING = {"sequence_length": 4096, "tokens": 10**9, "global_batch_tokens": 2**20, "document_masking": False}


def planned(fit, corpora):
    return bundle.confirmation(FittedRun(fit, Path("not-read"), corpora))


def results(path, plan, best, curvature=0.05):
    lines = ["lr,seed,status,loss_original,loss_additional"]
    for lr in plan.lrs:
        loss = 2.5 + curvature * math.log(lr / best) ** 2
        lines.append(f"{lr},3,complete,{loss},{loss}")
    path.write_text("\n".join(lines) + "\n")
    return path


def confirm(fit, corpora, run, out, best, diverged=()):
    """`diverged`: the indices of runs that diverged."""
    bundle.export(FittedRun(fit, run, corpora), out)
    plan = planned(fit, corpora)
    path = results(run / "filled.csv", plan, best)
    lines = path.read_text().splitlines()
    for i in diverged:
        lines[i + 1] = f"{plan.lrs[i]},3,diverged,,"
    path.write_text("\n".join(lines) + "\n")
    judged = compare(results_table.read(path, plan), plan.lr, plan.noise, plan.tolerance, plan.level)
    found = result.conclude(plan, judged, path)
    result.save(found, path, run, out)
    bundle.export(FittedRun(fit, run, corpora), out)
    return found, Evidence.model_validate_json((out / "evidence.json").read_text())


def test_the_plan_counts_its_tokens_and_compute(fit, corpora):
    plan = planned(fit, corpora)
    assert [lr / plan.lr for lr in plan.lrs] == pytest.approx([0.5, 0.7071, 1, 1.4142, 2], rel=1e-3)
    assert (plan.steps, plan.tokens) == (100, 100 * 4_194_304)
    assert plan.total_tokens == 5 * plan.tokens
    assert plan.flops == pytest.approx(6 * 70_553_706_496 * plan.total_tokens)
    assert plan.gpu_hours is None
    assert any("GPU-hours not known" in line for line in plan.lines)


def test_gpu_hours_come_from_a_stated_gpu_and_mfu(make_fit, make_study, corpora):
    resources = {"gpus_per_node": 1, "gpu": "H100-80GB", "mfu": 0.4}
    plan = planned(make_fit(make_study(resources=resources)), corpora)
    assert plan.gpu_hours == pytest.approx(plan.flops / (989e12 * 0.4) / 3600)
    assert any("at 40 % MFU (resources.mfu)" in line for line in plan.lines)


def test_the_plan_says_what_its_runs_take_by_the_chosen_layout(make_fit, make_study, corpora):
    """Of the slowest format: GPU-hours, days one after another, and cost."""
    study = make_study(launch={"gpu": "H100-80GB", "price_per_gpu_hour": 3, "formats": ["megatron", "native"]})
    target = model_shape.launch_hardware(study, study.launch.formats)
    plan = bundle.confirmation(FittedRun(make_fit(study), Path("not-read"), corpora, target))
    seconds = 500 * max(layout.step_seconds for layout in target.layouts.values())
    assert plan.gpu_hours == pytest.approx(seconds * 128 / 3600)
    assert plan.days == pytest.approx(seconds / 86400)
    assert plan.cost == pytest.approx(3 * plan.gpu_hours)
    told = "\n".join(plan.lines)
    assert f"{plan.gpu_hours:,.0f} GPU-hours" in told
    assert f"cost {plan.cost:,.0f}" in told
    assert "by the estimated time of a step, its compute at 33 % MFU (assumed: measured for Llama 3.1 8B" in told
    assert plan.disk_bytes == 6 * 14 * target.shape.parameters
    assert plan.flops == pytest.approx(plan.total_tokens * target.shape.training_flops(8192))


def test_gpu_hours_without_a_stated_mfu_name_the_published_figure(make_fit, make_study, corpora):
    plan = planned(make_fit(make_study(resources={"gpus_per_node": 1, "gpu": "H100-80GB"})), corpora)
    assert plan.gpu_hours == pytest.approx(plan.flops / (989e12 * 0.33) / 3600)
    assert any("at 33 % MFU (assumed: measured for Llama 3.1 8B on 8 H100" in line for line in plan.lines)


def test_runs_on_cpus_have_no_gpu_hours(make_fit, make_study, corpora):
    plan = planned(make_fit(make_study(launch={"nodes": 1, "gpus_per_node": 0})), corpora)
    told = "\n".join(plan.lines)
    assert "they run on CPUs, hours not estimated" in told
    assert "GPU" not in told


@pytest.mark.parametrize("name", ["llamafactory", "axolotl", "torchtitan", "megatron", "native"])
def test_confirmation_runs_start_in_the_bundle_and_keep_one_checkpoint(make_fit, make_study, corpora, run, out, name):
    """A job has a name of its own, and whole bundles are copied: a run reads ../NAME/data."""
    study = make_study(launch={"transfer": RULE, "formats": [name]}, training=TRAINING)
    bundle.export(FittedRun(make_fit(study), run, corpora), out)
    brief = [out / f"confirm-{i + 1}-{name}" for i in range(5)]
    jobs = {folder.name: yaml.safe_load((folder / "rayjob.yaml").read_text()) for folder in (out / name, *brief)}
    assert len({job["metadata"]["name"] for job in jobs.values()}) == 6
    for folder, job in jobs.items():
        assert job["spec"]["entrypoint"].startswith(f"python /claim/launch/{folder}/ray_start.py")
    sky = (brief[0] / "sky.yaml").read_text()
    task = yaml.safe_load(sky)
    assert "prepare.sh" not in task["setup"] + task["run"]
    assert task["run"].endswith(f"bash {brief[0].name}/start.sh\n")
    assert (brief[0] / task["workdir"]).resolve() == out.resolve()
    assert f"run ../{name}/prepare.sh once" in sky
    kept = {
        "llamafactory": "save_total_limit: 1\n",
        "axolotl": "save_total_limit: 1\n",
        "torchtitan": "keep_latest_k=2,",
        "megatron": "--save-retain-interval\n",
    }
    files = [path.read_text() for path in brief[0].iterdir() if path.is_file()]
    assert name == "native" or any(kept[name] in text for text in files)


def test_brief_runs_are_centred_where_the_rule_puts_their_own_budget(fit, corpora):
    moved = fit.file.transfer.model_copy(update={"tokens": Exponent(value=0.5, interval=None, fitted=False)})
    plan = planned(replace(fit, file=fit.file.model_copy(update={"transfer": moved})), corpora)
    assert plan.lr == pytest.approx(2e-5 * plan.share_of_launch**0.5 / 5**0.5)
    assert plan.launch_lr == 2e-5


def test_every_brief_run_has_its_own_configuration(fit, corpora, run, out):
    bundle.export(FittedRun(fit, run, corpora), out)
    plan = planned(fit, corpora)
    for i, lr in enumerate(plan.lrs):
        settings = written(out / f"confirm-{i + 1}-llamafactory")
        assert (settings["learning_rate"], settings["max_steps"]) == (lr, 100)
    template = (out / "confirm/results-template.csv").read_text().splitlines()
    assert template[0] == "lr,seed,status,loss_original,loss_additional"
    assert len(template) == 6
    assert json.loads((out / "confirm/plan.json").read_text())["lr"] == 2e-5


def test_a_confirmation_run_has_tokens_of_its_own(fit, corpora, run, out):
    bundle.export(FittedRun(fit, run, corpora), out, formats=("native",))
    heads = [(out / name / "study.yaml").read_text() for name in ("native", "confirm-1-native")]
    assert ["launch.tokens" in head for head in heads] == [True, False]
    assert "(exactly the tokens of this run)" in heads[1]


def test_a_transfer_that_holds_keeps_the_launch_and_says_so(fit, corpora, run, out):
    found, evidence = confirm(fit, corpora, run, out, best=2e-5)
    assert found.judgement.answer == "holds"
    assert evidence.launch_lr == 2e-5
    assert evidence.confirmation == found
    assert "| pass | size | confirmation at the launch's size |" in (out / "GO.md").read_text()


def test_a_transfer_that_fails_rewrites_the_launch_and_keeps_the_old_evidence(fit, corpora, run, out):
    found, evidence = confirm(fit, corpora, run, out, best=1.2e-5)
    assert found.moved
    assert evidence.launch_lr == pytest.approx(1.2e-5, rel=0.05)
    assert written(out / "llamafactory")["learning_rate"] == evidence.launch_lr
    previous = Evidence.model_validate_json((out / "confirm/previous-evidence.json").read_text())
    assert previous.launch_lr == 2e-5
    assert any("moved the LR of the transfer rule: 2e-5 -> 1.2" in warning for warning in evidence.launch_warnings)
    assert evidence.files["confirm/results.csv"] == found.results_sha256


def test_the_old_evidence_is_that_of_the_launch_that_is_confirmed(make_fit, make_study, corpora, run, out):
    def previous():
        return Evidence.model_validate_json((out / "confirm/previous-evidence.json").read_text())

    for _ in range(2):  # the second time the bundle's evidence has the measured LR already
        confirm(make_fit(), corpora, run, out, best=1.2e-5)
        assert previous().launch_lr == 2e-5
    found, _ = confirm(make_fit(lr=4e-5), corpora, run, out, best=2.4e-5)
    assert found.moved
    assert previous().launch_lr == 4e-5


def with_transfer(fit, **fields):
    return replace(fit, file=fit.file.model_copy(update={"transfer": fit.file.transfer.model_copy(update=fields)}))


def test_a_rule_without_an_exponent_of_tokens_does_not_rewrite_the_launch(fit, corpora, run, out):
    """The runs have 100 of 2,384 steps: their best LR is not that of the launch."""
    found, evidence = confirm(with_transfer(fit, tokens=None), corpora, run, out, best=1.2e-5)
    assert (found.moved, found.rewrites, found.after, found.after_interval) == (True, False, 2e-5, None)
    assert evidence.launch_lr == written(out / "llamafactory")["learning_rate"] == 2e-5
    [why] = found.kept
    assert why.startswith("the launch keeps LR 2e-5: these runs had 4.2 % of its tokens")
    assert "set launch.transfer.tokens_exponent" in why
    assert why in evidence.launch_warnings
    assert why in line_of((out / "GO.md").read_text(), "confirmation at the launch's size", "warn")
    assert not any("is rewritten" in line for line in found.lines)


def test_the_exponents_uncertainty_is_in_the_interval_of_a_moved_launch(fit, corpora, run, out):
    """By tokens^-0.5, from 100 steps to 2,384 of the launch; its sd of 0.2 is added in quadrature."""
    exponents = [Exponent(value=-0.5, interval=None, fitted=False, sd=sd) for sd in (0.0, 0.2)]
    sharp, wide = (
        confirm(with_transfer(fit, tokens=one), corpora, run, out, best=6e-5)[0].after_interval for one in exponents
    )
    plan = planned(with_transfer(fit, tokens=exponents[0]), corpora)
    found = result.read(run)
    assert found.judgement.chosen == pytest.approx(2e-5 * plan.horizon_ratio**0.5)
    assert found.after == pytest.approx(6e-5 * plan.horizon_ratio**-0.5, rel=0.05)
    half = math.hypot(math.log(sharp.high / found.after), 1.6449 * 0.2 * math.log(plan.horizon_ratio))
    assert math.log(wide.high / found.after) == pytest.approx(half, rel=1e-3)


RULES = [
    RuleEstimate(rule="direct", lr=2e-5, applies=True, chosen=True),
    RuleEstimate(rule="relative", lr=1.1e-5, applies=True),
    RuleEstimate(rule="power, step-law", lr=9e-6, applies=True),
    RuleEstimate(rule="ladder", lr=9e-7, why="no exponent for tokens"),
]


@pytest.mark.parametrize(
    ("rules", "best", "state", "says"),
    [
        (RULES, None, "warn", "rule power, step-law says 9e-6: almr confirm"),
        (RULES[:2] + RULES[3:], None, "pass", "the rules that apply agree"),
        (RULES, 2e-5, "pass", "2e-5 ("),
        (RULES, 1.2e-5, "pass", "1.2"),
    ],
)
def test_the_lr_is_known_where_the_rules_agree_or_a_confirmation_measured_it(
    fit, corpora, run, out, rules, best, state, says
):
    fit = replace(fit, file=fit.file.model_copy(update={"transfer_rules": tuple(rules)}))
    bundle.export(FittedRun(fit, run, corpora), out)
    if best:
        confirm(fit, corpora, run, out, best)
    assert says in line_of((out / go.NAME).read_text(), "LR known to a factor of 2", state)


def test_an_lr_of_a_model_of_unknown_size_is_not_known(make_fit, make_study, corpora, run, out):
    """Its interval lacks what the size does, and no rule by size is compared."""
    bundle.export(FittedRun(make_fit(make_study(launch={"model": "their/own-model"})), run, corpora), out)
    line = line_of((out / go.NAME).read_text(), "LR known to a factor of 2", "warn")
    assert "a model's parameters are not known, so what the size does is not in the interval: almr confirm" in line


def test_a_moved_launch_is_judged_by_its_own_lr(make_fit, make_study, corpora, run, out):
    """The rule's LR, 2e-5, is 1.5 times under the edge; the one that was measured is far from it."""
    fit = make_fit(make_study(launch={"transfer": RULE}))
    edge = EdgeAfter(lr=3e-5, factor=1.5, measured=True, assumption="carried")
    wide = Interval(low=2e-6, high=2e-4)
    near = tuple(near_edge(edge, 2e-5))
    told = {"edge": edge, "lr_interval": wide, "warnings": near}
    fit = replace(fit, file=fit.file.model_copy(update={"transfer": fit.file.transfer.model_copy(update=told)}))
    found, evidence = confirm(fit, corpora, run, out, best=1.2e-5)
    assert found.moved
    assert evidence.launch_lr_interval == found.after_interval
    page = (out / go.NAME).read_text()
    assert f"| {numbers.lr(evidence.launch_lr)} (" in line_of(page, "LR known to a factor of 2", "pass")
    assert f"is {3e-5 / evidence.launch_lr:.2g} x below the scaled LR at which" in line_of(page, "divergence", "pass")
    text = (out / "llamafactory" / "llamafactory.yaml").read_text() + (out / "README.md").read_text()
    assert near[0] not in text


@pytest.mark.parametrize(
    ("diverged", "confirmed", "divergence", "factor"),
    [((2, 3, 4), "fail", "fail", "1 x below"), ((3, 4), "pass", "warn", "1.4 x below"), ((4,), "pass", "pass", "2 x")],
)
def test_a_launch_whose_own_size_diverged_at_its_lr_is_no_go(
    fit, corpora, run, out, diverged, confirmed, divergence, factor
):
    """The runs are at 0.5, 0.71, 1, 1.41 and 2 x the launch's LR."""
    confirm(fit, corpora, run, out, best=2e-5, diverged=diverged)
    page = (out / go.NAME).read_text()
    assert page.startswith("# NO GO") == (confirmed == "fail")
    line = line_of(page, "confirmation at the launch's size", confirmed)
    assert line.count("confirmation at the launch's size") == 1
    line = line_of(page, "divergence", divergence)
    assert factor in line
    assert "the lowest LR that diverged at the launch's size" in line
    assert "no trial diverged" not in line


def test_a_launch_that_moves_towards_the_edge_is_warned_of(fit, corpora, run, out):
    edge = EdgeAfter(lr=6e-5, factor=3.0, measured=True, assumption="carried")
    transfer = fit.file.transfer.model_copy(update={"edge": edge})
    fit = replace(fit, file=fit.file.model_copy(update={"transfer": transfer}))
    found, evidence = confirm(fit, corpora, run, out, best=3.5e-5)
    assert found.moved
    assert near_edge(edge, evidence.launch_lr)[0] in evidence.launch_warnings
    assert "diverges, 6e-5; asked for: 2 x below" in line_of((out / go.NAME).read_text(), "divergence", "warn")


def test_a_confirmation_of_another_setting_is_not_applied(fit, make_fit, corpora, run, out):
    confirm(fit, corpora, run, out, best=1.2e-5)
    other = make_fit(fit.study, lr=3e-5)
    bundle.export(FittedRun(other, run, corpora), out)
    evidence = Evidence.model_validate_json((out / "evidence.json").read_text())
    assert (evidence.launch_lr, evidence.confirmation) == (3e-5, None)
    assert any("confirm again" in warning for warning in evidence.launch_warnings)


@pytest.mark.parametrize(
    "changed",
    [
        {"launch": {"tokens": 20_000_000_000}},
        {"launch": {"global_batch_tokens": 2 * 4_194_304}},
        {"launch": {"sequence_length": 4096}},
        {"weights": {"original": 0.3, "additional": 0.7}},
    ],
    ids=str,
)
def test_a_launch_of_another_shape_takes_a_confirmation_of_its_own(
    fit, make_fit, make_study, corpora, run, out, changed
):
    confirm(fit, corpora, run, out, best=1.2e-5)
    other = make_study(launch={"transfer": RULE} | changed.get("launch", {}))
    weights = {"weights": changed["weights"]} if "weights" in changed else {}
    bundle.export(FittedRun(make_fit(other, **weights), run, corpora), out)
    evidence = Evidence.model_validate_json((out / "evidence.json").read_text())
    assert (evidence.launch_lr, evidence.confirmation) == (2e-5, None)


def test_late_digits_of_another_processor_do_not_make_another_launch(fit, corpora):
    plan = planned(fit, corpora)
    assert plan.confirms(plan.model_copy(update={"lr": plan.lr * (1 + 1e-8), "almr": plan.almr + 1e-9}))
    assert not plan.confirms(plan.model_copy(update={"lr": plan.lr * 1.01}))
    assert not plan.confirms(plan.model_copy(update={"weights": {"original": 0.4, "additional": 0.6}}))


def test_an_unreadable_judgement_gives_way_to_the_next(fit, corpora, run, out):
    confirm(fit, corpora, run, out, best=2e-5)
    (run / "confirmation" / "judgement.json").write_text("{")
    with pytest.raises(InputError, match="confirm again"):
        bundle.export(FittedRun(fit, run, corpora), out)
    plan, path = planned(fit, corpora), run / "filled.csv"
    judged = compare(results_table.read(path, plan), plan.lr, plan.noise, plan.tolerance, plan.level)
    result.save(result.conclude(plan, judged, path), path, run, out)
    bundle.export(FittedRun(fit, run, corpora), out)
    assert result.read(run).judgement.answer == "holds"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("rate,loss_original\n", "no column lr"),
        ("lr,loss_original\n1e-5,2\n", "no column loss_additional"),
        ("lr,status,loss_original,loss_additional\n1e-5,done,2,2\n", "line 2: status 'done'"),
        ("lr,status,loss_original,loss_additional\n1e-5,,2,\n", "line 2: loss_additional ''"),
        ("lr,status,loss_original,loss_additional\n-1,,2,2\n", "line 2: lr -1"),
        ("lr,status,loss_original,loss_additional\n1e-5,,nan,2\n", "status diverged"),
    ],
)
def test_bad_results_are_named_with_their_line(fit, corpora, tmp_path, text, says):
    path = tmp_path / "results.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=says):
        results_table.read(path, planned(fit, corpora))


def test_what_is_no_table_of_results_is_refused_at_once(fit, corpora, tmp_path):
    """A device ended in no memory, and a pipe was waited for."""
    plan, large = planned(fit, corpora), tmp_path / "large.csv"
    os.mkfifo(tmp_path / "pipe.csv")
    with large.open("wb") as file:
        file.truncate(10**9)
    for path, why in (("/dev/zero", "a pipe or a device"), (tmp_path / "pipe.csv", "a pipe"), (large, "1,000 MB")):
        with pytest.raises(InputError, match=f"{Path(path).name}: .*{why}.*; give the table as a CSV file"):
            results_table.read(Path(path), plan)


def test_results_of_an_objective_of_sources_have_a_column_for_each(make_fit, make_study, corpora, tmp_path):
    weights = {"original": 0.0, "additional": 0.5, "code": 0.5}
    noise = {"original": 0.001, "additional": 0.002, "code": 0.003}
    fit = make_fit(make_study(), weights=weights, noise=noise)
    plan = confirm_plan.make(fit, FittedRun(fit, Path("not-read"), corpora).plan(None))
    assert plan.columns == ("lr", "seed", "status", "loss_additional", "loss_code")
    assert plan.noise == pytest.approx(math.hypot(0.001, 0.0015))
    path = tmp_path / "results.csv"
    path.write_text(f"{','.join(plan.columns)}\n1e-5,3,,2,3\n")
    assert [row.loss for row in results_table.read(path, plan)] == [2.5]
    path.write_text("lr,seed,status,loss_additional\n1e-5,3,,2\n")
    with pytest.raises(InputError, match="no column loss_code: its header is lr,seed,status,loss_additional,loss_code"):
        results_table.read(path, plan)


def test_guards_of_losses_are_in_the_evidence_and_on_the_page(make_fit, make_study, corpora, run, out):
    study = make_study(objective={"guards": [{"source": "original", "at_most_percent": 2}]})
    guard = {"source": "original", "percent": 2.0, "base": 2.5, "bound": 2.55, "probability": 0.97}
    bundle.export(FittedRun(make_fit(study, loss_guards=[guard]), run, corpora), out)
    found = Evidence.model_validate_json((out / "evidence.json").read_text())
    assert [one.model_dump() for one in found.loss_guards] == [guard]
    line = line_of((out / go.NAME).read_text(), "the guards", "pass")
    assert "kept; the loss of original at most 2.5500, 2 % above the base model's 2.5000: kept with probability" in line


def test_rows_that_were_not_run_are_left_out_and_diverged_ones_kept(fit, corpora, tmp_path):
    path = tmp_path / "results.csv"
    path.write_text("lr,seed,status,loss_original,loss_additional\n1e-5,3,,,\n2e-5,3,diverged,,\n3e-5,3,,2,3\n")
    found = results_table.read(path, planned(fit, corpora))
    assert [(row.lr, row.loss) for row in found] == [(2e-5, None), (3e-5, 2.5)]


def test_the_page_says_no_go_for_a_refused_fit(make_fit, make_study, corpora, run, out, refusal):
    bundle.export(
        FittedRun(make_fit(make_study(), refusals=[refusal]), run, corpora), out, accept_risk="a rehearsal | only"
    )
    page = (out / go.NAME).read_text()
    assert page.startswith("# NO GO")
    assert "| fail | fit | the fit | refused (edge): launch/README.md has the reasons |" in page
    assert "**Accepted all the same, because:** a rehearsal \\| only" in page
    assert "| warn | transfer | transfer rule |" in page
    assert "| not known | size | confirmation at the launch's size |" in page
    assert len(page.splitlines()) < 50


@pytest.mark.parametrize(
    ("edge", "measured", "state"),
    [
        (5e-5, False, "pass"),
        (3e-5, False, "warn"),
        (1e-5, False, "fail"),
        (5e-5, True, "pass"),
        (3e-5, True, "warn"),
        (1e-5, True, "fail"),
        (None, False, "not known"),
    ],
)
def test_the_page_compares_the_lr_with_the_edge_or_its_bound(fit, corpora, run, out, edge, measured, state):
    """The LR is 2e-5: 2.5, 1.5 and half times below the edge."""
    found = EdgeAfter(lr=edge, factor=edge and edge / 2e-5, measured=measured, assumption="scaled")
    transfer = fit.file.transfer.model_copy(update={"edge": found})
    near = replace(fit, file=fit.file.model_copy(update={"transfer": transfer}))
    bundle.export(FittedRun(near, run, corpora), out)
    line = line_of((out / go.NAME).read_text(), "divergence", state)
    assert ("bound (no trial diverged)" in line) == (edge is not None and not measured)
    if state == "fail":
        assert "LR 2e-5 is 2 x above the scaled divergence" in line or "LR 2e-5 is 2 x above the scaled LR" in line


def test_the_page_calls_languages_by_name_and_counts_warnings(make_fit, make_study, corpora, run, out, warning):
    """A corpus that is large enough passes; a warning of the fit is known, not untested."""
    names = {"original": "English", "additional": "Chinese"}
    files = {"original": ["/data/english.jsonl"], "additional": ["/data/chinese.parquet"]}
    spec = {name: {"files": files[name], "language": language} for name, language in names.items()}
    bundle.export(FittedRun(make_fit(make_study(corpora=spec), warnings=[warning]), run, corpora), out)
    page = (out / go.NAME).read_text()
    assert "English 100 %, Chinese 100 %; bound 75 %" in line_of(page, "cross-validation", "pass")
    assert "; bound 4 x; 32B tokens, counted" in line_of(page, "Chinese corpus", "pass")
    assert "| 1 (few): launch/README.md has them |" in line_of(page, "warnings of the fit", "warn")
    assert "original" not in page


@pytest.mark.parametrize(("code", "state"), [("guard", "fail"), ("unscored", "fail"), ("edge", "pass")])
def test_only_a_refusal_about_a_guard_breaks_the_guards(make_fit, make_study, corpora, run, out, refusal, code, state):
    study = make_study(objective={"forgetting_guard_percent": 2})
    refused = refusal.model_copy(update={"code": code})
    bundle.export(FittedRun(make_fit(study, refusals=[refused]), run, corpora), out, accept_risk="a test")
    line_of((out / go.NAME).read_text(), "the guards", state)


@pytest.mark.parametrize(("tokens", "state"), [(15 * 10**12, "pass"), (5 * 10**12, "warn"), (None, "not known")])
def test_the_page_compares_pretraining_tokens_per_parameter(make_fit, make_study, corpora, run, out, tokens, state):
    """Known models: 15T tokens of 8B parameters for the trials; the launch's are stated for as many parameters."""
    launch = {"parameters": 8_030_261_248} | ({"pretraining_tokens": tokens} if tokens else {})
    rule = RULE | {"launch": launch}
    model = {"model": "another"} if tokens is None else {}
    bundle.export(FittedRun(make_fit(make_study(launch={"transfer": rule} | model)), run, corpora), out)
    line_of((out / go.NAME).read_text(), "pre-training tokens per parameter", state)


def test_runs_that_measure_a_loss_on_no_held_out_text_are_not_planned(make_fit, make_study, corpora, run, out):
    """The launch reads other text than the trials, whose source `code` the objective weighs."""
    fit = make_fit(make_study(launch={"transfer": RULE}), weights={"additional": 0.5, "code": 0.5}, noise=NOISE)
    with pytest.raises(InputError, match="measure no held-out loss of code, which the objective weighs"):
        planned(fit, corpora)
    bundle.export(FittedRun(fit, run, corpora), out)
    assert "none of code, so no confirmation run can be compared" in line_of(
        (out / go.NAME).read_text(), "held-out losses", "warn"
    )
    assert not list(out.glob("confirm-*"))


def test_runs_that_measure_every_loss_are_planned(fit, corpora, run, out):
    assert len(planned(fit, corpora).lrs) == 5
    bundle.export(FittedRun(fit, run, corpora), out)
    line_of((out / go.NAME).read_text(), "held-out losses", "pass")


def test_confirmation_runs_read_the_text_of_the_launch(make_fit, make_study, corpora, run, out, tmp_path):
    """Text is copied once: into the launch's own folder."""
    text = {name: tmp_path / f"{name}.jsonl" for name in ("original", "additional")}
    for file in text.values():
        file.write_text('{"text": "held out"}\n')
    fit = make_fit(make_study(launch={"transfer": RULE, "formats": ["native", "torchtitan"]}))
    bundle.export(FittedRun(fit, run, corpora, held_out=HeldOutText(text)), out)
    copies = [path.relative_to(out).as_posix() for path in out.rglob("*.jsonl")]
    assert len(copies) >= 2
    assert all(path.startswith(("native/held_out/", "torchtitan/held_out/")) for path in copies)
    study = study_file.load(out / "confirm-1-native" / "study.yaml")
    excluded = study.corpora.sources("original")[0].exclude
    assert [Path(path).resolve() for path in excluded] == [(out / "native/held_out" / f"{n}.jsonl") for n in text]
    assert (out / "confirm-1-native" / "start.sh").is_file()


@pytest.fixture
def finished(fit, corpora, run):
    return finish(fit, corpora, run)


def finish(fit, corpora, run):
    """The folder of a run that the verb finds; its fit is the given one."""
    known = Ingredients(base_model="m", base_model_fingerprint="0" * 16, folders={}, corpora=corpora)
    (run / "ingredients.json").write_text(known.model_dump_json())
    inputs = FitInputs.of_run(study_file.load(run / "study.yaml"), run)
    (run / "fit.json").write_text(fit.file.model_copy(update={"inputs": inputs}).model_dump_json())
    bundle.export(FittedRun(fit, run, corpora), run / "launch")
    return run


def almr(*arguments):
    return CliRunner().invoke(cli.app, ["confirm", *map(str, arguments)])


def test_the_verb_prints_bracket_tokens_and_cost(finished):
    told = almr(finished)
    assert told.exit_code == 0, told.output
    assert "LRs: 1e-5, 1.41e-5, 2e-5" in told.stdout
    assert "in all: 2.1B tokens" in told.stdout
    assert json.loads(almr(finished, "--json").stdout)["steps"] == 100


@pytest.mark.parametrize(
    ("best", "curvature", "status", "answer"),
    [(2e-5, 0.05, 0, "holds"), (1.2e-5, 0.05, 0, "moved"), (3e-6, 0.05, 3, "undecided")],
)
def test_the_verb_judges_results(finished, corpora, fit, best, curvature, status, answer):
    path = results(finished / "filled.csv", planned(fit, corpora), best, curvature)
    told = almr(finished, "--results", path)
    assert told.exit_code == status, told.output
    assert f"confirmation at the launch's size: {answer}" in told.stdout
    assert ("the launch is rewritten" in told.stdout) == (answer == "moved")
    assert (written(finished / "launch" / "llamafactory")["learning_rate"] == 2e-5) == (answer != "moved")


def test_results_rewrite_a_bundle_that_was_used_as_it_was_made(finished, corpora, fit):
    """Its formats, also in another folder, and what the user put there stays."""
    out = finished.parent / "elsewhere"
    bundle.export(FittedRun(fit, finished, corpora), out, formats=("llamafactory", "axolotl"), reader=lambda *_: UNREAD)
    (out / "axolotl" / "data").mkdir()
    (out / "axolotl" / "data" / "mixed.jsonl").write_text("mine")
    path = results(out / "confirm" / "results-template.csv", planned(fit, corpora), 1.2e-5)
    told = almr(finished, "--results", path, "--out", out)
    assert told.exit_code == 0, told.output
    assert "confirmation at the launch's size: moved" in told.stdout
    kept = finished.parent / "elsewhere.before-1"
    assert f"kept in {kept}" in told.stderr
    assert (kept / "axolotl" / "data" / "mixed.jsonl").read_text() == "mine"
    assert len((kept / "confirm" / "results-template.csv").read_text().splitlines()) == 6
    evidence = Evidence.model_validate_json((out / "evidence.json").read_text())
    assert evidence.formats == ("llamafactory", "axolotl")
    assert [one.name for one in evidence.read_back] == ["llamafactory", "axolotl"]
    assert yaml.safe_load((out / "axolotl" / "axolotl.yaml").read_text())["learning_rate"] == evidence.launch_lr


def test_a_parser_that_reads_something_else_fails_the_verb(finished, corpora, fit, monkeypatch):
    wrong = UNREAD.model_copy(update={"differences": ("lr: 2 where the winner has 1",)})
    monkeypatch.setattr("sweep.external.read_back.verify.verify", lambda *_: wrong)
    bundle.export(FittedRun(fit, finished, corpora), finished / "launch", reader=lambda *_: UNREAD)
    path = results(finished / "filled.csv", planned(fit, corpora), 2e-5)
    told = almr(finished, "--results", path)
    assert told.exit_code == 1
    assert "WRONG: lr: 2" in told.stdout


def test_a_brief_run_that_was_not_read_leaves_its_format_unread(fit, corpora, run, out):
    def reader(plan, folder, name):
        why = {"why_not": "it took too long"} if folder.name.startswith("confirm-2") else {"parsers": "p"}
        return ReadBack(name=name, differences=None if "why_not" in why else (), **why)

    bundle.export(FittedRun(fit, run, corpora), out, reader=reader)
    [found] = Evidence.model_validate_json((out / "evidence.json").read_text()).read_back
    assert found.differences is None
    assert found.why_not == "confirm-2-llamafactory: it took too long"


def test_a_link_that_came_back_as_a_file_is_no_use_of_the_bundle(tmp_path):
    (tmp_path / "data.jsonl").write_text("text")
    known = {"files": {}, "links": {"data.jsonl": "/corpora/data.jsonl"}}
    (tmp_path / "evidence.json").write_text(json.dumps(known))
    assert not bundle_folder.was_used(tmp_path)
    (tmp_path / "data.jsonl").rename(tmp_path / "log")
    assert bundle_folder.was_used(tmp_path)


def test_a_folder_that_is_no_bundle_is_refused_before_the_judgement_is_kept(finished, corpora, fit, tmp_path):
    path = results(finished / "filled.csv", planned(fit, corpora), 2e-5)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    told = almr(finished, "--results", path, "--out", tmp_path / "other")
    assert "which no export wrote" in str(told.exception)
    assert not (finished / "confirmation").exists()


def test_a_folder_without_results_is_an_error(finished):
    assert "add --results" in str(almr(finished, "--out", "x").exception)


def test_results_that_are_not_there_are_an_error_of_one_line(finished):
    told = almr(finished, "--results", finished / "none.csv")
    assert isinstance(told.exception, FileNotFoundError | InputError)


def test_a_format_that_cannot_train_the_launch_is_refused_before_its_hours_are_told(make_fit, make_study, corpora, run):
    study = make_study(training=TRAINING | {"document_masking": True})
    finished = finish(make_fit(study), corpora, run)
    told = CliRunner().invoke(cli.app, ["export", str(finished), "--format", "megatron"])
    assert isinstance(told.exception, InputError)
    assert "it must hold scores of 8,192 x 8,192 tokens" in str(told.exception)
    assert "GPU-hours" not in told.output
    hours = CliRunner().invoke(cli.app, ["export", str(finished), "--format", "llamafactory"])
    assert "GPU-hours" in hours.output
