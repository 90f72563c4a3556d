"""The power is cut in the midst of an apply: the next boot's plan is true, and its apply is enough."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest

from tests.faults import STOP, Faults
from tests.mess_lab import Mess
from tests.power_lab import Machine, machine
from tests.waiting import wait_for

pytestmark = pytest.mark.root

EVERY = os.environ.get("STACKPY_FAULTS") == "all"
MOMENTS = [
    ("apply", "done of create_network"), ("apply", "done of up"), ("supervisor", "begin of up"),
    ("supervisor", "end of down"), ("supervisor", "sqlite commit"), ("apply", "open of events"),
    ("apply", "rename of .#.new #.json"), ("apply", "unlink of begun.json"),
]  # fmt: skip


def _is_cut(hardware: Machine, lab: Path, role: str, name: str, seconds: float) -> None:
    """A boot in which the power is cut: where a process comes to a step, or so many seconds after the beginning."""
    begun = lab / "begun"

    def work() -> None:
        mess = Mess(lab, 8080, hardware.disk)
        with mess.faults.installed():
            mess.apply("a")
            (Path(mess.root) / "volumes" / "mess_was-a" / "_data" / "kept").write_text("kept")
            os.sync()
            if role:
                mess.faults.arm(1, STOP, role, name)
            child = mess.begin("apply", "--yes", state="b", armed=True)
            begun.touch()
            mess.end(child)
            wait_for(lambda: False, "the power to be cut")

    faults, failure = Faults(lab / "faults"), hardware.folder / "failure"
    boot = hardware.boot(work)
    wait_for(lambda: (faults.fired() if role else begun.exists()) or failure.exists(), f"{role}: {name}")
    time.sleep(seconds)
    hardware.end(boot, cut=True)


def _goes_on(hardware: Machine, lab: Path) -> None:
    """The boot after it."""

    def work() -> None:
        mess = Mess(lab, 8080, hardware.disk)
        before = mess.plan("b")
        done = mess.apply("b")
        assert mess.plan("b") == {}, f"the plan was {before}, {done}"
        assert (Path(mess.root) / "volumes" / "mess_was-b" / "_data" / "kept").read_text() == "kept"
        wait_for(lambda: len(mess.container_processes()) == 7, "all run")
        assert len(mess.history()) >= 2
        mess.leave()

    hardware.run(work)


def _cut_and_gone_on(folder: Path, role: str, name: str, seconds: float) -> None:
    # The stack's own files are on another disk: they were written long before.
    lab = folder / "lab"
    lab.mkdir()
    with machine(folder / "machine") as hardware:
        _is_cut(hardware, lab, role, name, seconds)
        _goes_on(hardware, lab)


@pytest.mark.parametrize("moment", MOMENTS if EVERY else MOMENTS[1:2])
def test_what_a_power_cut_leaves_of_an_apply_is_finished_by_the_next(tmp_path: Path, moment: tuple[str, str]) -> None:
    """With data of volumes that was on the disk."""
    _cut_and_gone_on(tmp_path, *moment, 0.0)


@pytest.mark.parametrize("number", range(50 if EVERY else 1))
def test_the_power_is_cut_at_any_moment(tmp_path: Path, number: int) -> None:
    """STACKPY_FAULTS=all: at fifty."""
    _cut_and_gone_on(tmp_path, "", "", random.Random(number).uniform(0.0, 0.5))  # anywhere, which is the point
