"""Whatever was there and whatever is desired: after the plan nothing is left to do, and nothing was done in vain."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from stackpy.dsl.specs import Dependency, Spec, StackSpec
from stackpy.planning import (
    Action,
    Change,
    Desired,
    Observation,
    Observed,
    Recipe,
    RecipeStep,
    Replica,
    destroy_plan,
    diff,
)
from stackpy.planning import fields as fields_of
from stackpy.planning.targeting import Selection
from stackpy.problems import Location

IN_PLACE = fields_of.with_policy(fields_of.IN_PLACE)
AT_START = fields_of.with_policy(fields_of.RESTART)
NOWHERE = Location("stack.py", 1)
NAMES = ["a", "b", "c"]
SUBNETS = ["10.1.0.0/24", "10.2.0.0/24", "10.3.0.0/24", "10.4.0.0/24"]
FINGERPRINTS = st.sampled_from(["f1", "f2"])


# --- random stacks ------------------------------------------------------------------------------------------------


@st.composite
def fields(draw: Any, kind: str, networks: list[str], volumes: list[str], secrets: list[str], port: int) -> Any:
    optional: dict[str, Any] = {
        "environment": st.dictionaries(st.sampled_from(["A", "B_TOKEN"]), st.sampled_from(["1", "2"])),
        "labels": st.dictionaries(st.sampled_from(["x", "y"]), st.sampled_from(["1", "2"])),
        "command": st.lists(st.sampled_from(["p", "q r"]), max_size=2),
        "mem_limit": st.sampled_from([0, 1 << 20, 1 << 28]),
        "cpus": st.sampled_from([0.5, 1.0]),
        "memswap_limit": st.sampled_from([-1, 1 << 29]),
        "cpuset": st.sampled_from(["0", "0-1"]),
        "blkio_config": st.sampled_from([{"weight": 300}, {"device_read_bps": [{"path": "/dev/sda", "rate": 5}]}]),
        "ulimits": st.sampled_from([{"core": {"soft": 0, "hard": 0}}, {"core": {"soft": 0, "hard": -1}}]),
        "shm_size": st.sampled_from([1 << 20, 64 << 20]),
        "extra_hosts": st.sampled_from([{"a": ["::1"]}, {"a": ["::1"], "b": ["1.2.3.4"]}]),
        "init": st.booleans(),
        "read_only": st.booleans(),
        "cap_add": st.lists(st.sampled_from(["NET_ADMIN", "SYS_TIME"]), unique=True),
        "privileged": st.booleans(),
        "security_opt": st.lists(
            st.sampled_from(["no-new-privileges", "seccomp=unconfined", "label=disable"]), unique=True
        ),
        "devices": st.lists(st.sampled_from(["/dev/a:/dev/a:rwm", "/dev/b:/dev/c:r"]), unique=True),
        "device_cgroup_rules": st.lists(st.sampled_from(["c 1:3 r", "a 7:* rwm"]), unique=True),
        "userns": st.sampled_from(["auto", "host"]),
        "pid": st.sampled_from(["host", "container:other"]),
        "ipc": st.sampled_from(["private", "shareable", "none", "host"]),
        "uts": st.just("host"),
        "learn": st.booleans(),
        "files": st.dictionaries(st.just("/f"), st.fixed_dictionaries({"content": st.sampled_from(["YQ==", "Yg=="])})),
        "networks": st.dictionaries(
            st.sampled_from(networks), st.fixed_dictionaries({"aliases": st.just(["z"])}), max_size=2
        )
        if networks
        else None,
        "volumes": st.lists(st.sampled_from(volumes), unique=True, max_size=1).map(
            lambda names: [{"type": "volume", "source": n, "target": f"/{n}", "read_only": False} for n in names]
        )
        if volumes
        else None,
        "secrets": st.lists(st.sampled_from(secrets), unique=True).map(
            lambda names: [{"secret": n, "target": n} for n in names]
        )
        if secrets
        else None,
    }
    if kind == "container":
        optional |= {
            "restart": st.sampled_from(["no", "always"]),
            "replicas": st.integers(1, 3),
            "healthcheck": st.sampled_from([{"tcp": 80}, {"tcp": 80, "interval": 1.0}]),
            "ports": st.just([{"host_ip": "127.0.0.1", "published": port, "target": 80, "protocol": "tcp"}]),
        }
    chosen = st.fixed_dictionaries({}, optional={key: value for key, value in optional.items() if value is not None})
    return {"image": f"image.{draw(st.sampled_from(NAMES[:2]))}", **draw(chosen)}


@st.composite
def stacks(draw: Any) -> Desired:
    specs: dict[str, Spec] = {}

    def add(kind: Any, name: str, values: dict[str, Any], dependencies: tuple[Dependency, ...] = ()) -> None:
        specs[f"{kind}.{name}"] = Spec(kind, name, values, dependencies, NOWHERE)

    def some() -> list[str]:
        return draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=3))

    recipes = {}
    for name in NAMES[:2]:
        add("image", name, {"source": {"base": {"kind": "host"}, "steps": []}})
        steps = [f"{name}{draw(st.integers(0, 1))}", f"end{draw(st.integers(0, 1))}"]
        recipes[f"image.{name}"] = Recipe(
            "/".join(steps), tuple(RecipeStep("/".join(steps[: i + 1]), step, "", {}) for i, step in enumerate(steps))
        )
    networks, volumes, secrets = some(), some(), some()
    taken: set[str] = set()
    for name in networks:
        values = draw(st.fixed_dictionaries({}, optional={"internal": st.booleans(), "labels": st.just({"x": "1"})}))
        # two networks never swap: that alone takes two applies
        subnet = draw(st.sampled_from([None, *SUBNETS[NAMES.index(name) : NAMES.index(name) + 2]]))
        if subnet and subnet not in taken:
            values["subnet"] = subnet
            taken.add(subnet)
        add("network", name, values)
    for name in volumes:
        optional = {"labels": st.just({"x": "1"}), "snapshot": st.booleans()}
        add("volume", name, draw(st.fixed_dictionaries({}, optional=optional)))
    fingerprints = {}
    for name in secrets:
        add("secret", name, {"source": {"env": name}})
        fingerprints[f"secret.{name}"] = draw(FINGERPRINTS)
    ports = draw(st.permutations([8001, 8002, 8003]))
    before: list[str] = []
    for name, port in zip(draw(st.permutations(NAMES)), ports, strict=True):
        kind = draw(st.sampled_from(["container", "job"]))
        values = draw(fields(kind, networks, volumes, secrets, port))
        needed = draw(st.lists(st.sampled_from(before), unique=True)) if before else []
        conditions = {"container": "started", "job": "completed"}
        add(kind, name, values, tuple(Dependency(a, conditions[a.partition(".")[0]]) for a in needed))  # type: ignore[arg-type]
        before.append(f"{kind}.{name}")
    return Desired(StackSpec("shop", specs, {}, "/"), recipes, fingerprints)


# --- an engine, as a model ----------------------------------------------------------------------------------------


class Model:
    """What an engine holds; it refuses what a real one would."""

    def __init__(self) -> None:
        self.resources: dict[str, Observed] = {}
        self.images: dict[str, Recipe] = {}
        self.built: set[str] = set()
        self.generation = 0

    def observe(self) -> Observation:
        return Observation(
            "shop", "model", self.generation, dict(self.resources), dict(self.images), frozenset(self.built), {}
        )

    def perform(self, change: Change, desired: Desired) -> None:
        kind, _, name = change.address.partition(".")
        if change.action is Action.BUILD:
            self.images[change.address] = desired.recipes[change.address]
            self.built |= {step.id for step in desired.recipes[change.address].steps}
        elif change.action is Action.SNAPSHOT:
            assert change.address in self.resources, "there is nothing to keep"
        elif kind in ("container", "job"):
            self._process(change, desired)
        elif change.action is Action.DELETE:
            assert not self._users(change.address), f"{change.address} is in use"
            del self.resources[change.address]
        else:
            assert (change.action is Action.CREATE) == (change.address not in self.resources)
            spec = desired.stack.resources[change.address]
            if change.action is Action.REPLACE:
                assert kind == "network"
                for user in self._users(change.address):
                    self._drop(user, ())
            live = dict(spec.fields)
            if kind == "network" and "subnet" in live:
                subnets = [o.live.get("subnet") for a, o in self.resources.items() if a != change.address]
                assert live["subnet"] not in subnets, "a subnet is taken"
            if kind == "secret":
                live = {"fingerprint": desired.fingerprints[change.address], "available": True}
            self.resources[change.address] = Observed(spec.kind, name, live, spec.fields, (), spec.dependencies)

    def _users(self, address: str) -> list[str]:
        kind, _, name = address.partition(".")
        found = []
        for user, observed in self.resources.items():
            for replica in observed.replicas:
                live = replica.live
                used = {
                    "network": live.get("networks", {}) if replica.status == "running" else {},
                    "volume": [mount["source"] for mount in live.get("volumes", ())],
                    "secret": [mount["secret"] for mount in live.get("secrets", ())],
                }[kind]
                if name in used:
                    found.append(user)
        return list(dict.fromkeys(found))

    def _process(self, change: Change, desired: Desired) -> None:
        address, action = change.address, change.action
        if action is Action.DELETE:
            self._drop(address, change.replicas)
            return
        spec = desired.stack.resources[address]
        replicas = {replica.index: replica for replica in self._replicas(address)}
        for index in change.replicas or range(1, spec.fields.get("replicas", 1) + 1):
            if action is Action.UPDATE:
                assert index in replicas
                live = replicas[index].live
                kept = {k: v for k, v in live.items() if k not in (*IN_PLACE, *AT_START)}
                new = {k: v for k, v in spec.fields.items() if k in (*IN_PLACE, *AT_START)}
                self._check_places(spec)
                replicas[index] = replicas[index]._replace(
                    live=self._renewed({**kept, **new}), applied=dict(spec.fields)
                )
            elif action is Action.RESTART:
                assert index in replicas and replicas[index].status == "running"
                changed = {k: v for k, v in replicas[index].live.items() if k not in AT_START}
                changed |= {k: v for k, v in spec.fields.items() if k in (*IN_PLACE, *AT_START)}
                changed = {k: v for k, v in changed.items() if k in spec.fields or k not in IN_PLACE}
                self._check_places(spec)
                replicas[index] = replicas[index]._replace(live=self._renewed(changed), applied=dict(spec.fields))
            elif action is Action.START:
                assert replicas[index].status in ("created", "exited")
                replicas[index] = replicas[index]._replace(status="running")
            else:
                assert action is not Action.CREATE or index not in replicas
                replicas.pop(index, None)
                self._store(address, spec, replicas)
                replicas[index] = self._made(spec, index, desired)
        self._store(address, spec, replicas)

    def _made(self, spec: Spec, index: int, desired: Desired) -> Replica:
        name = f"shop-{spec.name}-{index}"
        for observed in self.resources.values():
            assert all(other.name != name for other in observed.replicas), f"the name {name} is taken"
        self._check_places(spec)
        assert (
            spec.fields["image"] in self.images
            and self.images[spec.fields["image"]] == desired.recipes[spec.fields["image"]]
        ), "the image is not built"
        live = {key: value for key, value in spec.fields.items() if key not in ("image", "replicas")}
        for mount in live.get("volumes", ()):
            assert f"volume.{mount['source']}" in self.resources, "a volume is missing"
        live["environment"] = {"PATH": "/bin", **live.get("environment", {})}
        live = self._renewed(live)
        done = spec.kind == "job"
        return Replica(
            index, name, name, "exited" if done else "running", "", 0 if done else None, 1.0 if done else 0.0,
            desired.recipes[spec.fields["image"]].id, live, dict(spec.fields),
        )  # fmt: skip

    def _check_places(self, spec: Spec) -> None:
        """The networks that it joins are there, and the ports that it takes are free."""
        for network in spec.fields.get("networks", ()):
            assert f"network.{network}" in self.resources, "a network is missing"
        for observed in self.resources.values():
            for other in observed.replicas:
                if observed.address != spec.address and other.status == "running":
                    taken = {port["published"] for port in other.live.get("ports", ())}
                    assert not taken & {port["published"] for port in spec.fields.get("ports", ())}, "a port is taken"

    def _renewed(self, live: dict[str, Any]) -> dict[str, Any]:
        """With the values that its secrets have now."""
        secrets = [
            {**mount, "fingerprint": self.resources[f"secret.{mount['secret']}"].live["fingerprint"]}
            for mount in live.get("secrets", ())
        ]
        return {**live, "secrets": secrets}

    def _replicas(self, address: str) -> tuple[Replica, ...]:
        return self.resources[address].replicas if address in self.resources else ()

    def _store(self, address: str, spec: Spec, replicas: dict[int, Replica]) -> None:
        self.resources.pop(address, None)
        if replicas:
            ordered = tuple(replica for _, replica in sorted(replicas.items()))
            self.resources[address] = Observed(
                spec.kind, spec.name, ordered[-1].live, dict(spec.fields), ordered, spec.dependencies
            )

    def _drop(self, address: str, indexes: tuple[int, ...]) -> None:
        observed = self.resources.pop(address)
        rest = tuple(r for r in observed.replicas if indexes and r.index not in indexes)
        if rest:
            self.resources[address] = observed._replace(replicas=rest)

    def damage(self, data: Any) -> None:
        """What may happen between two applies: containers die, are removed, are changed by hand."""
        for address, observed in list(self.resources.items()):
            if not observed.replicas:
                continue
            replica = data.draw(st.sampled_from(observed.replicas))
            what = data.draw(st.sampled_from(["", "", "dies", "goes", "memory"]))
            if what == "dies":
                new: tuple[Replica, ...] = (replica._replace(status="exited", exit_code=137),)
            elif what == "memory":
                new = (replica._replace(live={**replica.live, "mem_limit": 7}),)
            else:
                new = ()
            if what:
                rest = [r for r in observed.replicas if r is not replica]
                if rest or new:
                    self.resources[address] = observed._replace(replicas=(*rest, *new))
                else:
                    del self.resources[address]


def apply(model: Model, desired: Desired, upto: int | None = None) -> None:
    plan = diff(desired, model.observe())
    seen: set[str] = set()
    addresses = {change.address for change in plan.changes}
    specs, there, kept = desired.stack.resources, set(model.resources), set()
    for change in plan.changes[:upto]:
        assert set(change.depends_on) <= addresses
        assert set(change.depends_on) <= seen, "a change stands before what it depends on"
        seen.add(change.address)
        if change.action is Action.SNAPSHOT:
            kept.add(change.address)
            done = plan.changes[: plan.changes.index(change)]
            if not any(change.address in other.snapshots for other in plan.changes):
                touched = {other.action for other in done if not other.snapshots} - {Action.BUILD, Action.SNAPSHOT}
                assert touched == set(), "something was touched before"
        elif change.action in (Action.REPLACE, Action.RUN) and change.address in specs:
            volumes = {f"volume.{mount['source']}" for mount in specs[change.address].fields.get("volumes", ())}
            asking = {one for one in volumes & there if specs[one].fields.get("snapshot")}
            assert asking <= kept, "what a volume held is lost"
        model.perform(change, desired)
    model.generation = plan.generation


# --- properties ---------------------------------------------------------------------------------------------------


@given(first=stacks(), second=stacks(), data=st.data())
def test_a_plan_converges(first: Desired, second: Desired, data: Any) -> None:
    model = Model()
    apply(model, first)
    assert diff(first, model.observe()).changes == ()
    model.damage(data)
    apply(model, second)
    assert diff(second, model.observe()).changes == ()


@given(first=stacks(), second=stacks(), upto=st.integers(0, 12))
def test_an_interrupted_plan_is_finished_by_the_next(first: Desired, second: Desired, upto: int) -> None:
    model = Model()
    apply(model, first)
    apply(model, second, upto)
    apply(model, second)
    assert diff(second, model.observe()).changes == ()


@given(desired=stacks(), volumes=st.booleans())
def test_destroy_leaves_nothing_but_volumes(desired: Desired, volumes: bool) -> None:
    model = Model()
    apply(model, desired)
    kept = [] if volumes else [address for address in model.resources if address.startswith("volume.")]
    for change in destroy_plan(model.observe(), volumes=volumes).changes:
        assert change.action is Action.DELETE
        model.perform(change, desired)
    assert sorted(model.resources) == sorted(kept)


@given(first=stacks(), second=stacks(), data=st.data())
def test_a_target_brings_what_it_needs(first: Desired, second: Desired, data: Any) -> None:
    model = Model()
    apply(model, first)
    known = sorted({*second.stack.resources, *model.resources})
    target = data.draw(st.sampled_from(known))
    for change in diff(second, model.observe(), Selection((target,))).changes:
        model.perform(change, second)
    left = {change.address for change in diff(second, model.observe()).changes if change.action is not Action.SNAPSHOT}
    assert target not in left
