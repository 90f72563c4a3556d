"""The lock that engines of several roots share: whoever does not give it back stops nobody for ever."""

from __future__ import annotations

import fcntl
import os
import re
from pathlib import Path

import pytest

from stackpy_runtime.errors import Conflict
from stackpy_runtime.linux import host_locks
from stackpy_runtime.network import forwarding


def test_an_engine_that_stands_still_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forwarding, "STATE", str(tmp_path))
    monkeypatch.setattr(host_locks, "PATIENCE", 0.05)
    with forwarding.host_lock():
        pass
    with (tmp_path / "network.lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(Conflict) as caught, forwarding.host_lock():
            pass
        assert re.fullmatch(
            rf"another engine \(pid {os.getpid()}\) has held the networks of .* for 0.05 s", str(caught.value)
        )
    with forwarding.host_lock():
        pass
