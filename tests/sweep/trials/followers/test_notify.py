"""Who asked for it is told what becomes of a run; nobody learns the address, and no failure reaches the run."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bowl_run
import pytest
from one_ray import almr
from processes import running
from replay_study import GRID
from samples import make_study, study_content

from sweep.store.run import Run
from sweep.study import Record, Study, Trial
from sweep.study.study_file import dump
from sweep.trials.followers import follower
from sweep.trials.followers.follower import End, Follower, Followers
from sweep.trials.followers.following import followed
from sweep.trials.followers.notify import notifier, program, webhook
from sweep.trials.followers.notify.notifier import Notifier

TRIAL = Trial(almr=0.5, lr=3e-3, seed=0)
SECRET = "/services/T00/B00/planted"


class Server(http.server.ThreadingHTTPServer):
    """A webhook that answers with the next of `answers`, else 200, and keeps what it gets."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.got: list[str] = []
        self.answers: list[int] = []


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        assert self.path == SECRET
        self.server.got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"])
        self.send_response(self.server.answers.pop(0) if self.server.answers else 200)
        self.send_header("Location", "/login")  # read of an answer 302 alone
        self.end_headers()

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(webhook, "PAUSES", (0.0, 0.0))
    with Server() as made:
        threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        monkeypatch.setenv("TEAM_CHAT", f"http://127.0.0.1:{made.server_port}{SECRET}")
        yield made
        made.shutdown()


def writing(folder: Path) -> list[str]:
    """A command that writes a line with what it is told."""
    script = folder / "tell.py"
    script.write_text(
        "import json, os, sys\n"
        "told = {'facts': json.load(sys.stdin), 'text': os.environ['ALMR_TEXT'], 'words': sys.argv[2:]}\n"
        "open(sys.argv[1], 'a').write(json.dumps(told) + '\\n')\n"
    )
    return [sys.executable, str(script), str(folder / "told.jsonl"), "a word; $(of) `one`"]


def told(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "told.jsonl").read_text().splitlines()]


def failed(study: Study, reason: str) -> Record:
    identity = {"trial_id": TRIAL.id, "fingerprint": study.fingerprint, "attempt": 2, "status": "failed"}
    return Record.model_validate(identity | TRIAL.model_dump() | {"reason": reason})


def session(folder: Path, notify: dict[str, Any], end: End, *records: str, **changes: Any) -> list[str]:
    """A session of a run with some failed trials; returns the warnings."""
    study, warnings = make_study(notify=notify, **changes), list[str]()
    followers = Followers([Notifier(study, Run(folder / "run"), warnings.append)], warnings.append)
    followers.open()
    with followers.training():
        for reason in records:
            followers.watch(TRIAL, failed(study, reason))
    followers.close(end)
    return warnings


def test_a_command_gets_the_facts_and_no_shell(tmp_path: Path) -> None:
    hostile = "</b> $(touch gone) `x` '; <!channel> \x1b[31m\n"
    assert not session(tmp_path, {"command": writing(tmp_path)}, End("interrupted"), hostile, "another")
    first, last = told(tmp_path)
    assert (first["facts"]["event"], last["facts"]["event"]) == ("failed", "interrupted"), "a failure is told once"
    assert first["facts"]["reason"] == hostile
    assert first["words"] == ["a word; $(of) `one`"]
    assert "\x1b" not in first["text"]
    assert "$(touch gone)" in first["text"]
    assert last["text"] == "small interrupted; 0 trials complete, 6 left; almr run resumes it"


def test_a_webhook_gets_text_that_calls_nobody(server: Server, tmp_path: Path) -> None:
    end = End("failed", "<!channel> no space & no time")
    assert not session(tmp_path, {"webhook": "TEAM_CHAT", "events": ["failed"]}, end)
    assert server.got == ["small stopped by an error: &lt;!channel&gt; no space &amp; no time; 0 trials complete"]


def test_only_the_events_that_were_asked_for_are_told(server: Server, tmp_path: Path) -> None:
    session(tmp_path, {"webhook": "TEAM_CHAT", "events": "refused"}, End("failed", "why"))
    assert not server.got


@pytest.mark.parametrize(
    ("answers", "tries", "said"),
    [
        ([500, 429], 3, None),
        ([500, 500, 500], 3, "the server answered 500"),
        ([404], 1, "the server answered 404"),
        ([302], 1, "the server answered 302, which leads elsewhere: correct the address"),
    ],
)
def test_a_server_is_tried_three_times_and_its_failure_is_one_warning(
    answers: list[int], tries: int, said: str | None, server: Server, tmp_path: Path
) -> None:
    server.answers = answers
    warnings = session(tmp_path, {"webhook": "TEAM_CHAT"}, End("interrupted"))
    assert len(server.got) == tries
    assert warnings == ([f"warning: notify.webhook: {said}; the run goes on"] if said else [])


def test_a_server_that_answers_letter_by_letter_has_no_more_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "PAUSES", ())
    monkeypatch.setattr(webhook, "SECONDS", 0.5)

    def drip(server: socket.socket) -> None:
        with contextlib.suppress(OSError), server.accept()[0] as client:
            client.sendall(b"HTTP/1.1 200 OK\r\nX: ")
            while True:
                time.sleep(0.1)
                client.sendall(b"a")

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=drip, args=(server,), daemon=True).start()
        monkeypatch.setenv("TEAM_CHAT", f"http://127.0.0.1:{server.getsockname()[1]}/")
        with pytest.raises(webhook.WebhookError, match=r"no answer in 0\.5 s"):
            webhook.post("TEAM_CHAT", "text")


def test_what_fails_never_shows_the_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "PAUSES", ())
    for address in ("http://127.0.0.1:1/planted", "http://[planted", "http://planted:port/", "https:///planted"):
        monkeypatch.setenv("TEAM_CHAT", address)
        [warning] = session(tmp_path, {"webhook": "TEAM_CHAT"}, End("interrupted"), "a trial failed too")
        assert warning.startswith("warning: notify.webhook: no ")
        assert "planted" not in warning


def test_a_program_that_hangs_is_killed_with_what_it_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "SECONDS", 0.5)
    began = time.monotonic()
    [warning] = session(tmp_path, {"command": ["sh", "-c", "sleep 60 & sleep 60"]}, End("interrupted"))
    assert (warning, time.monotonic() - began < 30) == (
        "warning: notify.command: sh: killed after 0.5 s; the run goes on",
        True,
    )
    [warning] = session(tmp_path, {"command": "false"}, End("interrupted"))
    assert warning == "warning: notify.command: false: exit status 1; the run goes on"


def test_a_program_that_hangs_does_not_outlive_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower, "INTERRUPTED_SECONDS", 1.0)
    script = f"echo $$ > {tmp_path}/number; sleep 60"
    session(tmp_path, {"command": ["sh", "-c", script]}, End("interrupted"))
    assert not running([int((tmp_path / "number").read_text())])


@pytest.mark.skipif(not shutil.which("timeout"), reason="coreutils")
def test_a_program_that_hangs_ends_after_a_killed_driver(tmp_path: Path) -> None:
    told = {"event": "failed", "study": "s", "run": "r", "text": "t"}
    script = f"sleep 60 & echo $$ $! > {tmp_path}/numbers.part; mv {tmp_path}/numbers.part {tmp_path}/numbers; wait"
    code = (
        "from sweep.trials.followers.notify import program\n"
        "program.OUTLIVING = ('timeout', '-s', 'KILL', '2')\n"
        f"program.Program({['sh', '-c', script]!r}).tell({told!r})\n"
    )
    with subprocess.Popen([sys.executable, "-c", code]) as driver:
        assert until(lambda: (tmp_path / "numbers").exists())
        driver.kill()
    numbers = [int(number) for number in (tmp_path / "numbers").read_text().split()]
    assert running(numbers) == numbers  # nothing tells them
    assert until(lambda: not running(numbers))


def until(true: Callable[[], bool], seconds: float = 20) -> bool:
    last = time.monotonic() + seconds
    while not true() and time.monotonic() < last:
        time.sleep(0.05)
    return true()


def test_a_stall_is_told_once_until_there_is_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(notifier.Stalling, "clock", staticmethod(lambda: now[0]))
    study = make_study(notify={"command": writing(tmp_path), "stalled_minutes": 10})
    run = Run(tmp_path / "run")
    told_of = Notifier(study, run, pytest.fail)
    told_of.training(True)
    told_of.started(TRIAL)
    heartbeat = run.files.trial(TRIAL.id).heartbeat
    heartbeat.parent.mkdir(parents=True)
    for now[0] in range(0, 1200, 60):
        told_of.look()
        heartbeat.touch()
    assert not (tmp_path / "told.jsonl").exists()
    for now[0] in range(1200, 3600, 60):
        told_of.look()
    assert [one["facts"]["event"] for one in told(tmp_path)] == ["stalled"]
    assert f"no trial has made progress for 10 min 0 s; running: {TRIAL.id}" in told(tmp_path)[0]["text"]
    heartbeat.touch()
    for now[0] in range(3600, 4800, 60):
        told_of.look()
    assert len(told(tmp_path)) == 2
    told_of.training(False)
    now[0] = 10000.0
    told_of.look()
    assert len(told(tmp_path)) == 2, "nothing runs that could make progress"


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ({"gpu_hours": 1.0}, "is over its budget: 1.5 of 1.0 GPU-hours"),
        ({"cost": 2.5}, "is over its budget: 3.0 of 2.5 spent, 1.5 GPU-hours at 2.0"),
        ({"gpu_hours": 2.0}, None),
    ],
)
def test_a_budget_is_told_once(limit: dict[str, float], said: str | None, tmp_path: Path) -> None:
    gpus = {"resources": {"gpus_per_node": 1}, "launch": bowl_run.LAUNCH | {"price_per_gpu_hour": 2.0}}
    study = make_study(notify={"command": writing(tmp_path), "events": "over_budget", **limit}, **gpus)
    told_of = Notifier(study, Run(tmp_path / "run"), pytest.fail)
    for trial in study.grid_trials[:3]:
        record = bowl_run.record(study, trial, 3.0)
        told_of.ended(record.model_copy(update={"gpu_hours": 0.5}))
    told_of.look()
    told_of.ended(bowl_run.record(study, study.grid_trials[3], 3.0))
    found = [one["text"] for one in told(tmp_path)] if (tmp_path / "told.jsonl").exists() else []
    assert found == ([f"small {said}"] if said else [])


def test_a_budget_that_an_earlier_session_exceeded_was_told_by_it(tmp_path: Path) -> None:
    notify = {"command": writing(tmp_path), "gpu_hours": 1.0}
    study, run = make_study(notify=notify, resources={"gpus_per_node": 1}), Run(tmp_path / "run")
    for trial in study.grid_trials[:3]:
        run.trial_folder(trial).mkdir(parents=True)
        record = bowl_run.record(study, trial, 3.0).model_copy(update={"gpu_hours": 0.5})
        run.files.trial(trial.id).record.write_text(record.model_dump_json())
    Notifier(study, run, pytest.fail).look()
    assert [one["facts"]["event"] for one in told(tmp_path)] == ["over_budget"]
    run.freeze(study)
    Notifier(study, run, pytest.fail).look()
    assert len(told(tmp_path)) == 1
    lower = study.model_copy(update={"notify": study.notify and study.notify.model_copy(update={"gpu_hours": 0.8})})
    run.files.study.write_text(dump(study.model_copy(update={"notify": None})))
    Notifier(lower, run, pytest.fail).look()
    assert len(told(tmp_path)) == 2, "a limit that the earlier session did not have"


def test_a_folder_whose_name_is_not_utf_8_is_told_of(tmp_path: Path) -> None:
    study, run = make_study(notify={"command": writing(tmp_path)}), Run(tmp_path / os.fsdecode(b"r\xff"))
    Notifier(study, run, pytest.fail).end(End("interrupted"))
    assert [one["facts"]["run"] for one in told(tmp_path)] == [run.address]


@pytest.mark.parametrize(("earlier", "now"), [({}, {"gpu_hours": 1.6}), ({"events": "finished"}, {})])
def test_a_budget_that_was_raised_or_not_told_of_is_told(
    earlier: dict[str, Any], now: dict[str, Any], tmp_path: Path
) -> None:
    def asked(**fields: Any) -> Study:
        notify = {"command": writing(tmp_path), "gpu_hours": 1.0, **fields}
        return make_study(notify=notify, resources={"gpus_per_node": 1})

    run = Run(tmp_path / "run")
    for trial in asked().grid_trials[:3]:
        run.trial_folder(trial).mkdir(parents=True)
        record = bowl_run.record(asked(), trial, 3.0).model_copy(update={"gpu_hours": 0.5})
        run.files.trial(trial.id).record.write_text(record.model_dump_json())
    run.freeze(asked(**earlier))
    resumed = Notifier(asked(**now), run, pytest.fail)
    resumed.ended(bowl_run.record(asked(), asked().grid_trials[3], 3.0).model_copy(update={"gpu_hours": 0.5}))
    assert [one["facts"]["event"] for one in told(tmp_path)] == ["over_budget"]


def test_what_breaks_is_left_out_with_one_warning(tmp_path: Path) -> None:
    class Broken(Follower):
        name = "tracking.optuna"

        def ended(self, record: Record) -> None:
            raise OSError("disk full")

    class Whole(Follower):
        seen: list[str]

        def ended(self, record: Record) -> None:
            self.seen.append(record.trial_id)

    whole, warnings = Whole(), list[str]()
    whole.seen = []
    followers = Followers([Broken(), whole], warnings.append)
    followers.open()
    for _ in range(3):
        followers.watch(TRIAL, failed(make_study(), "why"))
    followers.close(End("finished"))
    assert warnings == ["warning: tracking.optuna: OSError: disk full; the run goes on without it"]
    assert whole.seen == [TRIAL.id] * 3


def test_a_run_that_nobody_follows_keeps_no_records() -> None:
    followers = Followers([], pytest.fail)
    followers.open()
    with followers.training():
        followers.watch(TRIAL, failed(make_study(), "why"))
    assert followers.events.empty()


@pytest.mark.parametrize(("raised", "event"), [(KeyboardInterrupt(), "interrupted"), (ValueError("why"), "failed")])
def test_what_ends_a_session_is_told_and_goes_on(raised: BaseException, event: str, tmp_path: Path) -> None:
    study = make_study(notify={"command": writing(tmp_path)}, tracking={"tensorboard": False})
    with pytest.raises(type(raised)), followed(study, Run(tmp_path / "run"), pytest.fail):
        raise raised
    assert [one["facts"]["event"] for one in told(tmp_path)] == [event]


@pytest.mark.parametrize(
    ("notify", "said"),
    [
        ({"webhook": "UNSET_CHAT"}, "notify.webhook: the environment variable UNSET_CHAT is not set: export it"),
        ({"webhook": "NO_CHAT"}, "notify.webhook: the environment variable NO_CHAT holds no address"),
        ({"command": "no-such-program-here"}, "notify.command: no-such-program-here: no such program"),
        ({"webhook": "https://hooks.example/planted"}, "notify.webhook: write the name of an environment variable"),
        ({"webhook": {"url": "planted"}}, "notify.webhook: write the name of an environment variable"),
        ({"events": "finished"}, "notify: nobody is told: add webhook or command"),
        ({"command": "true", "gpu_hours": 3}, "notify: trials use no GPUs"),
    ],
)
def test_who_could_not_be_told_is_refused_in_one_line(
    notify: dict[str, Any], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_CHAT", "planted")
    (tmp_path / "study.yaml").write_text(json.dumps(study_content(grid=GRID, notify=notify)))
    out = almr(tmp_path, "run", "study.yaml", status=(2,))
    assert said in out
    assert "planted" not in out
    assert len(out.splitlines()) == 1
    assert not (tmp_path / "runs").exists()
