"""`--mount` of RUN against hostile images, steps and neighbours.

Rows of the threat list: 2024-1753 (sources that are links), 2024-23650/23651/23652/23653 (BuildKit); and that values of
secrets, and agents, stay where they belong.
"""

from __future__ import annotations

import io
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from stackpy_runtime.build import caches
from stackpy_runtime.errors import Denied, EngineError, ProcessFailed
from stackpy_runtime.linux.libc import libc
from tests.build_lab import run, source
from tests.engine_lab import Canary, Lab

pytestmark = pytest.mark.root

FREE: Any = {"network": "none"}
# The first byte of a message that lists keys, as the agent protocol numbers it.
ASK = """
import os, socket
line = socket.socket(socket.AF_UNIX)
line.connect(os.environ["SSH_AUTH_SOCK"])
line.sendall(b"\\0\\0\\0\\1\\x0b")
assert line.recv(100)
"""


def build(lab: Lab, base: str, *steps: Any, **options: Any) -> str:
    """Builds an image; returns what its steps printed."""
    image: Any = source(*steps, base={"kind": "image", "reference": base})
    told: list[str] = []
    given: Any = options

    def progress(event: Any) -> None:
        if event["kind"] == "output":
            told.append(event["text"])

    recipe = lab.engine.resolve(image)
    lab.engine.build(image, recipe, key="lab/evil", tags=["evil"], labels={}, progress=progress, options=given)
    return "".join(told)


def holders(root: str, value: bytes) -> list[str]:
    """Files of an engine root that hold a value, in their bytes or their names."""
    found = subprocess.run(
        ["grep", "-rlaF", "--devices=skip", value.decode(), root], capture_output=True, text=True, check=False
    )
    named = subprocess.run(["find", root, "-name", f"*{value.decode()}*"], capture_output=True, text=True, check=True)
    return [*found.stdout.splitlines(), *named.stdout.splitlines()]


@contextmanager
def agent(path: Path) -> Iterator[str]:
    """An agent that answers one byte to everything."""
    import socket

    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def serve() -> None:
        while True:
            try:
                line, _ = listener.accept()
            except OSError:
                return
            with line:
                while line.recv(100):
                    line.sendall(b"\0\0\0\1\x0c")

    thread = threading.Thread(target=serve)
    thread.start()
    yield str(path)
    listener.shutdown(socket.SHUT_RDWR)
    thread.join()
    listener.close()


def test_secrets_and_agents_stay_nowhere(lab: Lab, tmp_path: Path) -> None:
    """While the step runs and afterwards: no file of the engine root, image, recipe, archive, log or command line."""
    value = os.urandom(16).hex().encode()
    name = os.urandom(8).hex()
    mounts: Any = [
        {"type": "secret", "id": "token", "target": "/run/secrets/token"},
        {"type": "secret", "id": "token", "target": "/deep/in/the/image", "mode": 0o444},
        {"type": "secret", "id": "token", "env": "TOKEN"},
        {"type": "ssh", "id": "default", "required": True},
        {"type": "cache", "id": "beside-secrets", "target": "/c"},
    ]
    script = (
        f"test $(cat /run/secrets/token) = $TOKEN && cat /deep/in/the/image > /dev/null && python3 -c '{ASK}' &&"
        "touch /c/ready && while [ ! -e /c/go ]; do sleep 0.02; done; rm /c/go /c/ready; mkdir /made"
    )
    step = run(script, mounts=mounts, **FREE)
    cache = Path(caches.folder(lab.engine.store.root, "beside-secrets"))
    failures: list[BaseException] = []

    def work() -> None:
        try:
            build(lab, lab.image(), step, secrets={"token": value}, ssh={"default": socket_path})
        except BaseException as error:
            failures.append(error)

    with agent(tmp_path / name) as socket_path:
        builder = threading.Thread(target=work)
        builder.start()
        while not (cache / "ready").exists():
            builder.join(0.01)
            assert builder.is_alive(), failures
        during = holders(lab.root, value) + holders(lab.root, name.encode())
        lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
        (cache / "go").touch()
        builder.join()
    assert failures == []
    assert during == []
    assert not [line for line in lines if value in line]
    assert holders(lab.root, value) + holders(lab.root, name.encode()) == []
    image = lab.engine.image("evil")
    archive = io.BytesIO()
    lab.engine.save_images(["evil"], archive)
    recipe = lab.engine.last_recipe("lab/evil")
    for kept in (str(image).encode(), str(recipe).encode(), archive.getvalue()):
        assert value not in kept
        assert name.encode() not in kept
    top = Path(f"{lab.root}/layers/{image['layers'][-1]}")
    assert [path.name for path in top.rglob("*")] == ["made"]


def test_a_failing_step_does_not_tell_its_secrets(lab: Lab) -> None:
    value = os.urandom(16).hex().encode()
    mounts: Any = [{"type": "secret", "id": "token", "env": "TOKEN"}]
    for script in ("exit 3", "/nowhere"):
        with pytest.raises(ProcessFailed) as caught:
            build(lab, lab.image(), run(script, mounts=mounts, **FREE), secrets={"token": value})
        assert (
            value.decode() not in f"{caught.value} {caught.value.output} {caught.value.hint} {caught.value.to_wire()}"
        )
    assert holders(lab.root, value) == []


def test_2024_1753_sources_that_are_links_show_the_image(lab: Lab, canary: Canary) -> None:
    def tree(folder: Path) -> None:
        (folder / "absolute").symlink_to("/")
        (folder / "canary").symlink_to(canary.folder)
        (folder / "climbing").symlink_to("../" * 30 + str(canary.folder)[1:])
        (folder / "magic").symlink_to(f"/proc/self/root{canary.folder}")
        (folder / "descriptor").symlink_to("/proc/self/fd/3")

    base = lab.image(None, tree)
    for name in ("absolute", "canary", "climbing", "magic", "descriptor"):
        for kind in ("bind", "cache"):
            shown: Any = {"type": kind, "id": f"evil-{name}", "target": "/shown", "from_image": base, "source": name}
            step = run(f"ls -R /shown/ | head -n 50; cat /shown/secret; echo {name} {kind}", mounts=[shown], **FREE)
            try:
                told = build(lab, base, step)
            except EngineError as error:
                told = str(error)
            canary.check(told)
            target: Any = {"type": kind, "id": f"to-{name}", "target": f"/{name}/sub", "from_image": base}
            try:
                told = build(lab, base, run("true", mounts=[{**target, "source": "bin"}], **FREE))
            except EngineError as error:
                told = str(error)
            canary.check(told)


def test_2024_1753_sources_in_a_context_that_are_links_stay_in_it(lab: Lab, canary: Canary, tmp_path: Path) -> None:
    context = tmp_path / "context"
    context.mkdir()
    (context / "link").symlink_to(canary.folder)
    (context / "file").symlink_to(canary.folder / "secret")
    for name in ("link", "file", "../canary", "link/secret", str(canary.folder), "."):
        shown: Any = {"type": "bind", "target": "/shown", "source": name}
        step = run("cat /shown /shown/* /shown/*/*; true", mounts=[shown], context=str(context), **FREE)
        try:
            told = build(lab, lab.image(), step)
        except EngineError as error:
            told = str(error)
        canary.check(told)


def test_2024_23651_a_source_in_a_cache_that_races_with_a_link(lab: Lab, canary: Canary) -> None:
    """Another step on the same cache exchanges the source for a link to the host's, again and again."""
    base = lab.image()
    shown: Any = {"type": "cache", "id": "raced", "target": "/shown", "source": "sub/deeper"}
    build(lab, base, run("touch /shown/own", mounts=[shown], **FREE))
    folder = Path(caches.folder(lab.engine.store.root, "raced"))
    (folder / "link").symlink_to(canary.folder.parent)
    (folder / "sub" / "link").symlink_to(canary.folder)
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            for one, two in (("sub", "link"), ("sub/deeper", "sub/link")):
                libc.renameat2(-100, str(folder / one).encode(), -100, str(folder / two).encode(), 2)

    racer = threading.Thread(target=swap)
    racer.start()
    told = []
    try:
        for number in range(25):
            step = run(f"ls /shown; cat /shown/secret; touch /shown/x; echo {number}", mounts=[shown], **FREE)
            try:
                told.append(build(lab, base, step))
            except EngineError as error:
                told.append(str(error))
    finally:
        stop.set()
        racer.join()
    canary.check(*told)
    assert not list(canary.folder.parent.glob("*/x"))


def test_2024_23652_targets_replaced_by_links_are_not_cleaned_away(lab: Lab, canary: Canary, tmp_path: Path) -> None:
    base = lab.image()
    mounts: Any = [
        {"type": "cache", "id": "replaced", "target": "/a/cache"},
        {"type": "tmpfs", "target": "/a/tmpfs"},
        {"type": "secret", "id": "token", "target": "/a/secret"},
        {"type": "bind", "target": "/a/bind", "from_image": base, "source": "bin"},
    ]
    script = (
        "for each in cache tmpfs secret bind; do rm -rf /a/$each; mv /a/$each /b-$each; done; mv /a /moved; rm -rf /a;"
        f"ln -s {canary.folder} /a; true"
    )
    build(lab, base, run(script, mounts=mounts, **FREE), secrets={"token": b"x"})
    canary.check()
    build(lab, "evil", run("echo > /a/x; true", mounts=mounts, **FREE), secrets={"token": b"x"})
    canary.check()


def test_2024_23653_no_step_gets_more_rights_than_its_builder_was_given(lab: Lab) -> None:
    for fields in ({"security": "insecure", **FREE}, {"network": "host"}):
        with pytest.raises(Denied):
            build(lab, lab.image(), run("true", **fields))
    rights = build(lab, lab.image(), run("grep -E 'Cap(Eff|Bnd)|NoNewPrivs|Seccomp:' /proc/self/status", **FREE))
    found = dict(line.split(":\t") for line in rights.splitlines())
    assert (found["NoNewPrivs"], found["Seccomp"]) == ("1", "2")
    assert int(found["CapEff"], 16) & (1 << 21) == 0  # CAP_SYS_ADMIN


def test_2024_23650_requests_that_make_no_sense_end_none_but_themselves(lab: Lab) -> None:
    mount: Any = {"kind": "folder", "target": "/x", "read_only": False, "file": False, "source": "/nowhere"}
    good: Any = {
        "layers": [],
        "staged": f"{lab.root}/nowhere",
        "argv": ["true"],
        "environment": {},
        "working_dir": "/",
        "user": "",
        "mounts": [],
        "network": "none",
        "shell": "",
    }
    wrongs: list[dict[str, Any]] = [
        {"mounts": [mount]},
        {"mounts": [{**mount, "target": "relative"}]},
        {"mounts": [{**mount, "target": "/proc/x"}]},
        {"mounts": [{"kind": "memory"}]},
        {"mounts": [{**mount, "kind": "surprise"}]},
        {"mounts": None},
        {"network": 7},
        {"argv": []},
    ]
    for wrong in wrongs:
        null = os.open(os.devnull, os.O_RDWR)
        connection = lab.engine.client.request("step", {**good, **wrong}, (null,))
        os.close(null)
        with pytest.raises(EngineError):
            lab.engine.client.result(connection)
        connection.close()
    assert lab.shell("echo well").out == "well\n"
