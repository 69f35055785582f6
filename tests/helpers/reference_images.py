"""Small pictures of every chart in every style and size, and how far a chart is from them.

``python -m tests.helpers.reference_images [CHART ...]`` draws them again: look at them before you
commit. A picture holds the five sizes of a chart in one style, one below the other, in few colours.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
from PIL import Image

from pdframe import plot
from tests.helpers.chart_cases import CASES, CHARTS, Case
from tests.helpers.overlaps import overlaps

FOLDER = Path(__file__).parents[1] / "unit" / "plot" / "reference"
STYLES = ("light", "dark", "presentation")
DPI, GAP = 34, 4
# As few as keep the mean colour of every square.
COLORS, LOST = (48, 96, 160, 256), 6.0
# Squares of this many pixels are compared by their mean colour: letters that move by a part of a
# pixel with another version of matplotlib or FreeType do not count, a bar or a line of text does.
SQUARE, MOST_DIFFERENCE, MOST_SQUARES = 8, 22.0, 0.004

Pixels = npt.NDArray[np.float64]


class Drawn(NamedTuple):
    """A chart as pixels, and what is wrong with its texts."""

    pixels: Pixels
    wrong: list[str]


def draw(chart: str, style: str, case: str) -> Drawn:
    """Draw a chart in one style and size, in the font that matplotlib brings along."""
    with plot.style(style):
        mpl.rcParams["font.family"] = ["DejaVu Sans"]
        figure = CHARTS[chart](Case(case)).figure
        figure.canvas.draw()
        wrong = overlaps(figure)
        png = io.BytesIO()
        figure.savefig(png, dpi=DPI)
        plt.close(figure)
    return Drawn(_pixels(Image.open(png)), wrong)


def reference(chart: str, style: str, case: str) -> Pixels:
    """Return the picture of a chart in one style and size."""
    with Image.open(_path(chart, style)) as image:
        heights = [int(each) for each in image.info["heights"].split()]
        every = _pixels(image)
    at = CASES.index(case)
    top = sum(heights[:at]) + GAP * at
    width = int(image.info["widths"].split()[at])
    return every[top : top + heights[at], :width]


def difference(one: Pixels, other: Pixels) -> float:
    """Return the share of squares that differ; 1 where the sizes do."""
    if np.abs(np.subtract(one.shape, other.shape)).max() > 2:
        return 1.0
    return float((_distances(one, other) > MOST_DIFFERENCE).mean())


def _distances(one: Pixels, other: Pixels) -> Pixels:
    """Return how far the mean colours of each square are apart."""
    rows, columns = (
        min(sizes) // SQUARE for sizes in zip(one.shape[:2], other.shape[:2], strict=True)
    )
    means = [
        image[: rows * SQUARE, : columns * SQUARE]
        .reshape(rows, SQUARE, columns, SQUARE, 3)
        .mean(axis=(1, 3))
        for image in (one, other)
    ]
    return np.asarray(np.abs(means[0] - means[1]).max(axis=2))


def save(pixels: Pixels, path: Path) -> None:
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def _path(chart: str, style: str) -> Path:
    return FOLDER / f"{chart}-{style}.png"


def _pixels(image: Image.Image) -> Pixels:
    return np.asarray(image.convert("RGB"), np.float64)


def write(charts: list[str]) -> None:
    """Draw the pictures of these charts."""
    from PIL.PngImagePlugin import PngInfo

    FOLDER.mkdir(exist_ok=True)
    for chart in charts:
        for style in STYLES:
            parts = [draw(chart, style, case).pixels for case in CASES]
            width = max(part.shape[1] for part in parts)
            height = sum(part.shape[0] for part in parts) + GAP * (len(parts) - 1)
            sheet = np.full((height, width, 3), 128, np.uint8)
            top = 0
            for part in parts:
                sheet[top : top + part.shape[0], : part.shape[1]] = part
                top += part.shape[0] + GAP
            info = PngInfo()
            for name, axis in (("heights", 0), ("widths", 1)):
                info.add_text(name, " ".join(str(part.shape[axis]) for part in parts))
            few: Any = Image.fromarray(sheet)
            for colors in COLORS:
                few = Image.fromarray(sheet).quantize(colors, dither=Image.Dither.NONE)
                if _distances(_pixels(few), _pixels(Image.fromarray(sheet))).max() < LOST:
                    break
            few.save(_path(chart, style), optimize=True, pnginfo=info)


if __name__ == "__main__":
    write(sys.argv[1:] or [*CHARTS])
