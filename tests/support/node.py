"""The page's scripts without a browser: node runs those that touch no page."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import Any

import pytest

from analysis.report.page import TEMPLATE

NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="node is not installed: the page's scripts are not run")


def run(expression: str, **given: Any) -> Any:
    """The value of a JavaScript expression over the page's numbers and surfaces; `given`: what it may name."""
    parts = [(TEMPLATE / f"{name}.js").read_text(encoding="utf-8") for name in ("formats", "surface")]
    code = "\n".join([*parts, f"const given = {json.dumps(given)};", f"console.log(JSON.stringify({expression}));"])
    assert NODE
    made = subprocess.run([NODE, "-"], input=code, capture_output=True, text=True, timeout=60, check=False)
    assert made.returncode == 0, made.stderr
    return json.loads(made.stdout)


def accepts(code: str) -> str:
    """What node says against a script; empty where it can be parsed."""
    assert NODE
    made = subprocess.run([NODE, "--check", "-"], input=code, capture_output=True, text=True, timeout=60, check=False)
    return made.stderr
