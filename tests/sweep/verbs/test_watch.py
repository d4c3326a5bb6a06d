"""`almr watch`: what it prints and writes, its exit status, the page in a browser, and whom it tells."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import watched_launch as made
import yaml
from browser import chromium
from typer.testing import CliRunner

from analysis.launch.watching import bundles
from sweep import cli
from sweep.verbs.watching import watch as watch_module
from sweep.verbs.watching.tell import VerdictTeller
from sweep.verbs.watching.watch import LaunchWatch

OUTSIDE = {"more": lambda step: 0.05 if step >= 60 else 0.0}


def watch(*arguments: str | Path) -> Any:
    return CliRunner().invoke(cli.app, ["watch", *map(str, arguments)])


@pytest.fixture
def launch(tmp_path):
    made.bundle(tmp_path)

    def logged(lines: list[str]) -> Path:
        log = tmp_path / made.output("native") / "trials" / "one" / "metrics.jsonl"
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("".join(f"{line}\n" for line in lines))
        return tmp_path / "launch"

    return logged


def test_a_run_as_predicted_is_status_0_and_one_outside_is_3(launch):
    good = watch(launch(made.native(60)))
    assert good.exit_code == 0
    assert good.stdout.startswith("as predicted up to step 60\n-> continue\n")
    assert "Chinese 92.2k of 123k; ALMR so far 0.7500, planned 0.7500" in good.stdout
    bad = watch(launch(made.native(80, **OUTSIDE)), "--json")
    assert bad.exit_code == 3
    found = json.loads(bad.stdout)
    assert found["verdict"] | {"text": ""} == {"word": "outside", "text": "", "since": 60, "good": 40, "below": False}
    assert [round(check["excess"], 3) for check in found["held_out"]] == [0, 0, 0, 0, 0.03, 0.03, 0.03, 0.03]


def test_a_pipe_in_the_place_of_the_start_script_is_told_and_not_waited_for(launch):
    bundle = launch(made.native(60))
    (bundle / "native" / "start.sh").unlink()
    os.mkfifo(bundle / "native" / "start.sh")
    done = watch(bundle)
    assert done.exit_code == 1
    assert "start.sh: is a pipe or a device, not a file" in str(done.exception)


@pytest.mark.parametrize(("stage", "unit"), [("sft", "nats per target token"), ("dpo", "nats per pair")])
def test_losses_have_the_unit_of_their_stage(launch, tmp_path, stage, unit):
    bundle = launch(made.native(60))
    content = made.study() | {"documents": {"chat_template": "chatml"}}
    content["corpora"] = {name: {"files": f"{name}.jsonl"} for name in content["corpora"]}
    content["training"] |= {"stage": stage}
    (bundle / "native" / "study.yaml").write_text(yaml.safe_dump(content))
    page = tmp_path / "watch.html"
    assert f"training loss: 4.360 {unit}\n" in watch(bundle, "--out", page).stdout
    assert json.loads(watch(bundle, "--json").stdout)["loss_unit"] == unit
    assert page.read_text().count(f">{unit}</span>") == 3
    assert "nats per token" not in page.read_text()


def test_following_ends_with_the_launch(launch):
    done = watch(launch(made.native(80)), "--follow")
    assert done.exit_code == 0
    assert "step 80 of 80: as predicted at the end" in done.stdout


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--follow", "--json"], "leave one out"),
        (["--stalled", "0"], "minutes above 0"),
        (["--webhook", "https://hooks.example/secret"], "the name of an environment variable"),
        (["--webhook", "NOT_SET_ANYWHERE"], "NOT_SET_ANYWHERE is not set"),
        (["--run", "no-such-program-anywhere"], "no such program"),
        (["--out", "."], "name a file"),
        (["--log", "nothing.log"], "no such file or folder"),
    ],
)
def test_bad_input_is_one_line(launch, options, words):
    found = watch(launch(made.native(60)), *options)
    lines, status = cli.terminal.explain(found.exception)
    assert status == 2
    assert len(lines) == 1
    assert words in lines[0]
    assert "secret" not in lines[0]


def test_a_page_of_another_program_stays(launch, tmp_path):
    page = tmp_path / "mine.html"
    page.write_text("<html>")
    assert "would be lost" in str(watch(launch(made.native(60)), "--out", page).exception)
    assert page.read_text() == "<html>"


def test_a_program_is_told_of_a_verdict_once(launch, tmp_path):
    told = tmp_path / "told"
    script = tmp_path / "tell.py"
    script.write_text(f"import sys\nopen({str(told)!r}, 'a').write(sys.stdin.read() + '\\n')\n")
    run = f"{sys.executable} {script}"
    watch(launch(made.native(60)), "--run", run)
    assert not told.exists()  # all is well
    watch(launch(made.native(80, **OUTSIDE)), "--run", run)
    [line] = told.read_text().splitlines()
    facts = json.loads(line)
    assert facts["event"] == "outside"
    assert "outside its band since step 60" in facts["text"]
    assert facts["watch"]["advice"]["action"] == "stop"


def test_the_page_in_a_browser(launch, tmp_path):
    bundle = launch(made.native(80, **OUTSIDE))
    study = bundle / "native" / "study.yaml"
    study.write_text(study.read_text().replace("English", "<img src=x onerror=alert(1)>"))
    page = tmp_path / "watch.html"
    watch(bundle, "--out", page)
    assert "<img" not in page.read_text()
    with chromium() as browser:
        tab = browser.new_page(viewport={"width": 390, "height": 800}, color_scheme="dark")
        wrong: list[str] = []
        tab.on("console", lambda message: wrong.append(message.text))
        tab.on("request", lambda request: wrong.append(request.url) if not request.url.startswith("file:") else None)
        tab.goto(page.as_uri())
        assert tab.inner_text("#verdict .word").startswith("Outside its band since step 60")
        assert tab.locator("svg.chart").count() == 5
        assert tab.locator("svg .band").count() == 2
        assert tab.locator("svg .odd").count() == 4
        assert tab.evaluate("document.documentElement.scrollWidth") <= 390
        assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(18, 22, 27)"
        assert wrong == []


def test_a_look_that_fails_on_the_way_is_a_warning(launch, tmp_path):
    bundle = launch(made.native(60))
    log = next(tmp_path.glob("checkpoints-*/trials/one/metrics.jsonl"))
    teller, said = VerdictTeller(None, None, print), list[str]()
    watched = LaunchWatch(bundles.find(bundle), (log,), 15.0, None, teller)
    states = iter([None, made.native(80)])

    def wait(seconds: float) -> None:
        lines = next(states)
        if lines is None:
            log.rename(log.with_suffix(".away"))
        else:
            log.write_text("".join(f"{line}\n" for line in lines))

    found = [one.progress.step for one in watch_module._looks(watched, said.append, wait)]
    assert found == [60, 60, 80]
    [warning] = said
    assert "no such file" in warning
