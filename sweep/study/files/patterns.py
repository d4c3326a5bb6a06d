"""Local text files, named by path, folder or glob pattern."""

from __future__ import annotations

import glob
import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from sweep.study.errors import InputError

log = logging.getLogger(__name__)
PLAIN, LINES = (".txt", ".md"), (".jsonl", ".json")
READ = (*PLAIN, *LINES, ".parquet")
COMPRESSED = (".gz", ".zst", ".bz2", ".xz")
ABOUT = ("README", "LICENSE", "LICENCE", "NOTICE", "CHANGELOG", "CONTRIBUTING", "CITATION", "DATASET_INFOS")
ESCAPES = (("[*]", "*"), ("[?]", "?"), ("[[]", "["))


def printable(path: str) -> str:
    """A path as messages show it: a line break or an undecodable byte in a name is escaped."""
    return path if path.isprintable() else repr(path)


def what_it_is(path: Path) -> str:
    """What a path is that is no file, for messages."""
    if path.is_dir():
        return "a directory"
    if path.is_symlink() and not path.exists():
        return "a link that leads nowhere"
    return "no regular file" if path.exists() else "no such file"


def suffix(file: str) -> str:
    """The suffix in lower case, before that of a compression; empty where there is none."""
    return next((s.lower() for s in reversed(Path(file).suffixes) if s.lower() not in COMPRESSED), "")


def matching(pattern: str) -> list[str]:
    """The files that a path, folder or glob pattern names, sorted. A folder stands for the files of READ below it.

    A path that exists is taken as it is, whatever its characters mean in a pattern. Raises InputError where nothing
    matches, where the name is both that of a file and a pattern of others, and for a broken link.
    """
    literal, matches = unescaped(pattern), sorted(glob.glob(pattern, recursive=True))
    if os.path.lexists(literal):
        if others := set(matches) - {literal}:
            raise InputError(
                f"{printable(literal)} is a file, and as a pattern it matches {printable(min(others))} too: "
                f"for the file alone write {printable(glob.escape(literal))}"
            )
        matches = [literal]
    found = [file for match in matches for file in _files(match)]
    if not found:
        raise InputError(f"{printable(pattern)} {_nothing(matches, literal)}")
    return found


def distinct(files: list[str]) -> list[str]:
    """The files without those that are another one by another path: patterns may overlap, and links lead anywhere."""
    return list({os.path.realpath(file): file for file in reversed(files)}.values())[::-1]


def plain_files(named: Iterable[str]) -> list[Path] | None:
    """The files of patterns, where their size tells that of the text; None for compressed ones, parquet and none."""
    try:
        paths = [Path(file) for file in distinct([file for pattern in named for file in matching(pattern)])]
    except InputError:
        return None  # `almr plan --check` and `almr run` say what is wrong
    suits = paths and all(path.suffix.lower() in (*PLAIN, *LINES) and path.is_file() for path in paths)
    return sorted(paths) if suits else None


def unescaped(pattern: str) -> str:
    """The path of which the pattern is an escaped form, as that of a study's folder is."""
    for escaped, character in ESCAPES:
        pattern = pattern.replace(escaped, character)
    return pattern


def _nothing(matches: list[str], literal: str) -> str:
    """Why a pattern names no file."""
    if matches:
        return f"is a folder without {', '.join(READ)} files: correct the path"
    there = next(p for p in (*Path(literal).parents, Path(".")) if p.is_dir())
    escaped = os.path.join(glob.escape(str(there)), os.path.relpath(literal, there))
    if glob.glob(escaped, recursive=True):
        return f"matches no file: the folder's name holds characters of a pattern, so write {printable(escaped)}"
    if not os.access(there, os.R_OK | os.X_OK):
        return f"cannot be looked up: correct the permissions of {printable(str(there))}"
    return "matches no file: correct the path"


def _files(match: str) -> Iterator[str]:
    if os.path.isdir(match):
        yield from _below(match)
    elif os.path.isfile(match):
        yield match
    elif os.path.islink(match):
        raise InputError(
            f"{printable(match)} is a link to {printable(os.readlink(match))}, which is not there: "
            f"fetch its content (git annex get, hf download), or correct the link"
        )
    else:
        raise InputError(f"{printable(match)} is no regular file: give a file, a folder or a pattern")


def _below(folder: str) -> Iterator[str]:
    """The files of READ in a folder and its sub-folders. Names that begin with `.` or `_` are those of
    tools; those of ABOUT are left out too.
    """
    others, seen, about = set(), set(), []
    for place, folders, names in os.walk(folder, onerror=_refuse, followlinks=True):
        seen.add(os.path.realpath(place))
        folders[:] = sorted(f for f in folders if _own(f) and os.path.realpath(os.path.join(place, f)) not in seen)
        for name in sorted(filter(_own, names)):
            if name.partition(".")[0].upper() in ABOUT:
                about.append(os.path.join(place, name))
            elif suffix(name) in READ:
                yield from _files(os.path.join(place, name))
            else:
                others.add(Path(name).suffix)
    if about:
        more = f" and {len(about) - 1} more" if about[1:] else ""
        log.warning("%s%s: left out as text about the files: name it to read it", printable(about[0]), more)
    if others:
        log.warning("%s: files with other endings are not read (%s)", printable(folder), ", ".join(sorted(others)))


def _own(name: str) -> bool:
    return not name.startswith((".", "_"))


def _refuse(error: OSError) -> None:
    raise InputError(f"{printable(str(error.filename))} cannot be read ({error.strerror}): correct its permissions")
