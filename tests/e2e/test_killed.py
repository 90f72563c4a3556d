"""Whatever befalls an apply, and at whatever step: the next plan is true, and the next apply is enough."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from stackpy_runtime.host.client import PASSIVE
from tests.faults import STOP
from tests.mess_lab import OTHER, Mess, judge, killed_after, killed_at, mess
from tests.terminal_lab import until
from tests.waiting import wait_for

pytestmark = pytest.mark.root


@pytest.fixture(name="lab", scope="module")
def lab_fixture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mess]:
    """The stack with every kind of change, as it is after an apply."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with mess(tmp_path_factory.mktemp("killed"), port) as lab:
        yield lab


EVERY = os.environ.get("STACKPY_FAULTS") == "all"  # each step, at its first, middle and last time: an hour


@pytest.mark.parametrize("operation", ["create_network", "up", *(["rename_volume", "remove_network"] if EVERY else [])])
def test_an_apply_waits_for_what_a_killed_one_had_asked_for(lab: Mess, operation: str) -> None:
    """Else it would plan to make what the engine is about to make, and fail since there is one of that name."""
    state = OTHER[lab.state_wanted]
    lab.faults.arm(1, STOP, "supervisor", f"begin of {operation}")
    killed = lab.begin("apply", "--yes", state=state, armed=True, out="killed")
    wait_for(lambda: lab.faults.fired(), "a supervisor that stands still")
    (supervisor,) = lab.processes("supervisor")
    assert lab.history()[-1] == "running"
    os.kill(killed, signal.SIGKILL)
    lab.end(killed, "killed")
    assert lab.history()[-2:] == ["applied", "killed"], "nobody has taken the stack since"
    following = lab.begin("apply", "--yes", state=state)
    said = Path(lab.folder.parent / "out.err")
    wait_for(lambda: "waiting for" in said.read_text(), "whom it waits for")
    os.kill(supervisor, signal.SIGCONT)
    done = lab.end(following)
    assert done.code == 0, done
    assert "waiting for the engine, which finishes what `stackpy apply` (pid" in done.err
    assert f"(pid {killed}, since" in done.err
    assert lab.history()[-3:] == ["applied", "killed", "applied"]
    lab.converged(state, f"killed while the engine does {operation}")


OPERATIONS = (
    "expect rename_volume rename update create_network put_secret remove_network remove_secret down stop up start wait "
    "await drain"
).split()


@pytest.mark.parametrize("moment", ["at work", "asking"])
def test_an_apply_whose_terminal_is_closed_ends_as_with_ctrl_c(lab: Mess, moment: str) -> None:
    """What runs comes to an end, nothing new is begun, and history tells of it; one that still asks changes nothing."""
    before, state = lab.generation(), OTHER[lab.state_wanted]
    lab.turn += 1
    ours, theirs = os.openpty()
    if moment == "at work":
        lab.faults.arm(1, STOP, "supervisor", "begin of up")
    apply = lab.begin("apply", *(["--yes"] if moment == "at work" else []), state=state, terminal=(ours, theirs))
    os.close(theirs)
    if moment == "at work":
        wait_for(lambda: lab.faults.fired(), "a supervisor that stands still")
    else:
        until(ours, "[y/N]")
    os.close(ours)  # the kernel sends SIGHUP
    for supervisor in lab.processes("supervisor"):
        os.kill(supervisor, signal.SIGCONT)
    assert lab.end(apply).code == (130 if moment == "at work" else -signal.SIGHUP)
    assert lab.outcomes_since(before) == (["interrupted"] if moment == "at work" else [])
    lab.converged(state, f"the terminal was closed while it was {moment}")


def test_an_apply_whose_output_nobody_reads_comes_to_its_end(lab: Mess) -> None:
    """`stackpy apply --yes 2>&1 | head` is no wish to have the half of it."""
    before, state = lab.generation(), OTHER[lab.state_wanted]
    lab.turn += 1
    said = lab.folder.parent / "unread.err"
    os.mkfifo(said)
    lab.faults.arm(1, STOP, "supervisor", "begin of up")
    apply = lab.begin("apply", "--yes", state=state, out="unread")
    reader = os.open(said, os.O_RDONLY)  # now, since what is begun has all our descriptors
    wait_for(lambda: lab.faults.fired(), "a supervisor that stands still")
    os.close(reader)
    said.unlink()
    said.touch()
    for supervisor in lab.processes("supervisor"):
        os.kill(supervisor, signal.SIGCONT)
    assert lab.end(apply, "unread").code == 141
    assert lab.outcomes_since(before) == ["applied"]
    lab.converged(state, "nobody read what it said")


# Where the disk is full from: a layer, an index, a network, a container, a note, and the generation's document.
FILLED = (
    ("apply", "rename of upper ID"), ("supervisor", "begin of create_network"), ("supervisor", "begin of up"),
    ("apply", "rename of .#.new #.json"),
)  # fmt: skip


@pytest.mark.parametrize(("role", "name"), FILLED)
def test_an_apply_during_which_the_disk_gets_full_says_so(lab: Mess, role: str, name: str) -> None:
    """And what is to be done; plans can be made, and the next apply is enough once there is room."""
    state = OTHER[lab.state_wanted]
    lab.turn += 1
    lab.faults.arm(1, STOP, role, name)
    apply = lab.begin("apply", "--yes", state=state, armed=True)
    wait_for(lambda: lab.faults.fired(), f"{role} at {name}")
    filler = Path(lab.root) / "filler"
    for size in (1 << 20, 4096, 1):
        with suppress(OSError), filler.open("ab", 0) as file:
            while True:
                file.write(bytes(size))
    for pid in (apply, *lab.processes("supervisor")):
        os.kill(pid, signal.SIGCONT)
    done = lab.end(apply)
    try:
        judge(done, f"disk full from {name} on")
        assert done.code == 0 or "no space left on" in done.err.lower(), done
        assert done.code == 0 or "hint:" in done.err, done
        lab.settled()
        lab.told(state)
    finally:
        filler.unlink()
    lab.converged(state, f"the disk was full from {name} on")


# What an apply writes itself: the lock, what it is about to do, a layer and the rest of a build, labels, generation.
WRITTEN = (
    "open of lock", "ftruncate of ", "open of .begun.new", "rename of .begun.new begun.json", "mkdir of ID",
    "mkdir of upper", "open of turn", "rename of upper ID", "utime of ID", "sqlite commit", "open of events",
    "open of .#.new", "fsync of ", "rename of .#.new #.json", "unlink of begun.json",
)  # fmt: skip
DONE_BY_SUPERVISOR = (
    "mkdir", "rename", "sqlite commit", "netlink", "nftables", "unlink", "mkfifo", "libc.setns", "splice"
)  # fmt: skip
# Like others before and behind them: with all steps only.
RARELY = (
    "ftruncate of ", "open of .begun.new", "mkdir of ID", "mkdir of upper", "utime of ID", "fsync of ", "mkdir",
    "unlink", "libc.setns", "splice",
)  # fmt: skip
DONE_BY_KEEPER = ("pipe2", "fork", "open", "rename", "pidfd_open")
TOGETHER = 6  # kills one after the other, until all is looked at


def steps(role: str) -> list[tuple[str, str]]:
    """The steps at which a process is killed: of each operation all, or in turn the first, the second, …"""
    of_operations = {"apply": ("ask", "begun", "done"), "supervisor": ("begin", "end")}.get(role, ())
    operations = [each for each in OPERATIONS if EVERY or each not in PASSIVE]
    found = [
        (role, f"{moment} of {operation}")
        for number, operation in enumerate(operations)
        for place, moment in enumerate(of_operations)
        if EVERY or number % len(of_operations) == place
    ]
    written = {"apply": WRITTEN, "supervisor": DONE_BY_SUPERVISOR, "keeper": DONE_BY_KEEPER}[role]
    return found + [(role, name) for name in (written if EVERY else [each for each in written if each not in RARELY])]


@pytest.mark.parametrize("role", ["apply", "supervisor", "keeper"])
def test_killed_at_each_step_the_next_apply_is_enough(lab: Mess, role: str) -> None:
    """A few kills in a row, each of the apply that follows the one before; then all is as if nothing had happened."""
    missed = []
    since = 0
    for _, name in steps(role):
        if not killed_at(lab, role, name, then_right=EVERY):
            # It is done already, so that there are no such steps: once more from the beginning, to the other state.
            lab.converged(OTHER[lab.state_wanted], f"all done without {name}")
            lab.turn, since = lab.turn + 1, 0
            if not killed_at(lab, role, name, then_right=EVERY):
                missed.append(name)
        since += 1
        if since == TOGETHER:
            lab.converged(OTHER[lab.state_wanted], f"after the {role} was killed at {name}")
            lab.turn, since = lab.turn + 1, 0
    lab.converged(OTHER[lab.state_wanted], f"after all kills of the {role}")
    assert missed == [], "an apply has no such steps any more"


VICTIMS = (("apply",), ("supervisor",), ("keeper",), ("supervisor", "keeper"), ("apply", "supervisor"),
           ("apply", "supervisor", "keeper"))  # fmt: skip


def test_killed_at_random_moments(lab: Mess) -> None:
    """STACKPY_FAULTS=all: at two hundred."""
    chance = random.Random(20261129)
    for number in range(200 if EVERY else 6):
        killed_after(lab, VICTIMS[number % len(VICTIMS)], chance.uniform(0.0, 0.7))
