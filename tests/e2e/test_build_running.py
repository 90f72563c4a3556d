"""RUN steps from the command line: what a failing one says, the shell that opens there, secrets of a stack."""

from __future__ import annotations

import os
import pty
import re
import select
import time
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.root

DOCKERFILE = """\
FROM box
ENV COLOUR=blue
ARG SHAPE=round
WORKDIR /srv
RUN --network=none --mount=type=cache,id=failing,target=/kept --mount=type=secret,id=key \\
    echo begun > file; echo in-cache > /kept/x; ls nowhere
"""


STACK = """\
from stackpy import BuildMount, Image, Secret, Stack, Container
Stack("failing")
Secret("key", file="key")
mounts = [BuildMount.cache("/kept", id="failing"), BuildMount.secret("key")]
step = "echo begun > file; echo in-cache > /kept/x; ls nowhere"
image = Image("box").env(COLOUR="blue", SHAPE="round").workdir("/srv").run(step, mounts=mounts, network="none")
Container("web", image=image)
"""


def test_it_tells_the_step_its_lines_and_where_it_stands(box: Any, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    failed = box("build", "--on-failure", "shell", ".", cwd=tmp_path, code=1)
    assert "no shell will open where a step fails: `--on-failure=shell` needs a terminal" in failed.stderr
    assert re.search(r"step 4/4 RUN .*\(Dockerfile:5\): it exited with 2", failed.stderr.replace("\n", " "))
    assert "nowhere" in failed.stderr.split("it exited with 2")[-1]


@pytest.mark.parametrize("kind", ["Dockerfile", "stack.py"])
def test_a_shell_opens_in_exactly_that_state(kind: str, box: Any, tmp_path: Path) -> None:
    (tmp_path / kind).write_text(DOCKERFILE if kind == "Dockerfile" else STACK)
    terminal, side = pty.openpty()
    (tmp_path / "key").write_text("hush")
    given = ("--secret", "id=key,src=key", ".") if kind == "Dockerfile" else ()
    process = box.start("build", "--on-failure", "shell", *given, cwd=tmp_path, stdin=side, stdout=side, stderr=side)
    os.close(side)
    seen = read_until(terminal, "which `exit` leaves")
    os.write(terminal, b"echo [$COLOUR $SHAPE $PWD $(id -u)]; cat file /kept/x /run/secrets/key; echo over-$((20+1))\n")
    seen += read_until(terminal, "over-21")
    os.write(terminal, b"exit\n")
    seen += read_until(terminal, "it exited with 2")
    assert process.wait(60) == 1
    os.close(terminal)
    assert "[blue round /srv 0]" in seen
    assert "begun\r\nin-cache\r\nhush" in seen


GIVEN = """\
FROM box
RUN cat /etc/hosts /proc/self/limits /proc/self/mountinfo /proc/net/dev >/given
RUN --network=none cat /proc/net/dev >/alone
"""


def test_what_all_steps_are_given(box: Any, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(GIVEN)
    hosts = ("--add-host", "a.example:10.1.2.3", "--add-host", "gateway:host-gateway")
    limits = ("--shm-size", "128m", "--ulimit", "nofile=100:200", "-m", "64m", "--cpu-quota", "50000")
    box("build", "-t", "given", *hosts, *limits, ".", cwd=tmp_path)
    given = box("run", "--rm", "given", "cat", "/given").stdout
    assert "10.1.2.3\ta.example\n" in given
    assert re.search(r"^\d+\.\d+\.\d+\.\d+\tgateway$", given, re.MULTILINE)
    assert re.search(r"Max open files +100 +200", given)
    assert re.search(r" /dev/shm .* tmpfs .*size=131072k", given)
    assert "eth0" in given
    # Limits and addresses are no part of what a step is; the rest is.
    again = box("build", *hosts[2:], "--add-host", "a.example:10.9.9.9", *limits[:4], ".", cwd=tmp_path)
    assert again.stderr.count("(cached)") == 3
    box("build", "-t", "given", "--network", "none", ".", cwd=tmp_path)
    assert "eth0" not in box("run", "--rm", "given", "cat", "/given").stdout
    refused = box("build", "--network", "host", ".", cwd=tmp_path, code=64)
    assert "--allow network.host" in refused.stderr
    box("build", "-t", "given", "--network", "host", "--allow", "network.host", ".", cwd=tmp_path)
    links = {line.split(":")[0].strip() for line in Path("/proc/net/dev").read_text().splitlines()[2:]}
    own = {name for name in links if not name.startswith(("sp-", "sv"))}  # those of containers come and go
    shown = box("run", "--rm", "given", "cat", "/given", "/alone").stdout
    assert all(f"{name}:" in shown for name in own)
    assert "eth0:" not in box("run", "--rm", "given", "cat", "/alone").stdout


def test_a_step_that_takes_more_memory_than_it_is_given(box: Any, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text('FROM box\nRUN ["python3", "-c", "bytearray(100 << 20)"]\n')
    failed = box("build", "--memory", "32m", ".", cwd=tmp_path, code=1)
    assert "it may need more memory than `--memory` gives it" in failed.stderr
    box("build", "--memory", "300m", ".", cwd=tmp_path)


def test_where_no_shell_opens_the_first_failure_counts(box: Any, tmp_path: Path) -> None:
    """The program is not there, and no shell either."""
    (tmp_path / "file").write_text("")
    (tmp_path / "Dockerfile").write_text('FROM scratch\nCOPY file /\nRUN --network=none ["/no/such"]\n')
    terminal, side = pty.openpty()
    process = box.start("build", "--on-failure", "shell", ".", cwd=tmp_path, stdin=side, stdout=side, stderr=side)
    os.close(side)
    seen = read_until(terminal, "(Dockerfile:3)")
    assert process.wait(60) == 1
    os.close(terminal)
    assert "no shell opens there: `/bin/sh` is not in the image" in seen
    assert "`/no/such` is not in the image" in seen


def test_a_step_of_a_stack_sees_its_secret(box: Any, tmp_path: Path) -> None:
    (tmp_path / "stack.py").write_text(
        "from stackpy import BuildMount, Container, Image, Secret, Stack\n"
        "Stack('hushed')\n"
        "Secret('token', env='TOKEN')\n"
        "step = 'test $(cat /run/secrets/token) = $VALUE-of-it && ls /run/secrets > /seen'\n"
        "mounts = [BuildMount.secret('token', required=True), BuildMount.secret('token', env='SAME')]\n"
        "image = Image('box').env({'VALUE': 'hush'}).run(step, mounts=mounts, network='none')\n"
        "Container('web', image=image)\n"
    )
    failed = box("build", cwd=tmp_path, code=1)
    assert "token" in failed.stderr
    box("build", cwd=tmp_path, environment={"TOKEN": "hush-of-it"})
    assert box("run", "--rm", "hushed/web", "cat", "/seen").stdout == "token\n"


def read_until(terminal: int, text: str) -> str:
    """What a terminal shows, up to a text."""
    seen, end = "", time.monotonic() + 60
    while text not in seen:
        ready, _, _ = select.select([terminal], [], [], max(0.0, end - time.monotonic()))
        assert ready, seen
        try:
            seen += os.read(terminal, 65536).decode(errors="replace")
        except OSError:
            raise AssertionError(seen) from None
    return seen
