"""The file of events: appended by several processes, bounded, read and followed through rotation."""

from __future__ import annotations

import errno
import itertools
import json
import os
import threading
import time
from pathlib import Path

import pytest

from stackpy_runtime.model import Event
from stackpy_runtime.store import event_log
from stackpy_runtime.store.root import Root


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(str(tmp_path))


def happened(number: int) -> Event:
    return event_log.event("container", "start", str(number), {"name": f"c{number}"})


def of_another_boot(number: int, nano: int) -> Event:
    return {**happened(number), "timeNano": nano, "time": nano // 10**9, "boot": "another"}


def identities(events: object) -> list[int]:
    return [int(each["Actor"]["ID"]) for each in events]  # type: ignore[attr-defined]


def test_nothing_has_happened_where_there_is_no_file(root: Root) -> None:
    assert list(event_log.read(root)) == []


def test_events_come_back_as_docker_writes_them(root: Root) -> None:
    event = event_log.event("volume", "create", "data", {"driver": "local", "long": "x" * 5000})
    event_log.record(root, event)
    assert list(event_log.read(root)) == [{key: value for key, value in event.items() if not key.startswith("boot")}]
    assert event["Actor"] == {"ID": "data", "Attributes": {"driver": "local"}}
    assert (event["Type"], event["Action"], event["scope"]) == ("volume", "create", "local")
    assert event["time"] == event["timeNano"] // 10**9
    assert os.stat(root.events).st_mode & 0o777 == 0o600


def test_only_those_between_two_times(root: Root) -> None:
    event_log.record(root, *(of_another_boot(number, number) for number in range(10)))
    assert identities(event_log.read(root, 3, 5)) == [3, 4, 5]
    assert identities(event_log.read(root, 8)) == [8, 9]


def test_the_file_is_bounded_and_what_is_kept_is_the_latest(root: Root) -> None:
    for number in range(100):
        event_log.record(root, happened(number), most=2000)
    kept = identities(event_log.read(root))
    assert kept == list(range(kept[0], 100))
    assert 8 < len(kept) < 40
    assert os.stat(root.events).st_size + os.stat(f"{root.events}.1").st_size < 4500
    assert sorted(os.listdir(root.path)) == ["events", "events.1"]


def test_a_line_that_a_full_disk_has_cut_off_spoils_no_other(root: Root) -> None:
    event_log.record(root, happened(1))
    with open(root.events, "ab") as file:
        file.write(json.dumps(happened(2)).encode()[:40])
    event_log.record(root, happened(3))
    assert identities(event_log.read(root)) == [1, 3]


def test_what_cannot_be_written_fails_nobody(root: Root) -> None:
    os.mkdir(root.events)
    event_log.record(root, happened(1))
    event_log.record(Root("/nowhere/at/all"), happened(1))


def test_a_boot_that_cannot_be_read_fails_nobody(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable() -> str:
        raise OSError(errno.EMFILE, "Too many open files")

    event_log.record(root, before := {**happened(0), "timeNano": 5, "time": 0})
    monkeypatch.setattr(event_log, "boot_id", unreadable)
    event_log.record(root, {**before, **happened(1), "timeNano": 6, "time": 0})
    assert [each["timeNano"] for each in event_log.read(root)] == [5, 6]


def test_a_follower_misses_nothing_through_rotations(root: Root) -> None:
    event_log.record(root, happened(0))
    followed = event_log.follow(root, since=0)
    assert identities([next(followed)]) == [0]

    def write() -> None:
        for number in range(1, 300):
            # One rotation: who is two whole files behind is told of no more than is kept.
            event_log.record(root, happened(number), most=40_000)

    writer = threading.Thread(target=write)
    writer.start()
    assert identities(itertools.islice(followed, 299)) == list(range(1, 300))
    writer.join()
    assert os.path.exists(f"{root.events}.1")


def test_a_follower_from_now_on_is_there_before_the_file(root: Root) -> None:
    followed = event_log.follow(root, until=2 << 60)
    timer = threading.Timer(0.1, lambda: event_log.record(root, happened(7)))
    timer.start()
    assert identities([next(followed)]) == [7]


def test_following_ends_at_its_time(root: Root) -> None:
    event_log.record(root, happened(1))
    end = happened(2)["timeNano"]
    event_log.record(root, happened(3))
    assert identities(event_log.follow(root, since=0, until=end)) == [1]


def test_several_processes_write_whole_lines(root: Root) -> None:
    children = []
    for child in range(4):
        pid = os.fork()
        if not pid:
            try:
                for number in range(50):
                    event_log.record(root, happened(child * 50 + number), most=8000)
            finally:
                os._exit(0)
        children.append(pid)
    for pid in children:
        os.waitpid(pid, 0)
    lines = [line for name in ("events", "events.1") for line in Path(root.path, name).read_text().splitlines() if line]
    assert all(json.loads(line)["Type"] == "container" for line in lines)


@pytest.mark.parametrize("days", [-2, 3])
def test_a_clock_that_is_set_moves_what_happened_along(root: Root, days: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten minutes ago is ten minutes ago: what happened before the clock was set is told by the clock as it is now."""
    clock, second = time.time_ns, 10**9
    monkeypatch.setattr(time, "time_ns", lambda: clock() - days * 86400 * second)
    event_log.record(root, happened(1))  # by the clock that was wrong
    before = next(event_log.read(root))
    monkeypatch.undo()
    event_log.record(root, happened(2))
    now = time.time_ns()
    (told, last) = event_log.read(root, now - 600 * second, now)
    assert identities([told, last]) == [1, 2]
    assert abs(told["timeNano"] - now) < 5 * second and told["time"] == told["timeNano"] // second
    assert told["timeNano"] - before["timeNano"] == days * 86400 * second, "whole seconds, the same each time"
    assert identities(event_log.read(root, now + 3600 * second)) == []


def test_what_is_from_another_boot_has_happened_whatever_its_time_says(root: Root) -> None:
    now = time.time_ns()
    event_log.record(root, of_another_boot(1, now + 10**15), of_another_boot(2, now - 10**15))
    assert identities(event_log.read(root, 0, now)) == [1, 2]
    assert identities(event_log.read(root, now - 10**12, now)) == [1]
    assert identities(event_log.read(root, 0, now - 10**12)) == [2]
