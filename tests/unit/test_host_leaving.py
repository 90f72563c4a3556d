"""When the bridge of a network that will be removed may go: once nothing runs on it any more."""

from __future__ import annotations

import threading
from collections.abc import Collection
from typing import Any, cast

import pytest

from stackpy_runtime.errors import EngineError, NotFound
from stackpy_runtime.host.leaving import Leaving
from tests.waiting import wait_for

WITHIN = 60  # seconds


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


def ended() -> None:
    """Nothing follows."""


def test_the_bridge_goes_with_the_last_that_was_killed_though_none_has_ended() -> None:
    host = Host("a", "b")
    networks = leaving(host)
    networks.expect(["net"])
    networks.lose("a", ["net"])
    assert host.asked == []
    networks.lose("b", ["net"])
    assert host.removed.wait(WITHIN)
    networks.end("a", ["net"], ended)
    assert host.asked == [{"a", "b"}]


def test_who_has_ended_waits_until_all_its_networks_are_removed() -> None:
    host, done = Host("a"), list[str]()
    networks = leaving(host)
    networks.expect(["net", "other"])
    networks.end("a", ["net", "other"], lambda: done.append("a"))
    assert host.removed.wait(WITHIN)
    networks.stay("net")
    assert done == []
    networks.stay("other")
    networks.sweep()
    assert done == ["a"]


def test_nobody_waits_for_long_for_a_removal_that_does_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    host, done = Host("a"), list[str]()
    networks = leaving(host)
    networks.expect(["net"])
    networks.end("a", ["net"], lambda: done.append("a"))
    networks.sweep()
    assert done == []
    monkeypatch.setattr("stackpy_runtime.host.leaving.LINGER", 0.0)
    networks.end("b", ["net"], lambda: done.append("b"))
    networks.sweep()
    assert done == ["b"]


def test_who_was_on_no_network_that_leaves_does_not_wait() -> None:
    done = list[str]()
    leaving(Host()).end("a", [], lambda: done.append("a"))
    assert done == ["a"]


def test_one_that_ends_by_itself_is_waited_for() -> None:
    host = Host("a", "b")
    networks = leaving(host)
    networks.expect(["net"])
    networks.lose("a", ["net"])
    assert not host.removed.is_set()
    host.holders = []
    networks.end("b", ["net"], ended)
    assert host.removed.wait(WITHIN)


def test_a_network_that_stays_is_left_alone() -> None:
    host = Host("a")
    networks = leaving(host)
    assert networks.among(["net"]) == []
    networks.lose("a", ["net"])
    networks.end("a", ["net"], ended)
    networks.expect(["net"])
    networks.stay("net")  # another container has come to it
    networks.lose("a", ["net"])
    networks.end("a", ["net"], ended)
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
    networks.end("a", ["net"], ended)
    wait_for(lambda: host.asked and not networks.networks["net"].begun, "the first look")
    assert not host.removed.is_set()
    monkeypatch.setattr(host, "empty", empty)
    networks.end("new", ["net"], ended)
    assert host.removed.wait(WITHIN)


def test_what_fails_is_left_to_the_removal_and_holds_nobody_up() -> None:
    host = Host("a")
    host.error = EngineError("no")
    networks = leaving(host)
    networks.expect(["net", "none"])
    networks.end("a", ["net", "none"], ended)
    wait_for(lambda: host.asked, "the removal that fails")
    assert host.asked == [{"a"}]
