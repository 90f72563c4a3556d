"""The Dockerfiles of tests/dockerfiles, built by other engines too: the same files, the same configuration."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests import dockerfile_lab, peers_lab, stand_ins
from tests.engine_lab import Lab

pytestmark = pytest.mark.root

# What podman 4.3 of Debian 12 makes something else of: it keeps EXPOSE as it was written, takes /bin/sh for CMD
# whatever SHELL says, expands ENV with backslashes whatever the directive says, and empties the container's file system
# when it cleans up behind a mount of type tmpfs.
PODMAN_CANNOT = {"lower-case", "python-shell", "run-mounts", "windows-escape"}
# What podman's inspect does not show.
NOT_SHOWN = {"OnBuild", "Shell"}
# What an old Dockerfile cannot say: the text of a trigger that has a heredoc.
NOT_SAID = {"heredoc-interpreters": {"OnBuild"}}
# Places that were made for mounts, which older engines leave in the image; BuildKit has cleaned up behind itself since.
STUBS = {
    "go-multi-stage": ["var/cache/apk"],
    "python-pip": ["root/.cache", "root/.cache/pip"],
    "run-mounts": ["cache", "quoted", "root/.aws", "root/.aws/credentials", "src", "var/cache/apt", "work/etc"],
}

# docker where it is, since it builds all of them; half a minute for either, so not both.
PEER = "docker" if peers_lab.HAS_DOCKER else "podman"
NAMES = [name for name in dockerfile_lab.NAMES if PEER == "docker" or name not in PODMAN_CANNOT]


class Surroundings(NamedTuple):
    lab: Lab
    context: Path
    agent: str
    secrets: list[str]
    peer: peers_lab.Peer


@pytest.fixture(scope="module")
def around(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Surroundings]:
    """The stand-ins in our store and in those of the peers."""
    place = tmp_path_factory.mktemp("peers")
    (place / "context").mkdir()
    stand_ins.fill(place / "context")
    secrets = []
    for name, value in dockerfile_lab.SECRETS.items():
        (place / name).write_bytes(value)
        secrets += ["--secret", f"id={name},src={place / name}"]
    # A root of its own: in that of the session steps would be in the cache, or come to be there.
    lab = Lab(str(place / "root"))
    with ExitStack() as stack:
        stack.callback(lab.leave)
        agent = stack.enter_context(dockerfile_lab.agent(place))
        stack.enter_context(dockerfile_lab.bases(lab.engine))
        peer: Any = peers_lab.docker() if PEER == "docker" else peers_lab.podman(place / "podman")
        peer = stack.enter_context(peer)
        saved = lab.cli("save", "-o", str(place / "bases.tar"), *stand_ins.IMAGES)
        assert saved.code == 0, saved.err
        peer("load", "-i", str(place / "bases.tar"))
        for name in (name for name in stand_ins.IMAGES if name.startswith("docker.io/library/")):
            # podman calls what has no host in an archive localhost/NAME
            peer("tag", name.removeprefix("docker.io/library/"), name)
        yield Surroundings(lab, place / "context", agent, secrets, peer)


@pytest.mark.parametrize("name", NAMES)
def test_a_dockerfile_is_the_image_that_a_peer_builds(name: str, around: Surroundings, tmp_path: Path) -> None:
    image = dockerfile_lab.build(around.lab.engine, name, around.context, around.agent, [])
    file = tmp_path / "Dockerfile"
    file.write_text(dockerfile_lab.for_peers(name))
    other, theirs = around.peer, f"localhost/{name}:theirs"
    ssh = ["--ssh", f"default={around.agent}", "--ssh", f"deploy={around.agent}"] if name == "run-mounts" else []
    other.build(theirs, "-f", str(file), *around.secrets, *ssh, str(around.context))
    hidden = NOT_SAID.get(name, set()) | (NOT_SHOWN if other.name == "podman" else set())
    config = peers_lab.configuration(image["config"])
    assert {key: value for key, value in config.items() if key not in hidden} == other.config(theirs)
    with peers_lab.ours(around.lab.root, image["id"]) as mine, other.mounted(theirs) as his:
        stubs = STUBS.get(name, ())
        found = {path: seen for path, seen in peers_lab.tree(his).items() if path not in stubs}
        assert peers_lab.tree(mine) == found
