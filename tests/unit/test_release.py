"""A version is the same everywhere: code, changelog, citation, tag, wheel and sdist."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest
from hatchling.metadata.core import ProjectMetadata
from hatchling.plugin.manager import PluginManager

import pdframe

ROOT = Path(__file__).parents[2]
KINDS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
BUILT_FROM = (
    "pdframe",
    "notebooks",
    "pyproject.toml",
    "hatch_build.py",
    "README.md",
    "CHANGELOG.md",
    "LICENSE",
)
REPOSITORY = "https://example.com/acme/pdframe"


def problems(changelog: str, citation: str, version: str, tags: list[str]) -> list[str]:
    """Return what is wrong with a release; `tags` are those of its commit."""
    wrong = []
    headings = re.findall(r"^## (.+)$", changelog, re.MULTILINE)
    released = [re.fullmatch(r"\[(.+)\] - \d{4}-\d\d-\d\d", heading) for heading in headings[1:]]
    if headings[0] != "[Unreleased]" or not all(released):
        wrong.append(f"sections of the changelog: {headings}")
    for section in re.split(r"^## ", changelog, flags=re.MULTILINE)[1:]:
        kinds = re.findall(r"^### (.+)$", section, re.MULTILINE)
        if len({*kinds}) < len(kinds) or not {*kinds} <= KINDS:
            wrong.append(f"kinds of changes: {kinds}")
    if f"\nversion: {version.removesuffix('.dev0')}\n" not in citation:
        wrong.append("the citation has another version")
    tagged = [tag for tag in tags if re.match(r"v\d", tag)]
    if tagged and tagged != [f"v{version}"]:
        wrong.append(f"the tag is {tagged}, the version {version}")
    if tagged and version not in [match[1] for match in released if match]:
        wrong.append(f"the changelog has no section {version}")
    return wrong


def test_this_commit_is_a_complete_release_or_none() -> None:
    git = ["git", "-C", str(ROOT), "tag", "--points-at", "HEAD"]
    shown = ""
    if shutil.which("git") and (ROOT / ".git").exists():
        shown = subprocess.run(git, capture_output=True, text=True, check=False).stdout
    changelog, citation = ((ROOT / name).read_text() for name in ("CHANGELOG.md", "CITATION.cff"))
    assert problems(changelog, citation, pdframe.__version__, shown.split()) == []


RELEASED = "# Changelog\n\n## [Unreleased]\n\n## [1.2.0] - 2026-12-01\n\n### Added\n\n- A.\n"


@pytest.mark.parametrize(
    ("changelog", "citation", "tags", "wrong"),
    [
        (RELEASED, "1.2.0", ["v1.2.0"], []),
        (RELEASED, "1.2.0", [], []),
        (RELEASED, "1.2.0", ["v1.2.1"], ["the tag is ['v1.2.1'], the version 1.2.0"]),
        (RELEASED, "1.1.0", [], ["the citation has another version"]),
        (
            RELEASED.replace("1.2.0", "1.1.0"),
            "1.2.0",
            ["v1.2.0"],
            ["the changelog has no section 1.2.0"],
        ),
        (
            RELEASED.replace(" - 2026-12-01", ""),
            "1.2.0",
            [],
            ["sections of the changelog: ['[Unreleased]', '[1.2.0]']"],
        ),
        (
            RELEASED + "\n### Broken\n\n- B.\n",
            "1.2.0",
            [],
            ["kinds of changes: ['Added', 'Broken']"],
        ),
    ],
)
def test_what_is_wrong_with_a_release_is_said(
    changelog: str, citation: str, tags: list[str], wrong: list[str]
) -> None:
    assert problems(changelog, f"a: b\nversion: {citation}\n", "1.2.0", tags) == wrong


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tag", "repository"), [(None, ""), ("v9.9.9", REPOSITORY)], ids=["no tag", "another tag"]
)
def test_sdist_and_wheel_have_the_version_of_the_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tag: str | None, repository: str
) -> None:
    """In a tree with a tag, without one, and from an sdist, which has no git at all."""
    monkeypatch.setenv("PDFRAME_REPOSITORY", repository)
    tree = tmp_path / "tree"
    for name in BUILT_FROM:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
        tree.mkdir(exist_ok=True)
        copy(ROOT / name, tree / name)
    if shutil.which("git"):
        who = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
        git = ["git", "-C", str(tree), *who]
        for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "a"]):
            subprocess.run([*git, *command], check=True)
        if tag:
            subprocess.run([*git, "tag", tag], check=True)
    build(tree, "sdist")
    (sdist,) = (tree / "dist").glob("*.tar.gz")
    assert sdist.name == f"pdframe-{pdframe.__version__}.tar.gz"
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    for folder in (tree, tmp_path / sdist.name.removesuffix(".tar.gz")):
        build(folder, "wheel")
        (wheel,) = (folder / "dist").glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            (metadata,) = (name for name in archive.namelist() if name.endswith("METADATA"))
            said = message_from_bytes(archive.read(metadata))
            code = archive.read("pdframe/__init__.py").decode()
        assert f'__version__ = "{pdframe.__version__}"' in code
        assert said["Version"] == pdframe.__version__
        assert said.get_all("Project-URL", []) == (
            [f"Repository, {REPOSITORY}", f"Issues, {REPOSITORY}/issues"] if repository else []
        )


@pytest.mark.parametrize(
    "address",
    [
        "https://somebody:secret@example.com/acme/pdframe",
        "https://example.com/acme/pdframe?key=secret",
        "http://example.com/acme/pdframe",
        "example.com",
    ],
)
def test_an_address_that_could_hold_a_secret_reaches_no_metadata(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("PDFRAME_REPOSITORY", address)
    with pytest.raises(ValueError, match="PDFRAME_REPOSITORY must be an address") as refused:
        ProjectMetadata(str(ROOT), PluginManager()).core  # noqa: B018
    assert "secret" not in str(refused.value)


def build(folder: Path, target: str) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", target]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
