"""The pictures of README.md: the demo's report page, light and dark, and its map as a figure.

    make screenshots    # of runs/demo, after make demo: needs a Chromium and playwright

Each PNG has a palette, so that all of them together stay under 200 kB.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from analysis.fit_file.outdated import outdated
from sweep.study.files.atomic import write_atomically
from sweep.study.files.layout import RunFiles
from tests.rooms import ROOT
from tests.support.browser import chromium

PICTURES = ROOT / "docs" / "figures"
SIZE = {"width": 1200, "height": 880}
COLOURS, ACCENTS, LEAST_PIXELS, MOST_BYTES = 64, 20, 10, 200_000
# The page names the run by its path on this machine.
RENAME = """([path, name]) => {
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) walk.currentNode.data = walk.currentNode.data.replaceAll(path, name);
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", type=Path, default=ROOT / "runs" / "demo")
    run = parser.parse_args().run.resolve()
    if old := outdated(run):
        raise SystemExit("\n".join(old))
    figure = Image.open(RunFiles(run).figure("objective"))
    made = {"demo-objective": _small(figure.resize((1020, round(1020 * figure.height / figure.width))))}
    with chromium() as browser:
        made |= {f"report-{scheme}": _small(_screen(browser, run, scheme)) for scheme in ("light", "dark")}
    size = sum(map(len, made.values()))
    if size > MOST_BYTES:
        raise SystemExit(f"{size:,} bytes, of at most {MOST_BYTES:,}: take fewer colours")
    for name, content in made.items():
        print(write_atomically(PICTURES / f"{name}.png", content), f"{len(content):,} bytes")


def _screen(browser: Any, run: Path, scheme: str) -> Image.Image:
    page = browser.new_page(viewport=SIZE, color_scheme=scheme)
    page.goto(RunFiles(run).report.as_uri())
    page.wait_for_selector("html[data-ready]")
    page.evaluate(RENAME, [str(run), run.name])
    return Image.open(io.BytesIO(page.screenshot()))


def _small(picture: Image.Image) -> bytes:
    """As PNG with a palette: the colours of large areas, and those of small marks that are far from all of them."""
    pixels = picture.convert("RGB")
    palette = np.array(pixels.quantize(COLOURS).getpalette()[: 3 * COLOURS]).reshape(-1, 3)
    counted = sorted(pixels.getcolors(pixels.width * pixels.height), reverse=True)
    marks = np.array([colour for count, colour in counted if count >= LEAST_PIXELS])
    for _ in range(ACCENTS):
        far = np.linalg.norm(marks[:, None, :] - palette[None, :, :], axis=2).min(axis=1)
        palette = np.vstack([palette, marks[far.argmax()]])
    chosen = Image.new("P", (1, 1))
    chosen.putpalette(palette.astype(np.uint8).tobytes())
    content = io.BytesIO()
    pixels.quantize(palette=chosen, dither=Image.Dither.NONE).save(content, "png", optimize=True)
    return content.getvalue()


if __name__ == "__main__":
    main()
