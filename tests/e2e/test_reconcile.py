"""`stackpy reconcile` with a local git repository."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.conftest import Cli
from tests.waiting import wait_for

pytestmark = pytest.mark.root

STACK = """
from stackpy import Container, Image
image = Image.host("sh", "sleep", "cat").copy("message", "/message").cmd(["sleep", "1000"])
Container("web", image=image{options})
"""


class Repository:
    """A git repository with a stack in `deploy/`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "deploy").mkdir(parents=True)
        self.git("init", "--quiet", "--initial-branch=main")
        self.commit(message="one")

    def git(self, *words: str) -> str:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        return subprocess.run(
            ["git", *identity, *words], cwd=self.folder, check=True, capture_output=True, text=True
        ).stdout.strip()

    def commit(self, options: str = "", message: str = "", stack: str = STACK) -> str:
        (self.folder / "deploy" / "stack.py").write_text(stack.replace("{options}", options))
        if message:
            (self.folder / "deploy" / "message").write_text(message)
        self.git("add", ".")
        self.git("commit", "--quiet", "--allow-empty", "-m", "change")
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "shop")


def once(cli: Cli, repository: Repository, *words: str, code: int = 0) -> tuple[list[str], str]:
    """One cycle: its line without the time and the revision, and stderr."""
    done = cli("reconcile", "--repo", str(repository.folder), "--once", "--path", "deploy", *words, code=code)
    return done.stdout.splitlines()[-1].split(" ", 2)[1:], done.stderr


def test_a_revision_is_applied_once_and_drift_is_mended(cli: Cli, repository: Repository) -> None:
    short = repository.git("rev-parse", "HEAD")[:7]
    assert once(cli, repository)[0] == [short, "applied 1 to build, 2 to create"]
    assert once(cli, repository)[0] == [short, "unchanged"]
    (row,) = cli.json("ps")
    assert (row["name"], row["stack"], row["state"]) == ("deploy-web-1", "deploy", "running")
    assert cli("exec", "deploy-web-1", "cat", "/message").stdout == "one"
    cli("kill", "deploy-web-1")
    assert once(cli, repository)[0] == [short, "applied 1 to start"]
    cli("rm", "-f", "deploy-web-1")
    assert once(cli, repository)[0] == [short, "applied 1 to create"]
    commit = repository.commit(message="two", options=', mem_limit="64m"')
    assert once(cli, repository)[0] == [commit[:7], "applied 1 to build, 1 to replace"]
    assert cli("exec", "deploy-web-1", "cat", "/message").stdout == "two"


def test_a_broken_revision_keeps_what_runs(cli: Cli, repository: Repository) -> None:
    once(cli, repository)
    (before,) = cli.json("ps")
    broken = repository.commit(options=", mem_limt=1")
    line, _ = once(cli, repository, code=1)
    assert line == [broken[:7], "failed: deploy/stack.py:4: unknown field `mem_limt` of container `web`"]
    assert cli.json("ps")[0]["id"] == before["id"]
    mended = repository.commit()
    assert once(cli, repository)[0] == [mended[:7], "unchanged"]


def test_refs_tags_commits_and_what_is_missing(cli: Cli, repository: Repository) -> None:
    first = repository.git("rev-parse", "HEAD")
    repository.git("tag", "v1")
    repository.commit(message="two")
    for ref in ("v1", first, "refs/tags/v1"):
        assert once(cli, repository, "--ref", ref)[0][0] == first[:7]
    line, _ = once(cli, repository, "--ref", "none", code=1)
    assert line == ["-", f"failed: fetching `none` from {repository.folder} failed: couldn't find remote ref none"]
    done = cli("reconcile", "--repo", str(repository.folder), "--once", "--path", "nowhere", code=1)
    assert "failed: there is no folder `nowhere` in " in done.stdout


def test_an_unreachable_repository_still_mends_drift(cli: Cli, repository: Repository) -> None:
    short = repository.git("rev-parse", "HEAD")[:7]
    once(cli, repository)
    cli("kill", "deploy-web-1")
    (repository.folder / ".git").rename(repository.folder / "gone")
    line, _ = once(cli, repository, code=1)
    assert line[0] == short and line[1].startswith("applied 1 to start (fetching `HEAD` from ")
    assert cli.json("ps")[0]["state"] == "running"


def test_the_loop_follows_the_repository_and_leaves_containers_running(cli: Cli, repository: Repository) -> None:
    loop = cli.start(
        "reconcile", "--repo", str(repository.folder), "--path", "deploy", "--interval", "0.1s", stderr=None
    )
    try:
        assert loop.stdout
        seen: list[str] = []

        def cycles(text: str) -> bool:
            assert loop.stdout
            seen.append(loop.stdout.readline())
            return text in seen[-1]

        wait_for(lambda: cycles("applied 1 to build, 2 to create"), "the first apply")
        broken = repository.commit(stack="raise RuntimeError('not yet')")
        wait_for(lambda: cycles(f"{broken[:7]} failed"), "the broken revision")
        good = repository.commit(message="three")
        wait_for(lambda: cycles(f"{good[:7]} applied"), "the good revision")
        other = cli("reconcile", "--repo", str(repository.folder), "--once", "--path", "deploy", code=1)
        assert "another reconcile" in other.stderr
        loop.send_signal(signal.SIGTERM)
        assert loop.wait(60) == 0
    finally:
        loop.kill()
        loop.communicate()
    assert cli.json("ps")[0]["state"] == "running"
    assert cli("exec", "deploy-web-1", "cat", "/message").stdout == "three"


def test_submodules_of_folders_and_transport_helpers_are_refused(
    cli: Cli, repository: Repository, tmp_path: Path
) -> None:
    inner = Repository(tmp_path / "inner")
    repository.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(inner.folder), "inner")
    repository.commit()
    line, _ = once(cli, repository, code=1)
    assert "transport 'file' not allowed" in line[1]
    marker = tmp_path / "ran"
    hostile = [f"ext::sh -c touch% {marker}", f"--upload-pack=touch {marker}"]
    for url in hostile:
        assert cli("reconcile", f"--repo={url}", "--once", code=64).stdout == ""
    done = cli("reconcile", "--repo", str(repository.folder), f"--ref=--upload-pack=touch {marker}", "--once", code=64)
    assert "is not a revision's name" in done.stderr
    assert not marker.exists()


def test_a_checkout_holds_no_git_folder_and_runs_no_hook(cli: Cli, repository: Repository, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    (repository.folder / "deploy" / "link").symlink_to("/etc")
    hooks = tmp_path / "template" / "hooks"
    hooks.mkdir(parents=True)
    for name in ("post-checkout", "reference-transaction"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {marker}\n")
        (hooks / name).chmod(0o755)
    repository.commit()
    environment = {"GIT_TEMPLATE_DIR": str(tmp_path / "template"), "GIT_DIR": "/nonexistent"}
    cli("reconcile", "--repo", str(repository.folder), "--once", "--path", "deploy", environment=environment)
    assert not marker.exists()
    names = {name for _, folders, files in os.walk(cli.root / "reconcile") for name in (*folders, *files)}
    assert "stack.py" in names and ".git" not in names
    done = cli("reconcile", "--repo", str(repository.folder), "--once", "--path", "deploy/link", code=1)
    assert "is a link out of the repository" in done.stdout
