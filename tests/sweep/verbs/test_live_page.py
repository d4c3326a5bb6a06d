"""What writes the page while a run goes on: from the files of a run, and as a process that ends with its driver."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import going_run
import pages
import pytest
from processes import running
from typer.testing import CliRunner

from sweep import cli
from sweep.store.run import Run
from sweep.study import Status, Study, Trial
from sweep.verbs.live import files, writer, writing
from sweep.verbs.live import page as live_page
from sweep.verbs.live.files import RunReader
from sweep.verbs.live.page import LivePage, Stop
from sweep.verbs.live.writer import Put

ROOT = Path(__file__).parents[3]
DRIVER = """
import sys, time
from rich.console import Console
from sweep.store.run import Run
from sweep.verbs.live.writing import writing
with writing(Run(sys.argv[1]), Console()) as page:
    page.tell([sys.argv[2]])
    print(page.process.process.pid, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def of() -> Study:
    return going_run.study()


@pytest.fixture
def run(of: Study, tmp_path: Path) -> Run:
    return going_run.begin(tmp_path / "runs" / of.name, of)


def page_of(run: Run) -> pages.Page:
    return pages.Page(run.files.report.read_text(encoding="utf-8"))


def status(run: Run) -> dict[str, object]:
    result = CliRunner().invoke(cli.app, ["status", str(run.folder), "--json"], catch_exceptions=False)
    return dict(json.loads(result.stdout))


def until(found: Callable[[], object], seconds: float = 240.0) -> float:
    began = time.monotonic()
    while not found():
        assert time.monotonic() - began < seconds
        time.sleep(0.05)
    return time.monotonic() - began


def test_it_has_a_provisional_winner_from_the_first_fit_on(run: Run, of: Study) -> None:
    trials = of.grid_trials
    writer = LivePage(run)
    assert writer.write([])
    assert "No winner yet" in page_of(run).text
    going_run.end(run, of, trials[:8])
    going_run.start(run, of, trials[8])
    writer.rest = 0.0
    writer.write([trials[8].id])
    assert "No winner yet: 8 usable trials: a surface needs 9 or more" in page_of(run).text
    assert status(run)["provisional"] is None
    going_run.end(run, of, trials[8:10])
    going_run.start(run, of, trials[10])
    writer.rest = 0.0
    writer.write([trials[10].id])
    page, now = page_of(run), status(run)
    assert "Provisional winner, of 10 trials: ALMR" in page.text
    assert now["provisional"]["trials"] == 10  # type: ignore[index]
    assert "fit-json" not in page.scripts  # it is no fit to keep
    assert not run.files.fit.exists()
    assert json.loads(page.scripts["live"])["running"] == [[trials[10].almr, trials[10].lr, 0.5]]
    [shown] = now["running"]  # type: ignore[misc]
    assert (shown["step"], shown["tokens_per_second"], shown["seconds_left"]) == (4, 128.0, 8.0)
    assert "ALMR 0.90, LR 3e-3" in page.text
    assert re.search(r"About \d+ s left \(\d+ s to \d+ s\)", page.text)


def test_it_is_written_only_where_something_changed_and_fits_only_new_records(
    run: Run, of: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    moment, trials = time.time() + 1, of.grid_trials
    monkeypatch.setattr("sweep.verbs.live.now.time", SimpleNamespace(time=lambda: moment))  # seconds are on the page
    going_run.end(run, of, trials[:9])
    going_run.start(run, of, trials[9])
    writer = LivePage(run)
    assert writer.write([trials[9].id])
    draft, written = writer.draft, run.files.report.stat().st_mtime_ns
    assert not writer.write([trials[9].id])
    assert run.files.report.stat().st_mtime_ns == written
    going_run.start(run, of, trials[9], step=7)
    assert writer.write([trials[9].id])
    assert "7/8" in page_of(run).text
    going_run.end(run, of, trials[9:10])
    writer.write([])
    assert writer.draft is draft  # fits rest: they take two percent of the processors
    assert "10 of 12 trials done" in page_of(run).text
    writer.rest = 0.0
    writer.write([])
    assert "of 10 trials" in page_of(run).text


@pytest.mark.parametrize(("stop", "word"), [(Stop(), "INTERRUPTED"), (Stop("the last 5 failed"), "STOPPED")])
def test_a_run_that_ends_before_its_end_says_so_and_how_it_goes_on(
    run: Run, of: Study, stop: Stop, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(run.folder.parents[1])
    LivePage(run).write(stop=stop)
    page = page_of(run)
    assert f"{word} 0 of 12 trials done, 0 running, 12 waiting" in page.text
    assert (stop.why or "") in page.text
    assert "almr run runs/" in page.text
    assert json.loads(page.scripts["live"])["every"] is None  # an open page loads itself no more


def test_hostile_text_of_a_study_and_of_records_stays_text(tmp_path: Path) -> None:
    hole = "<!--verdict of a run that goes on--><script>alert(1)"
    of = going_run.study(
        corpora={
            "original": {"embedded": "shakespeare", "language": hole},
            "additional": {"embedded": "three-kingdoms", "language": "中文"},
        }
    )
    run = going_run.begin(tmp_path / "runs" / of.name, of)
    going_run.end(run, of, of.grid_trials[:2], status=Status.FAILED, reason=hole)
    LivePage(run).write([])
    page = page_of(run)
    assert page.tags.count("script") == 3
    assert hole in page.text


def test_of_a_run_on_an_object_store_the_page_is_put_there_and_the_provisional_fit_is_removed(
    of: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALMR_CACHE", str(tmp_path / "cache"))
    run = Run(f"memory://{tmp_path.name}/{of.name}")
    assert run.mirror
    store = run.mirror.fs
    report, fit = (f"{run.mirror.root}/{name}" for name in ("report.html", "live.json"))
    run.freeze(of)
    going_run.end(run, of, of.grid_trials[:9])
    put = Put(run)
    LivePage(run).write([of.grid_trials[9].id])
    put(60.0)
    assert b"RUNNING" in store.cat_file(report)
    assert json.loads(store.cat_file(fit))["trials"] == 9
    store.rm_file(report)
    put(60.0)  # not again within a minute
    assert not store.exists(report)
    run.remove(run.files.live)
    assert not store.exists(fit)
    assert not run.files.live.exists()


class Moments:
    """A page that is written while something happens."""

    def __init__(self, page: LivePage, during: list[Callable[[], None]]) -> None:
        self.page, self.during = page, during

    def write(self, *arguments: object, **more: object) -> bool:
        if self.during:
            self.during.pop(0)()
        return self.page.write(*arguments, **more)  # type: ignore[arg-type]

    def __getattr__(self, name: str) -> object:
        return getattr(self.page, name)


def written(run: Run, monkeypatch: pytest.MonkeyPatch, *during: Callable[[writer.Orders], None]) -> None:
    """What the writer of a run does, until the last of `during` ends the driver."""
    orders, made = writer.Orders(os.getpid()), live_page.LivePage
    acts = [lambda act=act: act(orders) for act in during]
    monkeypatch.setattr(live_page, "LivePage", lambda of: Moments(made(of), acts))
    monkeypatch.setattr(writer, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(writer, "AGAIN_SECONDS", 0.0)
    os.utime(run.files.lock, (0, 0))  # else another driver would seem to have taken over
    writer._write(str(run.folder), orders)


def killed(orders: writer.Orders) -> None:
    orders.ended_at = time.time() - 1
    orders.ended.set()


def test_a_driver_that_is_killed_while_its_page_is_written_leaves_one_that_says_so(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(run, monkeypatch, killed)
    assert "INTERRUPTED" in page_of(run).text


def test_the_last_page_waits_for_no_fit(run: Run, of: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    page = LivePage(run)
    page.sign_off(Stop())
    assert not run.files.report.exists()  # an earlier session's page would be worth more
    page.write([])
    going_run.end(run, of, of.grid_trials[:9])
    monkeypatch.setattr(live_page, "fit_study", lambda *_, **__: pytest.fail("a fit of minutes"))
    page.sign_off(Stop())
    assert "INTERRUPTED 9 of 12 trials done" in page_of(run).text


def test_a_page_that_could_not_be_written_is_written_later(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(orders: writer.Orders) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writer, "_warned", threading.Event())
    written(run, monkeypatch, full, full, killed)
    assert "INTERRUPTED" in page_of(run).text
    assert capsys.readouterr().out.count("No space left") == 1


def test_what_the_pipe_has_no_room_for_is_told_whole_later(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "code" / "sweep" / "verbs" / "live"
    package.mkdir(parents=True)
    slow = "import json, sys, time; time.sleep(1); print([json.loads(one) for one in sys.stdin][-1], end='')"
    (package / "writer.py").write_text(slow)
    for folder in (package, *list(package.parents)[:2]):
        (folder / "__init__.py").touch()
    monkeypatch.setattr(writing, "CODE", tmp_path / "code")
    process = writing.PageProcess(run)
    for k in range(100):
        process.tell(running=[f"trial {k} {i} of a large study" for i in range(200)])
    assert process.cut
    assert process.stopped("the last 5 failed") == "{'stopped': 'the last 5 failed'}"


def test_a_clock_that_runs_backwards_tells_no_negative_time(run: Run, of: Study) -> None:
    going_run.start(run, of, of.grid_trials[0], each=-2.0)
    [shown] = status(run)["running"]  # type: ignore[misc]
    assert (shown["step"], shown["tokens_per_second"], shown["seconds_left"]) == (4, None, None)


def test_a_writer_that_is_killed_is_told_of_and_fails_no_run(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    with writing.writing(run, Console(width=300)) as page:
        assert page.process
        page.process.process.kill()
        page.process.process.wait()
        page.tell([])
    said = "warning: the page was not written while the trials ran: its process was ended by signal 9\n"
    assert capsys.readouterr().out == said


def test_a_trial_that_begins_and_ends_between_two_looks(run: Run, of: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    going_run.end(run, of, of.grid_trials[:1])
    reader = RunReader(run)
    monkeypatch.setattr(reader, "_stamps", lambda: {})
    assert reader.look().done == 1


def test_records_that_take_long_to_read_are_not_read_at_each_look(
    run: Run, of: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "SMALL_SECONDS", 0.0)
    monkeypatch.setattr(files, "READ_SHARE", 1e-6)
    reader = RunReader(run)
    for count in range(3):
        going_run.end(run, of, of.grid_trials[:count])
        assert reader.look().done == 0
    reader.rest = 0.0
    assert reader.look().done == 2


@pytest.mark.slow
def test_a_killed_driver_leaves_no_process_and_a_page_that_says_so(run: Run, of: Study) -> None:
    trials = of.grid_trials
    going_run.end(run, of, trials[:9])
    going_run.start(run, of, trials[9])
    command = [sys.executable, "-c", DRIVER, str(run.folder), trials[9].id]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as driver:
        assert driver.stdout
        writer = int(driver.stdout.readline())
        until(lambda: os.getpriority(os.PRIO_PROCESS, writer) >= 10)
        try:
            until(lambda: run.files.report.exists() and "RUNNING" in page_of(run).text)
            assert "Provisional winner, of 9 trials" in page_of(run).text
        finally:
            driver.send_signal(signal.SIGKILL)
    until(lambda: not running([writer]))
    assert "INTERRUPTED" in page_of(run).text
    assert not [path.name for path in run.folder.glob(".*")]


@pytest.mark.slow
def test_what_the_writer_cannot_read_never_fails_the_run(
    run: Run, of: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    from rich.console import Console

    from sweep.verbs.live.writing import writing

    run.files.study.write_text("name: [")
    with writing(run, Console(width=300)) as page:
        page.tell([])
        assert page.process
        page.process.process.wait(timeout=240)
    said = capsys.readouterr().out
    assert said.startswith("warning: the page was not written while the trials ran: InputError: ")
    assert said.count("\n") == 1


def test_a_run_that_is_over_in_a_moment_starts_nothing_heavy(run: Run) -> None:
    from rich.console import Console

    from sweep.verbs.live.writing import writing

    began = time.monotonic()
    with writing(run, Console(quiet=True)) as page:
        assert page.process
        number = page.process.process.pid
        page.tell([Trial(almr=0.1, lr=1e-3, seed=0).id])
    assert time.monotonic() - began < 2.5
    assert not running([number])
    assert not run.files.report.exists()
