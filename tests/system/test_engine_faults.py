"""Any call of create, start, stop and remove fails, or kills its process: a container is whole or gone, nothing leaks.

A sample of the calls, since there are some seven hundred of them; STACKPY_FAULTS=all fails each, in an hour.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stackpy_runtime.container.cgroups import layout, parent_name
from stackpy_runtime.errors import EngineError
from stackpy_runtime.store.garbage import collect
from stackpy_runtime.store.store import Store
from tests.engine_lab import Lab, wait_for
from tests.faults import ERRORS, KILL, Faults

pytestmark = pytest.mark.root

EVERY = os.environ.get("STACKPY_FAULTS") == "all"
LONGEST = 400  # more calls than any operation makes
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
        """What there is of containers on the host, but for what stands by."""
        root = Path(self.root)
        found = {
            f"{sub}/{path.name}"
            for sub in ("containers", "run/io", "staging", "volumes")
            for path in (root / sub).iterdir()
        }
        for pid in self.processes():
            for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines():
                if self.root in line:
                    found.add(f"mount {line.split()[4]}")
        return found

    def groups(self) -> int:
        """How many control groups there are; two or three stand by."""
        parent = Path(next(iter(layout().mounts.values()))) / parent_name(self.root)
        return sum(path.is_dir() for path in parent.iterdir()) if parent.exists() else 0

    def descriptors(self) -> int:
        """How many descriptors our processes have open."""
        return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in self.processes())

    def back(self) -> None:
        """Waits until a supervisor answers."""

        def answers() -> bool:
            try:
                self.engine.client.call("ping")
            except EngineError:
                return False
            return True

        wait_for(answers, "a supervisor", 30)

    def present(self, name: str) -> Any:
        """The container, or None."""
        return next((each for each in self.engine.containers() if each["name"] == name), None)


@pytest.fixture(name="faulty", scope="module")
def faulty_fixture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faulty]:
    lab = Faulty(tmp_path_factory.mktemp("faulty"))
    with lab.faults.installed():
        lab.ready()
        yield lab
        lab.leave()
        shutil.rmtree(lab.root)


def attempt(lab: Faulty, operation: str, number: int, action: int, role: str) -> bool:
    """Has the `number`-th call of an operation fail; False when it makes fewer."""
    config = lab.config_of_much()
    name = str(config["name"])
    if operation != "create":
        lab.engine.create(config)
    if operation in ("stop", "remove"):
        lab.engine.start(name)
    if operation == "remove":
        lab.engine.stop(name)
    act = {
        "create": lambda: lab.engine.create(config),
        "start": lambda: lab.engine.start(name),
        "stop": lambda: lab.engine.stop(name, 2),
        "remove": lambda: lab.engine.remove(name, volumes=True),
    }[operation]
    message = ""
    lab.faults.arm(number, action, role)
    try:
        act()
    except EngineError as error:
        message = str(error)
    fired = lab.faults.disarm()
    what = f"{operation}: call {number} ({fired}) of the {role}: {'killed' if action == KILL else os.strerror(action)}"
    lab.back()
    if message:
        assert name in message, f"{what}: which container? {message}"
        assert "Error:" not in message, f"{what}: {message}"
    _whole_or_gone(lab, name, what, operation, succeeded=not message)
    return bool(fired)


def _whole_or_gone(lab: Faulty, name: str, what: str, operation: str, *, succeeded: bool) -> None:
    found = lab.present(name)
    if succeeded:
        expected = {"create": "created", "start": "running", "stop": "exited", "remove": None}[operation]
        assert (found and found["state"]["status"]) == expected, what
    if found is not None:
        lab.engine.start(name)
        assert lab.state(name)["status"] == "running", f"{what}: {lab.state(name)}"
        assert lab.exec(name, "cat", "/etc/x").out == "x", f"{what}: it is not whole"
        lab.engine.remove(name, force=True, volumes=True)

    def gone() -> bool:
        # What a fault has left in staging goes with the next collection, at the latest when the engine next starts.
        try:
            collect(lab.engine.store, grace=0)
        except EngineError:
            return False  # the supervisor is removing the same
        return not lab.left() - lab.before - {"volumes/kept"}

    wait_for(gone, f"{what}: {lab.left() - lab.before}", 10)
    wait_for(lambda: lab.groups() <= 4, f"{what}: {lab.groups()} control groups", 10)


SAMPLE = [
    ("create", "supervisor", range(1, 14, 3)),
    ("start", "supervisor", (1, 9, 18, 25, 26, 33, 41, 44, 48, 49, 52, 55)),
    ("start", "stage", (1, 14, 43, 75, 90, 160, 197, 210, 233)),
    ("start", "keeper", (1, 2)),
    ("stop", "supervisor", (1, 3, 6, 9, 12, 14, 17)),
    ("remove", "supervisor", (1, 2, 4, 6, 8, 10, 12)),
]


@pytest.mark.parametrize(("operation", "role", "numbers"), SAMPLE, ids=lambda value: str(value).partition("(")[0])
def test_a_call_that_fails(faulty: Faulty, operation: str, role: str, numbers: Any) -> None:
    for place, number in enumerate(range(1, LONGEST) if EVERY else numbers):
        actions = ERRORS if EVERY else [ERRORS[place % len(ERRORS)]]
        fired = [attempt(faulty, operation, number, action, role) for action in actions]
        if EVERY and not all(fired):
            break


KILLS = [
    ("create", "supervisor", (8,)),
    ("start", "supervisor", (26, 47)),
    ("start", "stage", (80,)),
    ("start", "keeper", (1,)),
    ("stop", "supervisor", (10,)),
    ("remove", "supervisor", (5,)),
]


@pytest.mark.parametrize(("operation", "role", "numbers"), KILLS, ids=lambda value: str(value).partition("(")[0])
def test_a_call_that_kills(faulty: Faulty, operation: str, role: str, numbers: Any) -> None:
    for number in range(1, LONGEST) if EVERY else numbers:
        if not attempt(faulty, operation, number, KILL, role) and EVERY:
            break


def test_many_cycles_leak_nothing(faulty: Faulty) -> None:
    def cycle() -> None:
        config = faulty.config_of_much()
        faulty.engine.up(config)
        faulty.engine.remove(config["name"], force=True, volumes=True)

    cycle()
    wait_for(lambda: not faulty.left() - faulty.before - {"volumes/kept"}, "all is gone")
    descriptors, links = faulty.descriptors(), len(os.listdir("/sys/class/net"))
    ranges = len(os.listdir("/run/stackpy/ranges"))
    for _ in range(500 if EVERY else 25):
        cycle()
    wait_for(lambda: not faulty.left() - faulty.before - {"volumes/kept"}, "all is gone")
    wait_for(lambda: faulty.groups() <= 4, "control groups")
    wait_for(lambda: faulty.descriptors() <= descriptors + 8, f"descriptors: {descriptors}, {faulty.descriptors()}")
    wait_for(lambda: len(os.listdir("/sys/class/net")) <= links + 2, "links")
    wait_for(lambda: len(os.listdir("/run/stackpy/ranges")) <= ranges + 4, "ranges of host IDs")


def test_after_a_reboot(tmp_path: Path) -> None:
    """Everything killed, the runtime folder cleared, and another boot: what Docker would start is started."""
    lab = Lab(str(tmp_path / "root"))
    lab.build()
    policies = ("no", "on-failure", "unless-stopped", "always")
    ran = {policy: lab.up(["sleep", "600"], restart=policy) for policy in policies}
    stopped = {policy: lab.up(["sleep", "600"], restart=policy) for policy in policies}
    for name in stopped.values():
        lab.engine.stop(name, 0)
    pids = [lab.state(name)["pid"] for name in ran.values()]
    lab.kill()
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids), "their ends")
    shutil.rmtree(f"{lab.root}/run")
    store = Store(lab.root)
    for container in store.containers():
        store.update_container(container["id"], state={**container["state"], "boot": "another"})
    store.close()
    (row,) = [each for each in lab.engine.containers() if each["name"] == ran["no"]]
    assert row["state"]["ending"]["text"] == "the host was restarted while it ran: its exit code is not known"
    lab.engine.client.call("ping")
    running = {*(ran[policy] for policy in ("unless-stopped", "always")), stopped["always"]}
    wait_for(
        lambda: {each["name"] for each in lab.engine.containers() if each["state"]["status"] == "running"} == running,
        "those that are to run",
    )
    lab.engine.stop(stopped["always"], 0)
    lab.kill("supervisor")
    wait_for(lambda: lab.processes("supervisor"), "another supervisor")
    lab.engine.client.call("ping")
    assert lab.state(stopped["always"])["status"] == "exited", "the host has not been restarted since"
    lab.leave()
