"""What a plan of many resources takes of memory: it grows with their number, and by little for each."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

from stackpy.testing import load_stack

STACK = """\
from stackpy import Container, Image
image = Image.host("sh")
for number in range({count}):
    Container(f"c{{number}}", image=image)
"""
EACH = 20_000  # bytes for a container that is created: its change, reasons and place in the order


def taken(folder: Path, count: int) -> int:
    """Bytes that planning the creation of so many containers needs at most."""
    (folder / "stack.py").write_text(STACK.format(count=count))
    stack = load_stack(str(folder))
    tracemalloc.start()
    try:
        assert len(stack.plan().doing("create")) == count + 1  # and the default network
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_plan_of_many_creations_takes_little_memory(tmp_path: Path) -> None:
    assert taken(tmp_path, 60) - taken(tmp_path, 10) < 50 * EACH
