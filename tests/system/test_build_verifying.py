"""Whether a recipe makes the same files again: each difference, told of the step that makes it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from stackpy_runtime.build import verifying
from stackpy_runtime.model import ImageSource
from tests.build_lab import Builder, copy, of_stage, run, source, step

pytestmark = pytest.mark.root

HOST: Any = {"kind": "host", "programs": ["sh", "cat", "ls", "touch", "mkdir", "rm", "ln", "chmod", "chown"]}
# What stands in a cache folder is there the second time.
TWICE = """
if [ -e /cache/again ]; then
    chmod 700 /d/mode; chown 1:2 /d/owner; ln -sf two /d/link; echo longer > /d/size; touch /d/new
    rm /d/gone /etc/passwd
fi
touch /cache/again
"""


def _other(path: str) -> str:
    """A script that writes another content the second time."""
    return f"if [ -e /cache/other ]; then echo 2; else echo 1; fi > {path}; touch /cache/other"


def _verify(builder: Builder, image: ImageSource) -> list[tuple[str, str, str]]:
    built = builder.build(image, tags=["app"])
    before = (builder.tree(built), sorted(os.listdir(builder.store.root.layers)), builder.store.images())
    found = verifying.verify(
        builder.store,
        image,
        builder.resolve(image),
        built,
        runner=builder.run,
        progress=lambda event: None,
        options={},
    )
    assert (builder.tree(built), sorted(os.listdir(builder.store.root.layers)), builder.store.images()) == before
    return [(each["line"], each["path"], each["what"]) for each in found]


def test_each_file_that_differs_in_each_way(builder: Builder) -> None:
    image = source(
        run("mkdir /d; cd /d; touch mode owner gone; ln -s one link; echo 1 > size", line=3),
        run(f"{_other('/d/random')}; {TWICE}", line=4, cache=["/cache"]),
        run("cat /d/random > /copied", line=9),
        base=HOST,
    )
    assert _verify(builder, image) == [
        ("stack.py:4", "/d/gone", "only the second time"),
        ("stack.py:4", "/d/link", "only the second time"),
        ("stack.py:4", "/d/mode", "only the second time"),
        ("stack.py:4", "/d/new", "only the second time"),
        ("stack.py:4", "/d/owner", "only the second time"),
        ("stack.py:4", "/d/random", "content"),
        ("stack.py:4", "/d/size", "only the second time"),
        ("stack.py:4", "/etc/passwd", "only the second time"),
    ]


def test_in_what_the_files_of_one_step_differ(builder: Builder) -> None:
    make = "mkdir /d; cd /d; touch mode owner gone; ln -s one link; echo 1 > size; cat /etc/passwd > /dev/null"
    image = source(run(f"{make}; {TWICE.replace(' /etc/passwd', '')}", line=4, cache=["/cache"]), base=HOST)
    assert _verify(builder, image) == [
        ("stack.py:4", "/d/gone", "only the first time"),
        ("stack.py:4", "/d/link", "target"),
        ("stack.py:4", "/d/mode", "mode 644, then 700"),
        ("stack.py:4", "/d/new", "only the second time"),
        ("stack.py:4", "/d/owner", "owner"),
        ("stack.py:4", "/d/size", "size 2, then 7"),
    ]


def test_what_is_the_same_again_and_stages_that_are_not(builder: Builder, tmp_path: Path) -> None:
    (tmp_path / "app").write_text("app")
    image = source(
        step("workdir", target="/app"),
        copy(tmp_path, "app", "./"),
        run("touch now; rm app"),
        of_stage("tool", "/tool", "/tool"),
        step("cmd", argv=["sh"]),
        base=HOST,
    )
    image["stages"] = {"tool": source(run("echo 1 > /tool"), base=HOST)}
    assert _verify(builder, image) == []
    image["stages"]["tool"] = source(run(_other("/tool"), line=8, cache=["/cache"]), base=HOST)
    assert _verify(builder, image) == [("stack.py:8", "/tool", "content")]
