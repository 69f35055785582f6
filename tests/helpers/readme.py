"""Run the code of a page as a reader does: every Python block, in order, in one namespace.

``make pictures`` (``python -m tests.helpers.readme``) writes the pictures of README.md and of the
gallery, and the outputs between their blocks. A picture is the figure of the block above it. Its
PNG file holds every text of the figure, so that a test can compare the file with what the block
draws.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple
from unittest import mock

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from sybil import Document, Example, Region, Sybil
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser

from pdframe import DataWarning, sandbox

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
GALLERY = ROOT / "docs" / "gallery.md"
GALLERY_COLOURS = 64
_PICTURE = re.compile(r"^!\[[^\]]*\]\((?P<path>[^)]+\.png)\)$", re.MULTILINE)


class Output(NamedTuple):
    """An output block: where its text lies in README.md, that text, and what the blocks before it
    print.
    """

    start: int
    shown: str
    printed: str


class Picture(NamedTuple):
    """A figure as a PNG file, and its texts."""

    png: bytes
    texts: list[str]


class Readme:
    """A run of README.md, or of another page.

    Attributes
    ----------
    text : str
        The text of the file.
    namespace : dict
        The names that the blocks define.
    warnings : list of str
        The warnings of the blocks, in order.
    blocks : int
        How many Python blocks were run.
    outputs : list of Output
        The output blocks.
    pictures : dict
        Path of a picture, as the page writes it -> the figure of the block above it.
    """

    def __init__(self, path: Path = README) -> None:
        self.outputs: list[Output] = []
        self.pictures: dict[str, Picture] = {}
        self.warnings: list[str] = []
        self.blocks = 0
        self._printed: list[str] = []
        document = Sybil(
            [self._python_blocks, CodeBlockParser("text", self._take_output), self._images]
        ).parse(path)
        self.path, self.text, self.namespace = path, document.text, document.namespace
        self._examples = list(document.examples())

    def run(self) -> Readme:
        """Evaluate every block, on fresh accounts and in an empty folder."""
        with reader(), mpl.rc_context(), warnings.catch_warnings(record=True) as result:
            mpl.rcdefaults()
            warnings.simplefilter("error")
            warnings.simplefilter("always", DataWarning)
            try:
                for example in self._examples:
                    example.evaluate()
            finally:
                plt.close("all")
                for value in self.namespace.values():
                    if isinstance(value, sandbox.SandboxAccount):
                        value.close()
        self.warnings = [str(warning.message) for warning in result]
        return self

    def _python_blocks(self, document: Document) -> Iterator[Region]:
        for region in PythonCodeBlockParser()(document):
            evaluate = region.evaluator
            assert evaluate is not None

            def run_block(example: Example, evaluate: Any = evaluate) -> None:
                plt.close("all")
                with contextlib.redirect_stdout(io.StringIO()) as printed:
                    evaluate(example)
                self._printed.append(printed.getvalue())
                self.blocks += 1

            region.evaluator = run_block
            yield region

    def _take_output(self, example: Example) -> None:
        start = example.region.start + example.parsed.offset
        self.outputs.append(Output(start, str(example.parsed), "".join(self._printed)))
        self._printed.clear()

    def _images(self, document: Document) -> Iterator[Region]:
        for result in _PICTURE.finditer(document.text):
            yield Region(result.start(), result.end(), result["path"], self._take_picture)

    def _take_picture(self, example: Example) -> None:
        (number,) = plt.get_fignums()
        self.pictures[example.parsed] = picture(plt.figure(number))


def recipe(page: str, name: str) -> CodeType:
    """Return the one block of a page of docs/how-to that names something and is marked `py`: it
    needs packages that the other blocks of the page do not.
    """
    path = ROOT / "docs" / "how-to" / page
    blocks = re.findall(r"^```py\n(.*?)^```", path.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    (text,) = [block for block in blocks if name in block]
    return compile(text, path.name, "exec")


@contextlib.contextmanager
def reader() -> Iterator[None]:
    """Work in an empty folder, with the environment of a reader whose own account is a small
    company.
    """
    with (
        tempfile.TemporaryDirectory() as folder,
        sandbox.Server(sandbox.Company(seed=1, deals=20, texts="showcase")) as server,
    ):
        environment = {
            "PIPEDRIVE_BASE_URL": server.url,
            "PIPEDRIVE_API_TOKEN": server.token,
            "PDFRAME_CACHE_DIR": f"{folder}/cache",
        }
        with contextlib.chdir(folder), mock.patch.dict(os.environ, environment):
            yield


def picture(figure: Figure) -> Picture:
    """Draw a figure as README.md shows it."""
    figure.canvas.draw()
    texts = [
        text.get_text()
        for text in figure.findobj(Text)
        if text.get_visible() and text.get_text().strip()
    ]
    png = io.BytesIO()
    figure.savefig(
        png,
        dpi=150,
        bbox_inches="tight",
        metadata={"Software": None, "Description": json.dumps(texts)},
    )
    return Picture(png.getvalue(), texts)


def texts_in(path: Path) -> list[str]:
    """Return the texts of the figure that a PNG file shows."""
    with Image.open(path) as image:
        texts: list[str] = json.loads(image.info["Description"])
    return texts


def small(png: bytes) -> bytes:
    """Return a PNG with few colours, a quarter of its bytes, and with the same texts in it."""
    packed = io.BytesIO()
    with Image.open(io.BytesIO(png)) as image:
        texts = PngInfo()
        texts.add_text("Description", image.info["Description"])
        image.convert("RGB").quantize(GALLERY_COLOURS).save(
            packed, "PNG", optimize=True, pnginfo=texts, dpi=image.info["dpi"]
        )
    return packed.getvalue()


def write(page: Path) -> None:
    """Write the pictures and the outputs of a page."""
    done = Readme(page).run()
    for path, drawn in done.pictures.items():
        target = (page.parent / path).resolve()
        target.parent.mkdir(exist_ok=True)
        of_gallery = target.parent == GALLERY.with_suffix("")
        target.write_bytes(small(drawn.png) if of_gallery else drawn.png)
        print(target.relative_to(ROOT))
    text = done.text
    for output in reversed(done.outputs):
        text = text[: output.start] + output.printed + text[output.start + len(output.shown) :]
    if text != done.text:
        page.write_text(text)
        print(page.name)


if __name__ == "__main__":
    for name in sys.argv[1:] or (README, GALLERY):
        write(Path(name).resolve())
