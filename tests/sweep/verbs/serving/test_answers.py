"""The server on this machine, in this process: what clients are answered, and what is refused."""

from __future__ import annotations

import asyncio
import json
import math
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import chat_model
import pytest

from sweep.verbs.serving.check import check
from sweep.verbs.serving.child import ServerProcess

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
pytest.importorskip("transformers.cli.serving.chat_completion")

KEY, NAME = "the-key-of-this-test", "tiny chat/模型"
ASK: dict[str, Any] = {"messages": [{"role": "user", "content": "Who is Hamlet?"}], "max_tokens": 12, "temperature": 0}


class Served(NamedTuple):
    url: str
    loaded: Any


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return chat_model.write(tmp_path_factory.mktemp("served") / "model", steps=0)


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[Served]:
    import uvicorn

    from sweep.verbs.serving import here
    from sweep.verbs.serving.application import application
    from sweep.verbs.serving.named import ModelToServe

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALMR_API_KEY", KEY)
        loaded = here.load(ModelToServe(NAME, folder, str(folder)), None, lambda phase, share: None)
        place = here.listen("127.0.0.1", 0)
        app = application(loaded, ["127.0.0.1"])
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [place]}, daemon=True)
        thread.start()
        yield Served(f"http://127.0.0.1:{place.getsockname()[1]}", loaded)
        server.should_exit = True
        thread.join(5)


def ask(
    served: Served, path: str, body: Any = None, key: str | None = KEY, host: str = "", kind: str = "application/json"
) -> tuple[int, Any]:
    data = body.encode() if isinstance(body, str) else json.dumps(body).encode() if body is not None else None
    headers = {"Content-Type": kind} | ({"Authorization": f"Bearer {key}"} if key else {})
    request = urllib.request.Request(served.url + path, data, headers | ({"Host": host} if host else {}))
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            text, status = answer.read().decode(), answer.status
    except urllib.error.HTTPError as error:
        text, status = error.read().decode(), error.code
    try:
        return status, json.loads(text)
    except ValueError:
        return status, text


def test_the_key_is_asked_for_on_every_path_but_health(served: Served) -> None:
    assert ask(served, "/health", key=None) == (200, {"status": "ok"})
    for path in ("/v1/models", "/tokenize", "/v1/chat/completions", "/load_model"):
        assert ask(served, path, ASK if path != "/v1/models" else None, key=None)[0] == 401
        assert ask(served, path, ASK if path != "/v1/models" else None, key="wrong")[0] == 401
    assert ask(served, "/health", host="evil.example")[0] == 400


def test_one_model_under_its_name(served: Served) -> None:
    listed = ask(served, "/v1/models")[1]["data"]
    assert [(one["id"], one["max_model_len"]) for one in listed] == [(NAME, chat_model.LENGTH)]
    status, answer = ask(served, "/v1/chat/completions", ASK | {"model": NAME})
    assert (status, answer["model"]) == (200, NAME)
    status, answer = ask(served, "/v1/chat/completions", ASK | {"model": "other/model"})
    assert (status, "not served here" in answer["error"]["message"]) == (404, True)
    for path in ("/load_model", "/reset", "/docs", "/openapi.json"):
        assert ask(served, path, {"model": "org/other"})[0] in (404, 405)


def test_the_prompt_is_the_one_of_the_template(served: Served) -> None:
    words = served.loaded.tokenizer
    wanted = words.apply_chat_template(ASK["messages"], add_generation_prompt=True, return_dict=True)["input_ids"]
    read = ask(served, "/tokenize", {"model": NAME, "messages": ASK["messages"], "add_generation_prompt": True})[1]
    assert (read["tokens"], read["count"]) == (wanted, len(wanted))
    answer = ask(served, "/v1/chat/completions", ASK)[1]
    assert answer["usage"]["prompt_tokens"] == len(wanted)
    text = words.decode(wanted)
    assert ask(served, "/v1/completions", {"prompt": text, "max_tokens": 12, "temperature": 0})[1]["choices"][0][
        "text"
    ].rstrip("\ufffd") == answer["choices"][0]["message"]["content"].rstrip("\ufffd")


def test_an_answer_ends_at_the_end_of_turn_that_the_settings_do_not_state(served: Served) -> None:
    words, model = served.loaded.tokenizer, served.loaded.model
    assert model.generation_config.eos_token_id is None
    end = words.convert_tokens_to_ids(chat_model.END)
    assert served.loaded.ends == [end]
    settings = ask(served, "/v1/chat/completions", ASK | {"logit_bias": {str(end): 100.0}})[1]
    [choice] = settings["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("", "stop")
    assert settings["usage"]["completion_tokens"] == 1


def test_streaming_gives_the_whole_answer(served: Served) -> None:
    whole = ask(served, "/v1/chat/completions", ASK)[1]["choices"][0]["message"]["content"]
    events = ask(served, "/v1/chat/completions", ASK | {"stream": True})[1]
    chunks = [json.loads(line.removeprefix("data: ")) for line in events.splitlines() if line.startswith("data: {")]
    assert streamed(events).rstrip("\ufffd") == whole.rstrip("\ufffd")
    assert chunks[-1]["usage"]["completion_tokens"] == 12


def streamed(events: str) -> str:
    chunks = [json.loads(line.removeprefix("data: ")) for line in events.splitlines() if line.startswith("data: {")]
    return "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])


def test_a_stop_ends_the_answer_and_is_no_part_of_it(served: Served) -> None:
    def answer(**more: Any) -> Any:
        return ask(served, "/v1/chat/completions", ASK | {"max_tokens": 24} | more)[1]

    whole = answer()["choices"][0]["message"]["content"]
    begin = next(i for i in range(2, len(whole) - 2) if "\ufffd" not in whole[i : i + 2])
    stop = whole[begin : begin + 2]
    wanted = whole[: whole.find(stop)]
    stopped = answer(stop=stop)
    assert (stopped["choices"][0]["message"]["content"], stopped["choices"][0]["finish_reason"]) == (wanted, "stop")
    assert stopped["usage"]["completion_tokens"] < 24
    assert answer(stop=["nowhere in it", stop])["choices"][0]["message"]["content"] == wanted
    events = answer(stop=stop, stream=True)
    assert streamed(events) == wanted
    assert events.rstrip().endswith("data: [DONE]")
    text = ask(served, "/v1/completions", {"prompt": "To be", "max_tokens": 24, "temperature": 0})[1]["choices"][0][
        "text"
    ]
    body = {"prompt": "To be", "max_tokens": 24, "temperature": 0, "stop": text[3:5]}
    assert ask(served, "/v1/completions", body)[1]["choices"][0]["text"] == text[: text.find(text[3:5])]


def test_a_stop_that_comes_in_parts_is_not_streamed() -> None:
    from sweep.verbs.serving.stops import StoppedQueue

    async def parts(*given: str | None) -> list[Any]:
        queue: asyncio.Queue[Any] = asyncio.Queue()
        for part in given:
            queue.put_nowait(part)
        out = StoppedQueue(queue, ["\nUser:", "END"])
        return [part for _ in range(20) if (part := await out.get() if out.ready or not queue.empty() else None)]

    assert "".join(asyncio.run(parts("a\nU", "ncle\nUs", "er", ": b", None))) == "a\nUncle"
    assert "".join(asyncio.run(parts("E", "N", "E", "EN", None))) == "ENEEN"
    assert "".join(asyncio.run(parts("x EN", "D y", " END", None))) == "x "


def test_what_any_page_of_a_browser_may_send_is_refused(served: Served) -> None:
    """A browser sends these kinds anywhere without asking the server first."""
    for kind in ("text/plain", "application/x-www-form-urlencoded", "text/plain; a=application/json"):
        status, answer = ask(served, "/v1/completions", {"prompt": "x", "max_tokens": 3}, kind=kind)
        assert (status, "Content-Type: application/json" in answer["error"]["message"]) == (415, True)


def test_a_request_larger_than_the_model_can_read_is_refused(served: Served) -> None:
    status, answer = ask(served, "/v1/completions", {"prompt": "x" * 200_000, "max_tokens": 3})
    assert (status, "the request has over" in answer["error"]["message"]) == (413, True)


def test_a_temperature_samples_and_the_length_is_kept(served: Served) -> None:
    def text(**more: Any) -> str:
        return str(ask(served, "/v1/chat/completions", ASK | more)[1]["choices"][0]["message"]["content"])

    assert text() == text()
    assert len({text(temperature=1.5, seed=seed) for seed in range(4)}) > 1
    answer = ask(served, "/v1/completions", {"prompt": "x" * 100, "max_tokens": 500, "temperature": 0})[1]
    assert answer["usage"]["total_tokens"] <= chat_model.LENGTH
    status, answer = ask(served, "/v1/completions", {"prompt": "x" * chat_model.LENGTH})
    assert (status, "leave room to answer" in answer["error"]["message"]) == (400, True)


def test_a_seed_gives_the_same_answer_whoever_asks_meanwhile(served: Served) -> None:
    def text(number: int) -> str:
        body = ASK | {"temperature": 1.5, "max_tokens": 40, "seed": number, "stream": bool(number % 2)}
        answer = ask(served, "/v1/chat/completions", body)[1]
        return streamed(answer) if number % 2 else str(answer["choices"][0]["message"]["content"])

    alone = [text(number) for number in range(6)]
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(text, range(6))) == alone
    assert len(set(alone)) > 1


def test_an_answer_to_a_client_that_left_is_not_waited_for(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    forward, began = served.loaded.model.forward, threading.Event()

    def slow(*given: Any, **named: Any) -> Any:
        began.set()
        time.sleep(0.05)
        return forward(*given, **named)

    monkeypatch.setattr(served.loaded.model, "forward", slow)
    body = json.dumps(ASK | {"max_tokens": 100, "logit_bias": {str(served.loaded.ends[0]): -100}})
    place, _, port = served.url.removeprefix("http://").partition(":")
    with socket.create_connection((place, int(port))) as client:
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {place}\r\nAuthorization: Bearer {KEY}\r\n"
        kind = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        client.sendall((head + kind + body).encode())
        assert began.wait(10)
    since = time.monotonic()
    assert ask(served, "/v1/chat/completions", ASK | {"max_tokens": 1})[0] == 200
    assert time.monotonic() - since < 3


def test_a_proxy_of_the_network_is_not_asked_for_a_server_of_this_machine(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = ServerProcess.__new__(ServerProcess)
    server.health = f"{served.url}/health"
    assert server._is_healthy()
    assert [one.id for one in check._openai(f"{served.url}/v1", KEY).models.list().data] == [NAME]


@pytest.mark.parametrize("temperature", [1e-300, 1e-45, 1e-6])
def test_a_temperature_next_to_zero_is_greedy(served: Served, temperature: float) -> None:
    asked = ask(served, "/v1/chat/completions", ASK | {"temperature": temperature})
    assert asked[0] == 200
    assert asked[1]["choices"] == ask(served, "/v1/chat/completions", ASK)[1]["choices"]


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("/v1/chat/completions", "no json", "no JSON object"),
        ("/v1/chat/completions", [1], "no JSON object"),
        ("/v1/chat/completions", {}, "messages: required"),
        ("/v1/chat/completions", {"messages": "x"}, "could not be read"),
        ("/v1/chat/completions", {"messages": [{"content": "x"}]}, "could not be read"),
        ("/v1/chat/completions", ASK | {"n": 2}, "n: not supported"),
        ("/v1/chat/completions", ASK | {"generation_config": "{}"}, "generation_config: not supported"),
        ("/v1/chat/completions", ASK | {"chat_template": "{{ 1 }}"}, "chat_template: not supported"),
        ("/v1/chat/completions", ASK | {"temperature": "hot"}, "a setting could not be read"),
        ("/v1/chat/completions", ASK | {"max_tokens": 0}, "give at least 1"),
        ("/v1/chat/completions", ASK | {"max_tokens": math.inf}, "a setting could not be read"),
        ("/v1/chat/completions", ASK | {"temperature": -1}, "temperature: give a number from 0"),
        ("/v1/chat/completions", ASK | {"top_p": math.nan}, "top_p: give a number from 0"),
        ("/v1/chat/completions", ASK | {"frequency_penalty": -1}, "frequency_penalty: give"),
        ("/v1/chat/completions", ASK | {"logit_bias": {"99999999": 1}}, "logit_bias: give ids from 0"),
        ("/v1/chat/completions", ASK | {"logit_bias": {"1": math.nan}}, "logit_bias: give numbers from -100"),
        ("/v1/chat/completions", ASK | {"logit_bias": {"1": 1e308}}, "logit_bias: give numbers from -100"),
        ("/v1/chat/completions", ASK | {"stop": ["a", ""]}, "stop: give a text"),
        ("/v1/chat/completions", ASK | {"stop": 5}, "stop: give a text"),
        ("/v1/chat/completions", ASK | {"seed": 2**64}, "seed: give a whole number"),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "only text"),
        ("/v1/chat/completions", '{"messages": ' + "[" * 10_000, "no JSON object"),
        ("/v1/completions", {"prompt": ["x"]}, "has to be a text"),
    ],
)
def test_a_bad_request_is_told_and_not_a_fault(served: Served, path: str, body: Any, said: str) -> None:
    status, answer = ask(served, path, body)
    assert status == 400, answer
    assert said in answer["error"]["message"]


def test_a_model_without_a_template_is_for_completions(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served.loaded.tokenizer, "chat_template", None)
    status, answer = ask(served, "/v1/chat/completions", ASK)
    assert (status, "has no chat template: ask /v1/completions" in answer["error"]["message"]) == (400, True)
    assert ask(served, "/v1/completions", {"prompt": "To be", "max_tokens": 3})[0] == 200


def test_a_port_in_use_and_an_open_place_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from sweep.study import InputError
    from sweep.verbs.serving import here

    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(InputError, match=r"--port \d+: Address already"),
    ):
        here.listen("127.0.0.1", taken.getsockname()[1])
    for name in here.KEYS:
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InputError, match="others reach it: set ALMR_API_KEY"):
        here.refuse_open("0.0.0.0")
