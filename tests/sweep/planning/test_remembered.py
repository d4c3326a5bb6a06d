"""What a preparation found is taken again without torch, as long as nothing of it has changed."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sweep.planning import remembered
from sweep.study import Ingredients, Study
from sweep.study.ingredients import SameText
from trainers import prepare


@pytest.fixture
def made(local_study: Study) -> Ingredients:
    own = remembered.own_stamps(local_study)
    found = prepare.prepare(local_study)
    assert remembered.read(local_study, None) is None
    remembered.keep(local_study, found, own)
    return found


def test_the_same_study_gets_the_same_ingredients(local_study: Study, made: Ingredients) -> None:
    assert remembered.read(local_study, None) == made == prepare.prepare(local_study)
    assert remembered.read(local_study, made) == made


def test_another_process_needs_no_torch_for_it(local_study: Study, made: Ingredients, tmp_path: Path) -> None:
    (tmp_path / "as_json").write_text(local_study.model_dump_json(by_alias=True))
    code = (
        "import sys; from pathlib import Path; from sweep.planning import remembered; from sweep.study import Study;"
        f"found = remembered.read(Study.model_validate_json(Path({str(tmp_path / 'as_json')!r}).read_text()), None);"
        "assert 'torch' not in sys.modules; print(found.model_dump_json())"
    )
    output = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=os.environ)
    assert Ingredients.model_validate_json(output.stdout) == made


def test_it_is_looked_for_again_where_something_has_changed(local_study: Study, made: Ingredients) -> None:
    longer = local_study.training.model_copy(update={"tokens": 2 * local_study.training.tokens})
    assert remembered.read(local_study.model_copy(update={"training": longer}), None) is None
    stated = SameText(reason="moved", recipe="", corpora={}, folders=made.folders)
    assert remembered.read(local_study, made.model_copy(update={"same_text": (stated,)})) is None
    text = local_study.corpora.by_name["additional"].spec.files
    assert text
    with Path(text[0]).open("a") as file:
        file.write("\n")
    assert remembered.read(local_study, None) is None


@pytest.mark.parametrize("part", ["model", "packed", "text"])
def test_a_file_that_is_written_over_in_place_is_told_even_with_its_old_size_and_time(
    part: str, local_study: Study, made: Ingredients
) -> None:
    text = next(name for name in remembered.own_stamps(local_study) if name.endswith(".txt"))
    folder = {"model": made.base_model, "packed": made.folders["original"]}.get(part)
    file = next(path for path in Path(folder).rglob("*.[as]*") if path.is_file()) if folder else Path(text)
    before, content = file.stat(), file.read_bytes()
    _write_over(file, b"!" + content[1:], before)
    assert file.stat().st_size == before.st_size
    assert remembered.read(local_study, None) is None
    _write_over(file, content, before)  # the model is that of other tests too
    assert remembered.read(local_study, None) is None


def _write_over(file: Path, content: bytes, before: os.stat_result) -> None:
    with file.open("r+b") as opened:
        opened.write(content)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_model_that_changes_while_it_is_prepared_is_looked_at_again(local_study: Study) -> None:
    own = remembered.own_stamps(local_study)
    found = prepare.prepare(local_study)
    (Path(found.base_model) / "config.json").touch()  # by another process, after it was read
    remembered.keep(local_study, found, own)
    assert remembered.read(local_study, None) is None


def test_a_library_without_its_description_has_no_version(
    local_study: Study, made: Ingredients, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(package: str) -> str:
        raise importlib.metadata.PackageNotFoundError(package)

    monkeypatch.setattr(importlib.metadata, "version", absent)
    assert remembered.read(local_study, None) is None
    remembered.keep(local_study, made, remembered.own_stamps(local_study))
    assert remembered.read(local_study, None) == made


def test_it_is_looked_for_again_where_something_is_gone(local_study: Study, made: Ingredients) -> None:
    shutil.rmtree(made.folders["original"])
    assert remembered.read(local_study, None) is None


def test_losses_that_the_run_measured_before_stay(local_study: Study, made: Ingredients) -> None:
    assert made.base_check
    on_a_gpu = {
        part: loss.model_copy(update={"loss": loss.loss + 1e-6}) for part, loss in made.base_check.losses.items()
    }
    check = made.base_check.model_copy(update={"losses": on_a_gpu})
    earlier = made.model_copy(update={"base_check": check})
    found = remembered.read(local_study, earlier)
    assert found
    assert found.base_check == check


def test_nothing_is_kept_of_what_is_on_the_hub(local_study: Study, made: Ingredients) -> None:
    shutil.rmtree(next(iter(Path(os.environ["ALMR_CACHE"]).glob("remembered"))))
    remembered.keep(local_study, made.model_copy(update={"commits": {"base_model": "1" * 40}}), {})
    assert remembered.read(local_study, None) is None
