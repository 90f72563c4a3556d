"""`stackpy build --output`: folders, tars, archives, registries; of Dockerfiles and of a stack's images."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.registry_lab import docker_registry

pytestmark = pytest.mark.root

DOCKERFILE = """\
FROM box AS made
RUN echo binary >/binary
FROM scratch AS only
COPY --from=made --chown=5:6 /binary /bin/tool
FROM box
COPY --from=only /bin/tool /tool
CMD ["cat", "/tool"]
"""


def names(box: Any) -> set[str]:
    return {row["reference"] for row in box.json("image", "ls")}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    return tmp_path


def test_outputs_of_a_dockerfile(box: Any, place: Path) -> None:
    made = box("build", "-t", "out:1", "--target", "only", "-o", "dist", "-o", "type=tar,dest=t.tar", ".", cwd=place)
    assert (place / "dist/bin/tool").read_text() == "binary\n"
    assert made.stdout == ""
    # The name is not given: docker keeps no image either.
    assert "out:1" not in names(box)
    with tarfile.open(place / "t.tar") as archive:
        assert (archive.getmember("bin/tool").uid, archive.getmember("bin/tool").gid) == (5, 6)
    command = [*box.program, "build", "-q", "--target", "only", "-o", "-", "."]
    streamed = subprocess.run(command, cwd=place, env=box.environment, capture_output=True, check=True)
    assert streamed.stdout == (place / "t.tar").read_bytes()
    assert streamed.stderr == b""
    box("build", "-t", "out:1", "-o", "type=oci,dest=oci.tar", "-o", "type=docker,dest=d.tar", "--load", ".", cwd=place)
    assert "out:1" in names(box)
    for kind in ("oci-archive:oci.tar", "docker-archive:d.tar"):
        shown = subprocess.run(["skopeo", "inspect", "--config", kind], cwd=place, capture_output=True, check=True)
        assert json.loads(shown.stdout)["config"]["Cmd"] == ["cat", "/tool"]
    with tarfile.open(place / "d.tar") as archive:
        (described,) = json.load(archive.extractfile("manifest.json") or io.BytesIO())
    assert described["RepoTags"] == ["out:1"]
    box("build", "-o", "type=oci,dest=layout,tar=false", ".", cwd=place)
    assert (place / "layout/oci-layout").exists()


def test_what_cannot_be_written_is_said_before_anything_is_built(box: Any, place: Path) -> None:
    for given, said in (
        (["-o", "type=tar,dest=."], "is a folder"),
        (["--push"], "needs a name to be pushed"),
        (["-o", "type=local,dest=x,mode=1"], "knows no `mode`"),
    ):
        failed = box("build", *given, ".", cwd=place, code=64)
        assert said in failed.stderr
        assert "step" not in failed.stderr


def test_push_and_metadata(box: Any, place: Path, tmp_path: Path) -> None:
    (tmp_path / "registry").mkdir()
    with docker_registry(tmp_path / "registry") as registry:
        name = registry.name("shop/tool:1")
        pushed = box("build", "-t", name, "--push", "--metadata-file", "m.json", ".", cwd=place)
        assert f"pushed {name}@sha256:" in pushed.stderr
        config = json.loads(registry.skopeo("inspect", "--config", f"docker://{name}"))
        assert config["config"]["Cmd"] == ["cat", "/tool"]
        metadata = json.loads((place / "m.json").read_text())
        raw = json.loads(registry.skopeo("inspect", "--raw", f"docker://{name}"))
        assert metadata["image.name"] == name
        assert metadata["containerimage.config.digest"] == raw["config"]["digest"]
        assert f"pushed {name}@{metadata['containerimage.digest']}" in pushed.stderr
        other = registry.name("shop/other:2")
        box("build", "-o", f"type=image,name={other},push=true", ".", cwd=place)
        assert other in names(box)
        assert registry.skopeo("inspect", "--raw", f"docker://{other}")


def test_outputs_and_verify_of_a_stack(box: Any, tmp_path: Path) -> None:
    (tmp_path / "stack.py").write_text(
        "from stackpy import Image, Stack\n"
        'Stack("results")\n'
        'Image("box").run("echo same >/same").tag("same:1")\n'
        'Image("box").run("cat /proc/sys/kernel/random/uuid >/other").tag("other:1")\n'
    )
    failed = box("build", "-o", "out", cwd=tmp_path, code=64)
    assert "takes one image, and 2 are built" in failed.stderr
    box("build", "same:1", "-o", "out", cwd=tmp_path)
    assert (tmp_path / "out/same").read_text() == "same\n"
    box("build", "same:1", "-o", "type=oci,dest=same.tar", cwd=tmp_path)
    with tarfile.open(tmp_path / "same.tar") as archive:
        index = json.load(archive.extractfile("index.json") or io.BytesIO())
    assert index["manifests"][0]["annotations"]["io.containerd.image.name"] == "docker.io/library/same:1"
    unlike = box("build", "--verify", cwd=tmp_path, code=1)
    assert "image.same:1: every step made the same files again" in unlike.stderr
    assert "/other: content" in unlike.stdout
    assert box.json("build", "same:1", "--verify", cwd=tmp_path) == []
