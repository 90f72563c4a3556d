"""The adapter's decisions, on an engine in memory: resolving, observing, provisioning, history, the border."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from stackpy import engines
from stackpy.dsl.specs import Dependency, Spec, StackSpec
from stackpy.engines import connect, default_root, embedded, labels, provisioning
from stackpy.engines.border import Border
from stackpy.engines.events import Event
from stackpy.engines.facade import Missing, NoRights
from stackpy.errors import StackFileError, StackpyError
from stackpy.planning.comparison import diff
from stackpy.planning.plan import Action, Change, Desired, Plan, Recipe, RecipeStep
from stackpy.problems import Location, Problem
from tests.unit.fake_engine import FakeEngine

HERE = Location("stack.py", 7)
IMAGE = {"source": {"id": "r1", "base": {"kind": "scratch"}, "steps": [{}]}}


class Values(dict[str, bytes]):
    """Values of secrets."""


def stack(*specs: Spec) -> StackSpec:
    return StackSpec("shop", {spec.address: spec for spec in specs}, {}, "/")


def spec(kind: Any, name: str, fields: dict[str, Any] | None = None, *dependencies: Dependency) -> Spec:
    return Spec(kind, name, fields or {}, dependencies, HERE)


@pytest.fixture
def fake() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def engine(fake: FakeEngine, tmp_path: Any) -> embedded.EmbeddedEngine:
    adapter = embedded.EmbeddedEngine(str(tmp_path / "root"))
    adapter._connected = fake  # type: ignore[assignment]  # the port is where the tests cut
    return adapter


def perform(
    engine: embedded.EmbeddedEngine, address: str, action: Action, wanted: Desired, **values: bytes
) -> list[Event]:
    events: list[Event] = []
    engine.perform(Change(address, action, ()), wanted, Values(values), 3, events.append)
    return events


def test_resolving_reports_everything_at_once(engine: embedded.EmbeddedEngine) -> None:
    broken = spec("image", "bad", {"source": {"fails": "no such base image: `x`"}})
    secrets = [
        spec("secret", name, {"source": source})
        for name, source in {"a": {"env": "A"}, "b": {"file": "/b"}, "c": {"command": ["pass", "c"]}}.items()
    ]
    with pytest.raises(StackFileError) as caught:
        engine.resolve(stack(spec("image", "web", IMAGE), broken, *secrets), Values(d=b"1"))
    assert caught.value.problems == [
        Problem("no such base image: `x`", HERE, "mend it"),
        Problem(
            "secret `a` has no value: environment variable `A` is not set",
            HERE,
            "set A; under sudo: `sudo --preserve-env=A stackpy …`",
        ),
        Problem("secret `b` has no value: `/b` cannot be read", HERE, "write the value into that file"),
        Problem("secret `c` has no value: `pass c` gave none", HERE, "run it by hand to see why"),
    ]


def test_a_secret_that_the_engine_holds_needs_no_value(fake: FakeEngine, engine: embedded.EmbeddedEngine) -> None:
    wanted = stack(spec("secret", "a", {"source": {"env": "A"}}), spec("secret", "b", {"source": {"env": "B"}}))
    fake.put_secret("shop_a", b"1", {})
    assert engine.resolve(wanted, Values(b=b"22")).fingerprints == {"secret.b": "fp-2"}
    fake.keys["shop_a"]["available"] = False  # lost with a reboot
    with pytest.raises(StackFileError, match="secret `a` has no value"):
        engine.resolve(wanted, Values(b=b"22"))


def test_what_was_performed_is_observed_and_needs_nothing_more(
    fake: FakeEngine, engine: embedded.EmbeddedEngine
) -> None:
    wanted = stack(
        spec("image", "web", IMAGE),
        spec("network", "default"),
        spec("network", "back", {"internal": True, "labels": {"a": "b"}}),
        spec("volume", "data", {"labels": {"c": "d"}}),
        spec("secret", "key", {"source": {"env": "KEY"}}),
        spec(
            "container",
            "web",
            {
                "image": "image.web",
                "replicas": 2,
                "networks": {"back": {"aliases": ["api"]}, "default": {"aliases": []}},
                "volumes": [{"type": "volume", "source": "data", "target": "/data", "read_only": False}],
                "secrets": [{"secret": "key", "target": "key"}],
                "ports": [{"host_ip": "", "published": 80, "target": 80, "protocol": "tcp"}],
                "environment": {"MODE": "x"},
            },
            Dependency("job.migrate", "completed"),
        ),
        spec("job", "migrate", {"image": "image.web", "command": ["true"]}),
    )
    fake.exits["shop-migrate-1"] = 0
    values = Values(key=b"secret")
    desired = engine.resolve(wanted, values)
    plan = diff(desired, engine.observe("shop"))
    for change in plan.changes:
        engine.perform(change, desired, values, plan.generation, lambda _: None)
    engine.record("shop", plan.generation, {"outcome": "done"})
    observation = engine.observe("shop")
    assert diff(engine.resolve(wanted, values), observation).changes == ()
    assert (observation.generation, observation.engine) == (1, "embedded")
    assert (observation.tags, set(observation.images)) == (
        {"shop/web:latest": "r1", "shop/web": "r1"},
        {"image.web"},
    )
    web = observation.resources["container.web"]
    assert web.dependencies == (Dependency("job.migrate", "completed"),)
    assert [(one.index, one.name, one.status, one.image) for one in web.replicas] == [
        (1, "shop-web-1", "running", "r1"), (2, "shop-web-2", "running", "r1")
    ]  # fmt: skip
    assert observation.resources["job.migrate"].replicas[0].ended > 0
    # another value, a removed field and a changed one are each seen
    changed = wanted.resources["container.web"]
    fields = {key: value for key, value in changed.fields.items() if key != "environment"}
    wanted.resources["container.web"] = changed._replace(fields=fields)  # type: ignore[index]
    again = diff(engine.resolve(wanted, Values(key=b"longer secret")), engine.observe("shop")).changes
    assert [(change.address, change.action.word, [why.path for why in change.reasons]) for change in again] == [
        ("secret.key", "update", ["value"]),
        ("container.web", "replace", ["environment.MODE", "secrets.key"]),
    ]  # fmt: skip


def test_builds_report_steps_and_whole_lines(fake: FakeEngine, engine: embedded.EmbeddedEngine) -> None:
    wanted = stack(spec("image", "web", IMAGE), spec("image", "acme/app:1", {**IMAGE, "tags": ["acme/app:1"]}))
    recipe = Recipe("r1", (RecipeStep("s1", "FROM scratch", "", {}),))
    desired = Desired(wanted, {"image.web": recipe, "image.acme/app:1": recipe}, {})
    assert perform(engine, "image.web", Action.BUILD, desired) == [
        Event("image.web", "step", "FROM scratch", 1, 2, True),
        Event("image.web", "output", "half a line"),
        Event("image.web", "output", "20%"),
        Event("image.web", "output", "rest"),
        Event("image.web", "step", "RUN make", 2, 2),
    ]
    perform(engine, "image.acme/app:1", Action.BUILD, desired)
    assert [image["references"] for image in fake.stored] == [["shop/web:latest"], ["acme/app:1"]]
    assert fake.known_recipes["shop/image.web"] == {
        "id": "r1", "steps": [{"id": "s1", "text": "FROM scratch", "line": "", "inputs": {}}]
    }  # fmt: skip


def test_an_image_as_it_comes_is_used_without_a_build(fake: FakeEngine, engine: embedded.EmbeddedEngine) -> None:
    source = {"id": "r9", "base": {"kind": "image", "reference": "debian:12"}, "steps": []}
    wanted = stack(spec("image", "web", {"source": source}), spec("container", "web", {"image": "image.web"}))
    fake.stored.append({"id": "sha256:d", "recipe": "", "references": ["debian:12"]})
    perform(engine, "container.web", Action.CREATE, engine.resolve(wanted, Values()))
    made = fake.held["shop-web-1"]["config"]
    assert (made["image"], made["labels"][labels.RECIPE]) == ("sha256:d", "r9")
    fake.stored.clear()
    with pytest.raises(StackpyError, match="no such image"):
        perform(engine, "container.web", Action.REPLACE, engine.resolve(wanted, Values()))


def test_an_image_that_somebody_removed_is_said_to_be_gone(engine: embedded.EmbeddedEngine) -> None:
    wanted = stack(spec("image", "web", IMAGE), spec("container", "web", {"image": "image.web"}))
    with pytest.raises(StackpyError, match=r"`image\.web` is not in the store any more"):
        perform(engine, "container.web", Action.CREATE, engine.resolve(wanted, Values()))


def test_replacing_a_network_takes_its_containers_away_first(fake: FakeEngine, engine: embedded.EmbeddedEngine) -> None:
    wanted = stack(
        spec("image", "web", IMAGE),
        spec("network", "back", {"internal": True}),
        spec("container", "web", {"image": "image.web", "networks": {"back": {"aliases": []}}}),
        spec("container", "other", {"image": "image.web", "network_mode": "none"}),
    )
    desired = engine.resolve(wanted, Values())
    for change in diff(desired, engine.observe("shop")).changes:
        engine.perform(change, desired, Values(), 1, lambda _: None)
    before = len(fake.done)
    perform(engine, "network.back", Action.REPLACE, desired)
    assert fake.done[before:] == [
        ("down", "shop-web-1"), ("remove network", "shop_back"),
        ("create network", "shop_back"),
    ]  # fmt: skip


def test_what_is_gone_already_is_no_failure(fake: FakeEngine, engine: embedded.EmbeddedEngine) -> None:
    nothing = Desired(stack(), {}, {})
    for address in ("network.back", "volume.data", "secret.key", "container.web", "job.migrate"):
        assert perform(engine, address, Action.DELETE, nothing) == []
    assert fake.done == []


def test_a_volume_is_never_replaced_and_another_stack_is_left_alone(
    fake: FakeEngine, engine: embedded.EmbeddedEngine
) -> None:
    desired = Desired(stack(spec("volume", "data"), spec("secret", "key", {"source": {"env": "K"}})), {}, {})
    with pytest.raises(StackpyError, match="never replaced"):
        perform(engine, "volume.data", Action.REPLACE, desired)
    fake.create_volume("shop_data", {labels.STACK: "shop_data_owner"})
    with pytest.raises(StackpyError, match="volume `shop_data` belongs to stack `shop_data_owner`"):
        perform(engine, "volume.data", Action.CREATE, desired)
    with pytest.raises(StackpyError, match="environment variable `K` is not set"):
        perform(engine, "secret.key", Action.CREATE, desired)
    perform(engine, "secret.key", Action.CREATE, desired, key=b"hunter2")
    assert fake.values == {"shop_key": b"hunter2"}
    assert "hunter2" not in repr(fake.keys["shop_key"])


def test_images_of_other_stacks_stay(fake: FakeEngine, engine: embedded.EmbeddedEngine) -> None:
    engine.record("shop", 1, {})
    fake.known_recipes = {
        "shop/image.a": {"id": "ra", "steps": []},
        "shop/image.b": {"id": "rb", "steps": []},
        "else/image.b": {"id": "rb", "steps": []},
    }
    fake.stored = [
        {"id": "1", "recipe": "ra", "references": ["acme/app:1", "shop/a:latest"]},
        {"id": "2", "recipe": "rb", "references": ["else/b:latest", "shop/b:latest"]},
        {"id": "3", "recipe": "", "references": ["debian:12"]},
    ]
    assert engine.remove_images("shop") == ["acme/app:1", "shop/a:latest", "shop/b:latest"]
    assert [image["references"] for image in fake.stored] == [[], ["else/b:latest"], ["debian:12"]]
    assert engine.recorded("shop") is None


def test_connecting_starts_nothing(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    root = str(tmp_path / "none")
    assert connect(None, root).root == root
    assert connect("embedded", root).name == "embedded"
    assert not os.path.exists(root)
    monkeypatch.setenv("STACKPY_ROOT", "/elsewhere")
    assert default_root() == "/elsewhere"
    monkeypatch.delenv("STACKPY_ROOT")
    monkeypatch.setattr(engines, "SYSTEM_ROOT", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert default_root() == str(tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with pytest.raises(StackpyError, match="is root's, and this user is not root"):
        default_root()
    own = tmp_path / "home" / ".local" / "share" / "stackpy"
    own.mkdir(parents=True)
    assert default_root() == str(own)
    with pytest.raises(StackpyError) as caught:
        connect("docker", root)
    assert (caught.value.message, caught.value.hint) == ("there is no engine `docker`", "the engines are: embedded")


class Failure(Exception):
    """An engine's error."""

    hint, output, exit_code = "mend it", "line 1\nline 2", 127


class Gone(Failure):
    """An engine's error for what is not there."""


class Failing:
    """An engine of which every method fails."""

    def start(self) -> None:
        raise Gone("not there")

    def run(self) -> int:
        raise Failure("cannot run")

    def images(self) -> list[str]:
        raise PermissionError(13, "Permission denied", "/var/lib/x")

    def logs(self) -> Iterator[str]:
        yield "one"
        raise Failure("no more")


def test_no_error_of_the_engine_comes_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    border = Border(Failing(), Failure, Gone)
    seen = []
    for name in ("start", "run", "images"):
        with pytest.raises(StackpyError) as caught:
            getattr(border, name)()
        seen.append((type(caught.value), caught.value.message, caught.value.hint, caught.value.exit_code))
    assert seen == [
        (Missing, "not there\n  | line 1\n  | line 2", "mend it", 1),
        (StackpyError, "cannot run\n  | line 1\n  | line 2", "mend it", 127),
        (NoRights, "`/var/lib/x`: permission denied", "run it again with sudo", 1),
    ]
    lines = border.logs()
    assert next(lines) == "one"
    with pytest.raises(StackpyError, match="no more"):
        next(lines)


def test_without_the_rights_nothing_is_tried(engine: embedded.EmbeddedEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    for attempt in (Border(Failing(), Failure, Gone).start, lambda: engine.lock("shop", "apply", 0, print)):
        with pytest.raises(StackpyError) as caught:
            attempt()
        assert (caught.value.message, caught.value.hint) == (
            "containers are run by root, and this user is not root", "run it again with sudo"
        )  # fmt: skip
    assert not os.path.exists(engine.root)


def test_pulls_and_pushes_of_a_stack(engine: embedded.EmbeddedEngine, fake: FakeEngine) -> None:
    def base(reference: str, **fields: Any) -> dict[str, Any]:
        plain = {"platform": "", "runs_on": "linux/amd64", "digest": "sha256:d", "missing": True, "differs": ""}
        return {"reference": reference, **plain, **fields}

    bases = [
        base("debian"),
        base("b:1", differs="stackpy.lock names another digest"),
        base("c@sha256:e"),
        base("here", missing=False, digest=""),
    ]
    image = spec("image", "web", {"source": {**IMAGE["source"], "bases": bases}})
    wanted = engine.resolve(stack(image)._replace(pins={"b:1": {}}), Values())
    assert fake.done == [("configure", "b:1")]
    assert wanted.locked == {"debian:latest": {"linux/amd64": "sha256:d"}, "b:1": {"linux/amd64": "sha256:d"}}
    assert [tuple(pull) for pull in wanted.pulls["image.web"]] == [
        ("debian", "", "sha256:d", ""),
        ("b:1", "", "sha256:d", "stackpy.lock names another digest"),
        ("c@sha256:e", "", "", ""),
    ]
    events: list[Event] = []
    fake.stored.append(
        {"id": "sha256:r1", "recipe": "r1", "references": [], "published": {"docker.io/library/x:latest": "d"}}
    )
    for action, note in ((Action.PULL, "debian"), (Action.PUSH, "here:5000/web")):
        engine.perform(Change("image.web", action, (), note=note), wanted, Values(), 3, events.append)
    assert fake.done[1:] == [("pull", "debian sha256:d"), ("push", "sha256:r1 here:5000/web")]
    assert [(event.kind, event.text) for event in events] == [
        ("transfer", "layer 1 of 1: 1.0 of 2.0 MB"),
        ("output", "layer 1 of 1: 2.0 MB"),
        ("output", "layer 1 of 1: already there"),
    ]
    assert dict(engine.observe("shop").published) == dict.fromkeys(
        ["docker.io/library/x:latest", "docker.io/library/x", "x:latest", "x"], "r1"
    )


def test_what_a_plan_will_do_is_told_in_the_engines_words() -> None:
    def change(address: str, action: Action, replicas: tuple[int, ...] = ()) -> Change:
        return Change(address, action, (), replicas=replicas)

    changes = [
        change("container.web", Action.CREATE, (1, 2, 3)),
        change("container.db", Action.REPLACE),
        change("job.migrate", Action.RUN),
        change("container.old", Action.DELETE, (1,)),
        change("container.api", Action.UPDATE, (1, 2)),
        change("network.front", Action.DELETE),
        change("network.back", Action.CREATE),
    ]
    assert provisioning.expected(Plan("shop", "embedded", 4, tuple(changes))) == (5, ["shop_front"])
