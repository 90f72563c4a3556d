"""The index: what it keeps of containers, networks, volumes and secrets, on a database of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stackpy_runtime.errors import Conflict, EngineError, InvalidConfig, NotFound
from stackpy_runtime.store.database import Database
from stackpy_runtime.store.store import Store
from tests.store_lab import container, message, store_fixture

__all__ = ["store_fixture"]


# --- a root that is not there ---------------------------------------------------------------------------------------


def test_a_missing_root_reads_as_empty_and_stays_missing(tmp_path: Path) -> None:
    root = tmp_path / "none" / "root"
    store = Store(str(root))
    assert (
        store.containers(), store.containers("shop"), store.networks(), store.volumes(), store.secrets(),
        store.images(),
        store.addresses("x"), store.step("x"), store.steps_present(["x"]), store.recipe("x"), store.recipes(),
        store.layers_in_use(), store.volume_users("x"), store.image_users("x"),
    ) == ([], [], [], [], [], [], {}, None, set(), None, {}, set(), [], [])  # fmt: skip
    for missing in (store.container, store.network, store.volume, store.secret, store.image):
        with pytest.raises(NotFound):
            missing("x")
    store.close()
    assert not root.parent.exists()


def test_writing_to_a_missing_root_is_refused(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "root"))
    with pytest.raises(EngineError) as caught:
        store.put_recipe("a", {"id": "1", "steps": []})
    assert message(caught) == (f"there is no engine root at `{tmp_path}/root`", "stackpy apply creates it")
    assert not (tmp_path / "root").exists()


def test_a_reader_sees_a_root_that_is_created_later(tmp_path: Path) -> None:
    reader = Store(str(tmp_path / "root"))
    assert reader.recipes() == {}
    writer = Store(str(tmp_path / "root"), create=True)
    writer.put_recipe("a", {"id": "1", "steps": []})
    assert reader.recipes() == {"a": {"id": "1", "steps": []}}
    reader.close()
    writer.close()
    assert sorted(path.name for path in (tmp_path / "root").iterdir() if path.is_file()) == ["state.db"]


# --- containers -----------------------------------------------------------------------------------------------------


def test_containers_are_listed_by_age_and_stack(store: Store) -> None:
    for number, (name, stack) in enumerate([("b", "shop"), ("a", "shop"), ("c", "")], 1):
        labels = {"stackpy.stack": stack} if stack else {}
        store.insert_container(container(number, name, labels=labels))
    assert [c["name"] for c in store.containers()] == ["b", "a", "c"]
    assert [c["name"] for c in store.containers("shop")] == ["b", "a"]
    assert store.containers("sho") == []
    assert store.container("a") == container(2, "a", labels={"stackpy.stack": "shop"})


def test_a_container_is_found_by_id_name_and_prefix(store: Store) -> None:
    first = {**container(0, "one"), "id": "abc1" + "0" * 60}
    second = {**container(0, "abc"), "id": "abc2" + "0" * 60}
    third = {**container(0, "a" * 64), "id": "b" * 64}
    for each in (first, second, third):
        store.insert_container(each)
    assert [store.container(text)["name"] for text in (first["id"], "one", "abc1", "abc", "bb", "b" * 64)] == [
        "one", "one", "one", "abc", "a" * 64, "a" * 64,
    ]  # fmt: skip
    with pytest.raises(InvalidConfig) as caught:
        store.container("ab")
    assert message(caught) == ("several containers' IDs begin with `ab`", "give more of the ID, or the name")


def test_of_several_containers_those_are_found_that_there_are(store: Store) -> None:
    for number, name in enumerate(["one", "two"], 1):
        store.insert_container(container(number, name))
    wanted = ["two", container(1, "one")["id"], "three", "on", ""]
    assert [each["name"] for each in store.containers_named(wanted)] == ["two", "one"]


@pytest.mark.parametrize("text", ["", "%", "_", "*", "ab%", "\udcff", "x' OR '1'='1", "ON E", "g"])
def test_no_container_is_found_by_a_pattern(store: Store, text: str) -> None:
    store.insert_container(container(0xAB << 248, "one"))
    with pytest.raises(NotFound):
        store.container(text)


def test_the_hint_is_the_nearest_name(store: Store) -> None:
    store.insert_container(container(1, "shop-web-1"))
    with pytest.raises(NotFound) as caught:
        store.container("shop-wbe-1")
    assert message(caught) == ("no such container: `shop-wbe-1`", "did you mean `shop-web-1`?")


def test_a_name_is_taken_once(store: Store) -> None:
    store.insert_container(container(0xABC << 244, "web"))
    store.insert_container(container(2, "other"))
    expected = (
        "the container name `web` is in use by container abc000000000",
        "remove it with `stackpy rm web`, or choose another name",
    )
    with pytest.raises(Conflict) as caught:
        store.insert_container(container(3, "web"))
    assert message(caught) == expected
    with pytest.raises(Conflict) as caught:
        store.update_container(f"{2:064x}", name="web")
    assert message(caught) == expected
    store.update_container(f"{0xABC << 244:064x}", name="web")  # its own
    assert [c["name"] for c in store.containers()] == ["web", "other"]


def test_updates_replace_whole_documents(store: Store) -> None:
    store.insert_container(container(1, "web", labels={"stackpy.stack": "a"}))
    identity = f"{1:064x}"
    store.update_container(identity)
    store.update_container(identity, state={"status": "running"})  # type: ignore[typeddict-item]
    store.update_container(identity, config={"name": "web", "image": "y", "labels": {"stackpy.stack": "b"}})
    store.update_container(identity, networks={"net": {"ip_address": "10.0.0.2"}}, name="new")  # type: ignore[typeddict-item]
    assert (store.containers("a"), store.containers("b")) == (
        [],
        [
            {
                **container(1, "new"),
                "config": {"name": "web", "image": "y", "labels": {"stackpy.stack": "b"}},
                "state": {"status": "running"},
                "networks": {"net": {"ip_address": "10.0.0.2"}},
            }
        ],
    )
    with pytest.raises(NotFound):
        store.update_container(f"{9:064x}", name="x")


def test_deleting_a_container_gives_its_addresses_back(store: Store) -> None:
    store.insert_network(NETWORK)
    store.insert_container(container(1, "web"))
    store.allocate_address("n1", f"{1:064x}")
    store.delete_container(f"{1:064x}")
    store.delete_container(f"{1:064x}")
    assert (store.containers(), store.addresses("n1")) == ([], {})


# --- networks -------------------------------------------------------------------------------------------------------

NETWORK: Any = {
    "id": "n1", "name": "shop_default", "driver": "bridge", "bridge": "b", "subnet": "10.9.0.0/29",
    "gateway": "10.9.0.3", "internal": False, "labels": {}, "created": "",
}  # fmt: skip


def test_networks_are_found_by_name_and_id(store: Store) -> None:
    other = {**NETWORK, "id": "shop_default", "name": "n1"}
    store.insert_network(NETWORK)
    assert (store.networks(), store.network("n1"), store.network("shop_default")) == ([NETWORK], NETWORK, NETWORK)
    store.insert_network(other)
    assert (store.network("n1"), store.network("shop_default")) == (other, NETWORK)  # a name wins
    with pytest.raises(Conflict) as caught:
        store.insert_network({**NETWORK, "id": "n2"})
    assert message(caught) == ("the network name `shop_default` is in use", "choose another name")
    store.update_network({**NETWORK, "labels": {"a": "b"}})
    assert store.network("shop_default")["labels"] == {"a": "b"}
    store.delete_network("n1")
    store.delete_network("n1")
    assert store.networks() == [other]
    with pytest.raises(NotFound):
        store.update_network(NETWORK)


def test_the_lowest_free_address_is_given(store: Store) -> None:
    store.insert_network(NETWORK)
    given_out = [store.allocate_address("n1", name) for name in "abcbd"]
    assert given_out == ["10.9.0.1", "10.9.0.2", "10.9.0.4", "10.9.0.2", "10.9.0.5"]
    store.release_addresses("b")
    assert store.allocate_address("n1", "e") == "10.9.0.2"
    assert store.addresses("n1") == {
        "10.9.0.1": "a", "10.9.0.2": "e", "10.9.0.4": "c", "10.9.0.5": "d",
    }  # fmt: skip


def test_a_wanted_address_is_given_or_refused(store: Store) -> None:
    store.insert_network(NETWORK)
    assert store.allocate_address("n1", "a", "10.9.0.5") == "10.9.0.5"
    assert store.allocate_address("n1", "a", "10.9.0.5") == "10.9.0.5"
    assert store.allocate_address("n1", "a") == "10.9.0.5"
    assert store.allocate_address("n1", "a", "10.9.0.6") == "10.9.0.6"
    refused = {}
    for wanted in ("10.9.0.0", "10.9.0.3", "10.9.0.7", "10.9.1.1", "10.9.0.6", "x", "10.9.0.06", "::1"):
        with pytest.raises((Conflict, InvalidConfig)) as caught:
            store.allocate_address("n1", "b", wanted)
        refused[wanted] = str(caught.value)
    no = "network shop_default: {} is not an address for containers of 10.9.0.0/29"
    assert refused == {
        "10.9.0.0": no.format("10.9.0.0"),
        "10.9.0.3": no.format("10.9.0.3"),
        "10.9.0.7": no.format("10.9.0.7"),
        "10.9.1.1": no.format("10.9.1.1"),
        "10.9.0.6": "network shop_default: 10.9.0.6 is in use by container a",
        "x": "`x` is not an IPv4 address",
        "10.9.0.06": "`10.9.0.06` is not an IPv4 address",
        "::1": "`::1` is not an IPv4 address",
    }
    assert store.addresses("n1") == {"10.9.0.6": "a"}


def test_a_full_network_says_so(store: Store) -> None:
    store.insert_network(NETWORK)
    for name in "abcde":
        store.allocate_address("n1", name)
    with pytest.raises(Conflict) as caught:
        store.allocate_address("n1", "f")
    assert message(caught) == (
        "network shop_default: no free address is left in 10.9.0.0/29",
        "remove containers, or give the network a larger subnet",
    )
    with pytest.raises(NotFound):
        store.allocate_address("n2", "f")


def test_a_network_takes_its_addresses_along(store: Store) -> None:
    store.insert_network(NETWORK)
    store.allocate_address("n1", "a")
    store.delete_network("n1")
    store.insert_network(NETWORK)
    assert store.addresses("n1") == {}


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 7)), max_size=30))
def test_no_two_containers_have_one_address(store: Store, actions: list[tuple[bool, int]]) -> None:
    """Against a model: a dictionary and the rule `lowest free`."""
    store.delete_network("n1")
    store.insert_network({**NETWORK, "subnet": "10.9.0.0/28", "gateway": "10.9.0.1"})
    model: dict[str, str] = {}
    for take, number in actions:
        name = f"c{number}"
        if take:
            free = next(f"10.9.0.{last}" for last in range(2, 15) if f"10.9.0.{last}" not in model.values())
            model.setdefault(name, free)
            assert store.allocate_address("n1", name) == model[name]
        else:
            store.release_addresses(name)
            model.pop(name, None)
    assert store.addresses("n1") == {address: name for name, address in model.items()}


# --- volumes and secrets --------------------------------------------------------------------------------------------


def volume(name: str) -> Any:
    return {"name": name, "driver": "local", "mountpoint": f"/v/{name}", "labels": {}, "created": ""}


def test_volumes(store: Store) -> None:
    store.insert_volume(volume("b"))
    store.insert_volume(volume("a"))
    assert (store.volumes(), store.volume("a")) == ([volume("b"), volume("a")], volume("a"))
    with pytest.raises(Conflict) as caught:
        store.insert_volume(volume("a"))
    assert message(caught) == ("the volume name `a` is in use", "choose another name")
    store.update_volume({**volume("a"), "labels": {"x": "y"}})
    assert store.volume("a")["labels"] == {"x": "y"}
    store.delete_volume("a")
    with pytest.raises(NotFound):
        store.delete_volume("a")
    assert store.volumes() == [volume("b")]


def test_a_volume_in_use_stays(store: Store) -> None:
    store.insert_volume(volume("data"))
    mounts = [{"type": "bind", "source": "other", "target": "/x"}, {"type": "volume", "source": "data", "target": "/y"}]
    store.insert_container(container(1, "db", mounts=mounts))
    store.insert_container(container(2, "bind", mounts=[{"type": "bind", "source": "data", "target": "/x"}]))
    store.insert_container(container(3, "none"))
    assert store.volume_users("data") == ["db"]
    moved = []
    with pytest.raises(Conflict) as caught:
        store.delete_volume("data", lambda: moved.append(1))
    assert message(caught) == ("volume data: container db uses it", "remove it first: `stackpy rm db`")
    assert (moved, store.volumes()) == ([], [volume("data")])


def test_a_volume_whose_folder_cannot_be_moved_keeps_its_row(store: Store) -> None:
    store.insert_volume(volume("data"))

    def fail() -> None:
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        store.delete_volume("data", fail)
    assert store.volumes() == [volume("data")]


def test_secrets_are_replaced(store: Store) -> None:
    secret: Any = {"name": "s", "fingerprint": "1", "labels": {}, "created": "", "available": True}
    store.insert_secret(secret)
    store.insert_secret({**secret, "fingerprint": "2"})
    store.insert_container(container(1, "web", secrets=[{"secret": "s", "target": "t"}]))
    assert (store.secrets(), store.secret("s")["fingerprint"], store.secret_users("s"), store.secret_users("t")) == (
        [{**secret, "fingerprint": "2"}], "2", ["web"], [],
    )  # fmt: skip
    store.delete_secret("s")
    store.delete_secret("s")
    assert store.secrets() == []
    with pytest.raises(NotFound):
        store.secret("s")


def test_a_database_that_appears_while_it_is_opened_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the attempt to open it and the look whether it is there: as with an apply's first threads."""
    store = Store(str(tmp_path / "root"))
    connect = Database._connect

    def and_then_made(path: str, create: bool) -> Any:
        monkeypatch.setattr(Database, "_connect", staticmethod(connect))
        try:
            return connect(path, create)
        finally:
            Store(str(tmp_path / "root"), create=True)

    monkeypatch.setattr(Database, "_connect", staticmethod(and_then_made))
    assert store.containers() == []
    assert store.root.exists()
