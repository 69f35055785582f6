"""What fonts can draw: text of a CRM made safe, fonts for other alphabets, and how wide a text
is.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import pandas as pd
from matplotlib import font_manager, rcParams
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

FALLBACKS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Noto Sans CJK KR",
    "Noto Sans CJK TC",
    "Noto Sans SC",
    "Noto Sans JP",
    "Noto Sans KR",
    "Source Han Sans SC",
    "Source Han Sans",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
    "PingFang SC",
    "PingFang HK",
    "Hiragino Sans",
    "Hiragino Sans GB",
    "Apple SD Gothic Neo",
    "Microsoft YaHei",
    "Yu Gothic",
    "Meiryo",
    "MS Gothic",
    "Malgun Gothic",
    "SimHei",
    "IPAexGothic",
    "Droid Sans Fallback",
    "Arial Unicode MS",
    "Noto Sans Devanagari",
    "Nirmala UI",
    "Noto Sans Thai",
    "Leelawadee UI",
)
"""Fonts of Chinese, Japanese, Korean, Hindi and Thai on Linux, macOS and Windows, the first that a
system has first.
"""

_BOX, _CUT = "□", "…"


def shown(value: Any, most: int = 32) -> str:
    """Return text of a CRM as it can be drawn: one line, no control characters, only glyphs that
    a font has, cut in the middle.

    A character that neither the fonts of `rcParams["font.family"]` have, nor one of `FALLBACKS`
    that is installed, becomes a box. Shortened names keep their beginning and their end, since
    long ones often differ only there.
    """
    text = " ".join(_drawable(unicodedata.normalize("NFC", plain_text(value))).split())
    text = text or "(no name)"
    if len(text) <= most:
        return text
    tail = most // 3
    return text[: most - tail - 1].rstrip() + _CUT + text[len(text) - tail :].lstrip()


def fitted(value: Any, inches: float, size: float, most: int = 32) -> str:
    """Return text as `shown`, cut until it fits a width in inches at a size in points."""
    text = shown(value, most)
    while len(text) > 4 and width(text, size) > inches:
        most = min(most, len(text)) - 1
        text = shown(value, most)
    return text


def wrapped(value: Any, inches: float, size: float, most: int, lines: int = 2) -> str:
    """Return text as `shown`, in a limited number of lines of this width; the last one is cut."""
    words, result = shown(value, most).split(" "), [""]
    for word in words:
        longer = f"{result[-1]} {word}".lstrip()
        if width(longer, size) <= inches or not result[-1] or len(result) == lines:
            result[-1] = longer
        else:
            result.append(word)
    return "\n".join(fitted(line, inches, size, most) for line in result)


def plain_text(value: Any) -> str:
    """Return a value as text: null as "(none)", days without their midnight."""
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return "(none)"
    if isinstance(value, pd.Timestamp) and value == value.normalize() and value.tzinfo is None:
        return f"{value:%Y-%m-%d}"
    # Arrow cannot store lone surrogates.
    return str(value).encode("utf-8", "replace").decode("utf-8")


def family(text: str) -> list[str] | None:
    """Return the fonts that a text needs, the own ones first; None where these are enough."""
    own = _own()
    missing = {ord(letter) for letter in text if ord(letter) not in own and letter != "\n"}
    if not missing:
        return None
    result = []
    for name in _installed():
        there = missing & _glyphs((name,))
        if there:
            result.append(name)
            missing -= there
    return [*rcParams["font.family"], *result] if result else None


def width(text: str, size: float) -> float:
    """Return how wide one line of text is, in inches."""
    if not text:
        return 0.0
    return _width(
        text, tuple(family(text) or rcParams["font.family"]), tuple(rcParams["font.sans-serif"])
    ) * float(size)


@lru_cache(maxsize=4096)
def _width(text: str, families: tuple[str, ...], _sans: tuple[str, ...]) -> float:
    size = 36
    font = FontProperties(family=[*families], size=size)
    return float(text_to_path.get_text_width_height_descent(text, font, ismath=False)[0]) / (
        size * 72
    )


def _drawable(text: str) -> str:
    if text.isascii() and text.isprintable():
        return text
    there = _own()
    box = _BOX if ord(_BOX) in there else "?"
    result = []
    for character in text:
        kind, code = unicodedata.category(character), ord(character)
        if kind in ("Cc", "Zl", "Zp", "Zs"):
            result.append(" ")
        elif kind in ("Cf", "Cs", "Me") or (kind == "Mn" and code not in there):
            # Marks of direction, halves of characters, joiners of emoji: nothing to see by
            # themselves.
            continue
        else:
            has_glyph = code in there or any(code in _glyphs((name,)) for name in _installed())
            result.append(character if has_glyph else box)
    return "".join(result)


def _own() -> frozenset[int]:
    """Return the code points of the fonts that the user chose."""
    return _glyphs(tuple(rcParams["font.family"]), tuple(rcParams["font.sans-serif"]))


def _installed() -> tuple[str, ...]:
    return _fallbacks(len(font_manager.fontManager.ttflist))


@lru_cache(maxsize=8)
def _fallbacks(_fonts: int) -> tuple[str, ...]:
    """Return those of `FALLBACKS` that are installed; fonts may be added while Python runs."""
    there = {font.name for font in font_manager.fontManager.ttflist}
    return tuple(name for name in FALLBACKS if name in there)


@lru_cache(maxsize=64)
def _glyphs(families: tuple[str, ...], _sans: tuple[str, ...] = ()) -> frozenset[int]:
    """Return the code points of fonts which matplotlib falls back to one after the other."""
    result: set[int] = set()
    for path in _paths(families):
        result |= font_manager.get_font(path).get_charmap().keys()
    if not result:
        result |= font_manager.get_font(font_manager.findfont("DejaVu Sans")).get_charmap().keys()
    return frozenset(result)


def _paths(families: Iterable[str]) -> list[Any]:
    result = []
    for name in families:
        try:
            result.append(
                font_manager.findfont(FontProperties(family=[name]), fallback_to_default=False)
            )
        except ValueError:
            continue
    return result
