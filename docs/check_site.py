"""Check the built site: every internal link works, and no page loads anything from a server.

`make docs` runs it on docs/_build/html. It reads the files alone and sends no request.
"""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# Attributes that a browser loads by itself; `href` of a link it only follows on a click.
_LOADED = {
    "script": ("src",),
    "img": ("src", "srcset"),
    "iframe": ("src",),
    "link": ("href",),
    "source": ("src", "srcset"),
    "video": ("src", "poster"),
    "audio": ("src",),
    "embed": ("src",),
    "object": ("data",),
    "image": ("href", "xlink:href"),
    "use": ("href", "xlink:href"),
}
_FOLLOWED = {"a": ("href",), "area": ("href",), "form": ("action",)}
# A `link` of these kinds names a page, and loads nothing.
_NO_RESOURCE = {"canonical", "next", "prev", "search", "index", "author", "license"}
_STYLE_URL = re.compile(r"""(?:url\(|@import)\s*['"]?([^'")\s;]+)""")


class _Page(HTMLParser):
    """The anchors, links and resources of one page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.resources: list[str] = []
        self._in_style = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value for name, value in attrs if value}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        self._in_style = tag == "style"
        self.resources += _STYLE_URL.findall(given.get("style", ""))
        self.links += [given[name] for name in _FOLLOWED.get(tag, ()) if name in given]
        named = [given[name] for name in _LOADED.get(tag, ()) if name in given]
        if tag == "link" and _NO_RESOURCE & {*given.get("rel", "").split()}:
            self.links += named
        else:
            self.resources += named

    def handle_data(self, data: str) -> None:
        if self._in_style:
            self.resources += _STYLE_URL.findall(data)


def problems(site: Path) -> list[str]:
    """Return a sentence for each broken link and each resource that is not part of the site."""
    pages = {path: _Page(path.read_text("utf-8")) for path in _pages(site)}
    if not pages:
        return [f"{site} holds no page: build it first, with make docs."]
    broken = []
    for path, page in pages.items():
        name = path.relative_to(site)
        broken += [f"{name} loads {url} from a server" for url in page.resources if _is_remote(url)]
        local = [url for url in page.resources if not _is_remote(url)]
        broken += [
            f"{name}: {reason}"
            for url in [*page.links, *local]
            if (reason := _broken(url, path, site, pages))
        ]
    for path in sorted(site.rglob("*.css")):
        urls = _STYLE_URL.findall(path.read_text("utf-8"))
        broken += [
            f"{path.relative_to(site)} loads {url} from a server" for url in urls if _is_remote(url)
        ]
    return broken


def _pages(site: Path) -> list[Path]:
    """Return the pages of the site; what `_static` holds are templates of the theme."""
    return [
        path
        for path in sorted(site.rglob("*.html"))
        if path.relative_to(site).parts[0] != "_static"
    ]


def _is_remote(url: str) -> bool:
    parts = urlsplit(url)
    return bool(parts.netloc) or parts.scheme in ("http", "https")


def _broken(url: str, path: Path, site: Path, pages: dict[Path, _Page]) -> str | None:
    """Return why a link does not work; None where it does, or leaves the site."""
    parts = urlsplit(url)
    if parts.scheme or parts.netloc:
        return None
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if target.is_dir():
        target /= "index.html"
    if not target.is_file() or not target.is_relative_to(site):
        return f"the link {url} leads to no file of the site"
    if parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
        return f"the link {url} leads to an anchor that {target.relative_to(site)} lacks"
    return None


def main(site: str) -> int:
    """Print every problem; return 1 where there is one."""
    root = Path(site).resolve()
    broken = problems(root)
    for problem in broken:
        print(problem, file=sys.stderr)
    print(f"{len(_pages(root))} pages checked, {len(broken)} problems.")
    return int(bool(broken))


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
