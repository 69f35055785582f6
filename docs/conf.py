"""Sphinx settings. `make docs` builds the pages into docs/_build/html and sends no request."""

from __future__ import annotations

import sys
from importlib.metadata import version as version_of
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import generate  # noqa: E402 - it lies beside this file

project = "pdframe"
author = "The pdframe developers"
project_copyright = "2026, The pdframe developers"
version = release = version_of("pdframe")
language = "en"

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
]
exclude_patterns = ["_build", "_templates", ".gitignore"]
templates_path = ["_templates"]

# One backtick in a docstring names something of Python: a link where it has a page, else code.
default_role = "py:obj"
nitpicky = True
# What pandas, matplotlib and Python define has no page here.
nitpick_ignore_regex = [(r"py:.*", r".*")]

autosummary_generate = True
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
python_maximum_signature_line_length = 80
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

myst_enable_extensions = ["deflist", "fieldlist"]
myst_heading_anchors = 3
# Notebooks are committed with their outputs, and the tests run them.
nb_execution_mode = "off"
# Widgets would load their code from a server.
nb_ipywidgets_js = {}
# The text outputs of pandas stand beside its HTML: the site shows the HTML.
suppress_warnings = ["mystnb.unknown_mime_type"]

html_theme = "pydata_sphinx_theme"
html_title = "pdframe"
html_static_path = ["_static"]
html_css_files = ["pdframe.css"]
html_show_sourcelink = False
html_copy_source = False
html_last_updated_fmt = None
html_theme_options = {
    "navbar_align": "left",
    "header_links_before_dropdown": 7,
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "show_prev_next": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
# The first page shows its own lists; a sidebar would repeat them.
html_sidebars = {"index": []}

generate.write(HERE)
