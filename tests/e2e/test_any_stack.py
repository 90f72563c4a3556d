"""Stacks at random, edited at random, hurt at random, on the real engine.

After each apply that succeeds the plan is empty, what runs is what is wanted, and no volume has lost anything; after
the last destroy the host is as it was. The suite takes a few short walks. For long ones by hand:
STACKPY_WALKS=200 STACKPY_STEPS=60 STACKPY_SEED=7 pytest tests/e2e/test_any_stack.py
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from stackpy_runtime.engine import Engine
from tests.conftest import Cli, checked_out, traces
from tests.random_stacks import RandomStack
from tests.waiting import wait_for

pytestmark = pytest.mark.root

T = TypeVar("T")
WALKS, STEPS = int(os.environ.get("STACKPY_WALKS", "2")), int(os.environ.get("STACKPY_STEPS", "12"))
FAULTS = os.environ.get("STACKPY_FAULTS", "yes") != "no"
CHANCE = st.integers(0, 1 << 40)  # drawn as a seed: what there is to choose from depends on the host
NOT_THERE = '["/not/there"]'
NO_WAY_BACK = ("nothing to go back to", "is not in the store any more")
EVERYTHING = ("--volumes", "--images", "--allow-data-loss", "*")


class Walk(RuleBasedStateMachine):
    """One stack's life. The host is the thing under test; `stack` is what is wanted of it."""

    cli: Cli
    ports: list[int]

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="walk-"))
        self.stack = RandomStack("any", self.ports)
        self.said: list[str] = []  # commands and what came of them
        self.sound = True
        self.data: dict[str, str] = {}  # name of a volume on the engine → what is written in it
        self.protected: dict[str, RandomStack] = {}  # addresses that an apply has protected
        self.marked = 0

    # --- commands ----------------------------------------------------------------------------------------------------

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Around all that can fail: a walk that has failed is not tidied up by commands, and tells what it did."""
        try:
            yield
        except BaseException as error:
            self.sound = False
            error.add_note("\n".join([*self.said[-20:], "--- stack.py", self.stack.text()]))
            raise

    def run(self, *words: str, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Runs a command in the stack's folder."""
        (self.folder / "stack.py").write_text(self.stack.text())
        done = self.cli(*words, cwd=self.folder, code=None)
        self.said.append(f"$ stackpy {' '.join(words)}  → {done.returncode}\n{done.stdout}{done.stderr}")
        if code is not None and done.returncode != code:
            raise AssertionError(f"`{' '.join(words)}` ended with {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    @contextmanager
    def engine(self) -> Iterator[Engine]:
        """The engine, for reading."""
        engine = Engine(str(self.cli.root), read_only=True)
        try:
            yield engine
        finally:
            if self.cli.root.exists():
                engine.store.close()

    # --- edits -------------------------------------------------------------------------------------------------------

    @initialize(chance=CHANCE)
    def begins(self, chance: int) -> None:
        choose = Random(chance).choice
        for kind in ("network", "volume", "container", "secret", "container"):
            self.stack.add(kind, choose)

    @rule(chance=CHANCE, times=st.integers(1, 4))
    def edit(self, chance: int, times: int) -> None:
        choose = Random(chance).choice
        for _ in range(times):
            self.stack.edit(choose)
        for item in self.stack.of("secret"):
            self.cli.environment[f"SECRET_{item.number}"] = choose(("one", "one", "one", "two"))

    # --- commands that change ----------------------------------------------------------------------------------------

    @rule()
    def apply(self) -> None:
        with self.noted():
            self._apply()

    def _apply(self, *words: str) -> None:
        """Applies; what is protected is let go first where that is in the way."""
        before = self._state()
        done = self.run("apply", "--yes", *words, code=None)
        if done.returncode and "protected" in done.stderr and self._keepers():
            assert self._state() == before, "an apply that was refused has changed something"
            self._let_go()
            done = self.run("apply", "--yes", *words, code=None)
        assert done.returncode == 0, done.stdout + done.stderr
        self._as_wanted()

    def _keepers(self) -> bool:
        """Whether anything is protected, by the stack file or by an apply."""
        return bool(self.protected) or any("protect" in item.fields for item in self.stack.items.values())

    def _let_go(self) -> None:
        """Applies the stack with what had been protected and has left it, protected no more, and then without it."""
        wanted = self.stack
        wanted.unprotected()
        for address, then in list(self.protected.items()):
            if address in {item.address for item in wanted.items.values()}:
                continue
            self.stack = then.copy()
            self.stack.unprotected()
            self.run("apply", "--yes")
            self._remember()
        self.stack = wanted

    def _remember(self) -> None:
        """What an apply that succeeded has left."""
        there = {item.address: item for item in self.stack.items.values()}
        for address in [address for address in self.protected if address in there]:
            del self.protected[address]
        for address, item in there.items():
            if "protect" in item.fields:
                self.protected[address] = self.stack.copy()

    @rule(chance=CHANCE, option=st.sampled_from(["--target", "--exclude", "--replace"]))
    def apply_in_part(self, chance: int, option: str) -> None:
        kinds = ("container", "job") if option == "--replace" else ("container", "job", "network", "volume", "secret")
        known = [item.address for item in self.stack.of(*kinds)]
        if not known or self._keepers():
            return
        with self.noted():
            address = Random(chance).choice(known)
            self.run("apply", "--yes", option, address)
            if option != "--replace":
                self._plan_is_empty(option, address)
            self._data_is_there()

    @rule(meddle=st.booleans(), chance=CHANCE)
    def apply_a_saved_plan(self, meddle: bool, chance: int) -> None:
        with self.noted():
            file = str(self.folder / "saved.plan")
            if self.run("plan", "--out", file, code=None).returncode:
                assert self._keepers()
                return
            if meddle:
                self._hurt(Random(chance).choice)
            done = self.run("apply", file, code=None)
            if done.returncode:
                assert meddle or self._keepers(), done.stderr
                self._apply()
            else:
                self._as_wanted()

    @rule()
    def rollback(self) -> None:
        if self._keepers():
            return
        with self.noted():
            done = self.run("rollback", "--yes", code=None)
            assert done.returncode == 0 or any(why in done.stderr for why in NO_WAY_BACK), done.stderr
            self._data_is_there()

    @rule(volumes=st.booleans(), images=st.booleans())
    def destroy(self, volumes: bool, images: bool) -> None:
        if self._keepers():
            return
        with self.noted():
            words = [*(EVERYTHING[:1] + EVERYTHING[2:] if volumes else ()), *(["--images"] if images else ())]
            self.run("destroy", "--yes", *words)
            if volumes:
                self.data.clear()
            if self.cli.root.exists():
                with self.engine() as engine:
                    assert [(one["name"], one["state"]) for one in engine.containers("any")] == []
            self._data_is_there()

    # --- what happens to it ------------------------------------------------------------------------------------------

    @rule(chance=CHANCE, command=st.sampled_from([NOT_THERE, '["false"]', '["sh", "-c", "exit 3"]']))
    def apply_what_does_not_run(self, chance: int, command: str) -> None:
        running = self.stack.of("container")
        if self._keepers() or not running:
            return
        with self.noted():
            item = Random(chance).choice(running)
            before = item.fields.get("command")
            item.fields["command"] = command
            done = self.run("apply", "--yes", code=None)
            # What ends a moment after it was seen to run is the next plan's matter.
            assert done.returncode == 1 or command != NOT_THERE, done.stdout + done.stderr
            assert done.returncode == 0 or item.address in done.stderr, done.stderr
            del item.fields["command"]
            if before is not None:
                item.fields["command"] = before
            self._data_is_there()
            self._apply()

    @rule(chance=CHANCE)
    def drift(self, chance: int) -> None:
        with self.noted():
            self._hurt(Random(chance).choice)

    def _hurt(self, choose: Callable[[Any], Any]) -> None:
        """Changes something by hand, as somebody does who does not know of the stack."""
        if not self.cli.root.exists():
            return
        with self.engine() as engine:
            containers = sorted(one["name"] for one in engine.containers("any"))
            volumes = sorted(one["name"] for one in engine.volumes())
            images = sorted(name for one in engine.images() for name in one["references"])
            networks = sorted(one["name"] for one in engine.networks() if one["name"] != "bridge")
        what = choose(("stop", "kill", "rm", "rename", "pause", "update", "network", "volume", "image", "restart"))
        if what in ("network", "volume", "image"):
            names = {"network": networks, "volume": volumes, "image": images}[what]
            if not names:
                return
            name = choose(names)
            if what == "network":
                writer = Engine(str(self.cli.root))
                try:
                    writer.remove_network(name)
                except Exception as error:  # it is in use
                    self.said.append(f"network {name} stays: {error}")
                else:
                    self.said.append(f"network {name} removed")
                writer.store.close()
            elif what == "image":
                self.run("image", "rm", "-f", name, code=None)
            elif self.run("volume", "rm", name, code=None).returncode == 0:
                self.data.pop(name, None)
        elif containers:
            name = choose(containers)
            words = {"rm": ["-f"], "update": ["--memory", "48m"]}.get(what, [])
            self.run(what, *words, name, *(["strange"] if what == "rename" else []), code=None)

    @rule(
        who=st.sampled_from(["client", "supervisor", "keeper", "SIGINT"]),
        what=st.sampled_from(["apply", "apply", "apply", "destroy", "rollback"]),
        when=st.floats(0.0, 1.0),
    )
    @precondition(lambda self: FAULTS)
    def change_and_kill(self, who: str, what: str, when: float) -> None:
        if self._keepers():
            return
        with self.noted():
            (self.folder / "stack.py").write_text(self.stack.text())
            running = self.cli.start(what, "--yes", cwd=self.folder)
            time.sleep(0.1 + when * 0.6)  # anywhere, which is the point
            if who == "client":
                running.kill()
            elif who == "SIGINT":
                running.send_signal(signal.SIGINT)
            else:
                for pid in ours(self.cli.root, who):
                    os.kill(pid, signal.SIGKILL)
            running.communicate(timeout=120)
            self.said.append(f"$ stackpy {what}, {who} killed after {0.1 + when * 0.6:.2f} s → {running.returncode}")
            self._data_is_there()
            self._apply()

    # --- what always holds -------------------------------------------------------------------------------------------

    def _as_wanted(self) -> None:
        """After an apply of everything that has succeeded."""
        self._plan_is_empty()
        self._remember()
        stack = self.stack
        wanted = {
            f"any-{item.full}-{index}": "running"
            for item in stack.of("container")
            for index in range(1, stack.replicas(item) + 1)
        } | {f"any-{item.full}-1": "exited" for item in stack.of("job")}
        with self.engine() as engine:
            found = {one["name"]: one["state"]["status"] for one in engine.containers("any")}
            networks = {one["name"] for one in engine.networks()} - {"bridge", "any_default"}
        assert found == wanted
        assert networks == {f"any_{item.full}" for item in stack.of("network")}
        for old, new in stack.moves:
            kind, _, name = old.partition(".")
            if kind == "volume" and f"any_{new.partition('.')[2]}" not in self.data and f"any_{name}" in self.data:
                self.data[f"any_{new.partition('.')[2]}"] = self.data.pop(f"any_{name}")
        self._data_is_there()
        self._mark()

    def _plan_is_empty(self, *words: str) -> None:
        done = self.run("plan", "--detailed-exitcode", *words, code=None)
        assert done.returncode == 0, f"the plan after an apply is not empty:\n{done.stdout}{done.stderr}"

    def _volumes(self) -> dict[str, Path]:
        if not self.cli.root.exists():
            return {}
        with self.engine() as engine:
            return {one["name"]: Path(one["mountpoint"]) for one in engine.volumes()}

    def _data_is_there(self) -> None:
        """Each volume has what was written in it, under whatever name."""
        contents = {
            name: (path / "marker").read_text() for name, path in self._volumes().items() if (path / "marker").exists()
        }
        lost = sorted(set(self.data.values()) - set(contents.values()))
        assert not lost, f"what was in a volume is lost: {lost} of {self.data}; there is {contents}"

    def _mark(self) -> None:
        for name, path in self._volumes().items():
            marker = path / "marker"
            if not marker.exists():
                self.marked += 1
                marker.write_text(f"{name} {self.marked}")
            self.data[name] = marker.read_text()

    def _state(self) -> Any:
        """IDs and states of what there is."""
        if not self.cli.root.exists():
            return []
        with self.engine() as engine:
            return [(one["id"], one["name"], one["state"]["status"]) for one in engine.containers()]

    def teardown(self) -> None:
        """Destroys all of it; nothing is left."""
        try:
            if self.sound:
                with self.noted():
                    if self._keepers():
                        self._let_go()
                        self._apply()
                    self.run("destroy", "--yes", *EVERYTHING)
                    clean(self.cli)
        finally:
            self.cli.end()
            shutil.rmtree(self.folder)
            if not self.sound:
                wreck(self.cli.root)


def ours(root: Path, what: str) -> list[int]:
    """PIDs of the root's keeper or supervisor."""
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            title = Path(f"/proc/{entry}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            continue
        if title == f"stackpy {what} --root {root}":
            found.append(int(entry))
    return found


def clean(cli: Cli) -> None:
    """Fails unless the host is as before: nothing of the root on it, and nothing of a stack in the root."""
    root = cli.root
    wait_for(lambda: not traces(root), lambda: "an empty host\n" + "\n".join(sorted(traces(root))))
    left = [
        str(path)
        for folder in ("containers", "volumes", "secrets", "stacks/any", "staging", "run/io", "run/mnt")
        if (root / folder).is_dir()
        for path in (root / folder).iterdir()
    ]
    assert left == []


def wreck(root: Path) -> None:
    """Takes away what a failed walk has left, by force."""
    for what in ("keeper", "supervisor"):
        for pid in ours(root, what):
            os.kill(pid, signal.SIGSTOP)
    for what in ("keeper", "supervisor"):
        for pid in ours(root, what):
            os.kill(pid, signal.SIGKILL)
    command = checked_out(root)
    command("rm", "-f", *[row["name"] for row in command.json("ps")], code=None)
    command("destroy", "--stack", "any", "--yes", *EVERYTHING, code=None)
    wait_for(lambda: not traces(root), lambda: "an empty host\n" + "\n".join(sorted(traces(root))))
    shutil.rmtree(root)


def test_whatever_happens_to_a_stack_the_next_apply_makes_it_whole(tmp_path: Path) -> None:
    with contextlib.ExitStack() as held:
        listeners = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(4)]
        ports = [int(listener.getsockname()[1]) for listener in listeners]
    environment = {f"SECRET_{number}": "one" for number in range(1, 1000)}
    root = tmp_path / "root"

    class Here(Walk):
        pass

    Here.cli = checked_out(root)
    Here.cli.environment.update(environment)
    Here.ports = ports
    walk = settings(
        max_examples=WALKS,
        stateful_step_count=STEPS,
        derandomize="STACKPY_SEED" not in os.environ,
        deadline=None,
        phases=[Phase.generate],
        print_blob=False,
        suppress_health_check=list(HealthCheck),
    )
    if "STACKPY_SEED" in os.environ:
        Here = seed(int(os.environ["STACKPY_SEED"]))(Here)
    run_state_machine_as_test(Here, settings=walk)
