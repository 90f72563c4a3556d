"""Hostile stages, images, archives and repositories against COPY --from and ADD.

Rows of THREATS.md: 2024-1753, 2024-9407 (sources that are links of another image), 2024-24557 (a cache that takes one
image for another), 2019-14271 and its kin (an archive's own programs are never run: unpacking is ours).
"""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from stackpy_runtime.build import repositories, unpacking
from stackpy_runtime.errors import EngineError, InvalidConfig
from stackpy_runtime.image.limits import DEFAULT
from stackpy_runtime.store import layers
from tests.build_lab import Builder, add, file, of_stage, source, step

pytestmark = pytest.mark.root


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A folder of the host with a file that no image may get."""
    folder = tmp_path / "host"
    folder.mkdir()
    (folder / "secret").write_text("host secret")
    return folder


def evil(builder: Builder, secret: Path) -> str:
    """An image full of links to the host; its reference."""
    staged = layers.stage(builder.store.root)
    top = Path(staged) / "upper"
    (top / "dir").mkdir()
    (top / "absolute").symlink_to(secret)
    (top / "relative").symlink_to("../" * 40 + str(secret).lstrip("/"))
    (top / "process").symlink_to("/proc/self/root" + str(secret))
    (top / "file").symlink_to(secret / "secret")
    (top / "loop").symlink_to("loop")
    (top / "dir/inner").symlink_to(secret)
    (top / "dir/up").symlink_to("../../../..")
    layers.commit(builder.store.root, staged, "evil")
    builder.store.put_image(
        {
            "id": f"sha256:{'e' * 64}", "references": ["evil:latest"], "layers": ["evil"], "config": {}, "history": [],
            "recipe": "", "architecture": "amd64", "size": 0, "created": "2024-01-01T00:00:00Z",
        }
    )  # fmt: skip
    return "evil:latest"


def taken(reference: str, *paths: str, **fields: Any) -> Any:
    return step("copy", sources=list(paths[:-1]), target=paths[-1], from_image=reference, **fields)


LEAKS = ["absolute/secret", "relative/secret", "process/secret", "file", "dir/inner/secret", "loop/x"]


@pytest.mark.parametrize("path", LEAKS)
def test_2024_1753_a_link_of_another_image_shows_nothing_of_the_host(path: str, builder: Builder, secret: Path) -> None:
    image = source(taken(evil(builder, secret), path, "/x"))
    with pytest.raises(InvalidConfig) as refused:
        builder.build(image)
    assert "is not in `evil:latest`" in refused.value.message or "cannot be read" in refused.value.message


def test_2024_1753_a_pattern_finds_nothing_of_the_host_behind_a_link(builder: Builder, secret: Path) -> None:
    built = builder.build(source(taken(evil(builder, secret), "absolute/*", "/x/")))
    assert [path for path in builder.tree(built) if "secret" in path] == []


def test_2024_1753_links_in_a_folder_come_as_links(builder: Builder, secret: Path) -> None:
    built = builder.build(source(taken(evil(builder, secret), "dir", "/x/")))
    assert builder.tree(built) == {"x": "755 0:0", "x/inner": f"-> {secret}", "x/up": "-> ../../../.."}


def test_2024_9407_what_is_copied_over_a_link_stays_in_the_image(builder: Builder, secret: Path) -> None:
    base: Any = {"kind": "image", "reference": evil(builder, secret)}
    stages: Any = {"made": source(file("/new", "1"))}
    steps = [of_stage("made", "new", f"/{name}/") for name in ("absolute", "relative")]
    image: Any = {**source(*steps, step("workdir", target="/absolute/deeper"), base=base), "stages": stages}
    tree = builder.tree(builder.build(image))
    assert tree[f"{str(secret)[1:]}/new"] == "644 0:0 1"
    assert sorted(os.listdir(secret)) == ["secret"]


def archive(*names: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = 1
            tar.addfile(info, io.BytesIO(b"x"))
    return out.getvalue()


def test_an_archive_is_unpacked_over_links_of_the_image_into_the_image(
    builder: Builder, secret: Path, tmp_path: Path
) -> None:
    (tmp_path / "data.tar").write_bytes(archive("inner/file", "other"))
    base: Any = {"kind": "image", "reference": evil(builder, secret)}
    added = add(tmp_path, "data.tar", "/dir/")
    tree = builder.tree(builder.build(source(added, base=base)))
    assert tree[f"{str(secret)[1:]}/file"].startswith("644") and tree["dir/other"].startswith("644")
    assert sorted(os.listdir(secret)) == ["secret"]


def test_2019_14271_programs_of_the_image_do_not_unpack(builder: Builder, tmp_path: Path) -> None:
    """An image's own xz, and modules of Python in its place, are not what the host runs."""
    packed = subprocess.run(["xz", "-c"], input=archive("inside"), capture_output=True, check=True).stdout
    (tmp_path / "data").write_bytes(packed)
    canary = tmp_path / "canary"
    script = f"#!/bin/sh\ntouch {canary}\n"
    programs = [file(f"/usr/bin/{name}", script, mode=0o755) for name in ("xz", "unxz", "tar", "gzip")]
    modules = [file(f"/{name}.py", f"open({str(canary)!r}, 'w')") for name in ("lzma", "tarfile", "bz2")]
    added = add(tmp_path, "data", "/")
    tree = builder.tree(builder.build(source(*programs, *modules, added)))
    assert tree["inside"].startswith("644") and not canary.exists()


@pytest.mark.parametrize("program", ["gzip", "xz", "bzip2", "zstd"])
def test_a_bomb_is_refused_before_it_has_filled_the_disk(
    program: str, builder: Builder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A thousandth of the real limits, for a bomb that is quickly made.
    monkeypatch.setattr(unpacking, "_LIMITS", DEFAULT._replace(ratio_from=8 << 20))
    info = tarfile.TarInfo("zeros")
    info.size = 16 << 20
    zeros = info.tobuf() + bytes(info.size + 1024)
    packed = subprocess.run([program, "-c"], input=zeros, capture_output=True, check=True).stdout
    (tmp_path / "bomb").write_bytes(packed)
    with pytest.raises(EngineError) as refused:
        builder.build(source(add(tmp_path, "bomb", "/")))
    assert "times its size" in refused.value.message


def test_a_repository_s_link_leads_to_no_folder_of_the_host(
    builder: Builder, secret: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = tmp_path / "repository"
    repository.mkdir()
    (repository / "docs").symlink_to(secret)
    (repository / "page").write_text("1")
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "one"]):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", "-C", str(repository), *identity, *command], check=True, capture_output=True)

    def local(address: str) -> tuple[str, str, str]:
        return f"file://{repository}", "", address.partition(":")[2].rpartition(":")[2]

    monkeypatch.setattr(repositories, "_repository", local)
    whole = source(step("add", sources=[], git=["x:"], target="/src"))
    assert builder.tree(builder.build(whole)) == {
        "src": "755 0:0",
        "src/docs": f"-> {secret}",
        "src/page": "644 0:0 1",
    }
    with pytest.raises(EngineError) as refused:
        builder.build(source(step("add", sources=[], git=["x:docs"], target="/src")))
    assert "there is no folder `docs`" in refused.value.message


SETTINGS: dict[str, tuple[Any, Any]] = {
    "healthcheck": ({"healthcheck": {"Test": ["CMD", "a"]}}, {"healthcheck": {"Test": ["CMD", "b"]}}),
    "onbuild": ({"value": "RUN a"}, {"value": "RUN b"}),
    "shell": ({"argv": ["/bin/a", "-c"]}, {"argv": ["/bin/b", "-c"]}),
    "volume": ({"targets": ["/a"]}, {"targets": ["/b"]}),
    "stopsignal": ({"value": "SIGINT"}, {"value": "SIGQUIT"}),
    "maintainer": ({"value": "a"}, {"value": "b"}),
}


@pytest.mark.parametrize("kind", SETTINGS)
def test_2024_24557_the_cache_takes_no_image_for_another(kind: str, builder: Builder) -> None:
    fields = SETTINGS[kind]
    first, second = (builder.build(source(file("/a", "1"), step(kind, **each))) for each in fields)
    plain = builder.build(source(file("/a", "1")))
    assert len({first["id"], second["id"], plain["id"]}) == 3
    assert first["layers"] == second["layers"] == plain["layers"]
    shown = [(each["config"], each.get("author", "")) for each in (first, second, plain)]
    assert shown[0] != shown[1] != shown[2] != shown[0]
