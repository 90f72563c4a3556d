"""`system df`, `system prune` and `destroy --images`, on a stack and on what stands beside it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Cli
from tests.image_archives import Built, as_tar

pytestmark = pytest.mark.root

STACK = """\
from stackpy import Container, Image, Job, Volume
app = Image.host("sh", "sleep", "mkdir").run("echo {text} > /text")
data = Volume("data")
Container("web", image=app.tag("shop/web"), command=["sleep", "1000"], volumes={{data: "/data"}})
Job("once", image=app, command=["sh", "-c", "echo ran"])
"""


def _names(cli: Cli, what: str) -> list[str]:
    return sorted(row["name"] for row in cli.json(*what.split()))


def _du(path: Path) -> int:
    return int(subprocess.run(["du", "-s", "-B1", path], capture_output=True, check=True).stdout.split()[0])


def test_what_a_stack_owns_is_never_pruned_and_what_stands_beside_it_is(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "stack.py").write_text('from stackpy import Stack\nStack("shop")\n' + STACK.format(text="one"))
    cli("apply", "--yes", cwd=tmp_path)
    (tmp_path / "stack.py").write_text('from stackpy import Stack\nStack("shop")\n' + STACK.format(text="two"))
    cli("apply", "--yes", cwd=tmp_path)
    cli("create", "--name", "stray", "shop/web", "true")
    cli("run", "-d", "--name", "runs", "shop/web", "sleep", "1000")
    assert cli("system", "prune", code=1).stderr.startswith("error: nothing is pruned without being asked for")
    images = len(cli.json("image", "ls"))
    gone = cli.json("system", "prune", "-f", "-a", "--volumes")
    assert (gone["containers"], gone["networks"], gone["volumes"], gone["images"]) == (["stray"], [], [], [])
    assert len(cli.json("image", "ls")) == images  # the first build too: a kept generation ran it
    assert _names(cli, "ps") == ["runs", "shop-once-1", "shop-web-1"]
    assert "nothing to change" in cli("plan", cwd=tmp_path).stdout
    cli("rm", "-f", "runs")
    cli("destroy", "--yes", "--volumes", "--images", cwd=tmp_path)
    # and then nothing keeps the first build, nor what was made on the way to it
    assert cli.json("image", "ls") == []
    assert os.listdir(cli.root / "layers") == []


def test_the_figures_are_those_of_du(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "stack.py").write_text('from stackpy import Stack\nStack("shop")\n' + STACK.format(text="one"))
    cli("apply", "--yes", cwd=tmp_path)
    cli("exec", "shop-web-1", "sh", "-c", "echo 'x' > /file; for i in 1 2 3 4 5; do echo $i > /data/$i; done")
    shown = cli.json("system", "df")
    sizes = {row["type"]: row["size"] for row in shown["summary"]}
    expected = {
        "Images": sum(_du(cli.root / name) for name in ("layers", "blobs")),
        "Containers": sum(_du(path) for path in (cli.root / "containers").iterdir()),
        "Local Volumes": sum(_du(path) for path in (cli.root / "volumes").iterdir()),
    }
    # A folder's own block, of `layers` itself for example, is nobody's.
    for kind, counted in expected.items():
        assert abs(sizes[kind] - counted) <= max(counted * 0.02, 8192), (kind, sizes, expected)
    total = sum(sizes.values()) + shown["rest"]
    assert abs(total - _du(cli.root)) <= _du(cli.root) * 0.02
    lines = cli("system", "df").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["TYPE", "Images", "Containers", "Local", "Build"]
    info = cli.json("system", "info")
    assert (info["Containers"], info["ContainersRunning"], info["Images"]) == (2, 1, 1)
    assert f"Root Dir: {cli.root}" in cli("system", "info").stdout.splitlines()
    whole = cli("system", "df", "-v").stdout
    assert all(name in whole for name in ("shop/web:latest", "shop-web-1", "shop_data"))


def test_a_destroyed_stack_leaves_no_nameless_base_of_an_archive(cli: Cli, tmp_path: Path) -> None:
    as_tar(tmp_path / "base.tar", Built().docker())
    stack = 'from stackpy import Image, Stack\nStack("shop")\nImage.archive("base.tar").env(A="1").tag("shop/x")\n'
    (tmp_path / "stack.py").write_text(stack)
    cli("apply", "--yes", cwd=tmp_path)
    cli("destroy", "--yes", "--images", cwd=tmp_path)
    assert cli.json("image", "ls") == []
    assert os.listdir(cli.root / "layers") == []


def test_an_image_without_a_date_is_of_no_age(cli: Cli, tmp_path: Path) -> None:
    for created in ("", "0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "2026-01-01T10:00:00.5+02:00", "yesterday"):
        changes: dict[str, Any] = {"created": created}
        as_tar(tmp_path / "base.tar", Built(**changes).docker())
        cli("load", "-q", "-i", str(tmp_path / "base.tar"))
        age = cli("image", "ls").stdout.splitlines()[1].rpartition("   ")[2]
        assert (age == "N/A") == (not created.startswith("2026")), (created, age)
        cli("image", "rm", "-f", "me/app:1", "other")
