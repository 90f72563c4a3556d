"""Host IDs: each container has a range that no other has, whoever is killed and however many roots there are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from stackpy_runtime.container import ranges
from tests.engine_lab import Lab
from tests.waiting import wait_for

pytestmark = pytest.mark.root


def _first_id(lab: Lab, name: str) -> int:
    return int(Path(f"/proc/{lab.state(name)['pid']}/uid_map").read_text().split()[1])


def test_id_ranges_are_unique_across_roots(lab: Lab, tmp_path: Path) -> None:
    other = Lab(str(tmp_path / "other"))
    other.build()
    try:
        names = [(where, where.up(["sleep", "60"])) for where in (lab, other) * 3]
        firsts = [_first_id(where, name) for where, name in names]
        assert len(set(firsts)) == len(firsts)
        lab.kill("supervisor")
        more = [(lab, lab.up(["sleep", "60"])), (other, other.up(["sleep", "60"]))]
        firsts += [_first_id(where, name) for where, name in more]
        assert len(set(firsts)) == len(firsts)
        taken = [range(start, start + count) for start, count in _subordinate()]
        assert not [first for first in firsts for known in taken if first in known or first + 65535 in known]
    finally:
        other.leave()


def _subordinate() -> list[tuple[int, int]]:
    text = "".join(path.read_text() for name in ("subuid", "subgid") if (path := Path(f"/etc/{name}")).exists())
    return ranges.subordinate_ranges(text)


def test_id_ranges_of_an_adopted_container_are_not_given_again(lab: Lab) -> None:
    """Killed between the start of a process and the note of whose the range is, the engine must find that out."""
    name = lab.up(["sleep", "60"])
    first, pid = _first_id(lab, name), lab.state(name)["pid"]
    path = Path(ranges.FOLDER) / str(first)
    boot = path.read_text().partition("\n")[0]
    # What a supervisor that was killed in that moment leaves: its own PID, which is gone.
    path.write_text(f"{boot}\n{2**22 - 1} 1")
    lab.kill("supervisor")
    wait_for(lambda: f"\n{pid} " in path.read_text(), "the note that the range is the container's")
    lab.engine.remove(name, force=True)
    wait_for(lambda: not path.exists() or f"\n{pid} " not in path.read_text(), "the range to be free")


def test_id_ranges_of_an_ended_container_are_not_released_from_under_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranges, "FOLDER", str(tmp_path))
    monkeypatch.setattr(ranges, "_held", {})

    def lowest() -> int:
        """What a root that has just come up takes."""
        monkeypatch.setattr(ranges, "_next", 0)
        return ranges.acquire()

    first = lowest()
    gone = os.fork()
    if not gone:
        os._exit(0)
    ranges.bind(first, gone)
    os.waitpid(gone, 0)
    mine = ranges._held.copy()
    # Another root takes it, since its container has ended; then ours, late, gives it back.
    ranges._held.clear()
    assert lowest() == first
    theirs = ranges._held.copy()
    ranges._held.clear()
    ranges._held.update(mine)
    ranges.release(first)
    assert lowest() != first
    ranges._held.clear()
    ranges._held.update(theirs)
    ranges.release(first)
    ranges._held.clear()
    assert lowest() == first


def test_id_ranges_that_are_stale_are_taken_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several at once find the same stale range: one of them gets it."""
    monkeypatch.setattr(ranges, "FOLDER", str(tmp_path))
    for number in range(300):
        (tmp_path / str(ranges.FIRST + number * ranges.SIZE)).write_text(f"another-boot\n1 {number}")
    children = []
    waiting, over = os.pipe()
    for _ in range(8):
        reading, writing = os.pipe()
        pid = os.fork()
        if not pid:
            try:
                os.close(over)
                os.write(writing, " ".join(str(ranges.acquire()) for _ in range(30)).encode())
                os.close(writing)
                # Those of one that has ended are free again.
                os.read(waiting, 1)
            finally:
                os._exit(0)
        os.close(writing)
        children.append((pid, reading))
    got = []
    for _, reading in children:
        with open(reading) as file:
            got += file.read().split()
    os.close(over)
    os.close(waiting)
    for pid, _ in children:
        os.waitpid(pid, 0)
    assert len(got) == 240
    assert len(set(got)) == 240
