"""Which project a container's files get, and what is said where the file system has none."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from stackpy_runtime.errors import KernelError, Unsupported
from stackpy_runtime.host import storage_size
from stackpy_runtime.linux import quota


@pytest.fixture(name="disk")
def disk_fixture(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """A file system with project quotas: {"used": projects with files, "limits", "folders"}."""
    disk: dict[str, Any] = {"used": set(), "limits": {}, "folders": {}}
    monkeypatch.setattr(storage_size, "LOCK", str(tmp_path / "run/lock"))
    monkeypatch.setattr(quota, "in_use", lambda descriptor, project: project in disk["used"])
    monkeypatch.setattr(quota, "set_limit", lambda descriptor, project, size: disk["limits"].update({project: size}))
    monkeypatch.setattr(quota, "assign", lambda folder, project: disk["folders"].update({folder: project}))
    return disk


def test_all_that_a_container_writes_is_of_one_project(disk: dict[str, Any], tmp_path: Path) -> None:
    storage_size.bound(str(tmp_path), 1 << 30)
    (project,) = disk["limits"]
    assert disk["limits"] == {project: 1 << 30}
    assert disk["folders"] == {f"{tmp_path}/upper": project, f"{tmp_path}/work": project}
    assert project >= 1 << 24  # not one of those that people hand out


def test_a_project_that_has_files_is_left_alone(
    disk: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = iter([b"\0\0\0\1", b"\0\0\0\1", b"\0\0\0\2"])
    monkeypatch.setattr("os.urandom", lambda count: next(chosen))
    disk["used"] = {(1 << 24) + 1}
    storage_size.bound(str(tmp_path), 1 << 20)
    assert set(disk["limits"]) == {(1 << 24) + 2}


@pytest.mark.parametrize("code", [errno.ESRCH, errno.ENOSYS, errno.EOPNOTSUPP])
def test_without_quotas_it_is_refused_with_the_remedy(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(descriptor: int, project: int) -> bool:
        raise KernelError("quotactl", errno=code)

    monkeypatch.setattr(quota, "in_use", missing)
    monkeypatch.setattr(storage_size, "LOCK", str(tmp_path / "lock"))
    for act in (lambda: storage_size.bound(str(tmp_path), 1), lambda: storage_size.check(f"{tmp_path}/not/yet")):
        with pytest.raises(Unsupported, match="has no project quotas") as raised:
            act()
        assert "prjquota" in raised.value.hint
