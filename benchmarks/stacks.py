"""The rows about a stack of ten containers, as several tools declare it.

Pulumi and Terraform are not among them: their programs and the plugins for Docker come from hosts of their own, and no
registry of packages has them (docs/benchmarks.md). Ansible declares as well, and its check mode is a plan.
"""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measure import Call, Row, Side, command, compare, held, said
from benchmarks.peers import PEERS, program

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.peers import Docker, Podman, WithoutHybrid

CONTAINERS = 10

STACK = """
from stackpy import Container, Image

Image.host("sh", "sleep", "true").tag("{image}")
for number in range({count}):
    Container(f"c{{number}}", image="{image}", command=["sleep", "1000"]{more})
"""

SERVICE = """\
  c{number}:
    image: {image}
    command: ["sleep", "1000"]
{more}"""

# What podman 4 raises by itself is not allowed everywhere.
ALONE = """\
    network_mode: none
    ulimits:
      nproc: 1000
      nofile: {{soft: {files[0]}, hard: {files[1]}}}
"""

PLAYBOOK = """\
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - community.docker.docker_network:
        name: bench
        state: "{{{{ state }}}}"
      when: state == "present"
    - community.docker.docker_container:
        name: "bench-c{{{{ item }}}}"
        image: {image}
        command: ["sleep", "1000"]
        networks: [name: bench]
        state: "{{{{ 'started' if state == 'present' else 'absent' }}}}"
        force_kill: true
      loop: "{{{{ range({count}) | list }}}}"
    - community.docker.docker_network:
        name: bench
        state: "{{{{ state }}}}"
      when: state == "absent"
"""


def write_stacks(folder: Path, image: str) -> None:
    """Writes the files of all tools: beneath `folder` those without a network."""
    alone = folder / "alone"
    alone.mkdir(parents=True)
    files = resource.getrlimit(resource.RLIMIT_NOFILE)
    for place, mode, more in (
        (folder, "", ""),
        (alone, ', network_mode="none"', ALONE.format(files=files)),
    ):
        (place / "stack.py").write_text(STACK.format(image=image, count=CONTAINERS, more=mode))
        services = (SERVICE.format(number=number, image=image, more=more) for number in range(CONTAINERS))
        (place / "compose.yaml").write_text("services:\n" + "".join(services))
    (folder / "playbook.yaml").write_text(PLAYBOOK.format(image=image, count=CONTAINERS))


class Stacks:
    """ours: a command line of ours from its words; environment: what it runs in."""

    def __init__(self, folder: Path, ours: Callable[..., list[str]], environment: dict[str, str], rounds: int) -> None:
        self.folder, self.ours, self.environment, self.rounds = folder, ours, environment, rounds
        self.fewer = max(3, rounds // 3)

    def rows(self, docker: Docker, podman: Podman, hybrid: WithoutHybrid) -> list[Row]:
        """All of them."""
        return [*self.compose(docker), *self.ansible(docker), *self.podman_compose(podman, hybrid)]

    def compose(self, docker: Docker) -> list[Row]:
        """Docker Compose: up, up again, down."""

        def theirs(*words: str) -> Call:
            line = (str(program("docker-compose")), *words)
            return command(*line, env=docker.environment, cwd=str(self.folder))

        up, down = theirs("up", "-d"), theirs("down", "-t", "0")
        apply, destroy = self._ours("apply", "--yes"), self._ours("destroy", "--yes")
        name = "docker compose up -d"
        rows = [
            compare(
                f"apply of {CONTAINERS} containers on one network",
                Side("stackpy apply", apply, destroy),
                Side(name, up, down),
                0.10,
                rounds=self.fewer,
                warm=1,
            ),
            compare(
                "apply with nothing to change",
                Side("stackpy apply", apply),
                Side(f"{name} again", up),
                1.0,
                rounds=self.rounds,
            ),
            compare(
                f"destroy of those {CONTAINERS}",
                Side("stackpy destroy", destroy, apply),
                Side("docker compose down -t 0", down, up),
                0.10,
                rounds=self.fewer,
                warm=1,
            ),
        ]
        apply()
        up()
        ours_mb, theirs_mb = held(Path(self.environment["STACKPY_ROOT"])), held(docker.folder)
        work, rival = f"memory of all processes with those {CONTAINERS} running", "dockerd, containerd, shims"
        rows.append(said(Row(work, "stackpy", rival, ours_mb, theirs_mb, ours_mb / theirs_mb, 0.25, 1, "MB")))
        destroy()
        down()
        return rows

    def ansible(self, docker: Docker) -> list[Row]:
        """Ansible: its check mode is what it has of a plan."""
        environment = {
            **os.environ,
            **docker.environment,
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "ANSIBLE_HOME": str(PEERS / "ansible"),
        }

        def theirs(state: str, *words: str) -> Call:
            line = [str(program("ansible-playbook")), "-e", f"state={state}", *words, "playbook.yaml"]
            python = f"ansible_python_interpreter={program('python')}"
            return command(*line, "-e", python, env=environment, cwd=str(self.folder))

        play, gone = theirs("present"), theirs("absent")
        apply, destroy = self._ours("apply", "--yes"), self._ours("destroy", "--yes")
        rows = [
            compare(
                "the same apply",
                Side("stackpy apply", apply, destroy),
                Side("ansible-playbook", play, gone),
                0.10,
                rounds=1,
                warm=0,
            ),
            compare(
                "plan of it with nothing to change",
                Side("stackpy plan", self._ours("plan")),
                Side("ansible-playbook --check", theirs("present", "--check")),
                0.10,
                rounds=1,
                warm=0,
            ),
        ]
        destroy()
        gone()
        return rows

    def podman_compose(self, podman: Podman, hybrid: WithoutHybrid) -> list[Row]:
        """podman-compose, without a network: whose bridges and rules podman 4 would make on the host itself."""
        script = self.folder / "podman"
        podman.script(script, hybrid)

        def theirs(*words: str) -> Call:
            line = (str(program("podman-compose")), "--podman-path", str(script), *words)
            return command(*line, cwd=str(self.folder / "alone"))

        up, down = theirs("up", "-d"), theirs("down", "-t", "0")
        apply, destroy = self._ours("apply", "--yes", at="alone"), self._ours("destroy", "--yes", at="alone")
        rows = [
            compare(
                f"apply of {CONTAINERS} containers without a network",
                Side("stackpy apply", apply, destroy),
                Side("podman-compose up -d", up, down),
                0.10,
                rounds=3,
                warm=0,
            ),
            compare(
                "the same with nothing to change",
                Side("stackpy apply", apply),
                Side("podman-compose up -d again", up),
                1.0,
                rounds=3,
                warm=0,
            ),
        ]
        destroy()
        down()
        return rows

    def _ours(self, *words: str, at: str = ".") -> Call:
        return command(*self.ours(*words), env=self.environment, cwd=str(self.folder / at))
