"""When the bridge of a network that will be removed may go: once nothing runs on it any more."""

from __future__ import annotations

import threading
from collections.abc import Collection
from typing import Any, cast

import pytest

from stackpy_runtime.errors import EngineError, NotFound
from stackpy_runtime.host.leaving import Leaving

WITHIN = 60  # seconds


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for a removal that does not come."""
    monkeypatch.setattr("stackpy_runtime.host.leaving.LINGER", 0.01)


class Host:
    """A store and a network manager of one network: who has an address on it, and whether its bridge was removed."""

    def __init__(self, *holders: str) -> None:
        self.holders = list(holders)
        self.removed = threading.Event()
        self.asked: list[set[str]] = []
        self.error: EngineError | None = None

    def network(self, name: str) -> dict[str, str]:
        if name != "net":
            raise NotFound(f"no network {name}")
        return {"id": name, "name": name}

    def addresses(self, identity: str) -> dict[str, str]:
        return {f"10.0.0.{number}": holder for number, holder in enumerate(self.holders)}

    def empty(self, network: dict[str, str], lost: Collection[str]) -> bool:
        self.asked.append(set(lost))
        if self.error:
            raise self.error
        if set(self.holders) - set(lost):
            return False
        self.removed.set()
        return True


def leaving(host: Host) -> Leaving:
    return Leaving(cast(Any, host), cast(Any, host))


def test_the_bridge_goes_with_the_last_that_was_killed_though_none_has_ended() -> None:
    host = Host("a", "b")
    networks = leaving(host)
    networks.expect(["net"])
    networks.lose("a", ["net"])
    assert host.asked == []
    networks.lose("b", ["net"])
    assert host.removed.wait(WITHIN)
    networks.wait("a", ["net"])
    assert host.asked == [{"a", "b"}]


def test_who_has_ended_waits_until_the_network_is_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stackpy_runtime.host.leaving.LINGER", WITHIN)
    host = Host("a")
    networks = leaving(host)
    networks.expect(["net"])
    waiting = threading.Thread(target=networks.wait, args=("a", ["net"]))
    waiting.start()
    assert host.removed.wait(WITHIN)
    assert waiting.is_alive()
    networks.stay("net")
    waiting.join(WITHIN)
    assert not waiting.is_alive()


def test_one_that_ends_by_itself_is_waited_for() -> None:
    host = Host("a", "b")
    networks = leaving(host)
    networks.expect(["net"])
    networks.lose("a", ["net"])
    assert not host.removed.is_set()
    host.holders = []
    networks.wait("b", ["net"])
    assert host.removed.is_set()


def test_a_network_that_stays_is_left_alone() -> None:
    host = Host("a")
    networks = leaving(host)
    assert networks.among(["net"]) == []
    networks.lose("a", ["net"])
    networks.wait("a", ["net"])
    networks.expect(["net"])
    networks.stay("net")  # another container has come to it
    networks.lose("a", ["net"])
    networks.wait("a", ["net"])
    assert host.asked == []


def test_who_comes_in_that_moment_keeps_the_bridge_until_it_is_gone_too(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host("a")
    networks = leaving(host)
    networks.expect(["net"])
    empty = host.empty

    def and_one_comes(network: dict[str, str], lost: Collection[str]) -> bool:
        host.holders = ["a", "new"]
        return empty(network, lost)

    monkeypatch.setattr(host, "empty", and_one_comes)
    networks.wait("a", ["net"])
    assert not host.removed.is_set()
    monkeypatch.setattr(host, "empty", empty)
    networks.wait("new", ["net"])
    assert host.removed.is_set()


def test_what_fails_is_left_to_the_removal_and_holds_nobody_up() -> None:
    host = Host("a")
    host.error = EngineError("no")
    networks = leaving(host)
    networks.expect(["net", "none"])
    networks.wait("a", ["net", "none"])
    assert host.asked == [{"a"}]
