"""Secrets of one engine root, put and removed by several at once."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from stackpy_runtime.host import secret_values
from stackpy_runtime.linux import mounts
from stackpy_runtime.store.store import Store
from tests.engine_lab import Lab

pytestmark = pytest.mark.root


def test_secrets_put_at_once_are_all_held(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "root"), create=True)
    names = [f"secret{number}" for number in range(12)]
    try:
        for _ in range(10):
            barrier = threading.Barrier(len(names))

            def put(name: str, barrier: threading.Barrier = barrier) -> None:
                barrier.wait()
                secret_values.put(store, name, name.encode(), {}, "now")

            threads = [threading.Thread(target=put, args=(name,)) for name in names]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            held = {name: Path(f"{store.root.secrets}/{name}").read_text() for name in names}
            assert held == {name: name for name in names}
            mounted = [
                line for line in Path("/proc/self/mountinfo").read_text().splitlines() if store.root.secrets in line
            ]
            assert len(mounted) == 1
            for name in names:
                secret_values.remove(store, name)
            assert store.root.secrets not in Path("/proc/self/mountinfo").read_text()
    finally:
        while store.root.secrets in Path("/proc/self/mountinfo").read_text():
            mounts.umount(store.root.secrets)
        store.close()


def test_a_value_that_a_killed_supervisor_has_left_is_forgotten(lab: Lab) -> None:
    """Killed before it had noted that there is one, or when it had forgotten it; nobody would ever remove it."""
    lab.engine.put_secret("known", b"known", {})
    secrets = Path(lab.root) / "secrets"
    for name in (".known.4711", "unknown"):
        (secrets / name).write_bytes(b"left")
    lab.kill("supervisor")
    lab.back()
    assert os.listdir(secrets) == ["known"]
    lab.engine.remove_secret("known")
    assert not os.path.ismount(secrets)
