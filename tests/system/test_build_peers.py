"""Dockerfiles that podman and we build: the same configuration, the same tree."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stackpy_runtime.build.merged import Merged
from stackpy_runtime.store import layers
from stackpy_runtime.store.store import Store
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

# What RUN needs for itself, and containers get anyway.
_OTHERS = {"dev", "proc", "sys", "run", "etc/hosts", "etc/resolv.conf", "etc/hostname", "etc/mtab"}

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


class Podman:
    def __init__(self, place: Path, short: str) -> None:
        self.place = place
        self._options = ("--root", f"{place}/storage", "--runroot", short, "--storage-driver", "vfs")

    def __call__(self, *words: str) -> str:
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.place), "XDG_RUNTIME_DIR": str(self.place)}
        done = subprocess.run(
            ["podman", *self._options, *words], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, (words, done.stderr)
        return done.stdout

    def tree(self, image: str) -> dict[str, tuple[Any, ...]]:
        """Path → kind and mode, owner, content or target."""
        top = self("image", "mount", image).strip()
        try:
            return dict(walk(top))
        finally:
            self("image", "umount", image)


def walk(top: str) -> Iterator[tuple[str, tuple[Any, ...]]]:
    for folder, folders, files in os.walk(top):
        for name in (*folders, *files):
            whole = os.path.join(folder, name)
            path, status = os.path.relpath(whole, top), os.lstat(whole)
            content: Any = None
            if stat.S_ISLNK(status.st_mode):
                content = os.readlink(whole)
            elif stat.S_ISREG(status.st_mode):
                content = Path(whole).read_bytes()
            if path not in _OTHERS and path.split("/")[0] not in _OTHERS:
                yield path, (oct(status.st_mode), status.st_uid, status.st_gid, content)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cli, Podman, Path]]:
    """Our command and podman, each with the image `base`; a folder with a context."""
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
    # podman takes no run root whose path has more than 50 characters.
    with tempfile.TemporaryDirectory() as short, clean_host(checked_out(folder / "root")) as command:
        podman = Podman(folder, short)
        command("build", cwd=folder)
        command("save", "-o", str(folder / "base.tar"), "localhost/base:latest")
        podman("load", "-i", str(folder / "base.tar"))
        yield command, podman, context


@pytest.mark.parametrize("name", DOCKERFILES)
def test_same_as_podman(both: tuple[Cli, Podman, Path], name: str, tmp_path: Path) -> None:
    command, podman, context = both
    lines = [line.strip() for line in DOCKERFILES[name].strip().splitlines()]
    text = "\n".join(["FROM localhost/base AS first", *lines]).replace("FROM base", "FROM localhost/base")
    file = tmp_path / "Dockerfile"
    file.write_text(text.replace("from=base", "from=localhost/base") + "\n")
    options = ("-f", str(file), "--build-arg", "TWO=given")
    command("build", *options, "-t", "localhost/ours:1", str(context))
    podman(
        "build", *options, "--format", "docker", "--isolation", "chroot", "--identity-label=false", "--layers=false",
        "-t", "localhost/theirs:1", str(context),
    )  # fmt: skip
    (ours,) = command.json("image", "inspect", "localhost/ours:1")
    (theirs,) = json.loads(podman("image", "inspect", "localhost/theirs:1"))
    assert configuration(ours) == configuration(theirs)
    store = Store(str(command.root))
    try:
        image = store.image("localhost/ours:1")
        with Merged([layers.folder(store.root, layer) for layer in image["layers"]]) as view:
            tree = dict(walk(f"/proc/self/fd/{view.root}"))
    finally:
        store.close()
    assert tree == podman.tree("localhost/theirs:1")


def configuration(image: dict[str, Any]) -> dict[str, Any]:
    """What an image says of its containers; what is empty is left out."""
    config = {"Healthcheck": image.get("Healthcheck"), **image["Config"]}
    found = {key: value for key, value in config.items() if value}
    if "Env" in found:
        found["Env"] = sorted(found["Env"])
    return found
