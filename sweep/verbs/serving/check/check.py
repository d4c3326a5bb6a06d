"""`almr serve MODEL --check`: what the official openai client is answered by a server, and how fast."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from sweep.study import InputError
from sweep.study.errors import one_line
from sweep.verbs.serving.check import findings
from sweep.verbs.serving.check.asking import REQUEST_SECONDS, AskedQuestion, Client, ServedAnswer
from sweep.verbs.serving.check.figures import ServingFigures, of_answers
from sweep.verbs.serving.check.findings import ServingFinding
from sweep.verbs.serving.here import LOOPBACK

QUESTIONS = (
    ("English", 'Who says "To be, or not to be"?'),
    ("Chinese", "“宁教我负天下人，休教天下人负我”是谁说的？"),
)
TEXTS = (("English", "To be, or not to be, "), ("Chinese", "却说曹操"))
MOST, MOST_TOGETHER = 256, 64  # tokens of an answer
CLIENTS, REPEATS = 20, 3
Progress = Callable[[str], None]


@dataclass(frozen=True)
class ServingCheck:
    url: str
    model: str
    findings: list[ServingFinding]
    talk: list[tuple[AskedQuestion, ServedAnswer]]
    figures: list[ServingFigures]

    @property
    def passed(self) -> bool:
        return all(finding.passed is not False for finding in self.findings)

    def lines(self) -> list[str]:
        verdict = (
            "passed" if self.passed else "FAILED: " + ", ".join(f.name for f in self.findings if f.passed is False)
        )
        return [*(f.line for f in self.findings), *(f.line for f in self.figures), f"check of {self.model}: {verdict}"]

    def as_json(self) -> dict[str, Any]:
        return {
            "url": self.url,
            "model": self.model,
            "passed": self.passed,
            "checks": [finding.as_json() for finding in self.findings],
            "figures": [figures.as_json() for figures in self.figures],
        }


def check(url: str, key: str | None, tokenizer: Any, ours: bool, progress: Progress) -> ServingCheck:
    """`ours`: the server is almr's own. Raises InputError where nothing answers at `url`, or a question is refused."""
    from openai import APIError

    openai = _openai(url, key)
    client, length = _client(openai, url)
    try:
        return _checked(client, key, tokenizer, length, ours, progress)
    except APIError as error:
        raise InputError(f"{url}: a question was not answered: {one_line(error, 200)}") from None


def _openai(url: str, key: str | None) -> Any:
    """A server of this machine is asked straight: http_proxy does not lead to it."""
    from openai import DefaultHttpxClient, OpenAI

    straight = DefaultHttpxClient(trust_env=False) if urlsplit(url).hostname in LOOPBACK else None
    return OpenAI(base_url=url, api_key=key or "none", timeout=REQUEST_SECONDS, max_retries=0, http_client=straight)


def _checked(
    client: Client, key: str | None, tokenizer: Any, length: int | None, ours: bool, progress: Progress
) -> ServingCheck:
    chat = bool(tokenizer.chat_template)
    asked = [AskedQuestion(language, text, chat) for language, text in (QUESTIONS if chat else TEXTS)]
    found = [findings.of_key(client, key), findings.of_other_model(client, asked[0])]
    if not chat:
        found.append(ServingFinding("chat template", None, "the tokenizer has none: completions alone are checked"))
    talk = []
    for question in asked:
        progress(f"asking in {question.language}")
        most = _room(tokenizer, question, MOST, length)
        whole = client.whole(question, most)
        talk.append((question, whole))
        found += [
            findings.of_prompt(client, tokenizer, question, whole),
            findings.of_end(tokenizer, question, whole, most),
            findings.of_streaming(question, whole, client.streamed(question, most)),
        ]
    together, figures = _together(client, tokenizer, asked, length, ours, progress)
    url = str(client.openai.base_url).rstrip("/")
    return ServingCheck(url, client.model, [*found, together], talk, figures)


def _client(openai: Any, url: str) -> tuple[Client, int | None]:
    """For the first model that is served, and the length that the server states for it."""
    from openai import APIConnectionError, APIError, AuthenticationError

    try:
        served = openai.models.list().data
    except AuthenticationError:
        raise InputError(f"--url {url}: the key was refused: set ALMR_API_KEY to the server's") from None
    except APIConnectionError:
        raise InputError(f"--url {url}: nothing answers there: start the server, or correct the address") from None
    except APIError as error:
        raise InputError(f"--url {url}: it does not list its models ({one_line(error, 150)})") from None
    if not served:
        raise InputError(f"--url {url}: it serves no model")
    return Client(openai, served[0].id), getattr(served[0], "max_model_len", None)


def _room(tokenizer: Any, question: AskedQuestion, most: int, length: int | None) -> int:
    """Tokens of the answer that the model's length leaves."""
    return most if length is None else max(1, min(most, length - len(findings.expected_ids(tokenizer, question))))


def _together(
    client: Client, tokenizer: Any, asked: list[AskedQuestion], length: int | None, ours: bool, progress: Progress
) -> tuple[ServingFinding, list[ServingFigures]]:
    """One client several times, then CLIENTS at once, in turns of the languages."""
    rooms = [_room(tokenizer, question, MOST_TOGETHER, length) for question in asked]
    progress("asking by one client")
    began = time.perf_counter()
    alone = [
        client.streamed(question, room) for _ in range(REPEATS) for question, room in zip(asked, rooms, strict=True)
    ]
    single = of_answers(alone, 1, time.perf_counter() - began)
    turns = [index % len(asked) for index in range(CLIENTS)]
    progress(f"asking by {CLIENTS} clients at once")
    began = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        answers = list(pool.map(lambda turn: _tried(client, asked[turn], rooms[turn]), turns))
    spent = time.perf_counter() - began
    several = of_answers([one for one in answers if isinstance(one, ServedAnswer)], CLIENTS, spent)
    finding = findings.of_parallel([alone[turn] for turn in turns], answers, ours)
    return finding, [one for one in (single, several) if one]


def _tried(client: Client, question: AskedQuestion, most: int) -> ServedAnswer | Exception:
    try:
        return client.streamed(question, most)
    except Exception as error:  # of openai and of its transport; it is told as a finding
        return error
