"""Study files: where they are found, one clear line for whatever is wrong with one, how two of them differ."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydantic
import yaml

from sweep.study.errors import InputError
from sweep.study.study import Study

SHIPPED = Path(__file__).parents[1] / "studies"
SQLITE = "sqlite:///"  # of a path that follows: one more slash, and it is absolute
MLFLOW_SERVICES = ("databricks", "databricks-uc", "uc")


def load(source: str | Path) -> Study:
    """Read a study file, or a shipped study by its bare name. Raises InputError naming file, field and fix."""
    path = find(source)
    try:
        text = path.read_text(encoding="utf-8")
        _refuse_duplicate_keys(yaml.compose(text, Loader=yaml.SafeLoader), path)
        content = yaml.safe_load(text)
    except InputError:
        raise
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError, ValueError, TypeError) as error:
        raise InputError(f"{path}: not readable as YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: a study is a mapping of fields; start from the shipped {SHIPPED.name}/demo.yaml")
    try:
        study = Study.model_validate(content)
    except pydantic.ValidationError as error:
        raise InputError("\n".join(f"{path}: {line}" for line in _explain(error))) from None
    return _with_absolute_paths(study, path.parent)


def find(source: str | Path) -> Path:
    shipped = SHIPPED / f"{source}.yaml"
    if Path(source).name == str(source) and not Path(source).suffix and shipped.exists():
        return shipped
    if not Path(source).is_file():
        names = ", ".join(sorted(p.stem for p in SHIPPED.glob("*.yaml")))
        raise InputError(f"{source}: no such study file; give a path to a YAML file, or a shipped study: {names}")
    return Path(source)


def _refuse_duplicate_keys(node: yaml.Node | None, path: Path) -> None:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise InputError(f"{path}:{key.start_mark.line + 1}: a field's name has to be a word")
            if key.value in seen:
                raise InputError(f"{path}:{key.start_mark.line + 1}: {key.value} is written twice: remove one")
            seen.add(key.value)
            _refuse_duplicate_keys(value, path)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _refuse_duplicate_keys(item, path)


def _explain(error: pydantic.ValidationError) -> list[str]:
    return [f"{_dotted(e['loc'])}: {_fix(e)}" for e in error.errors(include_url=False, include_context=False)]


def _dotted(location: tuple[int | str, ...]) -> str:
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return path.lstrip(".") or "study"


def _fix(error: Any) -> str:
    if error["type"] == "extra_forbidden":
        return "no such field: check its spelling and indentation"
    if error["type"] == "missing":
        return "this field is required: add it"
    message = error["msg"].removeprefix("Value error, ")
    given = error["input"]
    return message if isinstance(given, dict | pydantic.BaseModel) else f"{message} (found {given!r})"


def _with_absolute_paths(study: Study, folder: Path) -> Study:
    """Paths in a study file are relative to it; workers and the frozen copy need them absolute."""
    content = study.model_dump(mode="json", by_alias=True)
    for corpus in content["corpora"].values():
        corpus["files"] = corpus["files"] and [_absolute(folder, f) for f in corpus["files"]]
    if content["replay"]:
        content["replay"]["table"] = str((folder / content["replay"]["table"]).resolve())
    for field in ("data", "include"):
        if content["benchmarks"] and content["benchmarks"][field]:
            content["benchmarks"][field] = str((folder / Path(content["benchmarks"][field]).expanduser()).resolve())
    for section, field in (("base_model", "pretrained"), ("launch", "model")):
        model = (content[section] or {}).get(field)
        if model and (folder / model).is_dir():  # else a Hugging Face id
            content[section][field] = str((folder / model).resolve())
    if content["tracking"]["mlflow"]:
        content["tracking"]["mlflow"] = _absolute_uri(folder, content["tracking"]["mlflow"])
    for place, field in _of_launch(content["launch"] or {}):
        place[field] = str((folder / Path(place[field]).expanduser()).resolve())
    return Study.model_validate(content)


def _of_launch(launch: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    """Where the launch names a file or a folder: held-out text, and the runs of a ladder."""
    yield from ((launch["evaluation"], field) for field in launch.get("evaluation") or {})
    yield from ((rung, "run") for rung in (launch.get("transfer") or {}).get("rungs") or () if rung["run"])


def _absolute(folder: Path, pattern: str) -> str:
    """A glob below the study's folder, whose own name must not be read as one."""
    given = Path(pattern).expanduser()
    return str(given) if given.is_absolute() else str(Path(glob.escape(str(folder.resolve()))) / given)


def _absolute_uri(folder: Path, uri: str) -> str:
    """Of MLflow: a folder, or a file of SQLite. The address of a server and the name of a service stay."""
    scheme, path = (SQLITE, uri.removeprefix(SQLITE)) if uri.startswith(SQLITE) else ("", uri.removeprefix("file:"))
    if not path or ":" in path or path.startswith("/") or path in MLFLOW_SERVICES:
        return uri
    return scheme + str((folder / Path(path).expanduser()).resolve())


def dump(study: Study) -> str:
    """The study as YAML that `load` reads back to the same study."""
    content = study.model_dump(mode="json", by_alias=True, exclude_none=True)
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def changed_fields(old: Study, new: Study) -> list[str]:
    """Dotted paths of the recipe that differ, each with both values."""
    before, after = _flat(old.recipe()), _flat(new.recipe())
    return [
        f"{path}: {before.get(path)!r} -> {after.get(path)!r}"
        for path in sorted(before.keys() | after.keys())
        if before.get(path) != after.get(path)
    ]


def _flat(tree: Any, path: str = "") -> dict[str, Any]:
    if not isinstance(tree, dict):
        return {path: tree}
    return {k: v for key, sub in tree.items() for k, v in _flat(sub, f"{path}.{key}".lstrip(".")).items()}
