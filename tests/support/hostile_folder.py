"""A working directory with files of a user's own that have the names of our packages and of libraries: none is
imported, none is followed, and none is shipped.
"""

from __future__ import annotations

from pathlib import Path

PACKAGES = ("analysis", "sweep", "trainers", "yaml", "sitecustomize")
MODULES = ("statistics", "token", "random", "json", "numpy", "torch", "ray", "usercustomize", "conftest")


def plant(folder: Path) -> None:
    """Each file leaves its name in `folder`/imported when it is imported."""
    text = f"with open({str(folder / 'imported')!r}, 'a') as file:\n    file.write(__name__ + '\\n')\n"
    for name in PACKAGES:
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(text)
    for name in MODULES:
        (folder / f"{name}.py").write_text(text)
    (folder / ".env").write_text("TOKEN=of-the-user\n")


def imported(folder: Path) -> list[str]:
    path = folder / "imported"
    return sorted(set(path.read_text().split())) if path.exists() else []
