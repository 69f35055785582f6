"""Charts follow the reader's settings, hold every alphabet that a font has, and end a notebook's
cell without a line of text.
"""

from __future__ import annotations

import gc
import pickle
from pathlib import Path
from unittest import mock

import matplotlib as mpl
import matplotlib.pyplot as plt
import nbformat
import pytest
from fontTools.fontBuilder import FontBuilder
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgba
from nbclient import NotebookClient

from pdframe import plot
from pdframe.errors import ArgumentError
from pdframe.plot import _fonts as fonts
from pdframe.plot import _theme as theme
from tests.helpers.chart_cases import CHARTS, Case
from tests.helpers.charts import draw, funnel_frame, texts, velocity_frame

# Styles


@pytest.mark.every_case
@pytest.mark.parametrize("color", theme.COLORS)
def test_every_color_of_data_is_seen_on_white_and_on_black(color: str) -> None:
    assert theme.contrast(color, "#ffffff") >= 3
    assert theme.contrast(color, "#000000") >= 3


@pytest.mark.parametrize("name", ["light", "dark", "presentation", "Solarize_Light2", "grayscale"])
@pytest.mark.parametrize("chart", CHARTS)
def test_every_text_can_be_read_in_every_style(chart: str, name: str) -> None:
    with plot.style(name):
        ax = draw(CHARTS[chart](Case("one group")))
        page = to_hex(ax.get_facecolor())
        # What is written on bars and cells has its own ground.
        inside = {id(text) for text in ax.texts if text.get_ha() == "center"}
        for text in ax.findobj(plt.Text):
            if text.get_text() and text.get_visible() and id(text) not in inside:
                assert theme.contrast(to_hex(text.get_color()), page) >= 4, text.get_text()


def test_a_style_ends_with_its_block_and_lasts_without_one() -> None:
    before = dict(mpl.rcParams)
    with plot.style("dark", "presentation"):
        assert mpl.rcParams["figure.facecolor"] == "black"
        assert mpl.rcParams["font.size"] == 16
        ax = plot.funnel(funnel_frame(3))
        assert ax.figure.get_figwidth() == 12.8
    assert dict(mpl.rcParams) == before
    with mpl.rc_context():
        undo = plot.style("presentation")
        assert mpl.rcParams["font.size"] == 16
        undo.close()
        assert dict(mpl.rcParams) == before
        plt.style.use("pdframe.plot.presentation")
        assert mpl.rcParams["font.size"] == 16
    with mpl.rc_context():
        plot.style("dark", "presentation")
        gc.collect()
        assert mpl.rcParams["figure.facecolor"] == "black"
        assert mpl.rcParams["font.size"] == 16
        plot.style("light")
        gc.collect()
        assert mpl.rcParams["figure.facecolor"] == "white"
        assert mpl.rcParams["font.size"] == 10


def test_a_style_that_is_none_is_refused() -> None:
    before = dict(mpl.rcParams)
    for wrong in ((), ("bright",), ("pdframe.plot.bright",), (7,)):
        with pytest.raises(ArgumentError, match="style"):
            plot.style(*wrong)
        assert dict(mpl.rcParams) == before


def test_type_follows_the_settings_of_text_and_titles() -> None:
    def sizes() -> tuple[float, float, float]:
        ax = plot.velocity(velocity_frame(["Demo"]))
        return (
            ax.xaxis.label.get_fontsize(),
            ax.get_yticklabels()[0].get_fontsize(),
            ax.title.get_fontsize(),
        )

    assert sizes()[:2] == (9, 9)
    with mpl.rc_context({"font.size": 20}):
        assert sizes()[:2] == (18, 18)
    # As seaborn's "talk" does, which leaves font.size as it is.
    with mpl.rc_context({"axes.labelsize": 18, "axes.titlesize": 24}):
        ax = plot.velocity(velocity_frame(["Demo"]))
        assert ax._left_title.get_fontsize() == pytest.approx(22)
        assert sizes()[:2] == pytest.approx((16.2, 16.2))


def test_text_has_the_color_of_the_settings_where_it_can_be_read() -> None:
    def ink() -> str:
        ax = plot.velocity(velocity_frame(["Demo"]))
        return to_hex(ax.xaxis.label.get_color())

    with mpl.rc_context({"text.color": "#123456"}):
        assert ink() == "#123456"
    with mpl.rc_context({"text.color": "#eeeeee"}):
        assert theme.contrast(ink(), "#ffffff") >= 4.5


def test_axes_of_a_dark_figure_are_drawn_for_it_after_the_style_ended() -> None:
    with plt.style.context("dark_background"):
        _, ax = plt.subplots()
    draw(plot.velocity(velocity_frame(["Demo"]), ax))
    assert theme.luminance(to_rgba(ax.xaxis.label.get_color())) > 0.6


def test_the_width_of_a_figure_is_the_one_that_was_set() -> None:
    with mpl.rc_context({"figure.figsize": (5.0, 3.0)}):
        assert plot.velocity(velocity_frame(["Demo"])).figure.get_figwidth() == 5


# Alphabets


@pytest.fixture
def wide_font(tmp_path: Path) -> str:
    """A font of the system with two Chinese letters, known by the name of a common one."""
    name = "WenQuanYi Zen Hei"
    builder = FontBuilder(1000)
    glyphs = [".notdef", "one", "two"]
    builder.setupGlyphOrder(glyphs)
    builder.setupCharacterMap({ord("地"): "one", ord("域"): "two"})
    builder.setupGlyf(dict.fromkeys(glyphs, _square()))
    builder.setupHorizontalMetrics(dict.fromkeys(glyphs, (1000, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": name, "styleName": "Regular"})
    builder.setupOS2(sTypoAscender=800, usWinAscent=800, usWinDescent=200)
    builder.setupPost()
    path = tmp_path / "wide.ttf"
    builder.save(path)
    before = list(font_manager.fontManager.ttflist)
    font_manager.fontManager.addfont(path)
    yield name
    font_manager.fontManager.ttflist[:] = before


def _square() -> object:
    from fontTools.pens.ttGlyphPen import TTGlyphPen

    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for point in ((0, 700), (900, 700), (900, 0)):
        pen.lineTo(point)
    pen.closePath()
    return pen.glyph()


def test_letters_of_a_font_that_the_system_has_are_drawn_in_it(wide_font: str) -> None:
    assert fonts.shown("地域 Süd 無") == "地域 Süd □"
    ax = draw(plot.velocity(velocity_frame(["地域 Süd", "Demo"])))
    first, second = ax.get_yticklabels()
    assert first.get_text() == "地域 Süd"
    assert first.get_fontfamily() == [*mpl.rcParams["font.family"], wide_font]
    assert second.get_fontfamily() == mpl.rcParams["font.family"]
    # As wide as the font's letters: an em each.
    assert fonts.width("地域", 72) == pytest.approx(2, abs=0.05)


def test_without_such_a_font_letters_are_boxes() -> None:
    with mock.patch.object(fonts, "FALLBACKS", ()):
        fonts._fallbacks.cache_clear()
        assert fonts.shown("地域 Süd") == "□□ Süd"
    fonts._fallbacks.cache_clear()


def test_text_is_as_wide_as_it_is_drawn() -> None:
    figure, ax = plt.subplots()
    for text in ("Negotiation", "1,234  56 %", "Причина", "Ανανέωση"):
        drawn = ax.text(0, 0, text, fontsize=20)
        figure.canvas.draw()
        inches = drawn.get_window_extent().width / figure.dpi
        assert fonts.width(text, 20) == pytest.approx(inches, rel=0.05)


def test_text_is_cut_to_the_room_that_it_has() -> None:
    assert fonts.fitted("short", 2, 9) == "short"
    cut = fonts.fitted("W" * 30, 1, 9)
    assert "…" in cut
    assert fonts.width(cut, 9) <= 1
    assert fonts.wrapped("one two three", 0.6, 9, 100) == "one two\nthree"
    lines = fonts.wrapped("word " * 40, 1, 9, 300).split("\n")
    assert len(lines) == 2
    assert all(fonts.width(line, 9) <= 1 for line in lines)


# Notebooks


def outputs(*cells: str) -> list[list[str]]:
    """Run cells in a notebook; return the types that each shows, the fullest of each output."""
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(book, timeout=120).execute()
    return [
        [
            next((kind for kind in ("image/png",) if kind in each.get("data", {})), "text/plain")
            for each in cell["outputs"]
        ]
        for cell in book.cells
    ]


def test_a_chart_as_the_last_line_of_a_cell_shows_its_picture_alone() -> None:
    assert outputs(
        "from pdframe import plot\n"
        "import matplotlib.pyplot as plt\n"
        "from tests.helpers.charts import funnel_frame\n"
        "plot.funnel(funnel_frame(3))",
        "ax = plot.funnel(funnel_frame(3))",
        # The picture was shown at the end of the cell before: again.
        "ax",
        # What is not ours is written as ever.
        "plt.subplots()[1]",
    ) == [["image/png"], ["image/png"], ["image/png"], ["text/plain", "image/png"]]


def test_what_is_returned_is_an_axes_like_any() -> None:
    ax = plot.funnel(funnel_frame(3))
    assert type(ax) is Axes
    assert repr(ax).startswith("<Axes:")
    again = pickle.loads(pickle.dumps(ax.figure))  # noqa: S301
    assert texts(again.axes[0]) == texts(ax)
