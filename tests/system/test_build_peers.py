"""Dockerfiles that other engines and we build: the same configuration, the same tree."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests import peers_lab
from tests.conftest import Cli, checked_out, clean_host

pytestmark = pytest.mark.root

FILES = {
    "a.txt": "a\n",
    "b.txt": "b\n",
    "dir/c.txt": "c\n",
    "dir/deep/d.md": "d\n",
    "dir/deep/e.txt": "e\n",
    "run.sh": "#!/bin/sh\necho ran > /ran\n",
    "ignored.txt": "no\n",
    ".dockerignore": "ignored.txt\nDockerfile*\n.dockerignore\n**/*.md\n",
}

# Places that were made for mounts, which older engines leave in the image.
STUBS = {"b", "cache", "m", "t"}

DOCKERFILES = {
    "configuration": """
        ENV A=1 B="two words" C=$A D=${NONE:-x}
        ENV E $B and more
        LABEL a=b "c d"=e f="g\\"h"
        EXPOSE 80 53/udp
        VOLUME ["/data", "/log"]
        USER 1000:100
        WORKDIR /srv
        WORKDIR app
        STOPSIGNAL SIGQUIT
        HEALTHCHECK --interval=1m30s --timeout=5s --retries=4 CMD cat /x || exit 1
        ENTRYPOINT ["/bin/sh", "-c"]
        CMD ["echo $A"]
        """,
    "commands": 'HEALTHCHECK NONE\nCMD a\nFROM first\nENTRYPOINT exec "b c"\n',
    "copies": """
        COPY a.txt b.txt /in/
        COPY a.txt /renamed
        COPY dir /dir
        COPY dir/ /dir2/
        COPY di* *.txt /globbed/
        COPY --chown=7:8 --chmod=0640 a.txt /owned/here
        COPY . /all/
        WORKDIR /work
        COPY run.sh ./sub/
        """,
    "run": """
        COPY run.sh /
        RUN sh /run.sh && mkdir -p /made && echo x > /made/y
        RUN ["/bin/sh", "-c", "cat /made/y > /copied"]
        USER 5:6
        WORKDIR /tmp/w
        RUN id -u > /tmp/who
        """,
    "arguments": """
        ARG ONE=1
        ARG TWO
        ENV THREE=${ONE}3
        RUN echo "$ONE-$TWO-$THREE" > /arguments
        LABEL two=$TWO
        """,
    "stages": """
        RUN echo built > /built
        ENV INHERITED=yes
        FROM base AS other
        COPY --from=0 /built /from-number
        FROM base AS unused
        RUN false
        FROM other
        COPY --from=first /built /from-name
        RUN cat /from-number /from-name > /both
        """,
    "mounts": """
        RUN --mount=type=bind,source=dir,target=/m cat /m/c.txt > /seen
        RUN --mount=type=cache,target=/cache echo x > /cache/y && cat /cache/y > /cached
        RUN --mount=type=tmpfs,target=/t echo x > /t/y
        RUN --mount=type=bind,from=base,source=/bin,target=/b ls /b/sh > /listed
        """,
    "add": "ADD dir /d/\nADD a.txt b.txt /e/\nADD packed.tar.gz /unpacked/\nADD packed.tar.gz a.txt /both/\n",
    "removal": "RUN mkdir /x && echo a > /x/a && echo b > /x/b\nRUN rm /x/a\nRUN rm -r /x && mkdir /x\n",
}


class Surroundings(NamedTuple):
    command: Cli
    peers: dict[str, peers_lab.Peer]
    context: Path


@pytest.fixture(scope="module")
def around(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Surroundings]:
    """Our command and the peers, each with the image `base`; a folder with a context."""
    folder = tmp_path_factory.mktemp("peers")
    context = folder / "context"
    for name, text in FILES.items():
        (context / name).parent.mkdir(parents=True, exist_ok=True)
        (context / name).write_text(text)
    subprocess.run(["tar", "-czf", context / "packed.tar.gz", "-C", context, "dir", "a.txt"], check=True)
    (folder / "stack.py").write_text(
        "from stackpy import Container, Image, Stack\nStack('peers')\n"
        "Container('x', image=Image.host('sh', 'cat', 'ls', 'mkdir', 'rm', 'id').tag('localhost/base:latest'))\n"
    )
    with peers_lab.all_there_are(folder / "podman") as peers, clean_host(checked_out(folder / "root")) as command:
        command("build", cwd=folder)
        command("save", "-o", str(folder / "base.tar"), "localhost/base:latest")
        for peer in peers.values():
            peer("load", "-i", str(folder / "base.tar"))
        yield Surroundings(command, peers, context)


@pytest.mark.parametrize("name", DOCKERFILES)
@pytest.mark.parametrize("peer", peers_lab.NAMES)
def test_same_as_a_peer(around: Surroundings, peer: str, name: str, tmp_path: Path) -> None:
    command, other = around.command, around.peers[peer]
    lines = [line.strip() for line in DOCKERFILES[name].strip().splitlines()]
    text = "\n".join(["FROM localhost/base AS first", *lines]).replace("FROM base", "FROM localhost/base")
    file = tmp_path / "Dockerfile"
    file.write_text(text.replace("from=base", "from=localhost/base") + "\n")
    options = ("-f", str(file), "--build-arg", "TWO=given", str(around.context))
    command("build", "-t", "localhost/ours:1", *options)
    other.build("localhost/theirs:1", *options)
    (ours,) = command.json("image", "inspect", "localhost/ours:1")
    assert peers_lab.configuration(ours["Config"]) == other.config("localhost/theirs:1")
    stubs = STUBS if name == "mounts" else set()
    with (
        peers_lab.ours(str(command.root), "localhost/ours:1") as mine,
        other.mounted("localhost/theirs:1") as his,
    ):
        found = {path: seen for path, seen in peers_lab.tree(his).items() if path not in stubs}
        assert peers_lab.tree(mine) == found
