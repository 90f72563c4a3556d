"""What a container's start will do, as data."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stackpy_runtime.container import plan
from stackpy_runtime.errors import InvalidConfig
from stackpy_runtime.model import ContainerConfig, ImageConfig, Mount

IDS = st.integers(0, 65535)


@given(inside=IDS, outside=st.integers(0, 2**31))
def test_a_bind_map_is_one_to_one_and_gives_root_of_the_host_only_for_its_own_folders(
    inside: int, outside: int
) -> None:
    first = 1_900_000_000
    pairs = plan.bind_map(first, inside, outside)
    disk = [(start, start + count) for start, _, count in pairs]
    seen = sorted((to, to + count) for _, to, count in pairs)
    for spans in (disk, seen):
        assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))
    assert (outside, first + inside, 1) in pairs
    assert outside == 0 or all(start > 0 for start, _, _ in pairs)
    assert all(first <= to and to + count <= first + 65536 for _, to, count in pairs)


@pytest.mark.parametrize(
    ("config", "image", "expected"),
    [
        ({}, {"Entrypoint": ["e"], "Cmd": ["c"]}, ["e", "c"]),
        ({"command": ["x"]}, {"Entrypoint": ["e"], "Cmd": ["c"]}, ["e", "x"]),
        ({"entrypoint": ["y"]}, {"Entrypoint": ["e"], "Cmd": ["c"]}, ["y"]),
        ({"entrypoint": ["y"], "command": ["x"]}, {"Cmd": ["c"]}, ["y", "x"]),
        ({"entrypoint": [], "command": ["x"]}, {"Entrypoint": ["e"]}, ["x"]),
    ],
)
def test_argv(config: ContainerConfig, image: ImageConfig, expected: list[str]) -> None:
    assert plan.argv(config, image) == expected


def test_no_command_at_all_is_refused() -> None:
    with pytest.raises(InvalidConfig, match="no command"):
        plan.argv({"name": "a", "image": "b"}, {})


def test_environment_never_takes_from_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEAK", "host")
    config: ContainerConfig = {"name": "a", "image": "b", "environment": {"B": "own"}}
    image: ImageConfig = {"Env": ["A=1", "LEAK", "=x", "B=image", "C=a=b"]}
    assert plan.environment(config, image, "h") == {
        "PATH": plan.DEFAULT_PATH,
        "HOSTNAME": "h",
        "A": "1",
        "B": "own",
        "C": "a=b",
    }


@pytest.mark.parametrize(
    "target", ["/", "//", "/proc", "/proc/self/attr", "/sys", "/sys/fs", "/dev", "/a/../proc", "relative", "/x/../.."]
)
def test_targets_that_would_undo_the_sandbox(target: str) -> None:
    with pytest.raises(InvalidConfig):
        plan.check_target(target)


def test_mounts_come_outer_first_and_once() -> None:
    def tmpfs(target: str) -> Mount:
        return {"type": "tmpfs", "source": "", "target": target, "read_only": False}

    config: ContainerConfig = {"name": "a", "image": "b", "mounts": [tmpfs("/a/b/c"), tmpfs("/a")]}
    assert [mount["target"] for mount in plan.mounts(config, {})] == ["/a", "/a/b/c"]
    config["mounts"].append(tmpfs("/a/"))
    with pytest.raises(InvalidConfig, match="two mounts on `/a`"):
        plan.mounts(config, {})
