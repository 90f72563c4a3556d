"""What users ask for of a container's isolation, by the flags that they type, and what an attacker makes of it.

Devices, privileges, security options, and namespaces that are shared with the host or with another container.
"""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path

import pytest

from tests.engine_lab import IMAGE, PRELUDE, Canary, Lab, Output
from tests.waiting import wait_for

pytestmark = pytest.mark.root

KINDS = ("user", "net", "pid", "ipc", "uts", "mnt", "cgroup")
STATUS = "cat /proc/self/status"
OPEN = """
for path, flags in ((p, f) for p in sys.argv[1:] for f in (os.O_RDONLY, os.O_WRONLY)):
    try:
        os.close(os.open(path, flags | os.O_NONBLOCK))
        print(path, "rw"[flags], "opened")
    except OSError as error:
        print(path, "rw"[flags], errno.errorcode[error.errno])
"""


def _run(lab: Lab, *words: str) -> Output:
    return lab.cli("run", "--rm", "--network", "none", *words)


def _start(lab: Lab, name: str, *words: str, network: str = "none") -> str:
    """Runs `sleep` in the background; returns the container's name."""
    flags = ["--network", network] if network else []
    done = lab.cli("run", "-d", "--name", name, "--stop-signal", "KILL", *flags, *words, IMAGE, "sleep", "300")
    assert done.code == 0, done.err
    return name


def _status(text: str) -> dict[str, str]:
    return {key: value.strip() for key, _, value in (line.partition(":") for line in text.splitlines())}


def _namespace(pid: int | str, kind: str) -> str:
    return os.readlink(f"/proc/{pid}/ns/{kind}")


# --- devices --------------------------------------------------------------------------------------------------------


def test_a_device_is_shown_where_it_was_asked_for_and_no_other(lab: Lab) -> None:
    program = ["python3", "-c", PRELUDE + OPEN]
    shown = _run(
        lab, "--device", "/dev/full:/dev/mine", "--device", "/dev/zero:/srv/z:r", IMAGE, *program, "/dev/mine", "/srv/z"
    )
    assert shown.out.splitlines()[:2] == ["/dev/mine r opened", "/dev/mine w opened"], shown
    # The standard nodes may be used whatever a device says.
    assert "/srv/z r opened" in shown.out
    assert not [name for name in os.listdir("/dev") if name in ("mine", "z")]
    folder = _run(lab, "--device", "/dev/net", IMAGE, "ls", "/dev/net")
    assert folder.out == "tun\n" or "no such file" in folder.err


def test_a_devices_access_is_kept_to(lab: Lab) -> None:
    """Read only: what the node's mode would allow the control group refuses."""
    done = _run(lab, "--device", "/dev/loop-control:/dev/one:r", IMAGE, "python3", "-c", PRELUDE + OPEN, "/dev/one")
    assert done.out.splitlines() == ["/dev/one r opened", "/dev/one w EPERM"], done


@pytest.mark.parametrize(
    "flags", [(), ("--cap-add", "ALL"), ("--userns", "host"), ("--pid", "host"), ("--ipc", "host")]
)
def test_nodes_made_by_mknod_open_nothing(lab: Lab, canary: Canary, tmp_path: Path, flags: tuple[str, ...]) -> None:
    """Not on the root, not in /dev, not on a tmpfs, not on a bind; not where the host's root makes them either."""
    code = """
numbers = {"kmsg": (0o20666, 1, 11), "mem": (0o20666, 1, 1), "disk": (0o60666, 254, 0), "loop": (0o60666, 7, 0)}
for folder in ("/", "/dev", "/tmpfs", "/bind"):
    for name, (mode, major, minor) in numbers.items():
        path = folder + "/made-" + name
        try:
            os.mknod(path, mode, os.makedev(major, minor))
            os.close(os.open(path, os.O_RDONLY))
            print("opened", path)
        except OSError:
            pass
"""
    shared = tmp_path / "bind"
    shared.mkdir()
    done = _run(
        lab, *flags, "--tmpfs", "/tmpfs", "-v", f"{shared}:/bind", IMAGE, "python3", "-c", PRELUDE + code
    )  # fmt: skip
    assert (done.code, done.out) == (0, ""), done
    for path in shared.iterdir():
        assert not stat.S_ISREG(path.lstat().st_mode)
        path.unlink()


def test_a_device_rule_lets_a_container_make_that_device_alone(lab: Lab) -> None:
    code = """
for name, minor in (("allowed", 7), ("other", 11)):
    os.mknod("/dev/" + name, 0o20666, os.makedev(1, minor))
    try:
        os.close(os.open("/dev/" + name, os.O_RDONLY))
        print(name, "opened")
    except OSError as error:
        print(name, errno.errorcode[error.errno])
"""
    done = _run(lab, "--device-cgroup-rule", "c 1:7 rwm", IMAGE, "python3", "-c", PRELUDE + code)
    assert done.out == "allowed opened\nother EPERM\n", done


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--device", "/dev/no-such"], "no such file"),
        (["--device", "/etc/passwd"], "is no device"),
        (["--device", "vendor.com/class=gpu0"], "CDI"),
        (["--device", "/dev/null:/dev/../../x"], "must be a device"),
        (["--device-cgroup-rule", "c 1:3"], "must be a rule"),
        (["--privileged", "--userns", "auto"], "needs the host's user namespace"),
        (["--security-opt", "apparmor=no-such-profile"], "no-such-profile"),
        (["--security-opt", "label=type:no_such_t"], "no_such_t"),
        (["--security-opt", "seccomp=/no/such/file"], "no such file"),
        (["--pid", "container:no-such"], "no container"),
        (["--network", "container:no-such"], "no container"),
        (["--uts", "host", "--hostname", "x"], "exclude each other"),
        (["--cap-add", "SYS_NOTHING"], "capability"),
    ],
)
def test_what_cannot_be_honoured_is_refused_and_leaves_nothing(lab: Lab, flags: list[str], words: str) -> None:
    done = lab.cli("run", "--name", "refused", *flags, IMAGE, "true")
    assert done.code in (64, 125), done
    assert words in done.err, done
    assert "Traceback" not in done.err
    assert [one["name"] for one in lab.engine.containers()] == []


# --- privileged and the host's user namespace -----------------------------------------------------------------------


def test_privileged_has_the_hosts_rights_and_devices(lab: Lab) -> None:
    program = "cat /proc/self/uid_map; ls /dev | wc -l; echo 1 > /proc/sys/net/ipv4/ip_forward && echo wrote"
    done = _run(lab, "--privileged", IMAGE, "sh", "-c", f"{STATUS}; {program}")
    status, rest = _status(done.out), done.out.splitlines()
    own = _status(Path("/proc/self/status").read_text())["CapPrm"]
    assert (status["CapPrm"], status["CapEff"], status["CapBnd"], status["CapInh"]) == (own, own, own, "0" * 16)
    assert (status["Seccomp"], status["NoNewPrivs"]) == ("0", "0")
    assert rest[-3].split() == ["0", "0", "4294967295"]
    assert int(rest[-2]) >= len([name for name in os.listdir("/dev") if os.path.exists(f"/dev/{name}")]) - 8
    assert rest[-1] == "wrote"


def test_what_privileged_mounts_stays_in_it(lab: Lab, canary: Canary) -> None:
    """A mount namespace of the host's user namespace is not made private by the kernel: the engine has to do it."""
    before = Path("/proc/self/mountinfo").read_text().count(lab.root)
    script = (
        "mkdir /m && mount -t tmpfs leak /m && mount --bind /m /m && echo mounted; grep -c shared: /proc/self/mountinfo"
    )
    done = _run(lab, "--privileged", IMAGE, "sh", "-c", script)
    assert done.out == "mounted\n0\n", done
    assert " leak " not in Path("/proc/self/mountinfo").read_text()
    assert Path("/proc/self/mountinfo").read_text().count(lab.root) <= before + 2


def test_groups_that_privileged_makes_go_with_it(lab: Lab) -> None:
    """With what runs in them, or stands still: a group below its own is not seen by whoever looks at that alone."""
    code = """
import time
made = 0
for top, folders, _ in list(os.walk("/sys/fs/cgroup")):
    if os.path.exists(top + "/cgroup.procs"):
        os.makedirs(top + "/mine/deeper")
        made += 1
        if not os.fork():
            open(top + "/mine/deeper/cgroup.procs", "w").write("0")
            time.sleep(300)
time.sleep(0.3)
for top, _, names in list(os.walk("/sys/fs/cgroup")):
    for name in ("freezer.state", "cgroup.freeze"):
        if top.endswith("/mine/deeper") and name in names:
            open(top + "/" + name, "w").write("FROZEN" if name == "freezer.state" else "1")
print("made", made > 0, flush=True)
time.sleep(300)
"""
    for flags in ((), ("--pid", "host")):
        words = ["--network", "none", "--privileged", *flags, IMAGE, "python3", "-c", PRELUDE + code]
        assert lab.cli("run", "-d", "--name", "one", *words).code == 0
        lab.said("one", "made True")
        groups = {
            line.split(":", 2)[2] for line in Path(f"/proc/{lab.state('one')['pid']}/cgroup").read_text().splitlines()
        }
        [group] = [each for each in groups if "stackpy-" in each]
        assert lab.cli("rm", "-f", "one").code == 0
        wait_for(lambda group=group: not list(Path("/sys/fs/cgroup").glob(f"*{group}")), "the groups to be gone")  # type: ignore[misc]


def test_the_hosts_user_namespace_alone_is_no_privilege(lab: Lab, canary: Canary) -> None:
    code = """
done = []
for what, call in {
    "mount": lambda: libc.mount(b"none", b"/tmp", b"tmpfs", 0, None),
    "unshare": lambda: libc.unshare(0x20000),
    "sethostname": lambda: libc.sethostname(b"owned", 5),
    "umount": lambda: libc.umount2(b"/proc/keys", 2),
}.items():
    if not call():
        done.append(what)
for path in ("/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/sys/kernel/uevent_helper", "/sys/power/state"):
    try:
        os.close(os.open(path, os.O_WRONLY))
        done.append(path)
    except OSError:
        pass
print(done)
"""
    done = _run(lab, "--userns", "host", IMAGE, "python3", "-c", PRELUDE + code)
    assert done.out == "[]\n", done
    status = _status(_run(lab, "--userns", "host", IMAGE, "sh", "-c", STATUS).out)
    assert (status["NoNewPrivs"], status["Seccomp"], status["CapInh"]) == ("1", "2", "0" * 16)


# --- security options -----------------------------------------------------------------------------------------------


def test_a_profile_in_dockers_json_is_what_filters(lab: Lab, tmp_path: Path) -> None:
    refuse = [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}]
    refuse += [{"names": ["chmod"], "action": "SCMP_ACT_ERRNO", "includes": {"caps": ["CAP_SYS_ADMIN"]}}]  # type: ignore[list-item]
    refuse += [{"names": ["getppid"], "action": "SCMP_ACT_ERRNO", "excludes": {"minKernel": "3.0"}}]  # type: ignore[list-item]
    profile = tmp_path / "profile.json"
    profile.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": refuse}))
    code = """
for call in (lambda: os.mkdir("/d"), lambda: os.chmod("/etc", 0o755), lambda: os.getppid()):
    try:
        call()
        print("ok")
    except OSError as error:
        print(errno.errorcode[error.errno])
"""
    option = ("--security-opt", f"seccomp={profile}")
    program = ("python3", "-c", PRELUDE + code)
    assert _run(lab, *option, IMAGE, *program).out == "ENOSYS\nok\nok\n"
    assert _run(lab, *option, "--cap-add", "SYS_ADMIN", IMAGE, *program).out == "ENOSYS\nEPERM\nok\n"
    name = _start(lab, "profiled", *option)
    assert lab.exec(name, *program).out == "ENOSYS\nok\nok\n"
    document = json.loads(lab.cli("inspect", name).out)[0]
    assert document["HostConfig"]["SecurityOpt"][0].startswith('seccomp={"defaultAction":"SCMP_ACT_ALLOW"')


def test_unconfined_is_what_it_says_and_no_more(lab: Lab) -> None:
    done = _run(lab, "--security-opt", "seccomp=unconfined", IMAGE, "sh", "-c", STATUS)
    status = _status(done.out)
    assert (status["Seccomp"], status["NoNewPrivs"]) == ("0", "1")
    assert int(status["CapEff"], 16) == 0xA80425FB
    masked = "grep -c ' /proc/[a-z]' /proc/self/mountinfo"
    assert _run(lab, IMAGE, "sh", "-c", masked).out.strip() != "0"
    assert _run(lab, "--security-opt", "systempaths=unconfined", IMAGE, "sh", "-c", masked).out.strip() == "0"


def test_new_privileges_only_where_they_are_asked_for(lab: Lab) -> None:
    def setid(folder: Path) -> None:
        (folder / "become").write_bytes(Path("/usr/bin/id").read_bytes())
        (folder / "become").chmod(0o4755)

    image = lab.image(None, setid)
    for flags, user in (((), "1000"), (("--security-opt", "no-new-privileges:false"), "0")):
        assert _run(lab, *flags, "-u", "1000", image, "/become", "-u").out == f"{user}\n", flags


# --- namespaces that are shared -------------------------------------------------------------------------------------


def test_a_shared_network(lab: Lab) -> None:
    code = "import socket; s = socket.create_server(('127.0.0.1', 7000)); print('listening', flush=True); s.accept()"
    done = lab.cli("run", "-d", "--name", "one", "-h", "first", IMAGE, "python3", "-c", code)
    assert done.code == 0, done.err
    lab.said("one", "listening")
    script = "cat /etc/hostname; echo $HOSTNAME; cat /etc/hosts | grep -c first; ls /sys/class/net"
    shown = lab.cli("run", "--rm", "--network", "container:one", IMAGE, "sh", "-c", script)
    assert shown.out == "first\nfirst\n1\neth0\nlo\n", shown
    connect = "import socket; socket.create_connection(('127.0.0.1', 7000)); print('connected')"
    assert lab.cli("run", "--rm", "--network", "container:one", IMAGE, "python3", "-c", connect).out == "connected\n"
    for flags in (["-p", "80:80"], ["-h", "x"], ["--network-alias", "x"]):
        assert lab.cli("run", "--rm", "--network", "container:one", *flags, IMAGE, "true").code == 64


def test_who_shares_is_in_the_others_user_namespace_and_in_nothing_else_of_it(lab: Lab, canary: Canary) -> None:
    one = _start(lab, "one")
    two = _start(lab, "two", network=f"container:{one}")
    pids = [lab.state(name)["pid"] for name in (one, two)]
    same = {kind for kind in KINDS if len({_namespace(pid, kind) for pid in pids}) == 1}
    assert same == {"user", "net"}
    code = """
seen = [pid for pid in os.listdir("/proc") if pid.isdigit()]
print(len(seen), os.path.exists("/only-one"))
"""
    lab.exec(one, "touch", "/only-one")
    assert lab.exec(two, "python3", "-c", PRELUDE + code).out == "2 False\n"


def test_shared_processes_cannot_look_into_what_begins(lab: Lab) -> None:
    """2016-9962 in a namespace that another container's root is in already."""
    from tests.security.test_sandbox_entering import OBSERVER

    lab.engine.up({**lab.config(["python3", "-c", PRELUDE + OBSERVER]), "name": "one"})
    lab.said("one", "watching")
    for _ in range(20):
        done = _run(lab, "--pid", "container:one", IMAGE, "true")
        assert done.code == 0, done
    lab.exec("one", "touch", "/tmp/stop")
    ended = lab.end("one")
    seen = {tuple(line.split(" ", 1)) for line in ended.out.splitlines()[1:]}
    assert {link for kind, link in seen if kind in ("exe", "traced")} <= {"/usr/bin/true", "/usr/bin/touch"}
    # Its own output is a pipe of the engine's, whose name shows where that is; nothing else is outside.
    links = {link for kind, link in seen if kind in ("root", "cwd", "fd") and "/run/io/" not in link}
    assert not [link for link in links if link.startswith((f"{lab.root}", "/work", "socket:[", "/memfd"))]


def test_shared_processes_and_memory(lab: Lab) -> None:
    one = _start(lab, "one", "--ipc", "shareable", "--shm-size", "1m")
    lab.exec(one, "sh", "-c", "echo word > /dev/shm/word")
    script = "cat /dev/shm/word; cat /proc/1/comm; kill -9 1"
    done = _run(lab, "--ipc", "container:one", "--pid", "container:one", IMAGE, "sh", "-c", script)
    assert done.out.startswith("word\nsleep\n"), done
    # PID 1 of a namespace takes no signal from within it.
    assert lab.state(one)["status"] == "running"
    _start(lab, "closed")
    refused = _run(lab, "--ipc", "container:closed", IMAGE, "true")
    assert "does not share its memory" in refused.err
    assert "shareable" in refused.err
    mount = f"{lab.root}/run/shm/"
    assert mount in Path("/proc/self/mountinfo").read_text()
    lab.engine.remove(one, force=True)
    assert mount not in Path("/proc/self/mountinfo").read_text()


def test_a_partner_that_does_not_run_is_named(lab: Lab) -> None:
    one = _start(lab, "one")
    two = _start(lab, "two", network="container:one")
    assert lab.cli("stop", one).code == 0
    assert lab.state(two)["status"] == "running"
    assert lab.cli("stop", two).code == 0
    refused = lab.cli("start", two)
    assert refused.code != 0
    assert "`one` is not running" in refused.err
    assert lab.cli("start", one, two).code == 0
    assert len({_namespace(lab.state(name)["pid"], "net") for name in (one, two)}) == 1


def test_the_ids_of_who_shares_are_given_to_nobody_else(lab: Lab) -> None:
    one = _start(lab, "one")
    two = _start(lab, "two", network="container:one")
    first = int(Path(f"/proc/{lab.state(one)['pid']}/uid_map").read_text().split()[1])
    lab.engine.remove(one, force=True)
    lab.kill("supervisor")
    others = [_start(lab, f"other-{number}") for number in range(4)]
    taken = [int(Path(f"/proc/{lab.state(name)['pid']}/uid_map").read_text().split()[1]) for name in others]
    assert first not in taken
    assert int(Path(f"/proc/{lab.state(two)['pid']}/uid_map").read_text().split()[1]) == first
    lab.engine.remove(two, force=True)
    wait_for(lambda: not Path(f"/run/stackpy/ranges/{first}").exists(), "the range to be free")


def test_the_hosts_namespaces(lab: Lab) -> None:
    for flag, kind in (("--pid", "pid"), ("--ipc", "ipc"), ("--uts", "uts"), ("--cgroupns", "cgroup")):
        shown = _run(lab, flag, "host", IMAGE, "readlink", f"/proc/self/ns/{kind}")
        assert shown.out.strip() == _namespace("self", kind), flag
    assert _run(lab, "--uts", "host", IMAGE, "sh", "-c", "echo $HOSTNAME").out.strip() == os.uname().nodename
    assert int(_run(lab, "--pid", "host", IMAGE, "sh", "-c", "ls /proc | grep -c '^[0-9]'").out) > 20
    assert _run(lab, "--ipc", "none", IMAGE, "ls", "/dev/shm").code != 0


def test_processes_left_in_the_hosts_namespace_end_with_their_container(lab: Lab) -> None:
    mark = f"31415{os.getpid()}"
    script = f"(sleep {mark} &) ; (sleep {mark} &) ; sleep 300"
    done = lab.cli("run", "-d", "--name", "one", "--network", "none", "--pid", "host", IMAGE, "sh", "-c", script)
    assert done.code == 0, done.err
    wait_for(lambda: len(_sleeping(mark)) == 2, "the processes")
    assert lab.cli("rm", "-f", "one").code == 0
    wait_for(lambda: not _sleeping(mark), "their end")


def _sleeping(mark: str) -> list[str]:
    found = []
    for entry in os.listdir("/proc"):
        try:
            if entry.isdigit() and Path(f"/proc/{entry}/cmdline").read_bytes() == f"sleep\0{mark}\0".encode():
                found.append(entry)
        except OSError:
            continue
    return found


def test_exec_goes_where_the_container_is(lab: Lab) -> None:
    one = _start(lab, "one", "--privileged")
    two = _start(lab, "two", "--pid", "container:one")
    three = _start(lab, "three", "--cgroupns", "host", "--uts", "host")
    for name in (one, two, three):
        pid = lab.state(name)["pid"]
        for kind in KINDS:
            shown = lab.exec(name, "readlink", f"/proc/self/ns/{kind}").out.strip()
            assert shown == _namespace(pid, kind), (name, kind)
    status = _status(lab.cli("exec", "--privileged", "one", "sh", "-c", STATUS).out)
    assert status["CapInh"] == "0" * 16
    assert re.fullmatch(r"0*1f+[0-9a-f]*", status["CapEff"])
