"""The moment in which a process of the engine is already inside a container, and still itself.

Rows of the threat list: 2016-9962, 2019-5736, 2024-21626, 2019-14271.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stackpy_runtime.errors import EngineError
from tests.engine_lab import IMAGE, PRELUDE, Canary, Lab
from tests.waiting import wait_for

pytestmark = pytest.mark.root

OBSERVER = """
import time
PTRACE_ATTACH, PTRACE_DETACH = 16, 17
seen, own, traced = set(), str(os.getpid()), set()
print("watching", flush=True)
while not os.path.exists("/tmp/stop"):
    for pid in os.listdir("/proc"):
        if not pid.isdigit() or pid == own:
            continue
        links = [f"/proc/{pid}/exe", f"/proc/{pid}/root", f"/proc/{pid}/cwd"]
        try:
            links += [f"/proc/{pid}/fd/{n}" for n in os.listdir(f"/proc/{pid}/fd")]
        except OSError as error:
            seen.add(("denied", "fd"))
        for link in links:
            try:
                seen.add((link.split("/")[3], os.readlink(link)))
            except OSError:
                pass
        if pid not in traced and not libc.ptrace(PTRACE_ATTACH, int(pid), 0, 0):
            # Once only: stopped again and again it would never end.
            traced.add(pid)
            os.waitpid(int(pid), 0x40000000)
            try:
                seen.add(("traced", os.readlink(f"/proc/{pid}/exe")))
            except OSError:
                pass
            libc.ptrace(PTRACE_DETACH, int(pid), 0, 0)
            try:
                # What it stopped for may have been execve: then the attaching SIGSTOP comes only now.
                os.kill(int(pid), 18)
            except ProcessLookupError:
                pass
for kind, link in sorted(seen):
    print(kind, link)
"""


@pytest.fixture(name="dumpable", params=["0", "1"])
def dumpable_fixture(request: pytest.FixtureRequest) -> Iterator[str]:
    """fs.suid_dumpable of the host: with 1 the kernel lets a process that changes its IDs be looked into again."""
    setting = Path("/proc/sys/fs/suid_dumpable")
    before = setting.read_text()
    setting.write_text(request.param)
    yield request.param
    setting.write_text(before)


@pytest.mark.parametrize("user", ["", "1000"])
def test_2016_9962_exec_cannot_be_looked_into_or_traced(lab: Lab, dumpable: str, user: str) -> None:
    name = lab.up(["python3", "-c", PRELUDE + OBSERVER], user=user)
    lab.said(name, "watching")
    for _ in range(100 if dumpable == "1" else 50):
        assert _exec(lab, name, ["true"], user=user) == 0
    _exec(lab, name, ["touch", "/tmp/stop"])
    ended = lab.end(name)
    assert ended.code == 0, ended
    seen = {tuple(line.split(" ", 1)) for line in ended.out.splitlines()[1:]}
    # What has been seen is what the container was asked to run, never the engine's interpreter or its descriptors.
    assert {link for kind, link in seen if kind in ("exe", "traced")} <= {"/usr/bin/true", "/usr/bin/touch"}
    assert {link for kind, link in seen if kind in ("root", "cwd")} <= {"/"}
    descriptors = {link for kind, link in seen if kind == "fd"}
    theirs = ("pipe:[", "/dev/null", "/usr/lib/", "/lib", "/etc/ld.so", "/tmp/stop")
    assert [link for link in descriptors if not link.startswith(theirs)] == []


def _exec(lab: Lab, name: str, argv: list[str], **options: str) -> int:
    return lab.engine.exec(
        name,
        argv,
        stdin=False,
        tty=False,
        environment={},
        working_dir=options.get("working_dir", ""),
        user=options.get("user", ""),
    )


def _engine_files(lab: Lab) -> dict[str, str]:
    """Hashes of what the keeper has mapped: its interpreter and libraries."""
    files = set()
    for pid in lab.processes("keeper"):
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            path = line[73:]
            if path.startswith("/") and os.path.isfile(path):
                files.add(Path(path))
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(files)}


WRITER = """
import time
kept, wrote = {}, []
print("watching", flush=True)
while not os.path.exists("/tmp/stop"):
    for pid in os.listdir("/proc"):
        if not pid.isdigit() or pid == str(os.getpid()):
            continue
        try:
            path, held = os.readlink(f"/proc/{pid}/exe"), os.open(f"/proc/{pid}/exe", os.O_PATH)
            own = os.path.exists(path) and os.path.samestat(os.fstat(held), os.stat(path))
            if own or path in kept:
                os.close(held)
            else:
                kept[path] = held
        except OSError:
            pass
    for path, held in kept.items():
        for flags in (os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_APPEND):
            try:
                opened = os.open(f"/proc/self/fd/{held}", flags)
                os.write(opened, b"#!/owned")
                wrote.append(path)
            except OSError:
                pass
print(sorted(set(wrote)))
"""


def test_2019_5736_the_engine_cannot_be_overwritten(lab: Lab) -> None:
    def scripts(folder: Path) -> None:
        (folder / "again").write_text("#!/proc/self/exe\nprint('the engine runs this')\n")
        (folder / "again").chmod(0o755)

    image = lab.image({"Entrypoint": ["/proc/self/exe"]}, scripts)
    name = lab.up([PRELUDE + WRITER], image=image, entrypoint=["python3", "-c"])
    lab.said(name, "watching")
    before = _engine_files(lab)
    for argv in (["true"], ["/proc/self/exe", "-c", "1"], ["/again"]) * 20:
        try:
            _exec(lab, name, argv)
        except EngineError:
            # Refused: as good.
            pass
    for command in ({}, {"entrypoint": ["/again"]}):
        try:
            lab.end(lab.up(["-c", "print(1)"], image=image, **command))
        except EngineError:
            pass
    _exec(lab, name, ["touch", "/tmp/stop"])
    ended = lab.end(name)
    assert ended.code == 0, ended
    assert ended.out.splitlines()[1:] == ["[]"]
    assert _engine_files(lab) == before


@pytest.mark.parametrize("how", ["start", "image", "exec"])
def test_2024_21626_working_folder_through_proc(lab: Lab, how: str) -> None:
    def link(folder: Path) -> None:
        (folder / "link").symlink_to("/proc/self/fd/8")

    folders = [*(f"/proc/self/fd/{number}" for number in range(24)), "/proc/self/cwd", "/proc/1/root", "/link"]
    image = lab.image(None, link)
    show = ["sh", "-c", "readlink /proc/self/cwd; ls -A . ..; ls /proc/self/fd"]
    running = lab.up(["sleep", "60"], image=image) if how == "exec" else ""
    for folder in folders:
        if how == "exec":
            done = lab.engine.client
            try:
                code = _exec(lab, running, ["false"], working_dir=folder)
            except EngineError as error:
                assert "cannot be used" in str(error), (folder, error)
            else:
                raise AssertionError(f"{folder} was accepted: {code} {done}")
        else:
            fields = (
                {"working_dir": folder, "image": image}
                if how == "start"
                else {"image": lab.image({"WorkingDir": folder}, link)}
            )
            reason = lab.reason(show, **fields)
            assert "cannot be used" in reason, (folder, reason)


def test_2024_21626_no_descriptor_but_the_standard_streams(lab: Lab) -> None:
    code = "print(sorted(int(n) for n in os.listdir('/proc/self/fd'))[:-1])"
    assert lab.python(code).out == "[0, 1, 2]\n"
    name = lab.up(["sleep", "60"])
    assert lab.exec(name, "python3", "-c", f"import os; {code}").out == "[0, 1, 2]\n"
    assert lab.exec(name, "python3", "-c", f"import os; {code}", given="x").out == "[0, 1, 2]\n"


def test_2024_21626_a_missing_working_folder_is_made_inside(lab: Lab, canary: Canary) -> None:
    def link(folder: Path) -> None:
        (folder / "out").symlink_to(canary.folder)

    image = lab.image(None, link)
    assert lab.shell("pwd -P", image=image, working_dir="/out/made").out == f"{canary.folder}/made\n"
    canary.check()
    assert lab.shell("pwd", working_dir=f"{canary.folder}/made").out == f"{canary.folder}/made\n"
    canary.check()


def evil_modules(folder: Path) -> None:
    """Modules that betray being loaded, wherever the engine's interpreter looks for its own."""
    code = "open('/betrayed', 'a').write(__name__ + '\\n')\n"
    for place in {path for path in sys.path if os.path.isdir(path) and path.startswith("/")} | {
        str(Path(__file__).parents[2] / "runtime")
    }:
        target = folder / place[1:]
        for name in sys.stdlib_module_names | {"sitecustomize", "usercustomize", "stackpy_runtime"}:
            package = target / name
            package.mkdir(parents=True, exist_ok=True)
            (package / "__init__.py").write_text(code)
        for codec in ("idna", "ascii", "latin_1", "utf_8", "punycode"):
            (target / "encodings" / f"{codec}.py").write_text(code)
    for name in ("libnss_files.so.2", "libnss_compat.so.2", "libnss_dns.so.2"):
        (folder / "lib" / name).write_text("not a library")


def test_2019_14271_nothing_of_the_image_is_loaded_by_the_engine(lab: Lab) -> None:
    def tree(folder: Path) -> None:
        (folder / "usr/lib").mkdir(parents=True)
        (folder / "lib").symlink_to("usr/lib")
        evil_modules(folder)
        (folder / "etc").mkdir()
        (folder / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nsomeone:x:1234:1234::/home:/bin/sh\n")
        (folder / "etc/group").write_text("root:x:0:\nsomeone:x:1234:\nmore:x:55:someone\n")

    image = lab.image(None, tree)
    probe = {
        "test": ["sh", "-c", "exit 0"],
        "interval": 0.1,
        "timeout": 5,
        "retries": 1,
        "start_period": 0,
        "start_interval": 1,
    }
    name = lab.up(["sh", "-c", "while :; do sleep 1; done"], image=image, healthcheck=probe, hostname="näme-ünïcode")
    wait_for(lambda: lab.state(name)["health"] == "healthy", "health")
    _exec(lab, name, ["true"], user="someone")
    for wrong in (
        {"argv": ["true"], "working_dir": "/not/there"},
        {"argv": ["nothing"]},
        {"argv": ["/etc"]},
        {"argv": ["true"], "user": "nobody-here"},
        {"argv": ["true"], "user": "4294967296"},
        {"argv": ["true"], "working_dir": "/proc/self/fd/9"},
        {"argv": ["nö\udcff"]},
        {"argv": ["/etc/passwd"]},
    ):
        argv = wrong.pop("argv")
        with pytest.raises(EngineError):
            _exec(lab, name, argv, **wrong)  # type: ignore[arg-type]
    failing = [
        {"command": ["/etc/passwd"]},
        {"user": "someone", "command": ["/etc"]},
        {"user": "nobody-here"},
        {"working_dir": "/proc/self/fd/9"},
        {"mounts": [{"type": "tmpfs", "source": "", "target": "/etc/passwd", "read_only": False}]},
    ]
    for fields in failing:
        with pytest.raises(EngineError):
            lab.engine.up({**lab.config(["true"], image=image), **fields})
    assert lab.engine.containers()
    for container in lab.engine.containers():
        upper = Path(lab.root) / "containers" / container["id"] / "upper"
        assert not (upper / "betrayed").exists(), (upper / "betrayed").read_text()
    assert lab.exec(name, "cat", "/betrayed").code == 1


def test_image_is_the_same_for_all(lab: Lab) -> None:
    """The lab's own premise: what a container writes stays its own."""
    lab.shell("echo changed > /bin/true; rm -rf /usr/lib/python3*")
    assert lab.python("print(1)").out == "1\n"
    assert lab.engine.image(IMAGE)["references"] == [IMAGE]


def test_2022_29162_no_process_has_inheritable_capabilities(lab: Lab) -> None:
    """Neither a container's own process, nor those of exec, exec --privileged and health checks."""
    show = "while read key value; do case $key in CapInh:|CapAmb:) echo $value;; esac; done < /proc/self/status"
    none = f"{0:016x}\n" * 2
    assert lab.shell(show).out == none
    probe = {
        "test": ["sh", "-c", f"{{ {show}; }} > /tmp/probed"],
        "interval": 0.1,
        "timeout": 5,
        "retries": 1,
        "start_period": 0,
        "start_interval": 1,
    }
    name = lab.up(["sleep", "60"], healthcheck=probe)
    for flags in ((), ("--privileged",), ("-u", "1000"), ("--privileged", "-u", "1000")):
        assert lab.cli("exec", *flags, name, "sh", "-c", show).out == none, flags
    wait_for(lambda: lab.exec(name, "cat", "/tmp/probed").out == none, "the health check")
