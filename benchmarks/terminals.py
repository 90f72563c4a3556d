"""exec, and following logs: how soon a line is seen, and how fast a gigabyte."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from benchmarks.measure import Row, Side, command, compare, said
from benchmarks.peers import Docker

GIGABYTE = 1_000_000_000
LINE = "0123456789" * 10
SOON = 20.0  # milliseconds from write(2) in a container to the end of a pipe that `logs -f` writes to
LINES = 50
MOST_GROWTH = 50 << 20  # bytes that our processes may grow by meanwhile
TIMES = GIGABYTE // 100_000
LOUD = f'i=0; while [ $i -lt {TIMES} ]; do echo "$block"; i=$((i + 1)); done'


class Engine(NamedTuple):
    """How one of the two is called."""

    words: list[str]
    environment: dict[str, str]

    def call(self, *words: str) -> str:
        """What a command prints."""
        result = subprocess.run(
            [*self.words, *words], env=self.environment, cwd="/", capture_output=True, text=True, check=False
        )
        if result.returncode:
            raise RuntimeError(f"`{' '.join(words)}` ended with {result.returncode}\n{result.stderr}")
        return result.stdout.strip()

    def follow(self, name: str) -> subprocess.Popen[bytes]:
        """`logs -f`, its output in a pipe."""
        return subprocess.Popen(
            [*self.words, "logs", "-f", name], env=self.environment, cwd="/", stdout=subprocess.PIPE
        )

    def pid(self, name: str) -> int:
        """A container's first process."""
        return int(self.call("inspect", "--format", "{{.State.Pid}}", name))


class Terminals:
    """These rows."""

    def __init__(self, image: str, ours: list[str], environment: dict[str, str], docker: Docker) -> None:
        self.image = image
        self.ours, self.theirs = Engine(ours, environment), Engine(["docker"], docker.environment)

    def rows(self, rounds: int) -> list[Row]:
        """All of them."""
        for engine in (self.ours, self.theirs):
            engine.call("run", "-d", "--name", "terminals", "--network", "none", self.image, "sleep", "1000")
        try:
            return [self.execution(rounds), self.latency(), self.throughput()]
        finally:
            for engine in (self.ours, self.theirs):
                engine.call("rm", "-f", "terminals")

    def execution(self, rounds: int) -> Row:
        """exec of `true`."""
        words = ("exec", "terminals", "true")
        sides = [
            Side(name, command(*engine.words, *words, env=engine.environment, cwd="/"))
            for name, engine in (("stackpy exec", self.ours), ("docker exec", self.theirs))
        ]
        return compare("`exec` of `true`", *sides, 0.25, rounds=rounds)

    def latency(self) -> Row:
        """From a line's being written in a container to its being read behind `logs -f`; medians of some lines."""
        found = {engine: self._latency(engine) for engine in ("ours", "theirs")}
        ours, theirs = found["ours"], found["theirs"]
        # The budget is a time of its own.
        work = f"`logs -f`: a line, in at most {SOON:.0f} ms"
        return said(Row(work, "stackpy logs -f", "docker logs -f", ours, theirs, ours / theirs, SOON / theirs, LINES))

    def _latency(self, which: str) -> float:
        engine: Engine = getattr(self, which)
        times = []
        with engine.follow("terminals") as process, open(f"/proc/{engine.pid('terminals')}/fd/1", "wb", 0) as written:
            assert process.stdout
            for number in range(-3, LINES):
                time.sleep(0.01)
                start = time.perf_counter()
                written.write(b"%d\n" % number)
                if process.stdout.readline() != b"%d\n" % number:
                    raise RuntimeError("`logs -f` shows another line")
                if number >= 0:
                    times.append((time.perf_counter() - start) * 1000)
            process.kill()
        return sorted(times)[len(times) // 2]

    def throughput(self) -> Row:
        """A container that prints a gigabyte, followed to its end; nothing of it missing, our memory as before."""
        ours, theirs = self._followed(self.ours, _resident), self._followed(self.theirs, lambda engine: 0)
        work = "`logs -f` of a container that prints 1 GB"
        return said(Row(work, "stackpy logs -f", "docker logs -f", ours, theirs, ours / theirs, 1.0, 1))

    def _followed(self, engine: Engine, memory: Callable[[Engine], int]) -> float:
        block = "\n".join([LINE] * 10_000)
        script = f"until read line; do :; done; {LOUD}"
        engine.call(
            "run", "-d", "-i", "--name", "loud", "--network", "none", "-e", f"block={block[:100_000]}", self.image,
            "sh", "-c", script,
        )  # fmt: skip
        before = memory(engine)
        with engine.follow("loud") as process:
            assert process.stdout
            with open(f"/proc/{engine.pid('loud')}/fd/0", "wb", 0) as given:
                start = time.perf_counter()
                given.write(b"go\n")
            got = 0
            while data := os.read(process.stdout.fileno(), 1 << 20):
                got += len(data)
            took = (time.perf_counter() - start) * 1000
        engine.call("rm", "-f", "loud")
        expected = TIMES * (len(block[:100_000]) + 1)
        if got != expected:
            raise RuntimeError(f"{got} bytes of {expected} came out of `{engine.words[-1]} logs -f`")
        if memory(engine) - before > MOST_GROWTH:
            raise RuntimeError(f"our processes have grown by {(memory(engine) - before) >> 20} MiB")
        return took


def _resident(engine: Engine) -> int:
    """Memory of the keeper and the supervisor of our root, in bytes."""
    found = 0
    for entry in os.listdir("/proc"):
        try:
            line = Path(f"/proc/{entry}/cmdline").read_bytes() if entry.isdigit() else b""
            if line.startswith(b"stackpy ") and engine.environment["STACKPY_ROOT"].encode() in line:
                size = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{entry}/status").read_text())
                found += int(size[1]) << 10 if size else 0
        except OSError:
            continue
    return found
