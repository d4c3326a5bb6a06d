"""What the documents say can be found and parsed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sweep import cli
from sweep.study import study_file

ROOT = Path(__file__).parents[1]
PAGES = sorted(p for p in ROOT.rglob("*.md") if not {".venv", ".venvs", "runs"} & set(p.relative_to(ROOT).parts))
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        assert target.startswith("https://") or (page.parent / target).exists(), target


def test_the_example_study_is_a_study(tmp_path: Path) -> None:
    [example] = re.findall(r"```yaml\n(.*?)```", README, flags=re.DOTALL)
    path = tmp_path / "study.yaml"
    path.write_text(example)
    assert study_file.load(path).grid.lrs[0] == 3e-6


def test_every_verb_is_described() -> None:
    verbs = {command.callback.__name__ for command in cli.app.registered_commands if command.callback}
    assert set(re.findall(r"^\| `almr (\w+)", README, flags=re.MULTILINE)) == verbs


def test_the_map_names_every_module() -> None:
    for room in ("sweep", "trainers", "analysis"):
        for path in (ROOT / room).glob("*.py"):
            assert path.name == "__init__.py" or path.name in README, f"{path.name} is not on the README's map"
