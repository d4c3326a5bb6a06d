"""Faults of a document: what it says that is not true of the code. Each `bad_...` yields those of a page's text."""

from __future__ import annotations

import ast
import functools
import re
import shlex
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import typer
import yaml

from sweep import cli
from sweep.study import InputError, study_file
from sweep.verbs.stages import chain_file
from tests import rooms, study_fields
from tests.rooms import ROOT

FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", flags=re.MULTILINE | re.DOTALL)
PROGRAMS = {
    "export",
    "jupyter",
    "kubectl",
    "mlflow",
    "optuna-dashboard",
    "pip",
    "source",
    "tensorboard",
    "wandb",
}  # of others: not looked into
LINE = 120  # characters of a raw line, tables and images aside
SOURCES = ("sweep", "trainers", "analysis", "tests", "docs", "notebooks")


def blocks(text: str, *languages: str) -> list[str]:
    return [body for language, body in FENCE.findall(text) if language in languages]


def prose(text: str) -> str:
    return FENCE.sub("", text)


def spans(text: str) -> list[str]:
    """Inline code."""
    return [span.replace("\\|", "|") for span in re.findall(r"`([^`\n]+)`", prose(text))]


def bad_spans(text: str, page: Path) -> Iterator[str]:
    """Lines on which inline code does not end: nothing looks into code that is parted."""
    yield from (line for line in prose(text).splitlines() if line.count("`") % 2)


# Links


def anchors(text: str) -> set[str]:
    return {
        study_fields.anchor(heading) for heading in re.findall(r"^#+ (.*)$", FENCE.sub("", text), flags=re.MULTILINE)
    }


def bad_lines(text: str, page: Path) -> Iterator[str]:
    """Lines of prose over 120 characters, and placeholders: a line of one word in capitals, or TODO."""
    for line in prose(text).splitlines():
        if len(line) > LINE and not line.startswith("|") and "![" not in line:
            yield f"{len(line)} characters: {line}"
        if re.fullmatch(r"[A-Z_]{3,}\.?", line.strip()) or re.search(r"\b(TODO|FIXME|TBD)\b", line):
            yield f"a placeholder: {line}"


def bad_links(text: str, page: Path) -> Iterator[str]:
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        place, _, anchor = target.partition("#")
        if place.startswith("https://"):
            continue
        found = (page.parent / place).resolve() if place else page
        known = (
            anchors(text if not place else found.read_text(encoding="utf-8")) if found.is_file() and anchor else set()
        )
        if not found.exists() or (anchor and anchor not in known):
            yield target


# Commands


def commands(text: str) -> Iterator[list[str]]:
    """Every command of a shell block, and every `almr ...` of another block or of inline code, in words."""
    for language, block in FENCE.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            for part in line.split(" && ") if language == "sh" or line.startswith("almr ") else ():
                if words := shlex.split(part, comments=True):
                    yield words
    for span in spans(text):
        if span.startswith("almr ") and "|" not in span:
            yield shlex.split(span)


def bad_commands(text: str, page: Path) -> Iterator[str]:
    for words in commands(text):
        while re.match(r"[A-Z_]+=", words[0]):
            words = words[1:]
        if fault := fault_of(words):
            yield f"{' '.join(words)}: {fault}"


def fault_of(words: list[str]) -> str | None:
    program = words[0].removeprefix(".venv/bin/")  # of the environment that a page makes
    if program == "almr":
        return almr_fault(words[1:])
    if program == "make":
        targets = [word for word in words[1:] if "=" not in word]  # the others set variables
        return next((f"no target {word}" for word in targets if f"\n{word}:" not in makefile()), None)
    if program in ("apptainer", "bash", "docker", "python", "python3", "sbatch", "srun"):
        scripts = [word for word in words[1:] if "/" in word and word.split("/")[0] in SOURCES]
        return next((f"no file {word}" for word in scripts if not (ROOT / word).exists()), None)
    if "/" in program:
        return None if (ROOT / program).exists() else "no such file"
    return None if program in PROGRAMS else "not a known program"


def makefile() -> str:
    return (ROOT / "Makefile").read_text(encoding="utf-8")


@functools.cache
def verbs() -> dict[str, Any]:
    """The commands of the real command line, by name."""
    found: dict[str, Any] = vars(typer.main.get_command(cli.app))["commands"]
    return found


def almr_fault(words: list[str]) -> str | None:
    """What the real command line says against these words. Nothing is run."""
    if words[0].startswith("-"):
        return None if words[0] in {"--help", *global_options()} else f"no option {words[0]}"
    if words[0] not in verbs():
        return f"no command {words[0]}"
    command, words = verbs()[words[0]], words[1:]
    while group := vars(command).get("commands"):
        if not words or words[0] not in group:
            return None if words == ["--help"] else f"name one of {', '.join(group)}"
        command, words = group[words[0]], words[1:]
    bare = not [word for word in words if not word.startswith("-")]  # as in: with `almr plan --check`
    try:
        command.make_context("almr", [*(["RUN"] if bare else []), *words])
    except typer.Exit:  # --help
        return None
    except typer.BadParameter.__mro__[2] as error:  # ClickException, which typer does not name
        return str(error)
    return None


def global_options() -> set[str]:
    return {name for option in typer.main.get_command(cli.app).params for name in option.opts}


# Fields, paths and words


STAGE = re.compile(r"^post_training\.(sft|dpo)\.")  # what follows is a field of a study


def bad_fields(text: str, page: Path) -> Iterator[str]:
    """Dotted names of study fields that no study has."""
    known = study_fields.paths()
    sections = {path for path in known if "." not in path}
    for span in spans(text):
        if re.fullmatch(r"[a-z_]+(\.[a-z_*]+)+", span) and span.split(".")[0] in sections:
            path = STAGE.sub("", span).replace("corpora.*", "corpora.original")
            if path not in known and Path(span).suffix not in (".py", ".json", ".csv", ".yaml", ".md", ".html"):
                yield span


def bad_paths(text: str, page: Path) -> Iterator[str]:
    for span in spans(text):
        if re.fullmatch(rf"({'|'.join(SOURCES)})/[\w./*-]*", span) and not any(ROOT.glob(span.rstrip("/"))):
            yield span


def bad_words(text: str, page: Path) -> Iterator[str]:
    """Words that the glossary gives another word for."""
    for word in private_words():
        yield from re.findall(rf"\b{word}s?\b", re.sub(r"`[^`]*`", "", prose(text)), flags=re.IGNORECASE)


@functools.cache
def glossary() -> str:
    return (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")


def terms() -> list[str]:
    return re.findall(r"^\| \*\*(.+?)\*\* \|", glossary(), flags=re.MULTILINE)


def private_words() -> list[str]:
    table = glossary().split("## Words that are not used")[1]
    return [word for word in re.findall(r"^\| ([a-z ]+) \|", table, flags=re.MULTILINE) if word != "not"]


# Studies


def bad_studies(text: str, page: Path) -> Iterator[str]:
    """A yaml block is a study, a chain, or sections that replace those of the demo; several are parted by `---`."""
    for block in blocks(text, "yaml"):
        for content in yaml.safe_load_all(block):
            if fault := study_fault(content):
                yield fault


def study_fault(content: dict[str, object]) -> str | None:
    demo = yaml.safe_load((study_file.SHIPPED / "demo.yaml").read_text(encoding="utf-8"))
    merged = demo | {key: _merged(key, demo.get(key), value) for key, value in content.items()}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "study.yaml"
        path.write_text(yaml.safe_dump(content if "name" in content else merged), encoding="utf-8")
        try:
            (chain_file if chain_file.is_chain(path) else study_file).load(path)
        except InputError as error:
            return str(error)
    return None


def _merged(key: str, old: object, new: object) -> object:
    both = key in ("launch", "training") and isinstance(old, dict) and isinstance(new, dict)
    return old | new if both else new  # type: ignore[operator]


# Quoted messages


@functools.cache
def texts_of_the_code() -> tuple[str, ...]:
    """Every text of the product, an f-string as its pieces; its scripts, and the start of `make gpu`, as a whole."""
    scripts = [*(ROOT / "sweep" / "cluster").glob("*.s*"), ROOT / "tests" / "gpu" / "__main__.py"]
    found = [path.read_text(encoding="utf-8") for path in scripts]
    for path in rooms.files():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found += [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    return tuple(found)


def symptoms(text: str) -> list[str]:
    """The messages that the first column of a table quotes: inline code of several words."""
    first = re.findall(r"^\| (.+?) \|", text, flags=re.MULTILINE)
    return [quote for cell in first for quote in re.findall(r"`([^`]+)`", cell) if " " in quote]


def bad_symptoms(text: str) -> Iterator[str]:
    for quote in symptoms(text):
        pieces = [piece.strip() for piece in quote.split("…")]
        if not all(any(piece in one for one in texts_of_the_code()) for piece in pieces):
            yield quote


def codes() -> set[str]:
    """The codes of all refusals and warnings: each `code=`, and the first item of each tuple of a `for code, ...`."""
    found: set[str] = set()
    for path in rooms.files():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "code":
                found |= _texts([node.value])
            elif isinstance(node, ast.For) and ast.unparse(node.target).startswith("(code,"):
                found |= _texts(one.elts[0] for one in ast.walk(node.iter) if isinstance(one, ast.Tuple) and one.elts)
    return found - {""}


def _texts(nodes: Iterable[ast.expr]) -> set[str]:
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def variables() -> set[str]:
    """The environment variables of our own that the product reads or writes, in code, scripts and templates."""
    files = [path for room in rooms.ROOMS for path in (ROOT / room).rglob("*") if path.is_file()]
    texts = (path.read_text(encoding="utf-8") for path in files if "__pycache__" not in path.parts)
    return {name for text in texts for name in re.findall(r"""(?:["']|\$\{?)(ALMR_[A-Z_]+[A-Z])\b""", text)}
