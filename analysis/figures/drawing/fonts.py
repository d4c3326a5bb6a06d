"""Fonts for names of languages and tasks: where the style's font lacks a character, one of this machine that has it."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable

from matplotlib import font_manager, rcParams
from matplotlib.figure import Figure
from matplotlib.text import Text

# Looked for in this order, before any other font: of one style, for most of the world's scripts.
PREFERRED = (
    *("Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "Source Han Sans CN", "PingFang SC", "Heiti SC"),
    *("Microsoft YaHei", "SimHei", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "Droid Sans Fallback", "Noto Sans"),
)
BOXES = ("Last Resort", "LastResort")  # fonts that have a box for every character
REGULAR = (400, "normal", "regular")
# What languages call themselves, for machines without a font that can write it.
IN_LATIN = {
    **dict.fromkeys(("中文", "汉语", "漢語", "普通话", "简体中文", "繁體中文", "繁体中文"), "Chinese"),
    **{"日本語": "Japanese", "한국어": "Korean", "हिन्दी": "Hindi", "বাংলা": "Bengali", "ไทย": "Thai", "ภาษาไทย": "Thai"},
    **{"தமிழ்": "Tamil", "తెలుగు": "Telugu", "አማርኛ": "Amharic", "ខ្មែរ": "Khmer"},
    **{"မြန်မာ": "Burmese", "සිංහල": "Sinhala", "བོད་སྐད": "Tibetan", "ગુજરાતી": "Gujarati"},
}


def written(text: str, instead: str) -> str:
    """A user's text without mathtext; where no font has its characters, its name in Latin letters, or `instead`."""
    shown = text.replace("$", r"\$")
    return shown if _families(shown) is not None else IN_LATIN.get(text.strip(), instead)


def complete(figure: Figure) -> None:
    """Give each text of the figure that needs it a further font."""
    for axes in figure.axes:  # else the ticks have no text yet
        axes.get_xticklabels()
        axes.get_yticklabels()
    for text in figure.findobj(Text):
        if (more := _families(text.get_text())) and isinstance(text, Text):
            text.set_fontfamily([*rcParams["font.family"], *more])


def _families(text: str) -> tuple[str, ...] | None:
    """The families that the text needs beside the style's: usually none. None: no font has one of its characters."""
    if text.isascii():
        return ()
    missing = frozenset(ord(letter) for letter in text) - _of_style(tuple(rcParams["font.family"]))
    return _found(missing) if missing else ()


def _of_style(families: Iterable[str]) -> frozenset[int]:
    """The characters of the first of these families that is installed."""
    return _characters(font_manager.findfont(font_manager.FontProperties(family=list(families))))


@functools.cache
def _characters(font: str) -> frozenset[int]:
    return frozenset(font_manager.get_font(font).get_charmap())


@functools.cache
def _found(missing: frozenset[int]) -> tuple[str, ...] | None:
    """One font with all of these characters, or as many fonts as it takes."""
    left, chosen = set(missing), []
    for name in _others():
        if here := left & _of_family(name):
            left -= here
            chosen.append(name)
        if not left:
            return tuple(chosen)
    return None


@functools.cache
def _others() -> tuple[str, ...]:
    """The families of this machine, the preferred first, also those installed since matplotlib looked for fonts."""
    known = {entry.fname for entry in font_manager.fontManager.ttflist}
    for path in sorted(set(map(str, font_manager.findSystemFonts())) - known):
        with contextlib.suppress(OSError, RuntimeError):  # damaged, or of a kind that matplotlib cannot read
            font_manager.fontManager.addfont(path)
    upright = [one for one in font_manager.fontManager.ttflist if one.style == "normal" and one.weight in REGULAR]
    rank = {name: place for place, name in enumerate(PREFERRED)}
    upright.sort(key=lambda one: (rank.get(one.name, len(rank)), "Serif" in one.name, one.name, one.fname))
    return tuple(dict.fromkeys(one.name for one in upright if not one.name.startswith(BOXES)))


def _of_family(name: str) -> frozenset[int]:
    try:
        return _of_style([name])
    except (OSError, RuntimeError):  # gone since, or without outlines
        return frozenset()
