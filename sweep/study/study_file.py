"""Study files: finding, reading and writing them, and how two of them differ."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydantic
import yaml

from sweep.study.errors import InputError, explain, name_of, shown
from sweep.study.files import bounded_yaml
from sweep.study.files.bounded_yaml import BoundedLoader
from sweep.study.files.patterns import unescaped, what_it_is
from sweep.study.sections.resources import SQLITE
from sweep.study.sections.text.documents import CHATML
from sweep.study.study import Replay, Study

SHIPPED = Path(__file__).parents[1] / "studies"
REPLAY = "-replay"  # ends the name of a study that `almr run --replay` answers from a table
MLFLOW_SERVICES = ("databricks", "databricks-uc", "uc")


class _StudyLoader(BoundedLoader):
    """Safe YAML in which a key that is written twice is an error; PyYAML would take the last."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem="a field's name has to be a word", problem_mark=key.start_mark)
            if key.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"{name_of(key.value)} is written twice: remove one", problem_mark=key.start_mark
                )
            seen.add(key.value)
        return node


def load(source: str | Path) -> Study:
    """Read a study file, or a shipped study by its bare name. Raises InputError naming file, field and fix."""
    path = find(source)
    content = content_of(path)
    if isinstance(content, dict) and "post_training" in content:
        chain = "base_model" not in content
        own = (
            f"{path}: post_training: stages after a launch are a file of their own, with name and model: move it there"
        )
        verbs = f"{path}: is a chain of stages, and no study: almr plan, prepare, run and status take it"
        raise InputError(verbs if chain else own)
    return validated(content, path)


def validated(content: Any, path: Path, within: str = "") -> Study:
    """The content of a study file as a study. `within`: the field of the file that the content is of, with its dot.

    Raises InputError as `load` does.
    """
    if not isinstance(content, dict):
        shipped = f"{SHIPPED.name}/demo.yaml"
        raise InputError(f"{path}: a study is a mapping of fields: restore it, or start from the shipped {shipped}")
    try:
        return _with_absolute_paths(Study.model_validate(content), path.parent)
    except pydantic.ValidationError as error:
        raise InputError("\n".join(f"{path}: {within}{line}" for line in explain(error, Study))) from None
    except OSError as error:  # of a path in it
        name = shown(os.fsdecode(error.filename or ""))
        raise InputError(f"{path}: {within}the path {name}: {error.strerror}: correct it") from None


def find(source: str | Path) -> Path:
    """The path of a study file, or of a shipped study by its bare name. Raises InputError."""
    shipped = SHIPPED / f"{source}.yaml"
    if Path(source).name == str(source) and not Path(source).suffix and shipped.exists():
        return shipped
    if not os.path.lexists(source):
        names = ", ".join(sorted(p.stem for p in SHIPPED.glob("*.yaml")))
        raise InputError(f"{source}: no such study file; give a path to a YAML file, or a shipped study: {names}")
    if not Path(source).is_file():
        raise InputError(f"{source}: {what_it_is(Path(source))}; give a path to a YAML file")
    return Path(source)


def replayed(study: Study, table: str) -> Study:
    """The study with its trials answered from a table: a file, or a shipped table by its bare name.

    It gets a name of its own, so that a replay is never taken for the real run. Raises InputError.
    """
    shipped = SHIPPED / f"{table}.csv"
    path = shipped if Path(table).name == table and not Path(table).suffix and shipped.exists() else Path(table)
    if not path.is_file():
        names = ", ".join(sorted(p.stem for p in SHIPPED.glob("*.csv")))
        raise InputError(f"--replay {table}: no such file; give a table such as trials.csv, or a shipped one: {names}")
    changed = {"name": f"{study.name[: 100 - len(REPLAY)]}{REPLAY}", "replay": Replay(table=str(path.resolve()))}
    return study.model_copy(update=changed)


def content_of(path: Path) -> Any:
    """The YAML of a file, whatever it holds. Raises InputError."""
    try:
        return bounded_yaml.parsed(path, _StudyLoader)
    except bounded_yaml.UnreadableYamlError as error:
        raise InputError(f"{path}{f':{error.line}' if error.line else ''}: {error}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}): correct that") from None


def _with_absolute_paths(study: Study, folder: Path) -> Study:
    """Paths in a study file are relative to it; workers and the copy in the run need them absolute."""
    content = study.model_dump(mode="json", by_alias=True)
    launch = content["launch"] or {}
    for given in [*content["corpora"].values(), *(launch.get("corpora") or {}).values()]:
        for corpus in given if isinstance(given, list) else [given]:
            for field in ("files", "exclude"):
                corpus[field] = corpus[field] and [_absolute(folder, pattern) for pattern in corpus[field]]
    for section, field in (("base_model", "pretrained"), ("base_model", "tokenizer"), ("launch", "model")):
        model = (content[section] or {}).get(field)
        if model and (folder / model).is_dir():  # else a Hugging Face id
            content[section][field] = str((folder / model).resolve())
    for tool in ("mlflow", "optuna"):
        if content["tracking"][tool]:
            content["tracking"][tool] = _absolute_uri(folder, content["tracking"][tool])
    if study.notify:
        content["notify"] = study.notify.beside(folder).model_dump(mode="json")
    content["trainer"] = study.trainer.beside(folder).model_dump(mode="json")
    for place, field in _paths(content):
        given = folder / Path(place[field]).expanduser()
        is_template = field == "chat_template"  # in the cache of the hub it is a link to no .jinja
        place[field] = str(given.parent.resolve() / given.name if is_template else given.resolve())
    return Study.model_validate(content)


def _paths(content: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    """The fields that hold one path, as (section, name): template, tables, benchmark files, held-out text, rungs."""
    launch, benchmarks = content["launch"] or {}, content["benchmarks"] or {}
    if content["documents"]["chat_template"] not in (None, CHATML):
        yield content["documents"], "chat_template"
    if content["replay"]:
        yield content["replay"], "table"
    yield from ((benchmarks, field) for field in ("data", "include") if benchmarks.get(field))
    yield from ((launch["evaluation"], field) for field in launch.get("evaluation") or {})
    yield from ((rung, "run") for rung in (launch.get("transfer") or {}).get("rungs") or () if rung["run"])


def _absolute(folder: Path, pattern: str) -> str:
    """A glob pattern below the study's folder, whose own name must not be read as a pattern."""
    given = Path(pattern).expanduser()
    whole = given if given.is_absolute() else Path(glob.escape(str(folder.resolve()))) / given
    return str(_without_dots(whole))


def _without_dots(pattern: Path) -> Path:
    """A pattern without the `..` before its first part that is a pattern, so that every study file names a file alike.

    A `..` behind a symbolic link stays, and all after it: it is not the folder that the link is in.
    """
    found = Path(pattern.anchor)
    for number, part in enumerate(pattern.parts[1:], 1):
        literal = not glob.has_magic(part) or part == glob.escape(unescaped(part))
        if not literal or (part == ".." and Path(unescaped(str(found))).is_symlink()):
            return found.joinpath(*pattern.parts[number:])
        found = found.parent if part == ".." else found / part
    return found


def _absolute_uri(folder: Path, uri: str) -> str:
    """A URI of MLflow or Optuna with an absolute path, if it is a folder or an SQLite file. Servers and services stay
    as given.
    """
    scheme, path = (SQLITE, uri.removeprefix(SQLITE)) if uri.startswith(SQLITE) else ("", uri.removeprefix("file:"))
    if not path or ":" in path or path.startswith("/") or path in MLFLOW_SERVICES:
        return uri
    return scheme + str((folder / Path(path).expanduser()).resolve())


def dump(study: Study) -> str:
    """The study as YAML, which `load` reads back to an equal study. Our own trainer and stage `cpt` are not named."""
    unnamed: Any = {} if study.trainer.external else {"trainer": True}
    unnamed |= {"training": {"stage"}} if study.training.stage == "cpt" else {}
    content = study.model_dump(mode="json", by_alias=True, exclude_none=True, exclude=unnamed)
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def own_rung(study: Study, run: Path | None = None) -> str | None:
    """One line for a ladder that has the study's own sweep as a rung, else None. `run`: the folder of its run.

    That is a run of its name and recipe, wherever it lies: its winner would count twice.
    """
    transfer = study.launch.transfer if study.launch else None
    for folder in (Path(rung.run) for rung in (transfer.rungs if transfer else ()) if rung.run):
        if (run and folder.resolve() == run.resolve()) or _is_run_of(study, folder):
            return (
                f"launch.transfer.rungs: {folder} is this study's own run, and its sweep is a rung already: name the "
                f"runs of other sizes, budgets or batches, or remove it"
            )
    return None


def _is_run_of(study: Study, folder: Path) -> bool:
    try:
        found = load(folder / "study.yaml")
    except InputError:
        return False
    return (found.name, found.fingerprint) == (study.name, study.fingerprint)


def changed_fields(old: Study, new: Study, with_text: bool = True) -> list[str]:
    """The fields of the recipe that differ, each as a dotted path with both values. See `Study.recipe`."""
    return changed_values(old.recipe(with_text), new.recipe(with_text))


def changed_values(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """The values that differ between two trees, each as a dotted path with both."""
    before, after = flattened(old), flattened(new)
    return [
        f"{path}: {shown(before.get(path))} -> {shown(after.get(path))}"
        for path in sorted(before.keys() | after.keys())
        if before.get(path) != after.get(path)
    ]


def flattened(tree: Any, path: str = "") -> dict[str, Any]:
    """The values of a tree of mappings by their dotted paths."""
    if not isinstance(tree, dict):
        return {path: tree}
    return {k: v for key, sub in tree.items() for k, v in flattened(sub, f"{path}.{key}".lstrip(".")).items()}
