"""Repositories of git, and a server on loopback that gives them out over git://."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.registry_lab import free_port
from tests.waiting import wait_for

_SETTINGS = ("user.name=a", "user.email=a@b", "commit.gpgsign=false", "protocol.file.allow=always")


def git(folder: Path, *words: str) -> str:
    """Runs git in a folder, as somebody; what it prints."""
    settings = [word for setting in _SETTINGS for word in ("-c", setting)]
    return subprocess.run(
        ["git", "-C", str(folder), *settings, *words], check=True, capture_output=True, text=True
    ).stdout.strip()


def commit(folder: Path, message: str = "one") -> str:
    """Commits all that is in a folder, which becomes a repository with the branch `main`; the commit."""
    if not (folder / ".git").exists():
        git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", message)
    return git(folder, "rev-parse", "HEAD")


@contextmanager
def daemon(folder: Path) -> Iterator[str]:
    """The repositories beneath a folder at git://127.0.0.1:PORT, which is given."""
    port = free_port()
    command = ["git", "daemon", "--reuseaddr", "--export-all", f"--base-path={folder}", "--listen=127.0.0.1"]
    # Whose repositories they are does not matter here (CVE-2022-24765).
    words = [command[0], "-c", "safe.directory=*", *command[1:], f"--port={port}", str(folder)]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        wait_for(lambda: _listens(port), "git daemon listens")
        yield f"git://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
