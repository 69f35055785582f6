"""Every chart in every style and size looks as it was last looked at, and no text lies on another.

Where a picture is meant to change, draw it again (``python -m tests.helpers.reference_images``) and
look at it.
"""

from __future__ import annotations

import random
from pathlib import Path
from unittest import mock

import matplotlib.pyplot as plt
import pytest

from pdframe import plot
from pdframe.plot import _style as style
from tests.helpers import reference_images as images
from tests.helpers.chart_cases import CASES, CHARTS, Case
from tests.helpers.overlaps import overlaps
from tests.helpers.tiers import TIER, sample_seed

EVERY = [(theme, case) for theme in images.STYLES for case in CASES]


@pytest.mark.every_case
@pytest.mark.parametrize("chart", CHARTS)
def test_a_chart_is_drawn_as_its_picture_and_its_texts_do_not_overlap(
    chart: str, tmp_path: Path
) -> None:
    some = EVERY
    if TIER == "test":
        some = [random.Random(f"{sample_seed()} {chart}").choice(EVERY)]
    wrong = []
    for theme, case in some:
        drawn = images.draw(chart, theme, case)
        name = f"{chart}, {theme}, {case}"
        wrong += [f"{name}: {each}" for each in drawn.wrong]
        share = images.difference(drawn.pixels, images.reference(chart, theme, case))
        if share > images.MOST_SQUARES:
            path = tmp_path / f"{chart}-{theme}-{case.replace(' ', '-')}.png"
            images.save(drawn.pixels, path)
            wrong.append(f"{name}: {share:.1%} of the picture differs, see {path}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("chart", CHARTS)
def test_in_half_the_width_texts_do_not_overlap(chart: str) -> None:
    figure, (_, right) = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
    with mock.patch.object(style, "axes", return_value=right):
        assert CHARTS[chart](Case("one group")) is right
    figure.canvas.draw()
    assert overlaps(figure) == []


def test_every_chart_of_frames_has_pictures() -> None:
    there = {name.removesuffix("_lines").removesuffix("_groups") for name in CHARTS}
    assert there == {*plot.__all__} - {"style"}


def test_a_picture_of_another_case_or_style_differs() -> None:
    drawn = images.draw("mrr_movements", "light", "one group").pixels
    for theme, case in (("dark", "one group"), ("light", "100,000 deals")):
        other = images.reference("mrr_movements", theme, case)
        assert images.difference(drawn, other) > 2 * images.MOST_SQUARES


def test_texts_that_overlap_or_leave_the_page_are_reported() -> None:
    figure, ax = plt.subplots()
    ax.set_axis_off()
    for x, y, text, rotation in (
        (0.1, 0.5, "one of two", 0),
        (0.12, 0.51, "the other", 0),
        (0.5, 0.5, "a long text that is turned", 45),
        # In the box around the turned text, but not on it.
        (0.5, 0.72, "in its corner", 0),
        (0.95, 0.2, "out of the page", 0),
    ):
        ax.text(x, y, text, rotation=rotation, transform=figure.transFigure)
    figure.canvas.draw()
    assert overlaps(figure) == [
        "'one of two' overlaps 'the other'",
        "'out of the page' leaves the page",
    ]
