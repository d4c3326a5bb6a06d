"""The launch in a plan: its text and passes, hours, cost and disk, before anything is tokenised or written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from samples import make_study

from analysis.launch.plan.source import BYTES_PER_TOKEN
from sweep.planning.plan import StudyPlan, plan
from sweep.study import CorpusFacts, Study
from sweep.study.numbers import quantity, size
from sweep.study.sections.launch import Launch
from sweep.trials.progress import RunProgress
from sweep.verbs.plan.launch import launch_json, launch_lines
from sweep.verbs.plan.text import plan_json

BATCH = 2_097_152
LAUNCH: dict[str, Any] = {
    "model": "meta-llama/Meta-Llama-3-70B",
    "tokens": 1000 * BATCH,
    "global_batch_tokens": BATCH,
    "sequence_length": 8192,
    "nodes": 32,
    "gpus_per_node": 8,
    "gpu": "H100-80GB",
    "price_per_gpu_hour": 2,
}


def planned(study: Study, facts: dict[str, CorpusFacts] | None = None) -> StudyPlan:
    return plan(study, RunProgress(study.grid_trials, study.grid_trials, len(study.grid_trials), []), facts or {})


def with_launch(**launch: Any) -> Study:
    grid = {"almr": [0.25, 0.5], "lr": [1e-4], "seeds": [0]}
    return make_study(launch=LAUNCH | launch, grid=grid)


def lines(study: Study, **known: Any) -> str:
    return "\n".join(launch_lines(study, planned(study, **known).launch))


def test_a_study_without_a_launch_says_nothing_of_one() -> None:
    study = make_study(launch=None)
    assert launch_lines(study, planned(study).launch) == []
    assert plan_json(study, planned(study))["launch"] is None


def test_passes_are_counted_on_the_launchs_own_text() -> None:
    own = {
        "original": {"files": "/nowhere/web.parquet", "tokens": 500 * BATCH},
        "additional": [
            {"dataset": "an/other", "name": "books", "tokens": 50 * BATCH},
            {"files": "/nowhere/news.parquet", "name": "news"},
        ],
    }
    study = with_launch(corpora=own)
    found = planned(study).launch
    assert found is not None
    assert found.passes("original") == pytest.approx((1.0, 1.5))
    assert found.passes("books") == pytest.approx((2.5, 5.0))
    assert found.passes("news") is None  # not known is not 0
    told = lines(study)
    assert "original: read 1 x to 1.5 x over the grid's ALMRs (1.05B tokens, as stated)" in told
    unknown = "its size is not known, nor how often it is read: state"
    assert f"news (additional): {unknown} tokens of launch.corpora.news" in told
    assert f"original: {unknown} launch.corpora, with tokens" in lines(with_launch())
    told_json = launch_json(found)
    assert told_json is not None
    assert told_json["corpora"]["news"] == {"tokens": None, "tokens_from": None, "passes": None}
    assert not any("launch text" in line for line in planned(study).warnings)


def test_text_that_would_be_read_too_often_is_a_warning() -> None:
    own = {
        "original": {"files": "/nowhere/web.parquet", "tokens": 500 * BATCH},
        "additional": {"dataset": "an/other", "tokens": 50 * BATCH},
    }
    [warning] = [line for line in planned(with_launch(corpora=own)).warnings if "launch text" in line]
    assert "additional is read 5 x or more, over objective.max_epochs 4" in warning


def test_local_files_tell_their_size_by_the_trials_tokens_per_byte(tmp_path: Any) -> None:
    (tmp_path / "web.txt").write_bytes(b"x" * 7000)
    text = {"files": str(tmp_path / "web.txt")}
    study = with_launch(corpora={"original": text, "additional": {"files": "/nowhere/b.parquet"}})
    assert "(2k tokens, estimated from the bytes of its files)" in lines(study)  # 3.5 bytes a token
    counts = dict.fromkeys(CorpusFacts.model_fields, 1) | {
        "fingerprint": "x",
        "bytes": 1000,
        "tokens": 500,
        "files": (),
        "conversations": None,
    }
    facts = {"original": CorpusFacts.model_validate(counts)}
    assert "(3.5k tokens, estimated from the bytes of its files)" in lines(study, facts=facts)


def test_hours_days_cost_and_disk_of_launch_and_confirmation() -> None:
    study = with_launch(formats=["megatron", "torchtitan"])
    found = planned(study).launch
    assert found is not None
    takes = found.estimates["megatron"]
    assert takes.step_seconds
    hours = 1000 * takes.step_seconds * 256 / 3600
    told = lines(study)
    assert f"launch, megatron: GPU-hours, estimated: 1,000 steps x {takes.step_seconds:.3g} s on 256 GPUs" in told
    assert f"{hours:,.0f} GPU-hours" in told
    assert f"cost {2 * hours:,.0f}" in told
    assert f"5 confirmation runs x 100 steps, one after another: {hours / 2:,.0f} GPU-hours" in told
    assert "launch, torchtitan: checkpoints: every" in told
    assert "2 kept and one that is being written" in told
    assert "1 kept and one that is being written" in told
    assert launch_json(found)["formats"]["megatron"]["cost"] == pytest.approx(2 * hours)  # type: ignore[index]


def test_a_launch_that_does_not_fit_is_a_warning_of_the_plan() -> None:
    small = with_launch(nodes=1, formats=["native"])
    assert any("launch, native: does not fit into GPU memory" in line for line in planned(small).warnings)


def test_a_launch_on_cpus_has_no_gpu_hours() -> None:
    study = with_launch(nodes=1, gpus_per_node=0, model="tiny", gpu=None)
    assert isinstance(study.launch, Launch)
    assert "GPU-hours" not in lines(study)
    assert "on CPUs" in lines(study)


@pytest.mark.parametrize(
    ("launch", "masked", "refused"),
    [
        ({"model": "tiny-5.6m", "formats": ["llamafactory"], "nodes": 1}, False, "tiny-5.6m is embedded"),
        ({"formats": ["megatron"]}, True, "scores of 8,192 x 8,192 tokens"),
        ({"formats": ["megatron"]}, False, None),
    ],
)
def test_a_launch_that_export_would_refuse_is_a_warning(
    launch: dict[str, Any], masked: bool, refused: str | None
) -> None:
    training = make_study().training.model_dump() | {"document_masking": masked}
    warnings = planned(make_study(launch=LAUNCH | launch, training=training)).warnings
    found = [warning for warning in warnings if "almr export will refuse" in warning]
    assert len(found) == bool(refused)
    assert not refused or refused in found[0]


@pytest.mark.parametrize(("masks", "axolotl"), [(False, 8), (True, 12)])
def test_the_text_has_its_disk_and_time(masks: bool, axolotl: int) -> None:
    """The corpora as int32 in the cache, and the launch's tokens in each format; what is too large is told."""
    own = {
        "original": {"files": "/nowhere/web.parquet", "tokens": 4000 * BATCH},
        "additional": {"files": "/nowhere/books.parquet", "tokens": 500 * BATCH},
    }
    trials = {
        "original": {"embedded": "shakespeare", "language": "English"},
        "additional": {"embedded": "three-kingdoms"},
    }
    training = make_study().training.model_dump() | {"document_masking": masks}
    study = make_study(
        corpora=trials,
        launch=LAUNCH | {"corpora": own, "formats": ["axolotl", "native"]},
        grid={"almr": [0.25, 0.5], "lr": [1e-4], "seeds": [0]},
        training=training,
    )
    told = lines(study)
    assert f"{size(4 * 4500 * BATCH)} in ALMR_CACHE, {size(4 * (4500 + 2 * 4000) * BATCH)} meanwhile" in told
    assert f"launch, packed text: axolotl {size(axolotl * 1000 * BATCH)} more" in told
    hours = 4500 * BATCH * BYTES_PER_TOKEN / 3.7e6 / 3600  # 14.8 MB/s, and three times as long to tokenise
    assert f"about {quantity(hours)} processor-hours (at 3.7 MB/s: " in told
    documents = 1_730_000  # 1.1 x 0.75 x 1000 batches of documents of 1,000 tokens, at the ALMR that reads most of it
    assert f"the launch reads 19 % of English: state documents: {documents} for launch.corpora.original to" in told
    assert "launch.corpora.additional to" not in told
    sampled = make_study(launch=LAUNCH | {"corpora": own | {"original": own["original"] | {"documents": documents}}})
    assert f"{size(4 * (documents * 1000 + 500 * BATCH))} in ALMR_CACHE" in lines(sampled)


def test_the_disk_of_text_of_unknown_size_is_not_known() -> None:
    told = lines(with_launch(corpora={"original": {"dataset": "an/other"}, "additional": {"files": "/nowhere/*.gz"}}))
    assert "launch, disk and time of tokenising: not known: state launch.corpora with the tokens of original, " in told


def test_files_of_the_launch_that_are_not_here_are_named(tmp_path: Path) -> None:
    (tmp_path / "here.jsonl").write_text("{}")
    own = {
        "original": [
            {"files": [f"{tmp_path}/*.jsonl"], "name": "web", "weight": 1},
            {"dataset": "a/b", "name": "hub", "weight": 1},
        ],
        "additional": {"files": [f"{tmp_path}/here.jsonl", f"{tmp_path}/*.parquet"]},
    }
    found = [line for line in planned(with_launch(corpora=own)).warnings if line.startswith("launch.corpora")]
    [line] = found
    assert line.startswith(f"launch.corpora.additional: {tmp_path}/*.parquet ")
