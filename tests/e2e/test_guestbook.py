"""The guestbook: Debian packages, a migration, PostgreSQL, Flask, nginx; what was written outlives the containers."""

from __future__ import annotations

import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Cli

pytestmark = [pytest.mark.root, pytest.mark.network]

SECRETS = {"GUESTBOOK_DB_PASSWORD": "correct horse battery staple", "GUESTBOOK_SESSION_KEY": "in-no-library-of-debian"}


def request(port: int, form: dict[str, str] | None = None) -> str:
    body = urllib.parse.urlencode(form).encode() if form else None
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", body, timeout=60) as answer:
        return str(answer.read().decode())


def test_entries_outlive_the_containers(cli: Cli, example: Callable[[str], Path], free_port: int) -> None:
    here = {"cwd": example("guestbook"), "environment": {**SECRETS, "STACKPY_VAR_port": str(free_port)}}
    cli("apply", "--yes", timeout=1200, **here)
    assert "Nobody has written yet." in request(free_port)
    for author in ("Ada", "Grace"):
        assert f"<b>{author}</b>" in request(free_port, {"author": author, "text": f"hello from {author} & <others>"})
    assert [row["health"] for row in cli.json("ps") if row["resource"] != "job.migrate"] == ["healthy"] * 4

    # nginx is on a network that leads out, the database on an internal one alone
    reach_out = "timeout 10 bash -c 'exec 3<>/dev/tcp/deb.debian.org/80'"
    assert cli("exec", "nginx", "sh", "-c", reach_out, **here).stderr == ""
    assert cli("exec", "db", "sh", "-c", reach_out, code=None, **here).returncode != 0

    # what the secrets hold is nowhere but in memory
    for path in cli.root.rglob("*"):
        if path.is_file() and not path.is_symlink() and path.stat().st_size < 1 << 20 and "/cache/" not in str(path):
            content = path.read_bytes()
            held = [name for name, value in SECRETS.items() if value.encode() in content]
            assert held == [] or str(path).startswith(f"{cli.root}/secrets/"), (path, held)

    assert cli(
        "plan", "--detailed-exitcode", cwd=here["cwd"], environment={"STACKPY_VAR_port": str(free_port)}
    ).stdout == ("guestbook on embedded · generation 1 · nothing to change\n")
    cli("destroy", "--yes", **here)
    assert cli.json("ps") == []
    applied = cli("apply", "--yes", **here)
    assert "building" not in applied.stderr  # the images were kept
    page = request(free_port)
    assert "hello from Ada &amp; &lt;others&gt;" in page
    assert page.index("<b>Grace</b>") < page.index("<b>Ada</b>")
    assert "2 steps, 2 of them done before" in cli("logs", "migrate", **here).stdout
