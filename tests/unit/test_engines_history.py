"""Generations on disk, and the lock of a stack."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from stackpy.engines import generations, stacklock
from stackpy.engines.stacklock import StackLock
from stackpy.errors import LockTimeout, StackpyError

HOLDER = """
import sys
from stackpy.engines.stacklock import StackLock
with StackLock(sys.argv[1], "shop", "stackpy apply", 0, print):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_generations_are_kept_whole_and_the_last_ones_only(tmp_path: Path) -> None:
    root = str(tmp_path / "root")
    assert (generations.numbers(root, "shop"), generations.last(root, "shop"), generations.stacks(root)) == (
        [],
        None,
        [],
    )
    for number in range(1, 26):
        generations.write(root, "shop", number, {"generation": number}, 20)
        Path(generations.folder(root, "shop"), ".99.new").write_text("{")  # as kill -9 leaves it
    generations.write(root, "shop", 25, {"generation": 25}, 20)
    assert generations.numbers(root, "shop") == list(range(6, 26))
    assert generations.last(root, "shop") == {"generation": 25}
    assert generations.stacks(root) == ["shop"]
    folder = Path(generations.folder(root, "shop"))
    assert sorted(os.listdir(folder)) == sorted(f"{number}.json" for number in range(6, 26))
    assert [path.stat().st_mode & 0o777 for path in (folder, folder / "25.json")] == [0o700, 0o600]


def test_what_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    root = str(tmp_path)
    with pytest.raises(TypeError):
        generations.write(root, "shop", 1, {"x": object()}, 20)
    assert os.listdir(generations.folder(root, "shop")) == []
    (tmp_path / "stacks" / "shop" / "2.json").mkdir()
    with pytest.raises(StackpyError, match="generation 2 of `shop` cannot be kept: is a directory"):
        generations.write(root, "shop", 2, {}, 20)


@pytest.mark.parametrize("damage", ["", "{", "[1]", "null"])
def test_a_damaged_generation_is_passed_over(tmp_path: Path, damage: str) -> None:
    root = str(tmp_path)
    generations.write(root, "shop", 1, {"generation": 1}, 20)
    (tmp_path / "stacks" / "shop" / "2.json").write_text(damage)
    (tmp_path / "stacks" / "shop" / "notes.json").write_text("{}")
    assert generations.last(root, "shop") == {"generation": 1}


def test_the_second_command_is_told_once_for_whom_it_waits(tmp_path: Path) -> None:
    told: list[str] = []
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
    ) as holder:
        assert holder.stdin and holder.stdout
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(LockTimeout) as caught,
            StackLock(str(tmp_path), "shop", "stackpy destroy", 0.2, told.append),
        ):
            pass
        assert told == [caught.value.message.removeprefix("stack `shop` is held by ")]
        assert told[0].startswith(f"`stackpy apply` (pid {holder.pid}, since ")
        holder.kill()  # and the lock goes with it
        with StackLock(str(tmp_path), "shop", "stackpy destroy", None, told.append) as lock:
            assert lock.holder().startswith(f"`stackpy destroy` (pid {os.getpid()}, since ")


def test_who_waits_is_told_of_the_next_holder_too(tmp_path: Path) -> None:
    told: list[str] = []
    heard = threading.Semaphore(0)

    def waiting(holder: str) -> None:
        told.append(holder)
        heard.release()

    def second() -> None:
        with StackLock(str(tmp_path), "shop", "second", None, waiting):
            pass

    with StackLock(str(tmp_path), "shop", "first", 0, print):
        assert stacklock.holder(str(tmp_path), "shop").startswith(f"`first` (pid {os.getpid()}, since ")
        thread = threading.Thread(target=second)
        thread.start()
        assert heard.acquire(timeout=60)
        # as whoever has it next writes it
        (tmp_path / "stacks" / "shop" / "lock").write_text('{"pid": 1, "command": "next", "since": 0}')
        assert heard.acquire(timeout=60)
    thread.join(60)
    assert [line.partition(",")[0] for line in told] == [f"`first` (pid {os.getpid()}", "`next` (pid 1"]
    # what one that was killed has written says nothing, whoever has its number by now
    (tmp_path / "stacks" / "shop" / "lock").write_text(f'{{"pid": {os.getpid()}, "command": "first", "since": 0}}')
    assert stacklock.holder(str(tmp_path), "shop") == ""
    assert stacklock.holder(str(tmp_path), "nothing") == ""


def test_stacks_do_not_wait_for_each_other(tmp_path: Path) -> None:
    with StackLock(str(tmp_path), "a", "apply", 0, print), StackLock(str(tmp_path), "b", "apply", 0, print):
        pass


def test_a_lock_whose_file_was_removed_meanwhile_is_taken_anew(tmp_path: Path) -> None:
    root, waiting, order = str(tmp_path), threading.Event(), []

    def second() -> None:
        with StackLock(root, "shop", "second", None, lambda _: waiting.set()):
            order.append("second")
            with pytest.raises(LockTimeout), StackLock(root, "shop", "third", 0, print):
                pass

    with StackLock(root, "shop", "first", 0, print):
        thread = threading.Thread(target=second)
        thread.start()
        assert waiting.wait(60)
        generations.forget(root, "shop")
        order.append("first")
    thread.join(60)
    assert order == ["first", "second"]


def test_what_an_apply_was_about_to_do_is_noted_until_it_has_ended(tmp_path: Path) -> None:
    root = str(tmp_path)
    generations.write(root, "shop", 1, {"generation": 1, "outcome": "applied"}, 10)
    assert generations.begun(root, "shop") is None
    generations.begin(root, "shop", {"generation": 2, "outcome": "killed"})
    assert generations.begun(root, "shop") == {"generation": 2, "outcome": "killed"}
    assert generations.numbers(root, "shop") == [1]
    (tmp_path / "stacks" / "shop" / generations.BEGUN).write_text("")  # the power was cut
    told = generations.begun(root, "shop")
    assert told is not None and (told["generation"], told["outcome"], told["changes"]) == (2, "killed", [])
    generations.write(root, "shop", 2, {"generation": 2, "outcome": "applied"}, 10)
    assert generations.begun(root, "shop") is None
