"""`almr run STUDY --same-text`: a run goes on where files of its text changed, and says so; other text is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from known_surfaces import Known
from samples import ENGLISH, RHYME, local_content, numbered
from searches import Driver
from typer.testing import CliRunner

from sweep import cli
from sweep.store.run import Run
from sweep.study import PerLanguage, Record, Study, Trial
from sweep.verbs.results import fitting
from sweep.verbs.running import preparing, training

REASON = "the shards are compressed by gzip now"


class Training(Driver):
    """Records that name the text and the base model's losses, as those of trained trials do."""

    def _record(self, trial: Trial) -> Record:
        made = self.run.ingredients()
        assert made
        assert made.base_check
        losses = {name: found.loss for name, found in made.base_check.losses.items()}
        provenance: dict[str, Any] = {"fingerprints": made.fingerprints()}
        provenance |= {"same_text": "; ".join(one.reason for one in made.same_text)} if made.same_text else {}
        changes = {"provenance": provenance, "base_loss": PerLanguage(**losses)}
        return super()._record(trial).model_copy(update=changes)


@pytest.fixture
def study(tmp_path: Path, small_model: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study of local files whose first nine trials have run."""
    monkeypatch.chdir(tmp_path)

    def train(study: Study, run: Run, progress: Any, console: Any, address: str | None, *_: object) -> None:
        preparing.prepare(study, run, console)
        Training(study, run.folder, room=2, known=Known()).go()

    monkeypatch.setattr(training, "train", train)
    monkeypatch.setattr(fitting, "keep_figures", lambda fitted, folder: fitted)
    content = local_content(tmp_path, small_model)
    for i, file in enumerate(sorted((tmp_path / "original").glob("*.txt"))):
        file.write_text(numbered(i) + (ENGLISH, RHYME, ENGLISH[::-1])[i % 3] * 12, encoding="utf-8")
    write(content)
    assert almr("run", "study.yaml")[0] in (0, 3)
    return tmp_path


def write(content: dict[str, Any], **changes: Any) -> None:
    content["grid"] = {"almr": [0.1, 0.5, 0.9], "lr": [1e-5, 1e-4, 1e-3]}
    Path("study.yaml").write_text(yaml.safe_dump(content | changes))


def almr(*arguments: str) -> tuple[int, str]:
    """The exit status and what is printed, on one line for an error."""
    result = CliRunner().invoke(cli.app, list(arguments))
    fault = result.exception
    assert fault is None or isinstance(fault, SystemExit | ValueError), fault
    return (2, str(fault)) if isinstance(fault, ValueError) else (result.exit_code, " ".join(result.output.split()))


def grow(folder: Path) -> None:
    for i in range(12, 20):
        (folder / "original" / f"{i}.txt").write_text(numbered(i) + ENGLISH * 12, encoding="utf-8")


def records() -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(Path("runs/small").glob("trials/*/record.json"))]


def test_a_corpus_that_grew_is_refused_until_it_is_stated_to_be_the_same_text(study: Path) -> None:
    grow(study)
    before = records()
    status, said = almr("run", "study.yaml", "--also", "0.6:2e-4")
    assert status == 2
    assert "the content of corpora.original has changed since its finished trials" in said
    assert said.endswith("; if the text is the same, state it: --same-text REASON")
    status, said = almr("run", "study.yaml", "--same-text", REASON)
    assert status in (0, 3), said
    assert "--same-text: the base model's loss of original is" in said
    assert "9 of 10 trials were trained before the files of the text changed; they count because it is stated" in said
    assert f'to be the same text: "{REASON}"' in said
    after = [record for record in records() if record not in before]
    assert [record["almr"] for record in after] == [0.6]
    [text] = [record["provenance"]["fingerprints"]["corpora.original"] for record in after]
    assert text != before[0]["provenance"]["fingerprints"]["corpora.original"]
    assert after[0]["provenance"]["same_text"] == REASON
    fit = json.loads(Path("runs/small/fit.json").read_text())
    assert fit["trials"] == {"complete": 10, "diverged": 0, "failed": 0, "excluded": 0}
    assert "same_text" in [warning["code"] for warning in fit["warnings"]]
    assert REASON in Path("runs/small/report.html").read_text()
    made = json.loads(Path("runs/small/ingredients.json").read_text())
    [stated] = made["same_text"]
    assert stated["reason"] == REASON
    assert stated["base_losses"]["original"][0] == pytest.approx(stated["base_losses"]["original"][1])
    status, said = almr("run", "study.yaml", "--also", "0.6:3e-4")  # it need not be stated again
    assert status in (0, 3)
    assert len(records()) == 11
    _another_loss_of_the_base_model_is_refused(study)
    _held_out_text_that_changes_is_not_the_same(study)


def _another_loss_of_the_base_model_is_refused(study: Path) -> None:
    file = Path("runs/small/ingredients.json")
    kept = file.read_text()
    made = json.loads(kept)
    made["base_check"]["losses"]["original"]["loss"] += 0.1
    file.write_text(json.dumps(made))
    (study / "original" / "more.txt").write_text(numbered(30) + ENGLISH * 12, encoding="utf-8")
    status, said = almr("run", "study.yaml", "--same-text", REASON)
    assert status == 2
    assert "--same-text: the base model's loss on the held-out text of original is" in said
    assert "0.1000 apart, over the noise of a trial" in said
    file.write_text(kept)


def _held_out_text_that_changes_is_not_the_same(study: Path) -> None:
    before = Path("runs/small/ingredients.json").read_text()
    kept = (Path(json.loads(before)["folders"]["original"]) / "held_out.jsonl").read_text()
    held = {json.loads(line)["text"] for line in kept.splitlines()}
    one = min(p for p in (study / "original").glob("*.txt") if p.read_text() in held)
    one.write_text("Quite another text, of other words. " * 40)
    status, said = almr("run", "study.yaml", "--same-text", REASON)
    assert status == 2
    assert (
        f"corpora.original: 1 of the {len(held)} documents that were held out of the run's finished trials is" in said
    )
    assert Path("runs/small/ingredients.json").read_text() == before


def test_files_that_moved_are_the_same_text_where_it_is_stated_and_no_other_field_may_change(study: Path) -> None:
    os.rename("original", "moved")
    content = yaml.safe_load(Path("study.yaml").read_text())
    content["corpora"]["original"]["files"] = str(study / "moved" / "*.txt")
    write(content)
    status, said = almr("run", "study.yaml")
    assert status == 2
    assert "another recipe (corpora.original.files: " in said
    assert said.endswith("; if the text is the same, state it: --same-text REASON")
    write(content, training=content["training"] | {"tokens": 4096})
    status, said = almr("run", "study.yaml", "--same-text", REASON)
    assert status == 2
    assert "training.tokens: 2048 -> 4096" in said
    assert "--same-text REASON" not in said
    write(content)
    assert almr("run", "study.yaml", "--same-text", REASON)[0] in (0, 3)
    status, said = almr("run", "study.yaml", "--also", "0.6:3e-4")
    assert status in (0, 3), said
    fit = json.loads(Path("runs/small/fit.json").read_text())
    assert fit["trials"]["excluded"] == 0
    assert len({record["fingerprint"] for record in records()}) == 2
    content["training"]["tokens"] = 4096
    write(content)
    assert "another recipe (training.tokens: 2048 -> 4096)" in almr("run", "study.yaml", "--same-text", REASON)[1]


@pytest.mark.parametrize(("reason", "fault"), [(" ", "say why it is the same"), (REASON, "has no finished trials")])
def test_a_statement_needs_a_reason_and_trials_before_it(
    reason: str, fault: str, tmp_path: Path, small_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(local_content(tmp_path, small_model))
    assert fault in almr("run", "study.yaml", "--same-text", reason)[1]
