"""Control groups of version 2: what is written and read, on a folder in place of the kernel's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stackpy_runtime.container.cgroups import Group, Layout
from stackpy_runtime.errors import KernelError, Unsupported

FILES = ("memory.max", "memory.swap.max", "cpu.max", "pids.max", "cgroup.procs", "cgroup.kill")


@pytest.fixture(name="host")
def host_fixture(tmp_path: Path) -> Path:
    """A hierarchy in which one root's own group is there already."""
    group = Group("stackpy-1a2b", "web", Layout(2, {"": str(tmp_path)}))
    for folder in (tmp_path, tmp_path / group.parent):
        folder.mkdir(exist_ok=True)
        (folder / "cgroup.subtree_control").touch()
    return tmp_path


def made(host: Path, *missing: str) -> tuple[Group, Path]:
    """A group whose folder the kernel would have filled."""
    group = Group("stackpy-1a2b", "web", Layout(2, {"": str(host)}))
    folder = host / group.name
    folder.mkdir()
    for name in FILES:
        if name not in missing:
            (folder / name).touch()
    return group, folder


def written(folder: Path) -> dict[str, str]:
    return {path.name: text for path in folder.iterdir() if (text := path.read_text())}


def test_a_group_lies_in_that_of_its_root(host: Path) -> None:
    group, folder = made(host)
    assert group.create() == [f"{folder}/cgroup.procs"]
    group.limit({"mem_limit": 64 << 20, "cpus": 0.25, "pids_limit": 10})
    assert folder.parent.parent == host and folder.parent.name.startswith("stackpy-")
    assert written(folder) == {
        "memory.max": "67108864",
        "memory.swap.max": "0",
        "cpu.max": "25000 100000",
        "pids.max": "10",
    }
    other = Group("stackpy-3c4d", "web", Layout(2, {"": str(host)}))
    assert other.name != group.name


def test_the_controllers_are_handed_down_when_a_root_has_its_first_group(tmp_path: Path) -> None:
    (tmp_path / "cgroup.subtree_control").touch()
    group = Group("stackpy-1a2b", "web", Layout(2, {"": str(tmp_path)}))
    assert group.create() == [f"{tmp_path}/{group.name}/cgroup.procs"]
    # The kernel adds each; a plain file has the last over the others.
    assert (tmp_path / "cgroup.subtree_control").read_text().startswith("+pids")
    assert group.create()


def test_no_limit_writes_nothing_at_first_and_lifts_them_later(host: Path) -> None:
    group, folder = made(host)
    group.create()
    assert written(folder) == {}
    group.limit({"mem_limit": 1 << 24, "cpus": 2.0, "pids_limit": 5})
    group.limit({}, {"mem_limit": 1 << 24, "cpus": 2.0, "pids_limit": 5})
    lifted = {name: written(folder)[name] for name in ("memory.max", "memory.swap.max", "pids.max")}
    # Plain files are not cut: what counts is how each begins.
    assert {name: text[:3] for name, text in lifted.items()} == dict.fromkeys(lifted, "max")
    assert written(folder)["cpu.max"].startswith("max 100000")


@pytest.mark.parametrize(
    ("missing", "limits", "said"),
    [
        ("memory.max", {"mem_limit": 1 << 24}, "memory"),
        ("cpu.max", {"cpus": 1.0}, "cpu"),
        ("pids.max", {"pids_limit": 5}, "pids"),
    ],
)
def test_a_limit_that_the_host_does_not_offer_is_refused(host: Path, missing: str, limits: Any, said: str) -> None:
    group, _ = made(host, missing)
    with pytest.raises(Unsupported, match=said):
        group.limit(limits)
    group.limit({})
    every: Any = {"mem_limit": 1 << 24, "cpus": 1.0, "pids_limit": 5}
    group.limit({key: value for key, value in every.items() if key not in limits})  # type: ignore[arg-type]


def test_without_swap_accounting_memory_is_limited_all_the_same(host: Path) -> None:
    group, folder = made(host, "memory.swap.max")
    group.limit({"mem_limit": 1 << 24})
    assert written(folder) == {"memory.max": str(1 << 24)}


def test_killing_reading_and_removing(host: Path) -> None:
    group, folder = made(host)
    group.kill()
    assert (folder / "cgroup.kill").read_text() == "1"
    (folder / "cgroup.procs").write_text("12\n345\n")
    assert group.processes() == [12, 345]
    assert group.oom_kills() == 0
    (folder / "memory.events").write_text("low 0\nhigh 3\nmax 9\noom 2\noom_kill 4\noom_group_kill 0\n")
    assert group.oom_kills() == 4
    gone = Group("stackpy-1a2b", "gone", Layout(2, {"": str(host)}))
    gone.kill()
    assert (gone.processes(), gone.oom_kills(), gone.remove()) == ([], 0, True)


def test_what_the_kernel_refuses_is_told_with_file_and_value(host: Path) -> None:
    group, folder = made(host)
    (folder / "pids.max").unlink()
    (folder / "pids.max").mkdir()
    with pytest.raises(KernelError, match=r"write 5 to .*/pids\.max: is a directory"):
        group.limit({"pids_limit": 5})


def test_a_host_without_control_groups_is_told_what_to_do() -> None:
    with pytest.raises(Unsupported) as raised:
        Group("stackpy-1a2b", "web", Layout(2, {}))
    assert "mount" in raised.value.hint
