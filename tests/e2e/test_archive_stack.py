"""`Image.archive`: a stack on an image that `docker save` could have written, from plan to running container."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.image_archives import Built, as_tar
from tests.security.tar_building import Member, file, folder, hardlink, symlink, tar_of

pytestmark = pytest.mark.root

STACK = """
from stackpy import Container, Image, Job, Stack, Volume

Stack("boxed")
image = Image.archive("image.tar").env(ADDED="yes").tag("docker.io/me/boxed:1")
data = Volume("data")
show = Job("show", image=image, volumes={data: "/data"})
Container("web", image=image, command=["/bin/sleep", "1000"], volumes={data: "/data"}, depends_on=[show.completed])
"""


def program(path: str) -> list[Member]:
    """A program of the host with the libraries that it loads."""
    lines = subprocess.run(["ldd", path], capture_output=True, text=True, check=True).stdout
    found = sorted({match for line in lines.splitlines() for match in re.findall(r"(/\S+) \(", line)})
    return [file(each.lstrip("/"), data=Path(each).read_bytes(), mode=0o755) for each in (path, *found)]


@pytest.fixture
def built() -> Built:
    below = [
        *(member for name in ("sh", "cat", "sleep", "id") for member in program(f"/usr/bin/{name}")),
        symlink("bin", "usr/bin"),
        folder("data", 0o750, uid=1000, gid=1000),
        file("data/seed", data=b"seed\n", uid=1000, gid=1000),
        file("data/gone", data=b"gone\n"),
        file("etc/passwd", data=b"root:x:0:0::/:/bin/sh\napp:x:1000:1000::/:/bin/sh\n"),
        file("etc/group", data=b"app:x:1000:\n"),
        *(folder(name) for name in ("proc", "dev", "sys", "tmp")),
    ]
    above = [file("data/.wh.gone"), hardlink("data/linked", "data/seed"), file("bin/.wh.id")]
    config: dict[str, Any] = {
        "User": "app",
        "Env": ["PATH=/bin", "NAKED"],
        "Cmd": ["/bin/sh", "-c", "echo $ADDED ${NAKED-unset}; cat /data/*; : > /data/mine; id || echo no id"],
    }
    return Built([tar_of(below, ""), tar_of(above, "")], config=config)


@pytest.mark.parametrize("form", ["docker", "layout"])
def test_a_stack_on_an_archive(cli: Any, tmp_path: Path, built: Built, form: str) -> None:
    (tmp_path / "stack.py").write_text(STACK)
    as_tar(tmp_path / "image.tar", getattr(built, form)())
    cli("apply", "--yes", cwd=tmp_path)
    assert cli("logs", "show", cwd=tmp_path).stdout.splitlines() == ["yes unset", "seed", "seed", "no id"]
    assert cli("exec", "web", "sh", "-c", "echo /data/*", cwd=tmp_path).stdout == "/data/linked /data/mine /data/seed\n"
    assert "nothing to change" in cli("plan", cwd=tmp_path).stdout
    refused = cli("image", "rm", "me/boxed:1", code=1).stderr
    assert refused.splitlines()[0] == "error: image me/boxed:1: in use by container boxed-show-1, boxed-web-1"
    cli("destroy", "--yes", "--volumes", "--images", "--allow-data-loss", "volume.*", cwd=tmp_path)
    left = {path.name: sorted(each.name for each in path.iterdir()) for path in cli.root.iterdir() if path.is_dir()}
    assert (left["containers"], left["volumes"], left["staging"]) == ([], [], [])


def test_an_archive_that_is_refused_is_named_and_nothing_runs(cli: Any, tmp_path: Path, built: Built) -> None:
    (tmp_path / "stack.py").write_text(STACK)
    members = built.docker()
    members["1/layer.tar"] = tar_of([Member("n", "char", device=(4096, 0))], "")
    as_tar(tmp_path / "image.tar", members)
    result = cli("apply", "--yes", cwd=tmp_path, code=1)
    assert "layer 2 of 2: the device `n` has the number 4096:0, which is none" in result.stderr
    assert cli.json("ps", "-a") == []
    assert list((cli.root / "layers").iterdir()) == []
