from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stackpy import Volume
from stackpy.dsl import mounts
from stackpy.dsl.values import Invalid

DATA = Volume("data")


def mount(kind: str, source: str, target: str, read_only: bool = False, **more: Any) -> dict[str, Any]:
    return {"type": kind, "source": source, "target": target, "read_only": read_only, **more}


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        ("./src:/app:ro", mount("bind", "./src", "/app", True)),
        ("../src:/app", mount("bind", "../src", "/app")),
        ("/srv/data:/data:rw", mount("bind", "/srv/data", "/data")),
        ("~/data:/data", mount("bind", "~/data", "/data")),
        (".:/app", mount("bind", ".", "/app")),
        ("data:/var/lib/data/", mount("volume", "data", "/var/lib/data")),
        ("/cache", mount("volume", "", "/cache")),
        ({"type": "bind", "source": "./a", "target": "/b"}, mount("bind", "./a", "/b")),
        ({"type": "bind", "source": "a", "target": "/b"}, mount("bind", "./a", "/b")),
        ({"type": "bind", "source": "/a", "target": "/b", "owner": "plain"}, mount("bind", "/a", "/b", owner="plain")),
        ({"type": "volume", "source": DATA, "target": "/b", "read_only": True}, mount("volume", "data", "/b", True)),
        ({"type": "volume", "target": "/b"}, mount("volume", "", "/b")),
        (
            {"type": "tmpfs", "target": "/b", "tmpfs": {"exec": True}},
            mount("tmpfs", "", "/b", executable=True),
        ),
        ({"type": "tmpfs", "target": "/b", "tmpfs": {"exec": False}}, mount("tmpfs", "", "/b")),
        ("./src:/app:ro,rslave", mount("bind", "./src", "/app", True, propagation="rslave")),
        ("./src:/app:rprivate", mount("bind", "./src", "/app")),
        ("data:/x:nocopy", mount("volume", "data", "/x", nocopy=True)),
        ("data:/x:nocopy,ro", mount("volume", "data", "/x", True, nocopy=True)),
        (
            {
                "type": "bind",
                "source": "/a",
                "target": "/b",
                "bind": {"propagation": "shared", "recursive": "disabled", "create_host_path": False},
            },
            mount("bind", "/a", "/b", propagation="shared", recursive="disabled"),
        ),
        (
            {
                "type": "bind",
                "source": "/a",
                "target": "/b",
                "bind": {"propagation": "rprivate", "recursive": "enabled"},
            },
            mount("bind", "/a", "/b"),
        ),
        (
            {"type": "volume", "source": "v", "target": "/b", "volume": {"nocopy": True, "subpath": "./a//b/"}},
            mount("volume", "v", "/b", nocopy=True, subpath="a/b"),
        ),
        (
            {"type": "tmpfs", "target": "/b", "tmpfs": {"size": "1m", "mode": 0o1777}},
            mount("tmpfs", "", "/b", size=2**20, mode=0o1777),
        ),
    ],
)
def test_entries(given_: Any, expected: dict[str, Any]) -> None:
    assert mounts.entry(given_) == expected


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        (DATA, "/x", mount("volume", "data", "/x")),
        (DATA, "/x:ro", mount("volume", "data", "/x", True)),
        ("data", "/x", mount("volume", "data", "/x")),
        ("./src", "/x", mount("bind", "./src", "/x")),
    ],
)
def test_mappings(source: Any, target: str, expected: dict[str, Any]) -> None:
    assert mounts.mapped(source, target) == expected


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        ("/run", mount("tmpfs", "", "/run")),
        ("/run:size=64m,mode=1777", mount("tmpfs", "", "/run", size=64 * 2**20, mode=0o1777)),
        ("/run:ro", mount("tmpfs", "", "/run", True)),
    ],
)
def test_tmpfs(given_: str, expected: dict[str, Any]) -> None:
    assert mounts.tmpfs(given_) == expected


@pytest.mark.parametrize(
    ("given_", "message", "hint"),
    [
        ("data:relative", 'has a target that must be an absolute path, not "relative"', ""),
        ("data:/", 'has a target that must be a path below `/`, not "/"', ""),
        ("data:/a/../b", 'has a target that must be a path without `..`, not "/a/../b"', ""),
        ("src/app:/app", 'has a source that is neither a path nor a volume\'s name: "src/app"',
         'a path begins with `./`: "./src/app"'),
        ("data:/a:z", "has the option `z`, which relabels files for SELinux", "leave it out"),
        ("data:/a:rx", "has an unknown option `rx`", "the options are `ro`, `rw` or `nocopy`"),
        ("./a:/a:rx", "has an unknown option `rx`",
         "the options are `ro`, `rw`, `rprivate`, `private`, `rshared`, `shared`, `rslave` or `slave`"),
        ("data:/a:rslave", "has the option `rslave`, which only a folder of the host can have", "leave it out"),
        ("./a:/a:nocopy", "has the option `nocopy`, which only a volume can have", "leave it out"),
        ("./a:/a:ro,rw", "has two options of one kind: `ro,rw`", "leave one out"),
        ("./a:/a:slave,rslave", "has two options of one kind: `slave,rslave`", "leave one out"),
        ("data:/a:cached", "has an unknown option `cached`", "Docker Desktop has it; leave it out"),
        ({"type": "volume", "target": "/a", "bind": {}}, "has an unknown key `bind` for a volume",
         "only a bind has it"),
        ({"type": "bind", "source": "/a", "target": "/a", "bind": {"propagation": "slaves"}},
         'must be `rprivate`, `private`, `rshared`, `shared`, `rslave` or `slave`, not "slaves"',
         "did you mean `slave`?"),
        ({"type": "bind", "source": "/a", "target": "/a", "bind": {"create_host_path": True}},
         "would make a folder of the host where none is", "make it before"),
        ({"type": "bind", "source": "/a", "target": "/a", "bind": {"selinux": "z"}},
         "has an unknown key `selinux`", "it relabels files for SELinux: leave it out"),
        ({"type": "bind", "source": "/a", "target": "/a", "bind": {"recursive": "readonly"}},
         "is `readonly` of a mount that can be written", "add read_only=True"),
        ({"type": "volume", "source": "v", "target": "/a", "volume": {"subpath": "../x"}},
         'must be a path in the volume, such as `a/b`, not "../x"', ""),
        ({"type": "volume", "source": "v", "target": "/a", "volume": {"subpath": "/x"}},
         'must be a path in the volume, such as `a/b`, not "/x"', ""),
        ({"type": "volume", "source": "v", "target": "/a", "volume": {"labels": {}}},
         "has an unknown key `labels`", 'say it of the volume: Volume("name", labels={…})'),
        ({"type": "volume", "source": "v", "target": "/a", "volume": ["nocopy"]},
         "must be a mapping with `nocopy` and `subpath`, not ['nocopy']", ""),
        ({"type": "volume", "target": "/a", "volume": {"subpath": "x"}},
         "has a subpath of a volume without a name, which is empty", "name the volume"),
        ("a:/b:ro:c", f'must be {mounts.EXPECTED}, not "a:/b:ro:c"', ""),
        (":/b", f'must be {mounts.EXPECTED}, not ":/b"', ""),
        (DATA, "has no target", 'write {data: "/path"}'),
        (5, f"must be {mounts.EXPECTED}, not 5", ""),
        ({"type": "npipe"}, 'has a `type` that must be `bind`, `volume` or `tmpfs`, not "npipe"', ""),
        ({"type": "volume", "sauce": "x", "target": "/a"}, "has an unknown key `sauce` for a volume",
         "did you mean `source`?"),
    ],
)  # fmt: skip
def test_refusals(given_: Any, message: str, hint: str) -> None:
    with pytest.raises(Invalid) as caught:
        mounts.entry(given_)
    assert (caught.value.message, caught.value.hint) == (message, hint)


SEGMENTS = st.text(alphabet="abcXYZ019_.-", min_size=1, max_size=8).filter(lambda text: set(text) != {"."})
TARGETS = st.lists(SEGMENTS, min_size=1, max_size=3).map(lambda parts: "/" + "/".join(parts))


@given(st.sampled_from(["./", "../", "/", "~/"]), SEGMENTS, TARGETS, st.sampled_from(["", ":ro", ":rw"]))
def test_short_binds(start: str, name: str, target: str, mode: str) -> None:
    assert mounts.entry(f"{start}{name}:{target}{mode}") == mount("bind", start + name, target, mode == ":ro")


@given(st.text(alphabet="ab/.:~,ro=", max_size=16))
def test_anything_is_a_mount_or_refused(text: str) -> None:
    for parser in (mounts.entry, mounts.tmpfs):
        try:
            found = parser(text)
        except Invalid as invalid:
            assert invalid.message
        else:
            assert found["target"].startswith("/")
            assert ".." not in found["target"].split("/")
