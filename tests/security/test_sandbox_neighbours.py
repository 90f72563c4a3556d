"""One container against another, and against what all of them share of the kernel: keys, signals, handles, counts.

Classes of attacks rather than single vulnerabilities; beside them rows 2025-52881, 2022-36109 and 2018-20699.
"""

from __future__ import annotations

import ctypes
import os
import re
import resource
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engine_lab import IMAGE, PRELUDE, Canary, Lab
from tests.waiting import wait_for

pytestmark = pytest.mark.root


# --- defaults -------------------------------------------------------------------------------------------------------

PROCESS = """
import stat
status = dict(line.rstrip().split(":", 1) for line in open("/proc/self/status"))
print("descriptors", sorted(int(n) for n in os.listdir("/proc/self/fd"))[:3], len(os.listdir("/proc/self/fd")) - 1)
print("umask", status["Umask"].strip())
print("score", open("/proc/self/oom_score_adj").read().strip())
print("loginuid", open("/proc/self/loginuid").read().strip())
print("inheritable", int(status["CapInh"], 16), "ambient", int(status["CapAmb"], 16))
print("new privileges", status["NoNewPrivs"].strip(), "seccomp", status["Seccomp"].strip())
print("signals", int(status["SigIgn"], 16) & ~(1 << 12 | 1 << 24), int(status["SigBlk"], 16))
print("session", os.getsid(0) > 0, "limit", __import__("resource").getrlimit(7)[0])
print("groups", os.getgroups(), "folder", os.getcwd())
print("CPUs", len(os.sched_getaffinity(0)), "policy", os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0))
print("core", __import__("resource").getrlimit(4)[0])
"""
USUAL = f"""\
descriptors [0, 1, 2] 3
umask 0022
score 0
loginuid 4294967295
inheritable 0 ambient 0
new privileges 1 seccomp 2
signals 0 0
session True limit 1024
groups [0] folder /
CPUs {os.cpu_count()} policy 0 0
core {resource.prlimit(1, resource.RLIMIT_CORE)[0]}
"""


def test_defaults_of_a_process(lab: Lab) -> None:
    """No descriptor, mask, score, login or capability of whoever started the engine or of the engine itself."""
    name = lab.up(["sleep", "60"])
    assert lab.python(PROCESS).out == USUAL
    assert lab.exec(name, "python3", "-c", PRELUDE + PROCESS).out == USUAL
    assert lab.cli("run", "--rm", "--init", "--network", "none", IMAGE, "python3", "-c", PRELUDE + PROCESS).out == USUAL


def test_defaults_do_not_come_from_who_started_the_engine(lab: Lab, tmp_path: Path) -> None:
    """Its score, login, mask, descriptors, ignored signals, CPUs, priority and limits are no container's."""
    lab.leave_processes()
    code = (
        "import os, resource, signal, sys\n"
        "open('/proc/self/oom_score_adj', 'w').write('321')\n"
        "try: open('/proc/self/loginuid', 'w').write('1234')\n"
        "except OSError: pass\n"
        "os.umask(0o077)\n"
        "held = os.open('/', os.O_RDONLY); os.set_inheritable(held, True)\n"
        "[signal.signal(number, signal.SIG_IGN) for number in (1, 2, 15, 17)]\n"
        "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0)); os.nice(7)\n"
        "resource.setrlimit(resource.RLIMIT_CORE, (4096, resource.getrlimit(resource.RLIMIT_CORE)[1]))\n"
        "os.chdir('/usr')\n"
        "os.execv(sys.argv[1], sys.argv[1:])\n"
    )
    command = lab.command("run", "-d", "--name", "one", "--network", "none", IMAGE, "sleep", "300")
    done = subprocess.run(
        [sys.executable, "-c", code, *command], env=lab.environment, capture_output=True, text=True, check=False,
        close_fds=False,
    )  # fmt: skip
    assert done.returncode == 0, done
    assert lab.exec("one", "python3", "-c", PRELUDE + PROCESS).out == USUAL
    assert lab.python(PROCESS).out == USUAL


def test_defaults_of_dev(lab: Lab) -> None:
    """/dev has the standard nodes and links and nothing else; each is what its name says."""
    code = """
import stat
for name in sorted(os.listdir("/dev")):
    s = os.lstat("/dev/" + name)
    what = os.readlink("/dev/" + name) if stat.S_ISLNK(s.st_mode) else f"{os.major(s.st_rdev)}:{os.minor(s.st_rdev)}"
    print(name, stat.filemode(s.st_mode)[0], what)
"""
    expected = (
        "core l /proc/kcore,fd l /proc/self/fd,full c 1:7,mqueue d 0:0,null c 1:3,ptmx l pts/ptmx,pts d 0:0,"
        "random c 1:8,shm d 0:0,stderr l /proc/self/fd/2,stdin l /proc/self/fd/0,stdout l /proc/self/fd/1,tty c 5:0,"
        "urandom c 1:9,zero c 1:5"
    )
    assert lab.python(code).out.splitlines() == expected.split(",")


# --- keyrings -------------------------------------------------------------------------------------------------------


def test_session_keyrings_are_apart(lab: Lab) -> None:
    """Neither the session keyring of whoever started the engine nor that of another container is in reach."""
    # keyctl(KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING), which the default filter refuses
    code = "print(call(250, 0, -3, 0)[0])"
    unfiltered = {"security_opt": ["seccomp=unconfined"]}
    first = lab.up(["sleep", "60"], **unfiltered)
    rings = [lab.exec(first, "python3", "-c", PRELUDE + code).out for _ in range(2)]
    assert rings[0] == rings[1]
    other = lab.python(code, **unfiltered).out
    host = lab.python(code, userns="host", **unfiltered).out
    assert len({rings[0], other, host, str(_own_session())}) == 4
    add = "print(call(248, b'user', b'stackpy-test', b'secret', 6, -3)[0] > 0)"
    search = "print(call(250, 10, -3, b'user', b'stackpy-test', 0)[0] > 0)"
    assert lab.exec(first, "python3", "-c", PRELUDE + add).out == "True\n"
    assert lab.exec(first, "python3", "-c", PRELUDE + search).out == "True\n"
    assert lab.python(search, **unfiltered).out == "False\n"
    assert lab.python(add).out == "False\n"


def _own_session() -> int:
    return int(ctypes.CDLL(None).syscall(250, 0, -3, 0))


# --- processes of others --------------------------------------------------------------------------------------------

REACH = """
pids, done = [int(a) for a in sys.argv[1:]], []
for pid in pids:
    for what, attempt in {
        "kill": lambda: os.kill(pid, 9),
        "pidfd": lambda: os.pidfd_open(pid),
        "environ": lambda: open(f"/proc/{pid}/environ", "rb").read(1),
        "mem": lambda: open(f"/proc/{pid}/mem", "r+b"),
        "root": lambda: os.listdir(f"/proc/{pid}/root/"),
    }.items():
        try:
            attempt()
            done.append(what)
        except OSError:
            pass
    if not libc.ptrace(16, pid, 0, 0):
        done.append("ptrace")
    buffer = ctypes.create_string_buffer(8)
    local, remote = ((ctypes.c_ulong * 2)(where, 8) for where in (ctypes.addressof(buffer), 0x10000))
    for number in (310, 311):
        if call(number, pid, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0)[1] not in ("ESRCH", "EPERM", "ENOSYS"):
            done.append(f"process_vm {number}")
print(done)
"""


def test_processes_of_others_cannot_be_reached(lab: Lab) -> None:
    """Neither by the numbers that the host knows them by, nor with the capabilities that it would take."""
    victim = lab.up(["sleep", "60"])
    pids = [str(lab.state(victim)["pid"]), *map(str, lab.processes())]
    for fields in ({}, {"cap_add": ["SYS_PTRACE", "KILL", "SYS_ADMIN"]}):
        ended = lab.run(["python3", "-c", PRELUDE + REACH, *pids], **fields)
        assert ended.out == "[]\n", fields
    assert lab.state(victim)["status"] == "running"
    # With the host's PID namespace they are seen; a user that is not root may still do nothing to them.
    ended = lab.run(["python3", "-c", PRELUDE + REACH, *pids], pid="host", user="1000")
    assert "kill" not in ended.out and "ptrace" not in ended.out and "mem" not in ended.out


def test_namespaces_of_others_cannot_be_joined(lab: Lab) -> None:
    code = """
done = []
for kind in ("user", "net", "pid", "ipc", "uts", "mnt", "cgroup"):
    for pid in (1, os.getpid()):
        try:
            held = os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY)
        except OSError:
            continue
        if kind != "user" and not libc.setns(held, 0):
            done.append(kind)
for flags in (0x10000000, 0x20000, 0x40000000, 0x20000000, 0x8000000, 0x4000000, 0x2000000):
    if not libc.unshare(flags):
        done.append(hex(flags))
# ioctl(NS_GET_USERNS) and NS_GET_PARENT lead to namespaces outside, where they are allowed to
held = os.open("/proc/self/ns/user", os.O_RDONLY)
for request in (0xb701, 0xb702):
    if libc.ioctl(held, request) >= 0:
        done.append(f"ioctl {request:#x}")
print(done)
"""
    assert lab.python(code).out == "[]\n"


def test_a_file_handle_opens_nothing_outside(lab: Lab, canary: Canary) -> None:
    """open_by_handle_at (shocker, 2014): with the capability too, the host's files are out of reach."""
    code = """
import struct
for inode in range(1, 200):
    handle = ctypes.create_string_buffer(struct.pack("=IiQ", 8, 1, inode) + bytes(112))
    descriptor, error = call(304, os.open("/etc/hostname", os.O_RDONLY), handle, 0)
    if descriptor >= 0:
        print("opened", inode, os.listdir(descriptor) if os.path.isdir(f"/proc/self/fd/{descriptor}") else "")
"""
    for fields in ({}, {"cap_add": ["DAC_READ_SEARCH"]}):
        assert lab.python(code, **fields).out == "", fields


# --- what is counted ------------------------------------------------------------------------------------------------


def test_inotify_and_descriptors_of_one_container_are_not_anothers(lab: Lab) -> None:
    """Limits are those of a user of a user namespace: who takes all takes none of another's."""
    code = """
import resource, time
resource.setrlimit(7, (resource.getrlimit(7)[1],) * 2)
count = 0
while libc.inotify_init() >= 0 and count < 5000:
    count += 1
print("took", count, flush=True)
time.sleep(60)
"""
    greedy = lab.up(["python3", "-c", PRELUDE + code], mem_limit=256 << 20)
    lab.said(greedy, "took")
    assert lab.python("print(libc.inotify_init() >= 0)").out == "True\n"
    assert lab.exec(greedy, "true").code == 0
    # Nor of what root of the host may have.
    own = ctypes.CDLL(None).inotify_init()
    assert own >= 0
    os.close(own)


def test_a_container_that_takes_all_descriptors_is_alone_with_it(lab: Lab) -> None:
    code = """
import resource, time
resource.setrlimit(7, (resource.getrlimit(7)[1],) * 2)
count = 0
try:
    while count < 300_000:
        os.dup(0)
        count += 1
except OSError as error:
    print("took", errno.errorcode[error.errno], flush=True)
print("took", flush=True)
time.sleep(60)
"""
    greedy = lab.up(["python3", "-c", PRELUDE + code], mem_limit=256 << 20)
    lab.said(greedy, "took")
    assert lab.shell("echo there").out == "there\n"
    lab.engine.remove(greedy, force=True)


# --- files ----------------------------------------------------------------------------------------------------------


def test_set_id_files_of_a_volume_are_no_way_up(lab: Lab) -> None:
    """Made by root of one container in a shared volume, run by a user of another; and by a user of the host."""
    mount = {"type": "volume", "source": "shared", "target": "/v", "read_only": False}
    script = "cat /usr/bin/id > /v/become; chown 0:0 /v/become; chmod 6755 /v/become"
    assert lab.shell(script, mounts=[mount]).code == 0
    assert lab.shell("/v/become -u; /v/become -g", user="1000:1000", mounts=[mount]).out == "1000\n1000\n"
    path = Path(lab.root) / "volumes/shared/_data/become"
    status = path.lstat()
    assert status.st_mode & stat.S_ISUID
    # On the host it is root's: nobody but root may come near it.
    assert stat.S_IMODE((Path(lab.root) / "volumes").stat().st_mode) == 0o700


def test_2022_36109_a_group_that_is_shut_out_stays_so(lab: Lab) -> None:
    """A file of mode 0604 is for everybody but a group: who is in it by the image's files may not read it."""

    def tree(folder: Path) -> None:
        (folder / "etc").mkdir()
        (folder / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\nann:x:1000:1000::/:/bin/sh\n")
        (folder / "etc/group").write_text("root:x:0:\nann:x:1000:\nshut:x:2000:ann\nmore:x:2001:\n")
        (folder / "file").write_text("read\n")
        (folder / "file").chmod(0o604)
        os.chown(folder / "file", 0, 2000)

    image = lab.image(None, tree)
    for user, groups, out in (
        ("ann", (), ""),
        ("1000", (), ""),
        ("1000:1000", (), "read\n"),
        ("1000:1000", ("shut",), ""),
        ("1000:1000", ("2000",), ""),
        ("1000:1000", ("more",), "read\n"),
    ):
        flags = [word for group in groups for word in ("--group-add", group)]
        done = lab.cli("run", "--rm", "--network", "none", "-u", user, *flags, image, "cat", "/file")
        assert done.out == out, (user, groups, done)
    name = lab.up(["sleep", "60"], image=image)
    assert lab.exec(name, "cat", "/file", user="ann").out == ""


# --- kernel settings ------------------------------------------------------------------------------------------------


def test_2025_52881_a_setting_is_written_to_the_kernel_itself(lab: Lab, canary: Canary) -> None:
    """While a neighbour exchanges folders and links in a volume that is mounted as near as it can be."""
    from tests.security.test_sandbox_host_files import EXCHANGE

    mount = {"type": "volume", "source": "shared", "target": "/v", "read_only": False}
    attacker = lab.up(["python3", "-c", PRELUDE + EXCHANGE, "/proc/self"], mounts=[mount])
    lab.said(attacker, "exchanging")
    host = Path("/proc/sys/net/core/somaxconn").read_text()
    for number in range(12):
        wanted = str(4000 + number)
        done = lab.cli(
            "run", "--rm", "--network", "none", "--sysctl", f"net.core.somaxconn={wanted}", "-v", "shared:/v",
            "--tmpfs", "/v/dir/sub", IMAGE, "sh", "-c", "cat /proc/sys/net/core/somaxconn; ls /v/dir/sub",
        )  # fmt: skip
        # The mount may be refused, where its target is a link into /proc in that moment.
        assert done.out in (f"{wanted}\n", "")
        assert done.code == 0 or "/v/dir/sub" in done.err or "/proc" in done.err, done
    assert Path("/proc/sys/net/core/somaxconn").read_text() == host
    lab.exec(attacker, "touch", "/v/stop")
    lab.end(attacker)


@pytest.mark.parametrize(
    "cpus", ["0-2147483647", "0-99999999999999999999", ",".join(["0"] * 50_000), "1-0", "0-", "-1"]
)
def test_2018_20699_a_huge_list_of_processors_is_refused_at_once(lab: Lab, cpus: str) -> None:
    done = lab.cli("run", "--rm", "--network", "none", "--cpuset-cpus", cpus, IMAGE, "true")
    # Zero a thousand times over is a list that makes sense; whether it is taken is another matter.
    assert done.code in ((0, 64, 125) if set(cpus) == {"0", ","} else (64, 125)), done
    assert "Traceback" not in done.err
    peak = max(_peak(pid) for pid in lab.processes()) if lab.processes() else 0
    assert peak < 200 << 20


def _peak(pid: int) -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found.group(1)) << 10 if found else 0


def test_what_is_left_of_an_attacker_is_nothing(lab: Lab) -> None:
    """Processes that detach, ignore signals and hold everything go with their container."""
    code = """
import signal, time
for _ in range(20):
    if not os.fork():
        os.setsid()
        for number in range(1, 65):
            try:
                signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError):
                pass
        if not os.fork():
            time.sleep(600)
        time.sleep(600)
print("forked", flush=True)
time.sleep(600)
"""
    name = lab.up(["python3", "-c", PRELUDE + code])
    lab.said(name, "forked")
    pid = lab.state(name)["pid"]
    groups = [
        line.split(":", 2)[2] for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines() if "stackpy" in line
    ]
    lab.engine.remove(name, force=True)
    wait_for(lambda: not list(Path("/sys/fs/cgroup").glob(f"*{groups[0]}")), "the control groups to be gone")
