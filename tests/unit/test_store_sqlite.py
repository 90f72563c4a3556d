"""The index's sqlite3, loaded without what it would bring along."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

RUNTIME = Path(__file__).parents[2] / "runtime"


def test_functools_is_the_whole_one_afterwards() -> None:
    program = f"""
import sys; sys.path.insert(0, {str(RUNTIME)!r})
from stackpy_runtime.store.sqlite import sqlite3
assert "functools" not in sys.modules
connection = sqlite3.connect(":memory:")
statements = [f"SELECT {{number}}" for number in range(300)] * 2
assert [connection.execute(statement).fetchone() for statement in statements] == [(n,) for n in range(300)] * 2
import functools
print(functools.reduce(lambda a, b: a + b, [1, 2]), functools.partial.__name__, sqlite3.IntegrityError.__name__)
import sqlite3 as whole
print(whole.connect(":memory:").execute("SELECT 1").fetchall())
"""
    line = [sys.executable, "-I", "-S", "-c", program]
    result = subprocess.run(line, capture_output=True, text=True, check=False)
    assert (result.stderr, result.stdout) == ("", "3 partial IntegrityError\n[(1,)]\n")
