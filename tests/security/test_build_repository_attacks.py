"""Hostile repositories and addresses of them, as contexts of `stackpy build` and in ADD.

Rows of THREATS.md: 2026-33747/33748 (a folder that leads out of the repository), 2019-13139 (a reference that git takes
for an option), 2022-39253 (submodules that are repositories of the host).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Cli, checked_out, clean_host
from tests.git_lab import commit, daemon, git

pytestmark = pytest.mark.root

SECRET = "secret of the host"


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    with clean_host(checked_out(tmp_path_factory.mktemp("repositories") / "root")) as made:
        yield made


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder and a repository of the host that no image may show."""
    folder = tmp_path_factory.mktemp("host")
    (folder / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
    (folder / "secret").write_text(SECRET)
    commit(folder)
    return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, host: Path) -> Iterator[str]:
    """Gives out `evil`: folders that are links, submodules that are the host's, references that are options."""
    top = tmp_path_factory.mktemp("served")
    evil = top / "evil.git"
    (evil / "fine").mkdir(parents=True)
    (evil / "fine" / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
    (evil / "fine" / "file").write_text("fine")
    (evil / "absolute").symlink_to(host)
    (evil / "relative").symlink_to("../" * 40 + str(host).lstrip("/"))
    (evil / "fine" / "up").symlink_to("../..")
    (evil / "parent").symlink_to("..")
    commit(evil)
    for name, url in (("url", f"file://{host}"), ("path", str(host)), ("helper", f"ext::cat {host}/secret")):
        git(evil, "checkout", "-q", "-b", name, "main")
        git(evil, "submodule", "--quiet", "add", str(host), "sub")
        git(evil, "config", "-f", ".gitmodules", "submodule.sub.url", url)
        commit(evil, name)
        git(evil, "checkout", "-q", "main")
    with daemon(top) as address:
        yield f"{address}/evil.git"


def built(command: Cli, context: Path | str, *words: str, code: int | None = 0) -> str:
    """What a build says; its image is `evil`."""
    done = command("build", "-t", "evil", *words, str(context), code=code)
    return done.stdout + done.stderr


def added(command: Cli, folder: Path, address: str, code: int | None = 0) -> str:
    """What a build says whose Dockerfile adds a repository."""
    (folder / "Dockerfile").write_text(f"FROM scratch\nADD {json.dumps([address, '/src/'])}\n")
    return built(command, folder, code=code)


def shown(command: Cli, tmp_path: Path) -> bytes:
    """All that is in the image."""
    command("save", "-o", str(tmp_path / "saved.tar"), "evil")
    return (tmp_path / "saved.tar").read_bytes()


FOLDERS = ["..", "../..", "fine/../../..", "absolute", "relative", "fine/up/..", "parent", "/../..", "fine/up/up"]


@pytest.mark.parametrize("folder", FOLDERS)
def test_2026_33747_a_folder_leads_out_of_no_repository(
    command: Cli, server: str, host: Path, tmp_path: Path, folder: str
) -> None:
    for said in (
        built(command, f"{server}#main:{folder}", code=None),
        added(command, tmp_path, f"{server}#main:{folder}", code=None),
        added(command, tmp_path, f"{server}?branch=main&subdir={folder}", code=None),
    ):
        assert "there is no folder" in said or "leads out of the repository" in said
        assert SECRET not in said
    assert "fine" in shown_after(command, server, tmp_path)


def shown_after(command: Cli, server: str, tmp_path: Path) -> str:
    """The honest folder, both ways: the attacks above were refused for what they are."""
    built(command, f"{server}#main:fine")
    added(command, tmp_path, f"{server}#main:fine")
    return shown(command, tmp_path).decode("latin-1")


@pytest.mark.parametrize(
    "reference", ["--upload-pack=touch${IFS}MARK", "--output=MARK", "-oProxyCommand=touch MARK", "--exec=touch MARK"]
)
def test_2019_13139_a_reference_is_no_option(command: Cli, server: str, tmp_path: Path, reference: str) -> None:
    mark = tmp_path / "mark"
    name = reference.replace("MARK", str(mark))
    for said in (
        built(command, f"{server}#{name}", code=None),
        added(command, tmp_path, f"{server}#{name}", code=None),
        added(command, tmp_path, f"{server}?ref={name}", code=None),
        built(command, f"ssh://{name}/x.git", code=None),
        added(command, tmp_path, f"ssh://{name}/x.git", code=None),
    ):
        assert "error: " in said
    assert not mark.exists()
    assert command("image", "inspect", "evil", code=None).returncode in (0, 1)


@pytest.mark.parametrize("branch", ["url", "path", "helper"])
def test_2022_39253_no_submodule_is_a_repository_of_the_host(
    command: Cli, server: str, tmp_path: Path, branch: str
) -> None:
    for said in (
        built(command, f"{server}#{branch}:fine", code=None),
        added(command, tmp_path, f"{server}#{branch}", code=None),
    ):
        assert "error: " in said
        assert SECRET not in said
    # Without its submodules the rest may come.
    added(command, tmp_path, f"{server}?branch={branch}&submodules=false")
    assert SECRET.encode() not in shown(command, tmp_path)
