"""A Jupyter server of its own on 127.0.0.1, and a notebook that a browser drives like a user."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from playwright.sync_api import Locator, Page, Request, Response

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
START_SECONDS = 120
CELL_MILLISECONDS = 120_000
App = Literal["lab", "notebook"]
# Notes every line that a progress bar shows, however briefly.
_WATCH_BARS = """() => {
window.barTexts = [];
new MutationObserver(() => {
  for (const bar of document.querySelectorAll(".jp-RenderedHTML div:has(> progress)")) {
    const text = bar.textContent.trim();
    if (window.barTexts.at(-1) !== text) window.barTexts.push(text);
  }
}).observe(document, {subtree: true, childList: true, characterData: true});
}"""


_CONTEXT = "window.jupyterapp.shell.currentWidget.context"
_IS_IDLE = """() => {
  const context = window.jupyterapp?.shell.currentWidget?.sessionContext;
  const kernel = context?.session?.kernel;
  return context?.isReady && kernel?.connectionStatus === "connected" && kernel.status === "idle";
}"""


@dataclass(frozen=True)
class Lab:
    """A Jupyter server that runs.

    Attributes
    ----------
    url
        Its address.
    token
        Admits to it.
    work
        The folder that it shows.
    settings
        The folder of a user's settings.
    """

    url: str
    token: str
    work: Path
    settings: Path

    def choose(self, theme: str) -> None:
        """Set the theme of the next page, which fetches no news."""
        for plugin, chosen in {
            "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
            "apputils-extension/themes": {"theme": theme},
            "docmanager-extension/plugin": {"renameUntitledFileOnSave": False},
        }.items():
            path = self.settings / "@jupyterlab" / f"{plugin}.jupyterlab-settings"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(chosen), encoding="utf-8")


@contextlib.contextmanager
def jupyter_lab(folder: Path) -> Iterator[Lab]:
    """Start JupyterLab with none of this user's settings, and stop it at the end."""
    home, runtime, work = folder / "home", folder / "runtime", folder / "work"
    for place in (home, runtime, work):
        place.mkdir(parents=True)
    token = secrets.token_hex(16)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("JUPYTER")},
        "HOME": str(home),
        "IPYTHONDIR": str(home / "ipython"),
        "MPLCONFIGDIR": str(home / "matplotlib"),
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTER_RUNTIME_DIR": str(runtime),
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
        "JUPYTER_TOKEN": token,
        "PYTHONPATH": str(ROOT),
    }
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root",
        "--ServerApp.ip=127.0.0.1", "--ServerApp.port=0",
        f"--ServerApp.root_dir={work}",
        "--ServerApp.terminals_enabled=False",
        # If the test is killed, the server ends by itself.
        "--ServerApp.shutdown_no_activity_timeout=300",
        "--MappingKernelManager.cull_idle_timeout=300",
        "--LabApp.news_url=None",
        "--LabApp.expose_app_in_browser=True",
        "--JupyterNotebookApp.expose_app_in_browser=True",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        "--LabApp.extension_manager=readonly",
    ]  # fmt: skip
    log = folder / "jupyter.log"
    with log.open("wb") as out:
        server = subprocess.Popen(
            command, env=environment, cwd=work, stdout=out, stderr=subprocess.STDOUT
        )
    try:
        yield Lab(_address(server, runtime, log), token, work, folder / "settings")
    finally:
        server.terminate()
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _address(server: subprocess.Popen[bytes], runtime: Path, log: Path) -> str:
    """Return the address of a server that starts: it writes it into a file once it listens."""
    deadline = time.monotonic() + START_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        for path in runtime.glob("jpserver-*.json"):
            with contextlib.suppress(ValueError):  # half written
                return str(json.loads(path.read_text(encoding="utf-8"))["url"])
        time.sleep(0.1)
    raise RuntimeError(f"JupyterLab did not start: {log.read_text(encoding='utf-8')}")


class NotebookPage:
    """A notebook in a page of JupyterLab or of Notebook 7, and what went wrong in that page.

    Parameters
    ----------
    page, lab, pictures, app
        Where it is opened, and where its screenshots go.
    name
        A notebook of the folder; None: a new one. Notebook 7.6 gives the widgets of a new one no
        connection to the kernel, those of pdframe or any other.

    Attributes
    ----------
    page
        The page of the notebook.
    errors
        Errors of the console, failed requests, and requests to other hosts; of Notebook 7 once it
        is open.
    """

    def __init__(
        self,
        page: Page,
        lab: Lab,
        pictures: Path,
        *,
        app: App = "lab",
        name: str | None = None,
    ) -> None:
        self.errors = list[str]()
        self._lab, self._pictures, self._app = lab, pictures, app
        self._host = urlsplit(lab.url).netloc
        context = page.context
        context.on("console", lambda text: text.type == "error" and self.errors.append(text.text))
        context.on("weberror", lambda thrown: self.errors.append(str(thrown.error)))
        context.on("requestfailed", self._note_failure)
        context.on("request", self._note_request)
        context.on("response", self._note_status)
        if name is not None:
            self.page = page
            folder = "lab/tree" if app == "lab" else "notebooks"
            page.goto(f"{lab.url}{folder}/{name}?token={lab.token}")
        elif app == "lab":
            self.page = page
            page.goto(f"{lab.url}lab?token={lab.token}&reset")
            page.locator(".jp-LauncherCard[data-category=Notebook]").first.click()
        else:
            page.goto(f"{lab.url}tree?token={lab.token}")
            page.get_by_text("New", exact=True).click()
            with page.expect_popup() as opened:
                page.locator(".lm-Menu-item", has_text="Python 3").click()
            self.page = opened.value
        self._idle()
        if app == "notebook":
            # It throws a few by itself while it opens.
            self.page.wait_for_load_state("networkidle")
            self.errors.clear()
        self.page.evaluate(_WATCH_BARS)

    def run(self, code: str) -> Locator:
        """Type code into the last cell, run it, and return its output once it ended."""
        cell = self.page.locator(".jp-Notebook .jp-CodeCell").last
        number = cell.get_attribute("data-windowed-list-index")
        cell.locator(".cm-content").click()
        self.page.keyboard.insert_text(code)
        self.page.keyboard.press("Shift+Enter")
        cell = self.page.locator(f".jp-CodeCell[data-windowed-list-index='{number}']")
        prompt = cell.locator(".jp-InputPrompt", has_text=re.compile(r"\[\d+\]"))
        prompt.wait_for(timeout=CELL_MILLISECONDS)
        self._idle()
        cell.scroll_into_view_if_needed()
        return cell.locator(".jp-Cell-outputArea")

    def bars(self) -> list[str]:
        """Return the texts that progress bars showed until now."""
        return list(self.page.evaluate("window.barTexts"))

    def reopen(self) -> None:
        """Save the notebook and load its page again, which cancels requests: `errors` may note
        them.
        """
        name = self.page.evaluate(f"{_CONTEXT}.path")
        with self.page.expect_response(
            lambda answer: answer.request.method == "PUT" and f"api/contents/{name}" in answer.url
        ):
            self.page.keyboard.press("Control+s")
        folder = "lab/tree" if self._app == "lab" else "notebooks"
        self.page.goto(f"{self._lab.url}{folder}/{name}?token={self._lab.token}&reset")
        self.page.locator(".jp-Notebook .jp-CodeCell .jp-OutputArea-output").first.wait_for()
        self._idle()

    def close_and_open(self) -> None:
        """Close and shut down the notebook by the menu of Notebook 7; open it from the list of
        files.
        """
        name = self.page.evaluate(f"{_CONTEXT}.path")
        self.page.keyboard.press("Control+s")
        self.page.get_by_role("menuitem", name="File", exact=True).click()
        with self.page.expect_event("close"):
            self.page.locator(".lm-Menu-item", has_text="Close and Shut Down Notebook").click()
            self.page.locator("button.jp-mod-accept").click()
        files = self.page.context.new_page()
        files.goto(f"{self._lab.url}tree?token={self._lab.token}")
        with files.expect_popup() as opened:
            files.locator(".jp-DirListing-item", has_text=name).dblclick()
        self.page = opened.value
        self._idle()

    def picture(self, name: str) -> None:
        """Keep a screenshot."""
        self._pictures.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=self._pictures / f"{name}.png")

    def _idle(self) -> None:
        """Wait until the kernel has nothing to do. The circle of the toolbar is idle before there
        is a kernel.
        """
        self.page.wait_for_function(_IS_IDLE, timeout=CELL_MILLISECONDS)

    def _note_failure(self, request: Request) -> None:
        self.errors.append(f"{request.failure} {request.url}")

    def _note_request(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob") and parts.netloc != self._host:
            self.errors.append(f"a request to another host: {request.url}")

    def _note_status(self, answer: Response) -> None:
        if answer.status >= 400:
            self.errors.append(f"{answer.status} {answer.url}")


__all__ = ["CHROMIUM_FLAGS", "Lab", "NotebookPage", "jupyter_lab"]
