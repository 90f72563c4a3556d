"""A stack with every kind of change, applied by forks of a test whose processes are killed at named steps or moments.

Two states of it, one the other's edit: each apply goes to the one that is not there, so that no kill needs the stack to
be made anew. What the engine has on the host then is compared with what it had after an apply that nothing befell.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from stackpy_runtime.errors import EngineError
from stackpy_runtime.store.garbage import collect
from tests.engine_lab import Lab
from tests.faults import Faults, arm_process
from tests.waiting import wait_for

STACK = """
from stackpy import Container, Image, Job, Network, Secret, Stack, Volume, moved, var
Stack("mess")
state, turn = var("state", default="a"), var("turn", default="0")
b = state == "b"
plain = Image.host("sh", "sleep", "cat", "true").cmd(["sleep", "6000"])
built = plain.file("/state", state).file("/turn", turn).tag("mess-built")
front = Network("front", labels={"state": state})
Network("replaced", internal=b)
Network(f"only-{state}")
data = Volume("data", labels={"state": state})
Volume(f"was-{state}")
moved(old=f"volume.was-{'a' if b else 'b'}", new=f"volume.was-{state}")
word = Secret("word", env="WORD")
Secret(f"only-{state}", env="WORD")
note = Job("note", image=plain, command=["sh", "-c", f"echo {state} >> /data/log"], volumes={data: "/data"},
           environment={"STATE": state}, networks=[front])
Container(f"only-{state}", image=plain, network_mode="none")
Container("limited", image=plain, networks=["replaced"], mem_limit="64m" if b else "65m", secrets=[word],
          ports=["{port}:80"] if b else [])
Container("again", image=plain, network_mode="none", oom_score_adj=10 if b else 20)
Container(f"called-{state}", image=plain, network_mode="none")
moved(old=f"container.called-{'a' if b else 'b'}", new=f"container.called-{state}")
Container("writer", image=built, networks=[front], volumes={data: "/data"}, depends_on=[note.completed])
Container("server", image=built, networks=[front], replicas=2 if b else 1,
          update={"order": "start-first"})
"""
_CHANCE = re.compile(r"\S*\d\S*")  # words with names, addresses and numbers in rules
OTHER = {"a": "b", "b": "a"}


class Done(NamedTuple):
    """How a command ended, -9 where it was killed, and what it said."""

    code: int
    out: str
    err: str


class Mess(Lab):
    """The stack's engine root, whose processes fail on demand, and its folder."""

    stack = STACK

    def __init__(self, folder: Path, port: int = 0, root: Path | None = None) -> None:
        super().__init__(str(root or folder / "root"))
        self.folder = folder / "mess"
        self.folder.mkdir(exist_ok=True)
        (self.folder / "stack.py").write_text(self.stack.replace("{port}", f"127.0.0.1:{port}"))
        self.faults = Faults(folder / "faults")
        self.state_wanted = "a"
        self.clean: dict[str, Any] = {}
        self.noted = 0
        self.begun: set[int] = set()  # PIDs of commands that go on
        self.turn = 0  # each is a build of its own

    # --- commands as forks of the test, which has all imported ------------------------------------------------------

    def begin(
        self,
        *words: str,
        state: str | None = None,
        armed: bool = False,
        out: str = "out",
        terminal: tuple[int, int] | None = None,
    ) -> int:
        """Begins a command; its PID. armed: its own steps may be what fails; terminal: both ends of its own"""
        child = os.fork()
        if child:
            self.begun.add(child)
            return child
        try:
            if terminal is None:
                os.setsid()
            for number, name in ((1, out), (2, f"{out}.err")):
                os.dup2(os.open(self.folder.parent / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            if terminal is not None:
                os.close(terminal[0])
                os.login_tty(terminal[1])
            # pytest has put files of its own in their place
            sys.stdin, sys.stdout, sys.stderr = (open(n, "w" if n else "r", 1) for n in range(3))
            state = state or self.state_wanted
            os.environ.update(STACKPY_ROOT=self.root, WORD=f"word-{state}")
            os.chdir(self.folder)
            from stackpy.cli.context import Context
            from stackpy.cli.main import run
            from stackpy.cli.options import Globals

            if armed:
                arm_process(str(self.faults.path), "apply")
            os._exit(run([*words, "--set", f"state={state}", "--set", f"turn={self.turn}"], Context(Globals())))
        finally:
            os._exit(99)

    def end(self, child: int, out: str = "out") -> Done:  # type: ignore[override]
        """The end of a command that was begun."""
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        self.begun.discard(child)
        return Done(code, *((self.folder.parent / name).read_text() for name in (out, f"{out}.err")))

    def run(self, *words: str, **options: Any) -> Done:  # type: ignore[override]
        """A command from its beginning to its end."""
        return self.end(self.begin(*words, **options))

    def apply(self, state: str) -> Done:
        """An apply of this state; fails where it does."""
        done = self.run("apply", "--yes", state=state)
        assert done.code == 0, f"apply: {done.err}"
        return done

    def plan(self, state: str) -> dict[str, str]:
        """What a plan says that is to be done: address → action."""
        done = self.run("plan", "--format", "json", state=state)
        assert done.code == 0, f"plan: {done}"
        return {change["address"]: change["action"] for change in json.loads(done.out)["changes"]}

    def history(self) -> list[str]:
        """The outcomes of the generations, oldest first."""
        rows = json.loads(self.run("history", "--format", "json").out)
        assert [row["generation"] for row in rows] == list(
            range(rows[0]["generation"], rows[0]["generation"] - len(rows), -1)
        )
        return [row["outcome"] for row in reversed(rows)]

    def generation(self) -> int:
        """The number of the newest generation."""
        return int(json.loads(self.run("history", "--format", "json").out)[0]["generation"])

    def outcomes_since(self, generation: int) -> list[str]:
        """The outcomes of what came after a generation; of the oldest ones there is no history any more."""
        return self.history()[-new:] if (new := self.generation() - generation) else []

    # --- what there is ------------------------------------------------------------------------------------------------

    def present(self) -> set[str]:
        """Addresses of what the engine holds of the stack, a replica each by its number."""
        found = set()
        for container in self.engine.containers("mess"):
            own = container["config"]["labels"]
            found.add(f"{own['stackpy.resource']}/{own['stackpy.replica']}")
        for each in (*self.engine.networks(), *self.engine.volumes(), *self.engine.secrets()):
            if each["labels"].get("stackpy.stack") == "mess":
                found.add(each["labels"]["stackpy.resource"])
        return found

    def host(self) -> dict[str, Any]:
        """Everything of this root on the host and on disk, but for what has a name by chance."""
        root = Path(self.root)
        found: dict[str, Any] = {"present": sorted(self.present())}
        for folder in ("containers", "run/io", "staging", "volumes", "secrets"):
            names = os.listdir(root / folder) if (root / folder).is_dir() else []
            found[folder] = sorted(names) if folder == "volumes" else len(names)
        found["running"] = Counter(each["state"]["status"] for each in self.engine.containers("mess"))
        found["volume rows"] = len(self.engine.volumes())
        mounts: Counter[str] = Counter()
        mine = Path("/proc/self/mountinfo").read_text().splitlines()
        mounts["here"] = sum(f" {self.root}/" in line for line in mine)
        found["mounts"] = dict(mounts)
        mark = self.network_mark()
        found["bridges"] = sum(name.startswith(f"sp-{mark}") for name in os.listdir("/sys/class/net"))
        found["links"] = sum(name.startswith(f"sv{mark}") for name in os.listdir("/sys/class/net"))
        found["rules"] = Counter(_CHANCE.sub("N", line.strip()) for line in self.rules(mark))
        found["processes"] = Counter(self.titles())
        return found

    def attached(self) -> int:
        """How many links what runs has to the networks that it is on."""
        own = self.engine.containers("mess")
        return sum(len(each["networks"]) for each in own if each["state"]["status"] == "running")

    def network_mark(self) -> str:
        """What the names of this root's links have in common."""
        from stackpy_runtime.container.cgroups import parent_name

        return parent_name(self.root).removeprefix("stackpy-")[:5]

    def rules(self, mark: str) -> list[str]:
        """The lines that this root has in the packet filter."""
        tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True).stdout
        lines = []
        for line in tables.splitlines():
            if mark in line:
                words = line.split()[1:]
                listed = subprocess.run(["nft", "list", "table", *words], capture_output=True, text=True, check=False)
                lines += listed.stdout.replace(", ", "\n").splitlines()
        return lines

    def titles(self) -> Iterator[str]:
        """Our processes: keeper and supervisor by name, a container's as such."""
        for what in ("keeper", "supervisor"):
            yield from [what] * len(self.processes(what))
        yield from ["container"] * len(self.container_processes())

    def container_processes(self) -> list[int]:
        """PIDs of what runs in containers of this root: `sleep 6000`, in a control group of the root's."""
        from stackpy_runtime.container.cgroups import parent_name

        found = []
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                with suppress(OSError):
                    if (
                        parent_name(self.root) in Path(f"/proc/{entry}/cgroup").read_text()
                        and Path(f"/proc/{entry}/cmdline").read_bytes() == b"sleep\x006000\0"
                    ):
                        found.append(int(entry))
        return found

    def groups(self) -> int:
        """How many control groups there are; a few stand by."""
        from stackpy_runtime.container.cgroups import layout, parent_name

        parent = Path(next(iter(layout().mounts.values()))) / parent_name(self.root)
        return sum(path.is_dir() for path in parent.iterdir()) if parent.exists() else 0

    # --- one kill -----------------------------------------------------------------------------------------------------

    def ready(self) -> None:
        """Both states have been there, and it is noted what the host looks like in each."""
        self.engine.client.call("ping")  # from here, so that the engine's processes can be made to fail
        self.apply("a")
        volume = Path(self.root) / "volumes" / "mess_was-a" / "_data"
        (volume / "kept").write_text("kept")
        for state in ("b", "a"):
            self.apply(state)
        for state in ("b", "a"):
            self.apply(state)
            assert self.plan(state) == {}
            # those of containers that have gone outlive them for a moment
            wait_for(lambda: self.host()["links"] == self.attached(), "the links of what runs alone")
            self.clean[state] = self.host()
        self.state_wanted = "a"

    def told(self, state: str) -> None:
        """The plan tells what is: what is to be changed is there, what is too many is named, the rest is as wanted."""
        plan, present = self.plan(state), self.present()
        addresses = {each.partition("/")[0] for each in present}
        for address, action in plan.items():
            kind = address.partition(".")[0]
            if kind == "image":
                continue
            if action in ("delete", "update", "replace", "start", "restart"):
                assert address in addresses, f"{action} {address}: {sorted(present)}"
        wanted = {each.partition("/")[0] for each in self.clean[state]["present"]}
        silent = wanted - set(plan)
        assert silent <= addresses, f"not there, and the plan does not say so: {silent - addresses}"
        for address in addresses - wanted - set(plan):
            moves = {"container.called-", "volume.was-"}
            assert any(address.startswith(each) for each in moves), f"the plan does not say that {address} is too many"

    def converged(self, state: str, what: str) -> None:
        """Whatever has happened: the next plan is true, the next apply comes through, and all is as it should be."""
        self.settled()
        self.told(state)
        self.apply(state)
        assert self.plan(state) == {}, what
        self.same(state, what)
        self.state_wanted = state

    def settled(self) -> None:
        """Returns once nobody works on the stack: the engine may be doing what a killed command had asked for."""
        with suppress(FileNotFoundError), open(f"{self.root}/stacks/mess/lock", "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)

    def same(self, state: str, what: str) -> None:
        """The host is as after an apply that nothing befell, and data is where it was."""
        wanted = self.clean[state]
        self.back(EngineError)  # where all was done already, no command has started the engine again

        def is_same() -> bool:
            # What is left in staging goes with the next collection, at the latest when the engine next starts.
            with suppress(EngineError):
                collect(self.engine.store, grace=0)
            return self.host() == wanted

        with suppress(AssertionError):
            wait_for(is_same, "", 10.0)
        found = self.host()
        assert found == wanted, f"{what}: {_otherwise(found, wanted)}"
        wait_for(lambda: self.groups() <= len(wanted["present"]) + 4, lambda: f"{what}: {self.groups()} control groups")
        self.data_is_there(state, what)

    def data_is_there(self, state: str, what: str) -> None:
        """Volumes hold what was written in them, and what this apply has written."""
        assert (Path(self.root) / "volumes" / f"mess_was-{state}" / "_data" / "kept").read_text() == "kept", what
        log = (Path(self.root) / "volumes" / "mess_data" / "_data" / "log").read_text()
        assert len(log) > self.noted and log.endswith(f"{state}\n"), f"{what}: {log[-20:]!r}"
        self.noted = len(log)

    def leave(self) -> None:
        """Takes all down; nothing is left."""
        self.faults.disarm()
        for pid in self.processes():
            os.kill(pid, signal.SIGCONT)
        for child in self.begun:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        done = self.run("destroy", "--yes", "--volumes", "--images", "--allow-data-loss", "*")
        assert done.code == 0, done
        super().leave()


def _otherwise(found: dict[str, Any], wanted: dict[str, Any]) -> str:
    """What of the host is not as it should be."""
    said = []
    for key in wanted:
        one, other = found[key], wanted[key]
        if isinstance(one, Counter):
            one, other = dict(one - other), dict(other - one)
        if one != other:
            said.append(f"{key}: {one}, not {other}")
    return ", ".join(said)


MessT = TypeVar("MessT", bound=Mess)


@contextmanager
def mess(folder: Path, port: int = 0, kind: type[MessT] = Mess) -> Iterator[MessT]:  # type: ignore[assignment]
    """A mess to be made; the host is as before afterwards."""
    lab = kind(folder, port)
    # Small, so that it can be filled.
    os.mkdir(lab.root)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96m,mode=711", "tmpfs", lab.root], check=True)
    with lab.faults.installed():
        try:
            lab.ready()
            yield lab
        finally:
            try:
                lab.leave()
            finally:
                subprocess.run(["umount", "--lazy", lab.root], check=True)
                os.rmdir(lab.root)


def killed_at(lab: Mess, role: str, name: str, number: int = 1, *, then_right: bool = True) -> str:
    """An apply of the other state, with `role` killed at the `number`-th step of this name; what was hit, or "".

    then_right: and another apply, after which all is as it should be; without, the next kill meets what this one left
    """
    state = OTHER[lab.state_wanted]
    lab.turn += then_right
    what = f"{role} killed at {name} ({number}), to {state}"
    lab.faults.arm(number, -signal.SIGKILL, role, name)
    done = lab.run("apply", "--yes", state=state, armed=True)
    fired = lab.faults.disarm()
    judge(done, what)
    if done.code == 0:
        assert lab.plan(state) == {}, f"{what}: it is said to be done"
    if then_right:
        lab.converged(state, what)
    else:
        lab.settled()
        lab.told(state)
    return fired


def judge(done: Done, what: str) -> None:
    """A command comes through, is killed, or says what has failed: it is never at a loss."""
    assert done.code in (0, 1, -signal.SIGKILL), f"{what}: {done}"
    assert "unexpected" not in done.err and "Traceback" not in done.err, f"{what}: {done.err}"
    if done.code == 1:
        assert "error:" in done.err, f"{what}: {done.err}"


def killed_after(lab: Mess, victims: tuple[str, ...], seconds: float) -> None:
    """An apply to the other state, of which the victims are killed after so many seconds."""
    state, lab.turn = OTHER[lab.state_wanted], lab.turn + 1
    what = f"{' and '.join(victims)} killed after {seconds:.3f} s, to {state}"
    child = lab.begin("apply", "--yes", state=state)
    time.sleep(seconds)  # anywhere, which is the point
    pids = [pid for victim in victims if victim != "apply" for pid in lab.processes(victim)]
    for pid in [*pids, *([child] if "apply" in victims else [])]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    done = lab.end(child)
    judge(done, what)
    if done.code == 0:
        assert lab.plan(state) == {}, f"{what}: it is said to be done"
    lab.converged(state, what)
