"""A chart in two themes: laid out once, and the same pictures as of each theme by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pdframe.dashboard import pictures
from pdframe.dashboard._parts import Chart

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def bars(ax: Axes) -> None:
    ax.bar(["a long name", "another long name"], [1_000_000, 3_000_000])
    ax.set_ylabel("two\nlines")
    ax.twinx().plot([0, 1], [5, 6])


@pytest.mark.parametrize("width", [7.2, 5.6])
def test_a_theme_has_the_same_picture_beside_another_one(width: float) -> None:
    chart = Chart("Bars", bars)
    light, dark = pictures.pngs(chart, width)
    assert light != dark
    assert light == pictures._png(chart, "light", width, [])
    assert dark == pictures._png(chart, "dark", width, [])
