"""`--mount` of RUN in the real sandbox: each type with its options, as BuildKit has them."""

from __future__ import annotations

import base64
import os
import shutil
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stackpy_runtime.build import caches
from stackpy_runtime.errors import Denied, EngineError, InvalidConfig, NotFound, ProcessFailed
from stackpy_runtime.store import layers
from tests.build_lab import run, source, step
from tests.engine_lab import IMAGE, Lab

pytestmark = pytest.mark.root

BASE: Any = {"kind": "image", "reference": IMAGE}
FREE: Any = {"network": "none"}


def build(lab: Lab, *steps: Any, stages: Any = None, **options: Any) -> str:
    """Builds an image over the lab's; returns what its steps printed."""
    image: Any = source(*steps, base=BASE)
    if stages:
        image["stages"] = stages
    told: list[str] = []
    given: Any = options

    def progress(event: Any) -> None:
        if event["kind"] == "output":
            told.append(event["text"])

    recipe = lab.engine.resolve(image)
    lab.engine.build(image, recipe, key="", tags=["built"], labels={}, progress=progress, options=given)
    return "".join(told)


def left(lab: Lab, image: str = "built") -> list[str]:
    """What the last step of the built image has left in its layer."""
    top = layers.folder(lab.engine.store.root, lab.engine.image(image)["layers"][-1])
    return sorted(str(path.relative_to(top)) for path in Path(top).rglob("*"))


@pytest.fixture
def context(tmp_path: Path) -> Path:
    folder = tmp_path / "context"
    (folder / "src").mkdir(parents=True)
    (folder / "src" / "a.txt").write_text("from a\n")
    (folder / "src" / "a.txt").chmod(0o640)
    os.chown(folder / "src" / "a.txt", 1234, 1234)
    (folder / "hidden").write_text("not to be seen")
    (folder / ".dockerignore").write_text("hidden\n")
    return folder


@pytest.fixture
def fresh(lab: Lab) -> Iterator[Lab]:
    """The lab without caches of RUN steps."""
    shutil.rmtree(f"{lab.root}/cache/mounts", ignore_errors=True)
    yield lab
    shutil.rmtree(f"{lab.root}/cache/mounts", ignore_errors=True)


def test_a_bind_shows_the_context_without_what_is_ignored_and_keeps_no_writes(lab: Lab, context: Path) -> None:
    mounts: Any = [
        {"type": "bind", "target": "/in"},
        {"type": "bind", "target": "/one", "source": "src/a.txt"},
        {"type": "bind", "target": "/rw", "source": "src", "readonly": False},
    ]
    script = (
        "ls -A /in; cat /one; stat -c '%a %u:%g' /one; touch /in/x 2>/dev/null || echo read-only;"
        "echo changed > /rw/a.txt; cat /rw/a.txt /in/src/a.txt; touch /made"
    )
    told = build(lab, run(script, mounts=mounts, context=str(context), **FREE))
    assert told.split("\n")[:-1] == [
        *(".dockerignore", "src", "from a", "640 0:0", "read-only", "changed", "from a"),
    ]
    assert left(lab) == ["made"]
    assert (context / "src" / "a.txt").read_text() == "from a\n"


def test_only_what_a_bind_shows_runs_its_step_again(lab: Lab, context: Path) -> None:
    step_: Any = run("cat /in/*", mounts=[{"type": "bind", "target": "/in", "source": "src"}], context=str(context))
    before = lab.engine.resolve(source(step_, base=BASE))
    (context / "hidden").write_text("something else")
    (context / "beside").write_text("something else")
    assert lab.engine.resolve(source(step_, base=BASE)) == before
    (context / "src" / "a.txt").write_text("changed\n")
    after = lab.engine.resolve(source(step_, base=BASE))
    one, two = before["steps"][1]["inputs"], after["steps"][1]["inputs"]
    assert [name for name in one if one[name] != two[name]] == ["--mount bind /in: src/a.txt"]


def test_a_bind_shows_an_image(lab: Lab) -> None:
    build(lab, run("mkdir -p /srv/a; echo built > /srv/a/file; ln -s /srv/a /way", **FREE))
    lab.engine.tag("built", "donor")
    mounts: Any = [
        {"type": "bind", "target": "/whole", "from_image": "donor"},
        {"type": "bind", "target": "/file", "from_image": "donor", "source": "/way/file"},
        {"type": "bind", "target": "/rw", "from_image": "donor", "source": "srv", "readonly": False},
    ]
    script = "cat /whole/srv/a/file /file; rm -r /rw/a; ls /rw /whole/srv; touch /file 2>/dev/null || echo read-only"
    told = build(lab, run(script, mounts=mounts, **FREE))
    assert told.split() == ["built", "built", "/rw:", "/whole/srv:", "a", "read-only"]
    assert left(lab) == []
    with pytest.raises(InvalidConfig, match="nowhere"):
        bad: Any = [{"type": "bind", "target": "/x", "from_image": "donor", "source": "nowhere"}]
        build(lab, run("true", mounts=bad, **FREE))


def test_binds_and_caches_take_from_a_stage(fresh: Lab) -> None:
    """The stage is built for the mount alone, and is an input of the step that has it."""

    def made(text: str) -> Any:
        return {"base": BASE, "steps": [run(f"mkdir -p /out; echo {text} > /out/file", **FREE)]}

    mounts: Any = [
        {"type": "bind", "target": "/in", "from_stage": "made", "source": "/out"},
        {"type": "cache", "id": "of-a-stage", "target": "/c", "from_stage": "made", "source": "out"},
    ]
    step_ = run("cat /in/file /c/file; echo changed > /c/file", mounts=mounts, **FREE)
    assert build(fresh, step_, stages={"made": made("one")}) == "one\none\n"
    assert build(fresh, step_, stages={"made": made("one")}) == ""
    assert build(fresh, step_, stages={"made": made("two")}) == "two\ntwo\n"
    assert left(fresh) == []


def test_a_tmpfs_has_its_size_and_leaves_nothing(lab: Lab) -> None:
    mounts: Any = [{"type": "tmpfs", "target": "/mem", "size": 1 << 20}]
    script = "df -P /mem | tail -n 1; stat -c %a /mem; head -c 2000000 /dev/zero > /mem/x || echo full"
    told = build(lab, run(script, mounts=mounts, **FREE))
    assert told.split()[1] == "1024"
    assert "1777" in told
    assert told.endswith("full\n")
    assert left(lab) == []


def test_a_cache_outlives_its_step(fresh: Lab) -> None:
    cache: Any = {"type": "cache", "id": "downloads", "target": "/c", "mode": 0o750, "uid": 7, "gid": 8}
    build(fresh, run("echo one > /c/x; echo 1", mounts=[cache], **FREE))
    other: Any = {"type": "cache", "id": "downloads", "target": "/elsewhere", "readonly": True}
    told = build(
        fresh,
        run("cat /elsewhere/x; stat -c '%a %u:%g' /elsewhere; touch /elsewhere/y || true", mounts=[other], **FREE),
    )
    assert told.split("\n")[:2] == ["one", "750 7:8"]
    assert "Read-only" in told
    part: Any = {"type": "cache", "id": "downloads", "target": "/p", "source": "deep/er"}
    told = build(fresh, run("touch /p/z; ls /p", mounts=[part], **FREE), run("ls -R /c", mounts=[cache], **FREE))
    assert told.endswith("/c/deep/er:\nz\n")
    assert left(fresh) == []


def test_a_cache_begins_with_what_it_is_from(fresh: Lab) -> None:
    build(fresh, run("mkdir -p /seed/deep; echo seed > /seed/deep/file", **FREE))
    fresh.engine.tag("built", "donor")
    cache: Any = {"type": "cache", "id": "seeded", "target": "/c", "from_image": "donor", "source": "/seed"}
    assert build(fresh, run("cat /c/deep/file; echo more > /c/deep/file", mounts=[cache], **FREE)) == "seed\n"
    assert build(fresh, run("cat /c/deep/file; echo 2", mounts=[cache], **FREE)) == "more\n2\n"


def test_sharing_of_caches_is_as_for_buildkit(fresh: Lab) -> None:
    """Two steps at the same time: both in a shared one, each with its own private one, one after the other."""
    root = fresh.engine.store.root
    said: list[str] = []
    for sharing, same in (("shared", True), ("private", False)):
        wanted: Any = caches.Cache(f"id-{sharing}", sharing)  # type: ignore[arg-type]
        with caches.using(root, [wanted], said.append) as one, caches.using(root, [wanted], said.append) as two:
            assert (one == two) is same
        with caches.using(root, [wanted], said.append) as again:
            assert again == one
    locked = caches.Cache("id-locked")
    with caches.using(root, [locked], said.append):
        waiter = threading.Thread(target=lambda: caches.using(root, [locked], said.append).__enter__())
        waiter.start()
        while not said:
            waiter.join(0.005)
        assert waiter.is_alive()
    waiter.join(60)
    assert said == ["waiting for another step that uses the cache id-locked\n"]


def test_a_secret_is_a_file_or_a_variable(lab: Lab) -> None:
    mounts: Any = [
        {"type": "secret", "id": "token", "target": "/run/secrets/token"},
        {"type": "secret", "id": "token", "target": "/etc/mine", "mode": 0o440, "uid": 7, "gid": 8},
        {"type": "secret", "id": "token", "env": "TOKEN"},
        {"type": "secret", "id": "other", "target": "/run/secrets/other"},
    ]
    script = (
        "cat /run/secrets/token; stat -c '%a %u:%g' /run/secrets/token /etc/mine; echo $TOKEN; ls /run/secrets;"
        "touch /run/secrets/token || true"
    )
    told = build(lab, run(script, mounts=mounts, **FREE), secrets={"token": b"hush\n"})
    assert told.split("\n")[:5] == ["hush", "400 0:0", "440 7:8", "hush", "token"]
    assert "Read-only" in told
    assert left(lab) == []
    required: Any = [{"type": "secret", "id": "token", "target": "/t", "required": True}]
    with pytest.raises(NotFound, match="secret `token`") as caught:
        build(lab, run("echo 2", mounts=required, **FREE))
    assert caught.value.hint == "add `--secret id=token,src=FILE`, or declare it in the stack"


def test_targets_behind_links_of_the_image_leave_nothing(lab: Lab) -> None:
    build(
        lab, run("mkdir -p /srv/real; ln -s real /srv/way; ln -s /srv/way/../way /abs; ln -s /gone /dangling", **FREE)
    )
    lab.engine.tag("built", "links")
    mounts: Any = [
        {"type": "secret", "id": "token", "target": "/abs/new/token"},
        {"type": "tmpfs", "target": "/srv/way/mem"},
        {"type": "cache", "id": "behind-links", "target": "/dangling/cache"},
    ]
    image: Any = source(
        run("cat /srv/real/new/token; ls -d /srv/real/mem /gone/cache", mounts=mounts, **FREE),
        base={"kind": "image", "reference": "links"},
    )
    told: list[str] = []
    lab.engine.build(
        image,
        lab.engine.resolve(image),
        key="",
        tags=["built"],
        labels={},
        progress=lambda event: told.append(event["text"]) if event["kind"] == "output" else None,
        options={"secrets": {"token": b"hush\n"}},
    )
    assert "".join(told) == "hush\n/gone/cache\n/srv/real/mem\n"
    assert left(lab) == []


def test_the_value_of_a_secret_does_not_count(lab: Lab) -> None:
    shown: Any = run("wc -c < /s", mounts=[{"type": "secret", "id": "token", "target": "/s"}], **FREE)
    assert build(lab, shown, secrets={"token": b"12"}) == "2\n"
    assert build(lab, shown, secrets={"token": b"123"}) == ""


class Agent:
    """An agent as ssh's: takes one message a time and answers with what it was; ends by itself."""

    def __init__(self, path: str) -> None:
        self.path, self.asked = path, list[int]()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen()
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self) -> None:
        while True:
            try:
                line, _ = self.listener.accept()
            except OSError:
                return
            with line:
                while head := line.recv(4):
                    message = line.recv(struct.unpack(">I", head)[0])
                    self.asked.append(message[0])
                    line.sendall(struct.pack(">IB", 1, 12))

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.listener.close()


ASK = """
import os, socket, struct
line = socket.socket(socket.AF_UNIX)
line.connect(os.environ["SSH_AUTH_SOCK"])
for kind in (11, 17, 19, 22, 27, 13):
    line.sendall(struct.pack(">IB", 1, kind))
    print(kind, line.recv(100)[4])
print(oct(os.stat(os.environ["SSH_AUTH_SOCK"]).st_mode), os.environ["SSH_AUTH_SOCK"])
"""


def test_an_agent_lists_and_signs_and_does_no_more(lab: Lab, tmp_path: Path) -> None:
    """11 lists, 13 signs; 17 adds a key, 19 removes all, 22 locks, 27 is an extension: BuildKit refuses those too."""
    agent = Agent(str(tmp_path / "agent.sock"))
    try:
        ask: Any = step("run", argv=["python3", "-c", ASK], mounts=[{"type": "ssh", "id": "default"}], **FREE)
        told = build(lab, ask, ssh={"default": agent.path})
    finally:
        agent.close()
    assert told == "11 12\n17 5\n19 5\n22 5\n27 5\n13 12\n0o140600 /run/buildkit/ssh_agent.0\n"
    assert agent.asked == [11, 13]
    assert os.listdir(lab.engine.store.root.staging) == []
    required: Any = [{"type": "ssh", "id": "default", "required": True}]
    with pytest.raises(NotFound, match="agent `default`"):
        build(lab, run("echo 2", mounts=required, **FREE))


def test_a_heredoc_of_a_program_is_a_file_that_it_runs(lab: Lab) -> None:
    script = base64.b64encode(b"#!/usr/bin/env python3\nprint(6 * 7)\n").decode()
    told = build(lab, step("run", argv=["/dev/pipes/EOF"], inline=[{"name": "EOF", "content": script}], **FREE))
    assert told == "42\n"
    assert left(lab) == []


def test_build_arguments_are_seen_and_stay_nowhere(lab: Lab) -> None:
    told = build(
        lab,
        run("echo $VERSION $http_proxy", args={"VERSION": "7"}, proxies={"http_proxy": "http://p"}, **FREE),
        run("echo [$VERSION]", **FREE),
    )
    assert told == "7 http://p\n[]\n"
    image = lab.engine.image("built")
    assert "VERSION" not in str(image["config"])
    assert "http://p" not in str(image["config"])
    recipes = [
        lab.engine.resolve(source(run("x", args={"A": value}, proxies={"p": proxy}), base=BASE))["steps"][1]
        for value, proxy in (("1", "1"), ("1", "2"), ("2", "2"))
    ]
    assert recipes[0]["id"] == recipes[1]["id"] != recipes[2]["id"]
    assert recipes[0]["inputs"]["build argument A"] == "1"


def test_networks_and_rights_that_need_leave(lab: Lab) -> None:
    hosts = run("readlink /proc/self/ns/net", network="host")
    with pytest.raises(Denied, match="host's network"):
        build(lab, hosts)
    assert build(lab, hosts, allow=["network.host"]) == f"{os.readlink('/proc/self/ns/net')}\n"
    rights = (
        "grep -E 'Cap(Eff|Bnd)|NoNewPrivs|Seccomp:' /proc/self/status; cat /proc/self/uid_map;"
        "mkdir /m && mount -t tmpfs none /m && umount /m && echo mounted; test -c /dev/kmsg && echo devices"
    )
    insecure = run(rights, security="insecure", **FREE)
    with pytest.raises(Denied, match="host's rights"):
        build(lab, insecure)
    told = build(lab, insecure, allow=["security.insecure"]).splitlines()
    found = dict(line.split(":\t") for line in told[:4])
    assert int(found["CapEff"], 16) & (1 << 21)  # CAP_SYS_ADMIN
    assert (found["NoNewPrivs"], found["Seccomp"]) == ("0", "0")
    assert told[4].split() == ["0", "0", "4294967295"]
    assert told[5:] == ["mounted", "devices"]
    assert "m" in left(lab)  # and what mount(8) notes in /run
    # what it makes is root's, as in any other layer
    top = layers.folder(lab.engine.store.root, lab.engine.image("built")["layers"][-1])
    assert os.stat(f"{top}/m").st_uid == 0


def test_a_failing_step_with_mounts_leaves_nothing(lab: Lab, context: Path) -> None:
    mounts: Any = [{"type": "bind", "target": "/in"}, {"type": "tmpfs", "target": "/mem"}]
    with pytest.raises(ProcessFailed):
        build(lab, run("exit 3", mounts=mounts, context=str(context), **FREE))
    assert os.listdir(lab.engine.store.root.staging) == []


KEYS = """
import os, socket, struct
line = socket.socket(socket.AF_UNIX)
line.connect(os.environ["SSH_AUTH_SOCK"])
line.sendall(struct.pack(">IB", 1, 11))
answer = line.recv(1 << 16)
kind, count = struct.unpack(">BI", answer[4:9])
(length,) = struct.unpack(">I", answer[9:13])
key = answer[13 : 13 + length]
# Four bytes of length before each: the key, what is to be signed, flags.
ask = b"\\x0d" + answer[9 : 13 + length] + struct.pack(">I", 4) + b"data" + struct.pack(">I", 0)
line.sendall(struct.pack(">I", len(ask)) + ask)
print(kind, count, line.recv(1 << 16)[4])
line.sendall(struct.pack(">IB", 1, 19))
print(line.recv(100)[4])
"""


def test_keys_from_files_sign_and_stay_nowhere(lab: Lab, tmp_path: Path) -> None:
    """12 is the list of keys, 14 a signature, 5 a refusal."""
    paths = []
    for kind in ("ed25519", "rsa"):
        paths.append(str(tmp_path / kind))
        subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "mine", "-f", paths[-1]], check=True)
        os.chmod(paths[-1], 0o644)  # which ssh-add would refuse
    wanted: Any = [{"type": "ssh", "id": "default", "required": True}]
    script = step("run", argv=["python3", "-c", KEYS], mounts=wanted, **FREE)
    before = agents()
    assert build(lab, script, ssh_keys={"default": paths}) == "12 2 14\n5\n"
    assert agents() == before
    assert os.listdir(lab.engine.store.root.staging) == []
    secret = Path(paths[0]).read_text().splitlines()[2]
    # By another process: one that opens and closes the index's files gives up the locks that SQLite has on them for it
    # (sqlite.org/howtocorrupt, 2.2), and the next supervisor would cut them short below our feet.
    held = subprocess.run(["grep", "-rlF", "-D", "skip", secret, lab.root], capture_output=True, check=False)
    assert (held.returncode, held.stdout) == (1, b"")
    (tmp_path / "broken").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n")
    with pytest.raises(EngineError, match="broken` cannot be used"):
        build(lab, run("echo again", mounts=wanted, **FREE), ssh_keys={"default": [str(tmp_path / "broken")]})
    assert agents() == before


def agents() -> set[str]:
    """The processes of ssh-agent."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/comm"):
        try:
            if path.read_text() == "ssh-agent\n":
                found.add(path.parent.name)
        except OSError:
            continue
    return found
