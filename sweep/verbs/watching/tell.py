"""Tells a webhook and a program when the verdict on a launch changes: by what `notify` of a study uses."""

from __future__ import annotations

import re
import shlex
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from analysis.launch.watching.result import WatchResult
from sweep.study import InputError
from sweep.study.errors import visible, without_secrets
from sweep.trials.followers.notify import program, webhook
from sweep.trials.followers.notify.program import Program, ProgramError
from sweep.trials.followers.notify.webhook import WebhookError

VARIABLE = re.compile("[A-Za-z_][A-Za-z0-9_]{0,99}")
QUIET = ("as predicted", "not predicted")  # of which nothing is told before there was something else


class VerdictTeller:
    """`variable` names the environment variable with a webhook's URL, which is kept nowhere; `command` is a program and
    its arguments, started without a shell. Raises InputError where somebody is to be told, and cannot be.
    """

    def __init__(self, variable: str | None, command: str | None, warn: Callable[[str], None]) -> None:
        self.variable, self.words, self.warn = variable, _words(command), warn
        if variable is not None and not VARIABLE.fullmatch(variable):
            raise InputError("--webhook: give the name of an environment variable that holds the URL, not the URL")
        if variable and (fault := webhook.fault(variable)):
            raise InputError(f"--webhook {fault}")
        if self.words and (fault := program.fault(self.words)):
            raise InputError(f"--run {fault}")
        self.program = Program(self.words)
        self.told: str | None = None

    def look(self, found: WatchResult) -> None:
        """Tell of a verdict that is another word than the one before."""
        word, before = found.verdict.word, self.told
        self.told = word
        if word == before or (before is None and word in QUIET):
            return
        facts = _facts(found)
        for name, send in (("--webhook", self._post), ("--run", self._start)):
            try:
                send(facts)
            except (WebhookError, ProgramError) as error:
                self.warn(f"warning: {name}: {error}; the watch goes on")

    def _post(self, facts: dict[str, Any]) -> None:
        if self.variable:
            webhook.post(self.variable, facts["text"])

    def _start(self, facts: dict[str, Any]) -> None:
        if self.words:
            self.program.tell(facts)


def _words(command: str | None) -> list[str]:
    try:
        words = shlex.split(command or "")
    except ValueError as error:
        raise InputError(f"--run {command}: {error}") from None
    if command is not None and not words:
        raise InputError("--run: it names no program")
    return words


def _facts(found: WatchResult) -> dict[str, Any]:
    name, run = found.launch.study.name, str(found.launch.folder)
    more = f": {found.advice.command}" if found.advice.command else ""
    text = f"{name}: {found.verdict.text}; {found.advice.text}{more}"
    return {
        "event": found.verdict.word,
        "study": name,
        "run": run,
        "text": visible(without_secrets(text)),
        "host": socket.gethostname(),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "watch": found.as_json(),
    }
