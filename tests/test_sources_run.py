"""The study of docs/sources.yaml in small: two sources a language, real text, the real base model.

Its trials run in this process, which has imported torch; on Ray others do (tests/sweep/verbs/test_killed_run.py).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from one_ray import almr
from whole_run import trained_here

from sweep.store.run import Run
from sweep.study import LANGUAGES, Record, Status
from sweep.study.sections.text.corpora import Corpus
from trainers.data import documents

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
ROOT = Path(__file__).parents[1]
SHARES = {"plays": 0.75, "manual": 0.25, "novel": 2 / 3, "sequel": 1 / 3}


def small(folder: Path) -> dict[str, Any]:
    """The study with 6 steps a trial, and with the novel's two halves: the poems take long to read."""
    content: dict[str, Any] = yaml.safe_load((ROOT / "docs/sources.yaml").read_text(encoding="utf-8"))
    chapters = list(documents.read(documents.resolve(Corpus(embedded="three-kingdoms"), "corpora.novel"))["text"])
    for name, part in (("novel", chapters[:60]), ("sequel", chapters[60:])):
        lines = (json.dumps({"text": text}, ensure_ascii=False) for text in part)
        (folder / f"{name}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    content["corpora"]["original"][1]["files"] = str(ROOT / "docs/*.md")
    content["corpora"]["additional"] = [
        {"files": f"{name}.jsonl", "name": name, "weight": weight} for name, weight in (("novel", 2), ("sequel", 1))
    ]
    content["grid"] = {"almr": [0.2, 0.5, 0.8], "lr": [5e-4, 1e-3, 2e-3]}
    content["training"] |= {"tokens": 6 * 2048, "evaluation_tokens": 2048}
    return content


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("sources")
    (folder / "small.yaml").write_text(yaml.safe_dump(small(folder)), encoding="utf-8")
    with trained_here():
        almr(folder, "run", "small.yaml", status=(0, 3))  # so few steps may decide nothing
    return Run(folder / "runs/sources")


@pytest.fixture(scope="module")
def records(run: Run) -> list[Record]:
    return [record for trial in run.study().grid_trials if (record := run.record(trial))]


def test_every_trial_has_the_losses_of_every_source(records: list[Record]) -> None:
    assert len(records) == 9
    for record in records:
        assert record.status is Status.COMPLETE
        assert {name: one.weight for name, one in record.sources.items()} == pytest.approx(SHARES)
        assert record.losses("base_loss") == records[0].losses("base_loss")
        for language in LANGUAGES:
            parts = [one.weight * (one.loss or 0) for one in record.sources.values() if one.language == language]
            assert getattr(record.loss, language) == pytest.approx(sum(parts), rel=1e-12)


def test_every_trial_read_each_source_by_its_share(run: Run, records: list[Record]) -> None:
    """96 blocks: the share of the language by the ALMR, times that of the source, to within 1.5 blocks."""
    ingredients = run.ingredients()
    assert ingredients
    for record in records:
        for name, one in record.sources.items():
            language = record.almr if one.language == "additional" else 1 - record.almr
            drawn = (one.epochs or 0) * ingredients.corpora[name].blocks
            assert abs(drawn - 96 * language * SHARES[name]) < 1.5


def test_what_is_trained_lowers_its_own_loss(records: list[Record]) -> None:
    """The base model knows the plays, and the manual not: with a quarter of the text, the manual gains more."""
    best = min(records, key=lambda record: record.loss.original or 9)
    gains = {name: (one.base_loss or 0) - (one.loss or 9) for name, one in best.sources.items()}
    assert gains["manual"] > max(0, gains["plays"])


def test_the_run_goes_on_to_its_table_and_report(run: Run) -> None:
    assert (run.folder / "report.html").is_file()
    table = pd.read_csv(run.folder / "trials.csv")
    assert len(table) == 9
    for name in SHARES:
        assert table[f"loss_{name}"].notna().all()
        assert name in (run.folder / "report.html").read_text(encoding="utf-8")
