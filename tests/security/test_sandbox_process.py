"""What a container's process may do: capabilities, system calls, control groups, the kernel's trees, its networks.

Rows of the threat list: 2022-29162, 2022-0492, 2023-25809, 2026-31431, 2020-15257, 2024-32473, 2020-13401, 2025-9074.
"""

from __future__ import annotations

import ast
import os
import re
from pathlib import Path
from typing import Any

import pytest

from tests.engine_lab import PRELUDE, Canary, Lab
from tests.waiting import wait_for

pytestmark = pytest.mark.root

# oci/caps/defaults.go of Docker, as a mask
DEFAULT_CAPABILITIES = "00000000a80425fb"
STATUS = "cat /proc/self/status"


def _status(text: str) -> dict[str, str]:
    return {key: value.strip() for key, _, value in (line.partition(":") for line in text.splitlines())}


def test_2022_29162_no_inheritable_capabilities(lab: Lab) -> None:
    probe = {
        "test": ["sh", "-c", "cat /proc/self/status > /tmp/new; mv /tmp/new /tmp/probe"],
        "interval": 0.2,
        "timeout": 5.0,
    }
    probe |= {"retries": 1, "start_period": 0.0, "start_interval": 1.0}
    name = lab.up(["sh", "-c", f"{STATUS}; sleep 60"], healthcheck=probe)
    wait_for(lambda: lab.state(name)["health"] == "healthy", "health")
    lab.said(name, "nonvoluntary_ctxt")
    shown = {
        "start": lab.log(name),
        "exec": lab.exec(name, "sh", "-c", STATUS).out,
        "exec as root": lab.exec(name, "sh", "-c", STATUS, user="0").out,
        "probe": lab.exec(name, "cat", "/tmp/probe").out,
    }
    for where, text in shown.items():
        status = _status(text)
        assert status["CapInh"] == status["CapAmb"] == "0" * 16, where
        assert status["CapPrm"] == status["CapEff"] == status["CapBnd"] == DEFAULT_CAPABILITIES, where
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2"), where
        assert (status["SigIgn"], status["SigBlk"]) == ("0" * 16, "0" * 16), where
    status = _status(lab.exec(name, "sh", "-c", STATUS, user="1000").out)
    assert status["CapInh"] == status["CapPrm"] == status["CapEff"] == "0" * 16
    assert status["CapBnd"] == DEFAULT_CAPABILITIES


@pytest.mark.parametrize(
    ("fields", "mask"),
    [
        ({"cap_drop": ["ALL"]}, 0),
        ({"cap_drop": ["ALL"], "cap_add": ["CAP_CHOWN", "net_raw"]}, 1 << 0 | 1 << 13),
        ({"cap_add": ["SYS_PTRACE"]}, int(DEFAULT_CAPABILITIES, 16) | 1 << 19),
        ({"cap_drop": ["MKNOD"]}, int(DEFAULT_CAPABILITIES, 16) & ~(1 << 27)),
        ({"cap_add": ["ALL"]}, (1 << 41) - 1),
    ],
)
def test_capabilities_are_those_asked_for(lab: Lab, fields: Any, mask: int) -> None:
    status = _status(lab.shell(STATUS, **fields).out)
    assert {int(status[key], 16) for key in ("CapPrm", "CapEff", "CapBnd")} == {mask}
    assert int(status["CapInh"], 16) == 0


# x86-64 numbers; arguments that would succeed if the call were let through.
CALLS = """
import platform, socket
numbers = {
 "add_key": (248, b"user", b"x", b"y", 1, -3), "request_key": (249, b"user", b"x", 0, -3), "keyctl": (250, 0, -3, 1),
 "unshare user": (272, 0x10000000), "unshare mount": (272, 0x20000), "unshare net": (272, 0x40000000),
 "mount": (165, b"none", b"/tmp", b"tmpfs", 0, 0), "umount": (166, b"/proc/keys", 2),
 "pivot_root": (155, b"/tmp", b"/tmp"), "bpf": (321, 0, 0, 0), "userfaultfd": (323, 0),
 "io_uring_setup": (425, 8, ctypes.create_string_buffer(512)), "perf_event_open": (298, 0, 0, -1, -1, 0),
 "fsopen": (430, b"tmpfs", 0), "open_tree": (428, -100, b"/", 1), "move_mount": (429, -1, b"", -100, b"/tmp", 4),
 "mount_setattr": (442, -100, b"/proc", 0, ctypes.create_string_buffer(32), 32),
 "setns": (308, -1, 0), "init_module": (175, 0, 0, 0), "finit_module": (313, -1, 0, 0),
 "kexec_load": (246, 0, 0, 0, 0), "open_by_handle_at": (304, -100, ctypes.create_string_buffer(64), 0),
 "swapon": (167, b"/x", 0), "reboot": (169, 0, 0, 0),
 "settimeofday": (164, ctypes.create_string_buffer(16), 0), "iopl": (172, 3), "ioperm": (173, 0, 1, 1),
 "syslog": (103, 3, ctypes.create_string_buffer(64), 64), "acct": (163, 0), "quotactl": (179, 0, 0, 0, 0),
 "clone newuser": (56, 0x10000011, 0, 0, 0, 0), "clone newns": (56, 0x20011, 0, 0, 0, 0), "clone3": (435, 0, 0),
 "lookup_dcookie": (212, 0, 0, 0), "move_pages": (279, 0, 0, 0, 0, 0, 0), "fanotify_init": (300, 0, 0),
 "pidfd_getfd": (438, -1, 0, 0), "process_madvise": (440, -1, 0, 0, 0, 0), "set_mempolicy": (238, 0, 0, 0),
 "personality": (135, 0x0400000), "x32 getpid": (0x40000000 + 39,), "unknown": (600,),
}
if platform.machine() == "x86_64":
    for name, arguments in numbers.items():
        result, error = call(*arguments)
        if result == 0 and name.startswith("clone"):
            os._exit(0)
        print(name, result, error)
for family in (12, 19, 20, 23, 25, 34, 37, 38, 40, 46, 99):
    try:
        socket.socket(family, socket.SOCK_SEQPACKET)
        print("family", family, "opened")
    except OSError as error:
        print("family", family, -1, errno.errorcode[error.errno])
for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX, socket.AF_NETLINK):
    socket.socket(family, socket.SOCK_DGRAM).close()
import threading
thread = threading.Thread(target=print, args=("thread", 0, "started"))
thread.start()
thread.join()
"""


@pytest.mark.parametrize("user", ["0", "1000"])
def test_2026_31431_calls_that_have_led_out_are_refused(lab: Lab, user: str) -> None:
    ended = lab.python(CALLS, user=user)
    assert ended.code == 0, ended
    lines = dict(line.rsplit(" ", 2)[::2] for line in ended.out.splitlines())
    assert lines.pop("thread") == "started"
    assert {error for name, error in lines.items() if name.startswith("family")} == {"ENOSYS"}
    wrong = {name: error for name, error in lines.items() if error not in ("EPERM", "ENOSYS")}
    assert not wrong


def test_calls_that_libseccomp_does_not_know_yet_are_let_through(lab: Lab) -> None:
    """What Docker allows is allowed by its number too: statmount, mseal and removexattrat fail by their arguments."""
    code = "print([call(number, -1, -1, -1, -1, -1)[1] for number in (457, 462, 466, 459, 470)])"
    shown = lab.python(code).out
    statmount, mseal, removexattrat, *refused = ast.literal_eval(shown)
    if tuple(map(int, os.uname().release.split(".")[:2])) >= (6, 13):
        assert "ENOSYS" not in (statmount, mseal, removexattrat), shown
    assert refused == ["EPERM", "ENOSYS"], shown


def test_seccomp_covers_32_bit_programs(lab: Lab) -> None:
    """A filter that looks at x86-64 alone is passed by `int 0x80`: the call is put into memory and jumped to."""
    code = """
import mmap, platform
if platform.machine() == "x86_64":
    # push rbx; mov eax, 310 (unshare); mov ebx, 0x10000000; int 0x80; pop rbx; ret
    program = bytes.fromhex("53b836010000bb00000010cd805bc3")
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(program)
    entry = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
    print(entry())
else:
    print(-1)
"""
    ended = lab.python(code)
    assert ended.code != 0 or int(ended.out) in (-1, -38), ended


CGROUP_ATTACK = """
done = []
def tried(what, path, flags=os.O_WRONLY, data=b"1"):
    try:
        descriptor = os.open(path, flags)
        os.write(descriptor, data)
        done.append(what + " " + path)
    except OSError:
        pass
for line in open("/proc/self/mountinfo"):
    fields = line.split(" - ")
    if not fields[1].startswith("cgroup"):
        continue
    top = fields[0].split()[4]
    libc.mount(None, top.encode(), None, 0x20 | 0x1000, None)
    libc.mount(None, b"/sys/fs/cgroup", None, 0x20 | 0x1000, None)
    for folder, _, files in os.walk(top):
        try:
            os.mkdir(folder + "/mine")
            done.append("mkdir " + folder)
        except OSError:
            pass
        for name in files:
            tried("write", folder + "/" + name)
os.makedirs("/tmp/cg", exist_ok=True)
def mounted():
    for kind, options in ((b"cgroup", b"memory"), (b"cgroup", b"rdma"), (b"cgroup", b"none,name=x"), (b"cgroup2", b"")):
        if not libc.mount(b"none", b"/tmp/cg", kind, 0, options):
            for name in ("release_agent", "notify_on_release", "cgroup.procs", "memory.max", "cgroup.subtree_control"):
                tried("mounted " + kind.decode(), "/tmp/cg/" + name)
            try:
                os.mkdir("/tmp/cg/mine")
                done.append("mounted mkdir " + kind.decode())
            except OSError:
                pass
            libc.umount(b"/tmp/cg")
mounted()
if not libc.unshare(0x10000000 | 0x20000 | 0x2000000):
    done.append("unshare")
    mounted()
print(done)
"""


@pytest.mark.parametrize("fields", [{}, {"userns": "host"}, {"userns": "host", "cgroup": "host"}])
def test_2022_0492_and_2023_25809_control_groups_are_out_of_reach(lab: Lab, fields: dict[str, str]) -> None:
    """Also of a root that is the host's, to whom their files belong: there it is the mounts that are read-only."""
    assert lab.python(CGROUP_ATTACK, **fields).out == "[]\n"


def test_2022_0492_not_even_with_sys_admin(lab: Lab) -> None:
    """A container with CAP_SYS_ADMIN may mount, but its root is nobody to the host's control groups."""
    out = lab.python(CGROUP_ATTACK, cap_add=["SYS_ADMIN"]).out
    found = [entry for entry in re.findall(r"'([^']*)'", out) if entry != "unshare"]
    assert found == []


PROC_ATTACK = """
done = []
targets = ["/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sysrq-trigger",
    "/proc/sys/vm/panic_on_oom", "/proc/sys/kernel/hostname", "/proc/sys/fs/suid_dumpable",
    "/proc/irq/0/smp_affinity", "/sys/kernel/uevent_helper",
    "/proc/sys/net/ipv4/ip_forward", "/sys/power/state", "/proc/self/oom_score_adj_", "/proc/bus/pci/00/00.0",
    "/proc/kcore", "/proc/kmsg", "/proc/mem", "/dev/mem", "/sys/kernel/mm/transparent_hugepage/enabled",
    "/sys/module/kernel/parameters/panic", "/proc/1/sessionid_"]
for path in targets:
    for flags in (os.O_WRONLY, os.O_RDWR):
        try:
            os.close(os.open(path, flags))
            done.append(path)
        except OSError:
            pass
for path in ("/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/interrupts", "/proc/latency_stats"):
    try:
        if os.read(os.open(path, os.O_RDONLY), 1):
            done.append("read " + path)
    except OSError:
        pass
for path in ("/sys/firmware", "/sys/devices/virtual/powercap", "/proc/acpi", "/proc/scsi"):
    try:
        if os.listdir(path):
            done.append("list " + path)
    except OSError:
        pass
for mount in ("/proc/keys", "/proc/sys", "/sys", "/dev/null", "/proc/timer_list", "/sys/firmware"):
    if not libc.umount2(mount.encode(), 2):
        done.append("umount " + mount)
    if not libc.mount(None, mount.encode(), None, 0x20 | 0x1000, None):
        done.append("remount " + mount)
for name in ("null", "zero", "keys"):
    try:
        os.unlink("/dev/" + name)
        done.append("unlink " + name)
    except OSError:
        pass
try:
    os.rename("/dev", "/dev2")
    done.append("rename /dev")
except OSError:
    pass
print(done)
"""


@pytest.mark.parametrize("fields", [{}, {"userns": "host"}])
def test_masked_and_read_only_paths_stay_so(lab: Lab, canary: Canary, fields: dict[str, str]) -> None:
    assert lab.python(PROC_ATTACK, **fields).out == "[]\n"
    canary.check()


def test_masks_hold_in_what_exec_starts(lab: Lab, canary: Canary) -> None:
    name = lab.up(["sleep", "60"])
    assert lab.exec(name, "python3", "-c", PRELUDE + PROC_ATTACK).out == "[]\n"
    canary.check()


def test_the_kernels_settings_are_the_hosts_even_for_sys_admin(lab: Lab, canary: Canary) -> None:
    """With CAP_SYS_ADMIN a mask can be taken off; below it the files still belong to the host's root."""
    out = lab.python(PROC_ATTACK, cap_add=["ALL"]).out
    canary.check()
    for path in ("core_pattern", "modprobe", "sysrq", "uevent_helper", "kcore", "/dev/mem", "suid_dumpable"):
        assert not re.search(rf"'[^']*{path}'", out.replace("umount", "").replace("remount", "")), out


def test_root_inside_is_not_root_outside(lab: Lab) -> None:
    name = lab.up(["sleep", "60"])
    pid = lab.state(name)["pid"]
    status = _status(Path(f"/proc/{pid}/status").read_text())
    ids = {int(value) for key in ("Uid", "Gid") for value in status[key].split()}
    inside, first, count = map(int, Path(f"/proc/{pid}/uid_map").read_text().split())
    assert ids == {first} and (inside, count) == (0, 65536) and first > 65536
    assert Path(f"/proc/{pid}/gid_map").read_text().split() == [str(n) for n in (inside, first, count)]
    for kind in ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup"):
        assert os.readlink(f"/proc/{pid}/ns/{kind}") != os.readlink(f"/proc/self/ns/{kind}"), kind


def _abstract_sockets(pid: int) -> list[str]:
    inodes = set()
    for entry in os.listdir(f"/proc/{pid}/fd"):
        try:
            inodes |= set(re.findall(r"socket:\[(\d+)\]", os.readlink(f"/proc/{pid}/fd/{entry}")))
        except OSError:
            continue
    rows = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    return [row[7] for row in rows if row[6] in inodes and len(row) > 7 and row[7].startswith("@")]


def test_2020_15257_no_abstract_socket_of_the_engine(lab: Lab) -> None:
    name = lab.up(["sleep", "60"], network_mode="host")
    pids = lab.processes()
    assert len(pids) == 2
    assert [_abstract_sockets(pid) for pid in pids] == [[], []]
    seen = lab.exec(name, "cat", "/proc/net/unix").out
    assert "stackpy" not in "\n".join(line for line in seen.splitlines() if " @" in line)
    status = _status(lab.exec(name, "sh", "-c", STATUS).out)
    assert int(status["CapEff"], 16) & 1 << 12 == 0


def test_a_host_network_cannot_be_administered(lab: Lab, canary: Canary) -> None:
    code = """
import socket, struct
done = []
try:
    s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    done.append("raw")
except OSError:
    pass
try:
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 3)
    done.append("packet")
except OSError:
    pass
for path in ("/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/core/somaxconn"):
    try:
        os.open(path, os.O_WRONLY)
        done.append(path)
    except OSError:
        pass
print(done)
"""
    assert lab.python(code, network_mode="host", cap_add=["SYS_ADMIN"]).out == "[]\n"
    canary.check()


def test_2025_9074_the_engine_listens_on_no_network(lab: Lab) -> None:
    lab.up(["sleep", "60"], network_mode="bridge")
    inodes = set()
    for pid in lab.processes():
        for entry in os.listdir(f"/proc/{pid}/fd"):
            try:
                inodes |= set(re.findall(r"socket:\[(\d+)\]", os.readlink(f"/proc/{pid}/fd/{entry}")))
            except OSError:
                continue
    for kind in ("tcp", "tcp6"):
        rows = [line.split() for line in Path(f"/proc/net/{kind}").read_text().splitlines()[1:]]
        assert not [row for row in rows if row[9] in inodes and row[3] == "0A"]
    assert os.stat(f"{lab.root}/run/supervisor.sock").st_mode & 0o777 == 0o600


def test_2024_32473_no_ipv6_on_a_network_without(lab: Lab) -> None:
    script = (
        "cat /proc/net/if_inet6; cat /proc/sys/net/ipv6/conf/eth0/accept_ra /proc/sys/net/ipv6/conf/eth0/disable_ipv6"
    )
    ended = lab.shell(script, network_mode="bridge")
    addresses = [line for line in ended.out.splitlines() if len(line.split()) == 6 and line.split()[5] != "lo"]
    assert addresses == []
    settings = [line for line in ended.out.splitlines() if line in ("0", "1", "2")]
    assert not settings or settings == ["0", "1"] or settings[1] == "1"
