"""`logs` as it is typed: from the end, between times, on and on, of several containers at once."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.engine_lab import Lab
from tests.waiting import wait_for

pytestmark = pytest.mark.root


@contextmanager
def following(lab: Lab, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    command = lab.command("logs", *words)
    with subprocess.Popen(
        command, env=lab.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd="/"
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_the_last_lines_and_all_of_them(lab: Lab) -> None:
    name = lab.up(["sh", "-c", "seq 1 2000; echo oops >&2; printf end"])
    lab.engine.wait(name)
    done = lab.cli("logs", name)
    assert (done.out, done.err) == ("".join(f"{n}\n" for n in range(1, 2001)) + "end", "oops\n")
    assert lab.cli("logs", "--tail", "3", name).out.split()[-1] == "end"
    assert lab.cli("logs", "-n", "0", name).out == ""
    assert lab.cli("logs", "--tail", "all", name).out == done.out
    # Of two streams nobody knows which was written to last.
    stamped = lab.cli("logs", "-t", "--tail", "2", name).out
    assert stamped.endswith("Z end") and stamped.startswith("20")
    assert lab.cli("logs", "--tail", "x", name).code == 64


def test_bytes_come_as_they_were_written(lab: Lab) -> None:
    code = "import sys; sys.stdout.buffer.write(b'\\xff\\x00\\x1b[1m caf\\xc3\\xa9\\r\\n' + b'x' * 40000 + b'\\n\\n')"
    name = lab.up(["python3", "-c", code])
    lab.engine.wait(name)
    done = subprocess.run(lab.command("logs", name), env=lab.environment, capture_output=True, check=True, cwd="/")
    assert done.stdout == b"\xff\x00\x1b[1m caf\xc3\xa9\r\n" + b"x" * 40000 + b"\n\n"


def test_between_times(lab: Lab) -> None:
    name = lab.up(["sh", "-c", "for n in 1 2 3 4 5 6; do echo $n; sleep 0.2; done"])
    lab.engine.wait(name)
    times = [line["time"] for line in lab.engine.logs(name)]
    assert lab.cli("logs", "--since", times[3], name).out == "4\n5\n6\n"
    assert lab.cli("logs", "--until", times[1], name).out == "1\n2\n"
    assert lab.cli("logs", "--since", times[1], "--until", times[4], "--tail", "2", name).out == "4\n5\n"
    assert lab.cli("logs", "--since", "10m", name).out == "1\n2\n3\n4\n5\n6\n"
    assert lab.cli("logs", "--until", "10m", name).out == ""
    assert lab.cli("logs", "--since", str(int(time.time()) + 60), name).out == ""


def test_a_line_is_there_as_soon_as_it_is_written(lab: Lab) -> None:
    code = "import random, time\nwhile True: print(time.time(), flush=True); time.sleep(random.uniform(0.03, 0.08))"
    name = lab.up(["python3", "-c", code])
    with following(lab, "-f", "--tail", "0", name) as process:
        assert process.stdout is not None
        # Eight in a row at some moment of a minute: others work on this machine too. A look every 50 ms would have a
        # chance of one in a thousand for each eight.
        late: list[float] = []
        for _ in range(1000):
            written = float(process.stdout.readline())
            late.append(time.time() - written)
            if len(late) >= 8 and max(late[-8:]) < 0.02:
                return
    raise AssertionError(f"never eight in a row within 20 ms: {late}")


def test_following_ends_with_the_container_and_not_with_a_pause(lab: Lab) -> None:
    name = lab.up(["sh", "-c", "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done"])
    with following(lab, "-f", name) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        lab.engine.pause(name)
        time.sleep(0.3)
        assert process.poll() is None
        lab.engine.stop(name)
        assert process.stdout.read() == b"bye\n"
        assert process.wait(60) == 0


def test_following_until_a_time(lab: Lab) -> None:
    name = lab.up(["sh", "-c", "while :; do echo x; sleep 0.05; done"])
    end = time.time() + 1
    done = lab.cli("logs", "-f", "--until", f"{end:.3f}", name)
    assert (done.code, done.out.count("x") > 3) == (0, True)
    assert time.time() > end - 0.1


def test_following_through_rotation_misses_nothing(lab: Lab) -> None:
    name = lab.up(
        ["sh", "-c", "echo up; n=0; while [ $n -lt 3000 ]; do n=$((n+1)); echo line $n; done; sleep 600"],
        log_max_size=20_000, log_max_file=5,
    )  # fmt: skip
    with following(lab, "-f", name) as process:
        assert process.stdout is not None
        found: list[bytes] = []
        while not found or found[-1] != b"line 3000\n":
            found.append(process.stdout.readline())
    numbers = [int(line.split()[1]) for line in found if line.startswith(b"line")]
    # Whoever comes late begins with the oldest line that is kept; from there on it is every one.
    assert numbers == list(range(numbers[0], 3001))


def test_several_at_once_have_their_names_in_front(lab: Lab) -> None:
    first = lab.up(["sh", "-c", "echo one; sleep 0.3; echo three"])
    second = lab.up(["sh", "-c", "echo two; echo no >&2; sleep 0.4"])
    for name in (first, second):
        lab.engine.wait(name)
    done = lab.cli("logs", first, second)
    lines = [f"{first} | one", f"{first} | three", f"{second} | two"]
    assert sorted(done.out.splitlines()) == lines
    assert done.err == f"{second} | no\n"
    stamped = lab.cli("logs", "-t", "--no-log-prefix", first, second).out.splitlines()
    assert sorted(line.split()[1] for line in stamped) == ["one", "three", "two"]
    assert stamped == sorted(stamped)
    with following(lab, "-f", first, second) as process:
        out, _ = process.communicate(timeout=60)
        assert sorted(out.decode().splitlines()) == lines
    assert lab.cli("logs", first, "nobody").code == 1


def test_the_reader_goes_away(lab: Lab) -> None:
    name = lab.up(["sh", "-c", "while :; do echo x; sleep 0.01; done"])
    with following(lab, "-f", name) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        wait_for(lambda: process.poll() is not None, "it ends")
        assert process.returncode == 141
    assert lab.state(name)["status"] == "running"
