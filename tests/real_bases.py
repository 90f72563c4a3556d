"""Dockerfiles with Debian's own compilers and package managers on a real Debian, built by other engines and by us.

It takes ten minutes and Debian's, PyPI's and npm's servers, so that it is no part of `make test`: `make test-peers`
runs it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from tests import peers_lab
from tests.conftest import Cli, checked_out, clean_host

pytestmark = [pytest.mark.root, pytest.mark.network]

INSTALL = "apt-get update -q && apt-get install -q -y --no-install-recommends"
CLEAN = "rm -rf /var/lib/apt/lists/*"
DOCKERFILES = {
    "c": f"""
        FROM localhost/base AS build
        RUN {INSTALL} gcc libc6-dev make && {CLEAN}
        WORKDIR /src
        COPY hello.c Makefile ./
        RUN make && make install DESTDIR=/out && /out/usr/local/bin/hello >/out/said
        FROM localhost/base
        COPY --from=build --chown=1000:1000 /out/ /
        RUN hello
        USER nobody
        ENTRYPOINT ["hello"]
        """,
    "packages": f"""
        FROM localhost/base
        ENV DEBIAN_FRONTEND=noninteractive
        RUN {INSTALL} ca-certificates curl git && {CLEAN}
        RUN useradd --create-home --uid 1234 app && install -d -o app -m 2750 /srv/app
        USER app
        WORKDIR /srv/app
        RUN git init -q . && curl --version | head -1 >version
        """,
    "pip": f"""
        FROM localhost/base
        RUN {INSTALL} python3-venv && {CLEAN}
        ENV PATH=/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PIP_DISABLE_PIP_VERSION_CHECK=1
        RUN python3 -m venv --without-pip /venv
        RUN --mount=type=cache,target=/root/.cache/pip \\
            python3 -m venv /tmp/pip && \\
            /tmp/pip/bin/pip --python /venv/bin/python install --no-compile flask==3.0.3 && \\
            rm -rf /tmp/pip
        COPY app.py /srv/
        RUN python3 /srv/app.py >/srv/said
        CMD ["flask", "--app", "/srv/app.py", "run"]
        """,
    "npm": f"""
        FROM localhost/base
        RUN {INSTALL} nodejs npm ca-certificates && {CLEAN}
        WORKDIR /app
        COPY package.json .
        RUN npm install --omit=dev --no-audit --no-fund --cache /tmp/npm && rm -rf /tmp/npm
        RUN node -e 'console.log(require("ms")("2 days"))' >said
        USER nobody
        CMD ["node", "."]
        """,
}
FILES = {
    "hello.c": '#include <stdio.h>\nint main(void) { puts("hello"); return 0; }\n',
    "Makefile": (
        "hello: hello.c\n\t$(CC) -O2 -o $@ $<\ninstall:\n\tinstall -D -m 4755 hello $(DESTDIR)/usr/local/bin/hello\n"
    ),
    "app.py": "import flask\n\nprint(flask.Flask.__name__)\n",
    "package.json": '{"name": "app", "version": "1.0.0", "dependencies": {"ms": "2.1.3"}}\n',
}
# What says when, where or in what order things were done.
BY_NATURE = re.compile(
    r"var/log/|var/cache/(ldconfig|debconf|apt)/|var/lib/dpkg/.*-old$|etc/(shadow|passwd|group|gshadow|subuid|subgid)-$"
    r"|tmp/|root/\.(npm|cache)|var/lib/apt/|etc/(machine-id|\.pwd\.lock)|.*\.pyc$|etc/ssl/certs/java"
)


class Surroundings(NamedTuple):
    command: Cli
    peers: dict[str, peers_lab.Peer]
    context: Path


@pytest.fixture(scope="module")
def around(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Surroundings]:
    """A Debian that was made once, in every store."""
    folder = tmp_path_factory.mktemp("real")
    context = folder / "context"
    context.mkdir()
    for name, text in FILES.items():
        (context / name).write_text(text)
    (folder / "stack.py").write_text(
        "from stackpy import Container, Image, Stack\nStack('real')\n"
        "Container('x', image=Image.bootstrap('bookworm').tag('localhost/base:latest'))\n"
    )
    with ExitStack() as stack:
        peers: dict[str, peers_lab.Peer] = {"podman": stack.enter_context(peers_lab.podman(folder / "podman"))}
        if peers_lab.HAS_DOCKER:
            peers["docker"] = stack.enter_context(peers_lab.docker(on_host=True))
        command = stack.enter_context(clean_host(checked_out(folder / "root")))
        command("build", cwd=folder, timeout=600)
        command("save", "-o", str(folder / "base.tar"), "localhost/base:latest")
        for peer in peers.values():
            peer("load", "-i", str(folder / "base.tar"))
        yield Surroundings(command, peers, context)


@pytest.mark.parametrize("name", DOCKERFILES)
def test_a_real_image_is_what_peers_make_of_it(around: Surroundings, name: str, tmp_path: Path) -> None:
    command, context = around.command, str(around.context)
    file = tmp_path / "Dockerfile"
    file.write_text("\n".join(line.strip() for line in DOCKERFILES[name].strip().splitlines()) + "\n")
    command("build", "-t", "localhost/ours:1", "-f", str(file), context, timeout=900)
    (image,) = command.json("image", "inspect", "localhost/ours:1")
    with peers_lab.ours(str(command.root), "localhost/ours:1") as top:
        ours = comparable(peers_lab.tree(top))
    for peer in around.peers.values():
        words = ["--network", "host"] if peer.name == "docker" else []
        peer.build("localhost/theirs:1", *words, "-f", str(file), context)
        assert peers_lab.configuration(image["Config"]) == peer.config("localhost/theirs:1")
        with peer.mounted("localhost/theirs:1") as top:
            theirs = comparable(peers_lab.tree(top))
        differing = {path for path in ours.keys() | theirs.keys() if ours.get(path) != theirs.get(path)}
        assert {path: (ours.get(path), theirs.get(path)) for path in sorted(differing)} == {}, peer.name
    assert len(ours) > 1000


def comparable(tree: peers_lab.Tree) -> peers_lab.Tree:
    """A tree without what no two builds have in common."""
    return {path: seen for path, seen in tree.items() if not BY_NATURE.match(path)}
