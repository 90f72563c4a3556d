"""How the engine's own processes are started."""

from __future__ import annotations

import subprocess
import sys

import pytest

from stackpy_runtime.host.launch import interpreter


@pytest.mark.parametrize("prefix", [None, "/var/tmp/elsewhere"])
def test_they_put_compiled_modules_where_their_command_does(
    monkeypatch: pytest.MonkeyPatch, prefix: str | None
) -> None:
    monkeypatch.setattr(sys, "pycache_prefix", prefix)
    command = interpreter("import sys; print(sys.pycache_prefix, sys.flags.isolated)")
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"{prefix} 1\n"
