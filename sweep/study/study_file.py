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
from sweep.study.sections.content import Replay
from sweep.study.sections.launch import Launch
from sweep.study.sections.post_training import OF_THE_CHAIN, PostTraining, stage_launch
from sweep.study.sections.resources import SQLITE
from sweep.study.sections.text.documents import CHATML
from sweep.study.study import Study

SHIPPED = Path(__file__).parents[1] / "studies"
REPLAY = "-replay"  # ends the name of a study that `almr run --replay` answers from a table
POST_TRAINING = "post_training"
NOT_YET = "MODEL"  # the base model of a stage, until the one before has left its own
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
    if is_chain(content):
        raise InputError(f"{path}: is a chain of stages, and no study: almr plan, prepare, run and status take it")
    return validated(content, path)


def is_chain(content: Any) -> bool:
    """Whether the content of a file has stages after a model, and is no study."""
    return isinstance(content, dict) and POST_TRAINING in content and "base_model" not in content


def validated(content: Any, path: Path, within: str = "") -> Study:
    """The content of a study file as a study. `within`: the field of the file that the content is of, with its dot.

    Raises InputError as `load` does.
    """
    if not isinstance(content, dict):
        shipped = f"{SHIPPED.name}/demo.yaml"
        raise InputError(f"{path}: a study is a mapping of fields: restore it, or start from the shipped {shipped}")
    try:
        study = _with_absolute_paths(Study.model_validate(content), path.parent)
    except pydantic.ValidationError as error:
        raise InputError("\n".join(f"{path}: {within}{line}" for line in explain(error, Study))) from None
    except OSError as error:  # of a path in it
        name = shown(os.fsdecode(error.filename or ""))
        raise InputError(f"{path}: {within}the path {name}: {error.strerror}: correct it") from None
    return _with_whole_stages(study, path) if study.post_training else study


def stage_of(name: str, stage: str, fields: dict[str, Any], path: Path) -> Study:
    """A stage of `post_training` as the plain study NAME-STAGE, whose base model is not known yet.

    Raises InputError, naming the field as in post_training.sft.grid.lr.
    """
    for fault in _stage_faults(stage, fields):
        raise InputError(f"{path}: {POST_TRAINING}.{stage}.{fault}")
    own: dict[str, Any] = {"name": f"{name}-{stage}", "base_model": {"pretrained": NOT_YET}, "keep": "best"}
    training = fields.get("training")
    staged = {"training": training | {"stage": stage}} if isinstance(training, dict) else {}
    return validated(own | fields | staged, path, f"{POST_TRAINING}.{stage}.")


def _stage_faults(stage: str, fields: dict[str, Any]) -> Iterator[str]:
    training = fields.get("training")
    given = training.get("stage", stage) if isinstance(training, dict) else stage
    if given != stage:
        yield f"training.stage: {shown(given)}: the section is {stage}: remove it"
    if fields.get("keep", "best") == "none":
        yield "keep: none leaves no model for what follows: write best, or remove it"


def stages_of(study: Study, path: Path = Path()) -> dict[str, Study]:
    """The stages of a study's `post_training` as plain studies. Raises InputError as `stage_of`."""
    given = study.post_training.stages if study.post_training else {}
    return {stage: stage_of(study.name, stage, fields, path) for stage, fields in given.items()}


def _refuse_machines(stage: str, of: Study, launch: Launch, path: Path) -> None:
    """Raises InputError where the machines of a stage cannot share its batch equally."""
    try:
        stage_launch(NOT_YET, of.training, of.resources, launch, ("native",))
    except pydantic.ValidationError as error:
        within = f"{path}: {POST_TRAINING}.{stage}.training."
        raise InputError("\n".join(f"{within}{line}" for line in explain(error, Launch))) from None


def _with_whole_stages(study: Study, path: Path) -> Study:
    """The study whose stages are valid, and have absolute paths as itself."""
    found = {}
    for stage, of in stages_of(study, path).items():
        if study.launch and len(of.grid_trials) == 1:
            _refuse_machines(stage, of, study.launch, path)
        unnamed: Any = dict.fromkeys(OF_THE_CHAIN, True) | {"training": {"stage"}}
        found[stage] = of.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude=unnamed)
    return study.model_copy(update={POST_TRAINING: PostTraining.model_validate(found)})


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
