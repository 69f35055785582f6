"""Sphinx settings. `make docs` builds the pages into docs/_build/html and sends no request."""

from __future__ import annotations

import re
import sys
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

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
html_extra_path = ["../llms.txt"]
html_show_sourcelink = False
html_copy_source = False
html_last_updated_fmt = None
html_theme_options = {
    "navbar_align": "left",
    "header_links_before_dropdown": 8,
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "show_prev_next": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
# These pages have no pages below them, which a sidebar could list.
html_sidebars = {"index": [], "gallery": [], "glossary": [], "newcomer-questions": []}

generate.write(HERE)

# How docstrings name what has a page: `account.deals()`, `metrics.funnel`, `ArgumentError`.
_SHORT_NAMES = (
    (re.compile(r"account\.(\w+)"), "pdframe.Account.{}"),
    (re.compile(r"((?:metrics|plot|sandbox|errors)\.\w+)"), "pdframe.{}"),
    (re.compile(r"(\w+(?:Error|Warning))"), "pdframe.errors.{}"),
    (re.compile(r"(Account|OAuth|connect)"), "pdframe.{}"),
)
# `connect` makes these; their own parameters are none of a reader's.
_MADE_BY_CONNECT = {"pdframe.Account", "pdframe.sandbox.SandboxAccount"}


def link_short_name(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, shown: nodes.Element
) -> nodes.Element | None:
    """Link a short name to its page; None where it has none."""
    if node.get("refdomain") != "py":
        return None
    called = re.sub(r"\(.*\)$", "", node["reftarget"])
    for short, full in _SHORT_NAMES:
        if match := short.fullmatch(called):
            domain, target = env.domains.python_domain, full.format(match[1])
            return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", target, node, shown)
    return None


def unlink_parameters(app: Sphinx, tree: nodes.document) -> None:
    """Show `as_of` as code: in a metric it is the parameter, not the function of that name."""
    for node in list(tree.findall(pending_xref)):
        if node["reftarget"] == "as_of" and not node.get("py:class"):
            node.replace_self(node.children)


def hide_constructor(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, signature: str, returns: str
) -> tuple[str, str] | None:
    """Leave out the signature of a class that `connect` makes."""
    return ("", "") if what == "class" and name in _MADE_BY_CONNECT else None


def setup(app: Sphinx) -> None:
    """Connect the functions above."""
    app.connect("missing-reference", link_short_name)
    app.connect("doctree-read", unlink_parameters)
    app.connect("autodoc-process-signature", hide_constructor)
