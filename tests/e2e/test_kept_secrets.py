"""Values of secrets are in no generation, no plan in any form, no saved plan, no history and no file of the root."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.conftest import Cli

pytestmark = pytest.mark.root

# Secrets as they should be; others where they do not belong, under names that tell; and one word that is none.
STACK = """
from stackpy import BuildMount, Container, Image, Secret, Stack, var
Stack("hiding")
n = var("n", default="1")
secrets = [Secret("a", env="A"), Secret("b", file="b.txt"), Secret("c", command=["cat", "c.txt"])]
image = (
    Image("box").run("cat /run/secrets/a > /dev/null; echo " + n, mounts=[BuildMount.secret("a")])
    .run("true https://u:mk-step" + n + "@host/x")
    .env(IMAGE_PASSWORD="mk-image" + n).label({"image.token": "mk-token" + n}).env(OPEN="open" + n)
)
Container(
    "web", image=image, secrets=secrets, stop_grace_period=0,
    command=["sh", "-c", "exec sleep 1000", "postgres://u:mk-command" + n + "@db/x"],
    environment={"DB_PASSWORD": "mk-environment" + n, "DSN": "postgres://u:mk-url" + n + "@db/x",
                 "PLAIN": var("password"), "OPEN": "open" + n},
    labels={"api.token": "mk-label" + n},
)
"""
MARK, OPEN = b"mk-", b"open"


def found(folder: Path, mark: bytes, apart: str = "") -> list[str]:
    """The files below a folder that hold a word; not those in a folder `apart`."""
    hits = []
    for base, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name != apart]
        for path in (Path(base, name) for name in names):
            if path.is_file() and not path.is_symlink() and mark in path.read_bytes():
                hits.append(str(path.relative_to(folder)))
    return hits


def test_secrets_are_in_nothing_that_is_shown_or_kept(box: Cli, tmp_path: Path) -> None:
    folder, out = tmp_path / "stack", tmp_path / "out"
    folder.mkdir()
    out.mkdir()
    (folder / "stack.py").write_text(STACK)
    for number in "123":
        box.environment |= {"A": f"mk-a{number}", "STACKPY_VAR_password": f"mk-var{number}"}
        (folder / "b.txt").write_text(f"mk-b{number}")
        (folder / "c.txt").write_text(f"mk-c{number}")
        chosen = ("--set", f"n={number}")
        if number == "3":
            for form in ("text", "json", "markdown", "html", "dot", "mermaid"):
                (out / f"plan.{form}").write_text(box("plan", *chosen, "--format", form, cwd=folder).stdout)
            box("plan", *chosen, "--out", str(out / "saved"), cwd=folder)
            for form in ("text", "json", "html"):
                (out / f"show.{form}").write_text(box("show", str(out / "saved"), "--format", form).stdout)
            (out / f"why{number}").write_text(box("why", "container.web", *chosen, cwd=folder).stdout)
        done = box("apply", *chosen, "--yes", cwd=folder)
        (out / f"apply{number}").write_text(done.stdout + done.stderr)
    done = box("rollback", "2", "--yes", cwd=folder)
    (out / "rollback").write_text(done.stdout + done.stderr)
    assert "environment.DB_PASSWORD, environment.DSN, environment.PLAIN keep their values of now" in done.stdout
    for number in ("1", "2", "3", "4"):
        (out / f"history{number}").write_text(box("history", number, cwd=folder).stdout)
    (out / "history.json").write_text(box("--format", "json", "history", cwd=folder).stdout)
    (out / "drift").write_text(box("drift", cwd=folder).stdout)
    try:
        assert found(out, MARK) == []
        assert found(box.root / "stacks", MARK) == []
        # that it would have been found
        assert {"plan.text", "plan.html", "saved", "history.json", "apply3"} <= set(found(out, OPEN))
        assert len(found(box.root / "stacks", OPEN)) == 4
        # values of secrets are in nothing on the disk at all, but for the tmpfs of their own
        for value in (b"mk-a3", b"mk-b3", b"mk-c3"):
            assert found(box.root, value, "secrets") == []
            assert found(box.root / "secrets", value) != []
        (document,) = box.json("inspect", "hiding-web-1")
        assert {"OPEN=open2", "DB_PASSWORD=mk-environment3", "PLAIN=mk-var3"} <= set(document["Config"]["Env"])
        assert box.json("plan", *chosen, cwd=folder)["changes"] != []

        # where nothing has the value any more, that is said
        box("destroy", "--yes", cwd=folder)
        told = box("rollback", "2", "--stack", "hiding", "--yes", cwd="/", code=1).stderr
        assert " of container.web may be a secret, which no generation keeps, and nothing that runs has it" in told
        box("rollback", "2", "--yes", *chosen, cwd=folder)
        (document,) = box.json("inspect", "hiding-web-1")
        assert {"OPEN=open2", "DB_PASSWORD=mk-environment3", "PLAIN=mk-var3"} <= set(document["Config"]["Env"])
        assert found(box.root / "stacks", MARK) == []
    finally:
        del box.environment["A"], box.environment["STACKPY_VAR_password"]
        box("destroy", "--stack", "hiding", "--images", "--yes")
