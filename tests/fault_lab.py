"""What an operation of the engine leaves when one of its calls fails or kills: tests sample it, or go through all."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from stackpy_runtime.container.cgroups import layout, parent_name
from stackpy_runtime.errors import EngineError
from stackpy_runtime.network.names import Names
from stackpy_runtime.store.garbage import collect
from tests.engine_lab import Lab, Output
from tests.faults import KILL, Faults
from tests.waiting import wait_for

ENDS = ["sh", "-c", "trap 'exit 0' TERM; echo up; while :; do sleep 0.05; done"]


class Faulty(Lab):
    """A lab of its own whose processes fail on demand."""

    def __init__(self, folder: Path) -> None:
        super().__init__(str(folder / "root"))
        self.faults = Faults(folder / "faults")
        self.bind = folder / "bind"
        self.bind.mkdir()

    def config_of_much(self) -> Any:
        """A container with a bit of everything."""
        return self.config(
            ENDS,
            image=self.with_volume,
            networks={"net": {"aliases": ["much"]}},
            mounts=[
                {"type": "volume", "source": "kept", "target": "/v", "read_only": False},
                {"type": "tmpfs", "source": "", "target": "/t", "read_only": False},
                {"type": "bind", "source": str(self.bind), "target": "/b", "read_only": True},
            ],
            files=[{"target": "/etc/x", "content": "eA==", "mode": 0o644}],
        )

    def ready(self) -> None:
        """Has its image and network, and a container that keeps our processes from leaving."""
        self.build()
        self.with_volume = self.image({"Volumes": {"/own": {}}})
        self.engine.create_network({"name": "net"})
        self.up(["sleep", "6000"])
        name = self.config_of_much()["name"]
        self.engine.up({**self.config_of_much(), "name": name})
        self.engine.remove(name, force=True, volumes=True)
        self.before = self.left()

    def left(self) -> set[str]:
        """What there is of containers, networks and volumes on the host, but for what stands by."""
        root = Path(self.root)
        found = {
            f"{sub}/{path.name}"
            for sub in ("containers", "run/io", "staging", "volumes")
            for path in (root / sub).iterdir()
        }
        for pid in self.processes():
            try:
                mounts = Path(f"/proc/{pid}/mountinfo").read_text()
            except OSError:
                continue  # killed since
            found |= {f"mount {line.split()[4]}" for line in mounts.splitlines() if self.root in line}
        found |= {f"network {each['name']}" for each in self.engine.networks()}
        found |= {f"volume {each['name']}" for each in self.engine.volumes()}
        return found | {f"link {name}" for name in os.listdir("/sys/class/net") if name.startswith(self.mark)}

    @property
    def mark(self) -> str:
        """What the names of this root's bridges begin with."""
        return Names(self.root).bridge_prefix

    def groups(self) -> int:
        """How many control groups there are; two or three stand by."""
        parent = Path(next(iter(layout().mounts.values()))) / parent_name(self.root)
        return sum(path.is_dir() for path in parent.iterdir()) if parent.exists() else 0

    def links(self) -> int:
        """How many of the host's links bear the root's name."""
        digest = parent_name(self.root).removeprefix("stackpy-")[:5]
        return sum(name.startswith((f"sp-{digest}", f"sv{digest}")) for name in os.listdir("/sys/class/net"))

    def ranges(self) -> int:
        """How many ranges of host IDs the root's processes hold, or processes that have ended."""

        def is_others(path: Path) -> bool:
            try:
                holder = path.read_text().split()[1:2]  # after the boot, its PID
            except FileNotFoundError:
                return True
            try:
                return not holder or parent_name(self.root) not in Path(f"/proc/{holder[0]}/cgroup").read_text()
            except OSError:
                return False

        return sum(path.name.isdigit() and not is_others(path) for path in Path("/run/stackpy/ranges").iterdir())

    def descriptors(self) -> int:
        """How many descriptors our processes have open."""
        return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in self.processes())

    def present(self, name: str) -> Any:
        """The container, or None."""
        return next((each for each in self.engine.containers() if each["name"] == name), None)


class Operation(NamedTuple):
    """Something that the engine is asked for.

    prepare: what is done before; act: the operation; holds: whether it is done, as seen afterwards
    """

    prepare: Callable[[Faulty, str], object]
    act: Callable[[Faulty, str], object]
    holds: Callable[[Faulty, str], bool]


def _create(lab: Faulty, name: str) -> None:
    lab.engine.create({**lab.config_of_much(), "name": name})


def _up(lab: Faulty, name: str) -> None:
    _create(lab, name)
    lab.engine.start(name)


def _stopped(lab: Faulty, name: str) -> None:
    _up(lab, name)
    lab.engine.stop(name)


def _nothing(lab: Faulty, name: str) -> None:
    pass


def _execute(lab: Faulty, name: str) -> Output:
    """By the command line, as users do; raises what it says."""
    done = lab.exec(name, "sh", "-c", "echo out; exit 7")
    if (done.code, done.out) != (7, "out\n"):
        raise EngineError(done.err.partition("hint:")[0].strip() or f"exec: {done} of {name}")
    return done


def _status(status: str | None) -> Callable[[Faulty, str], bool]:
    def holds(lab: Faulty, name: str) -> bool:
        found = lab.present(name)
        return bool((found and found["state"]["status"]) == status)

    return holds


def _limited(lab: Faulty, name: str) -> bool:
    return bool(lab.engine.container(name)["config"].get("mem_limit") == 64 << 20)


def _networked(lab: Faulty, name: str) -> bool:
    return any(each["name"] == name for each in lab.engine.networks())


def _has_volume(lab: Faulty, name: str) -> bool:
    return any(each["name"] == name for each in lab.engine.volumes())


OPERATIONS = {
    "create": Operation(_nothing, _create, _status("created")),
    "start": Operation(_create, lambda lab, name: lab.engine.start(name), _status("running")),
    "stop": Operation(_up, lambda lab, name: lab.engine.stop(name, 2), _status("exited")),
    "remove": Operation(_stopped, lambda lab, name: lab.engine.remove(name, volumes=True), _status(None)),
    "exec": Operation(_up, _execute, _status("running")),
    "kill": Operation(
        _up,
        lambda lab, name: (lab.engine.kill(name), lab.engine.wait(name)),
        lambda lab, name: _status("exited")(lab, name),
    ),
    "pause": Operation(_up, lambda lab, name: lab.engine.pause(name), _status("paused")),
    "rename": Operation(_up, lambda lab, name: lab.engine.rename(name, f"{name}-new"), _status(None)),
    "update": Operation(_up, lambda lab, name: lab.engine.update(name, {"mem_limit": 64 << 20}), _limited),
    "network create": Operation(_nothing, lambda lab, name: lab.engine.create_network({"name": name}), _networked),
    "network remove": Operation(
        lambda lab, name: lab.engine.create_network({"name": name}),
        lambda lab, name: lab.engine.remove_network(name),
        lambda lab, name: not _networked(lab, name),
    ),
    "volume create": Operation(_nothing, lambda lab, name: lab.engine.create_volume(name, {}), _has_volume),
    "volume remove": Operation(
        lambda lab, name: lab.engine.create_volume(name, {}),
        lambda lab, name: lab.engine.remove_volume(name),
        lambda lab, name: not _has_volume(lab, name),
    ),
}


def attempt(lab: Faulty, operation: str, number: int, action: int, role: str) -> bool:
    """Has the `number`-th call of an operation fail; False when it makes fewer.

    Fails when the container, network or volume is neither whole nor gone, something is left, or the message does not
    say of which of them it speaks.
    """
    asked = OPERATIONS[operation]
    lab.count += 1
    name = f"lab-{lab.count}"
    asked.prepare(lab, name)
    message = ""
    lab.faults.arm(number, action, role)
    try:
        asked.act(lab, name)
    except EngineError as error:
        message = str(error)
    fired = lab.faults.disarm()
    what = f"{operation}: call {number} ({fired}) of the {role}: {'killed' if action == KILL else os.strerror(action)}"
    lab.back(EngineError)
    if message:
        assert name in message, f"{what}: which one? {message}"
        assert "Error:" not in message, f"{what}: {message}"
    else:
        assert asked.holds(lab, name), f"{what}: it is said to be done"
    _whole_or_gone(lab, name, what)
    return bool(fired)


COUNTS = ["sh", "-c", "n=0; while :; do n=$((n+1)); echo $n; sleep 0.05; done"]


def attempt_coming_up(lab: Faulty, number: int, action: int, role: str) -> bool:
    """Has the `number`-th call fail of a supervisor, or of a keeper, that comes up under containers.

    Some run; one has ended meanwhile, and one that is to be started again. False when it makes fewer calls. Fails when
    one of them is not as before, or as it should be now.
    """
    lab.count += 1
    name = f"lab-{lab.count}"
    _up(lab, name)
    counts, ends, again = lab.up(COUNTS), lab.up(["sleep", "600"]), lab.up(["sleep", "600"], restart="always")
    lab.said(counts, "2\n")
    pids = {each: lab.state(each)["pid"] for each in (name, counts, ends, again)}
    # The keeper sees how they end, unless it is killed as well.
    victims = lab.processes("supervisor" if role == "supervisor" else "")
    for pid in victims:
        os.kill(pid, signal.SIGSTOP)
    for each in (ends, again):
        os.kill(pids[each], signal.SIGKILL)
        known = f"{lab.root}/containers/{lab.engine.container(each)['id']}/exit"
        wait_for(lambda known=known: role == "keeper" or os.path.exists(known), "its end")  # type: ignore[misc]
    lab.faults.arm(number, action, role)
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    message = ""
    try:
        lab.engine.client.call("ping")
    except EngineError as error:
        message = str(error)
    lab.back(EngineError)
    how = "killed" if action == KILL else os.strerror(action)
    what = f"coming up: call {number} ({lab.faults.fired()}) of the {role}: {how}"
    # Its collection, and the ends that it finds, are after its first answer.
    wait_for(lambda: lab.state(again)["pid"] not in (0, pids[again]), lambda: f"{what}: {lab.seen(again)}")
    fired = lab.faults.disarm()
    lab.back(EngineError)
    assert "Error:" not in message and (not message or "engine" in message), f"{what}: {message}"
    assert {each: lab.state(each)["pid"] for each in (name, counts)} == {each: pids[each] for each in (name, counts)}
    wait_for(lambda: len(lab.processes()) == 2, lambda: f"{what}: {lab.processes()}")
    wait_for(lambda: lab.state(ends)["finished_at"], lambda: f"{what}: {lab.seen(ends)}")
    code = lab.state(ends)["exit_code"]
    assert code == 137 or (code is None and role == "keeper"), f"{what}: {lab.state(ends)}"
    seen = lab.log(counts).count("\n")
    wait_for(lambda: lab.log(counts).count("\n") > seen + 2, lambda: f"{what}: {lab.seen(counts)}")
    lines = lab.log(counts).split()
    assert lines == [str(n) for n in range(1, len(lines) + 1)], f"{what}: a hole in the log"
    for each in (counts, ends, again):
        lab.engine.remove(each, force=True)
    _whole_or_gone(lab, name, what)
    return bool(fired)


def _whole_or_gone(lab: Faulty, name: str, what: str) -> None:
    for known in (name, f"{name}-new"):
        if (found := lab.present(known)) is None:
            continue
        if found["state"]["status"] == "paused":
            lab.engine.unpause(known)
        if found["state"].get("removing"):
            lab.engine.remove(known, volumes=True)
            continue
        lab.engine.start(known)
        assert lab.state(known)["status"] == "running", f"{what}: {lab.state(known)}"
        seen = lab.exec(known, "cat", "/etc/x")
        assert seen.out == "x", f"{what}: it is not whole: {seen}"
        lab.engine.remove(known, force=True, volumes=True)
    if _networked(lab, name):
        whole = lab.up(["true"], networks={name: {"aliases": []}})
        assert lab.engine.wait(whole) == 0, f"{what}: the network is not whole"
        lab.engine.remove(whole)
        lab.engine.remove_network(name)
    if _has_volume(lab, name):
        lab.engine.remove_volume(name)

    def gone() -> bool:
        # What a fault has left in staging goes with the next collection, at the latest when the engine next starts.
        try:
            collect(lab.engine.store, grace=0)
        except EngineError:
            return False  # the supervisor is removing the same
        return not lab.left() - lab.before - {"volumes/kept", "volume kept"}

    wait_for(gone, lambda: f"{what}: {lab.left() - lab.before}")
    wait_for(lambda: lab.groups() <= 4, lambda: f"{what}: {lab.groups()} control groups")
