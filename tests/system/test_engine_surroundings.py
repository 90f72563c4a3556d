"""What a container finds around it: process limits, kernel settings, names, resolvers, an init."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from stackpy_runtime.container import cgroups
from stackpy_runtime.errors import EngineError
from tests.engine_lab import REPOSITORY, Lab
from tests.waiting import wait_for

pytestmark = pytest.mark.root


def test_ulimits(lab: Lab) -> None:
    code = "import resource; print([resource.getrlimit(number) for number in (4, 7, 1)])"
    given = {
        "core": {"soft": 0, "hard": 1000},
        "nofile": {"soft": 20, "hard": 30},
        "fsize": {"soft": -1, "hard": -1},
    }
    assert lab.run(["python3", "-c", code], ulimits=given).out == "[(0, 1000), (20, 30), (-1, -1)]\n"
    written = "head -c 9000 /dev/zero > /tmp/x; echo $?"
    small = lab.shell(written, ulimits={"fsize": {"soft": 4096, "hard": 4096}})
    assert small.out.strip() != "0"


def test_a_ulimit_above_the_hosts_is_refused_before_anything_is_made(lab: Lab) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    with open("/proc/self/status", encoding="ascii") as file:
        mask = int(next(line for line in file if line.startswith("CapEff:")).split()[1], 16)
    if mask >> 24 & 1:
        nr_open = int(Path("/proc/sys/fs/nr_open").read_text())
        reason = lab.reason(["true"], ulimits={"nofile": {"soft": 1, "hard": nr_open + 1}})
    else:
        reason = lab.reason(["true"], ulimits={"nproc": {"soft": 1, "hard": hard + 1}})
    assert "which this host allows at most" in reason
    assert not lab.engine.containers()


def test_ulimits_do_not_hinder_the_start_or_exec(lab: Lab) -> None:
    """What the engine does in the process itself needs more descriptors than these allow."""
    name = lab.up(["sleep", "600"], ulimits={"nofile": {"soft": 5, "hard": 5}, "nproc": {"soft": 5, "hard": 5}})
    assert lab.exec(name, "true").code == 0
    assert lab.state(name)["status"] == "running"


SYSCTLS = {
    "net.core.somaxconn": "77",
    "net.ipv4.ip_default_ttl": "70",
    "net.ipv4.conf.eth0.rp_filter": "2",
    "kernel.msgmax": "9000",
    "kernel.shm_rmid_forced": "1",
    "fs.mqueue.msg_max": "5",
}


def test_sysctls_are_the_containers_own(lab: Lab) -> None:
    paths = [f"/proc/sys/{name.replace('.', '/')}" for name in SYSCTLS]
    before = [Path(path).read_text() for path in paths if "eth0" not in path]
    ended = lab.run(["cat", *paths], sysctls=SYSCTLS, network_mode="bridge")
    assert ended.out.split() == list(SYSCTLS.values())
    assert [Path(path).read_text() for path in paths if "eth0" not in path] == before


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"sysctls": {"kernel.core_pattern": "|/x"}}, "of the whole host"),
        ({"sysctls": {"net/../kernel/core_pattern": "|/x"}}, "not the name"),
        ({"sysctls": {"net.core.somaxconn": "1"}, "network_mode": "host"}, "not the container's own"),
        ({"sysctls": {"net.ipv4.no_such_setting": "1"}}, "no such setting"),
        ({"sysctls": {"net.core.somaxconn": "x"}}, "invalid argument"),
    ],
)
def test_other_sysctls_are_refused(lab: Lab, fields: dict[str, object], said: str) -> None:
    assert said in lab.reason(["true"], **fields)


def test_names_and_memory(lab: Lab) -> None:
    ended = lab.shell(
        "cat /proc/sys/kernel/domainname; id -G; cat /proc/self/oom_score_adj; df -k /dev/shm | tail -n 1",
        domainname="example.org", group_add=["5", "7"], oom_score_adj=300, shm_size=1 << 20,
    )  # fmt: skip
    domain, groups, score, shared = ended.out.splitlines()
    assert (domain, groups, score, shared.split()[1]) == ("example.org", "0 5 7", "300", "1024")
    name = lab.up(["sleep", "600"], group_add=["9"], oom_score_adj=200)
    assert lab.exec(name, "id", "-G").out == "0 9\n"
    assert lab.exec(name, "cat", "/proc/self/oom_score_adj").out == "200\n"


def test_hosts_and_resolvers(lab: Lab) -> None:
    ended = lab.shell(
        "cat /etc/hosts /etc/resolv.conf",
        hostname="web", domainname="example.org", network_mode="bridge",
        extra_hosts={"db": ["192.0.2.7", "2001:db8::1"], "host": ["host-gateway"]},
        dns_search=["example.com", "example.net"], dns_opt=["ndots:3", "timeout:1"],
    )  # fmt: skip
    assert "\tweb.example.org\tweb\n" in ended.out
    assert "192.0.2.7\tdb\n2001:db8::1\tdb\n" in ended.out
    gateway = next(line.split()[0] for line in ended.out.splitlines() if line.endswith("\thost"))
    assert gateway.endswith(".1")
    assert ended.out.endswith("search example.com example.net\noptions ndots:3 timeout:1\n")
    alone = lab.shell("cat /etc/hosts /etc/resolv.conf", extra_hosts={"db": ["192.0.2.7"]}, dns=["192.0.2.53"])
    assert "192.0.2.7\tdb\n" in alone.out and alone.out.endswith("nameserver 192.0.2.53\n")


def test_questions_go_to_the_containers_own_resolver(lab: Lab) -> None:
    """At an address of this host, which the container's engine asks from outside of its namespace."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.7.53", 53))
    asked: list[bytes] = []

    def serve() -> None:
        while True:
            try:
                query, sender = server.recvfrom(4096)
            except OSError:
                return
            asked.append(query)
            end = query.index(b"\0", 12) + 5
            answer = query[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + query[12:end]
            server.sendto(answer + b"\xc0\x0c\0\1\0\1\0\0\0\5\0\4" + socket.inet_aton("192.0.2.99"), sender)

    threading.Thread(target=serve, daemon=True).start()
    try:
        code = "import socket; print(socket.gethostbyname('some.example.org'))"
        ended = lab.run(["python3", "-c", code], dns=["127.0.7.53"], network_mode="bridge")
        assert (ended.out, ended.err) == ("192.0.2.99\n", "")
        assert asked
    finally:
        server.close()


ORPHANS = """
import os, time
if os.fork() == 0:
    if os.fork() == 0:
        os._exit(0)
    os._exit(0)
os.wait()
time.sleep(0.3)
print(open('/proc/1/comm').read().strip(), os.getpid(), os.getpgid(0) == os.getpid())
states = [open(f'/proc/{name}/stat').read().split()[2] for name in os.listdir('/proc') if name.isdigit()]
print('Z' in states)
"""


def test_init_reaps_and_passes_on(lab: Lab) -> None:
    ended = lab.run(["python3", "-c", ORPHANS], init=True)
    assert ended.out == "init 2 True\nFalse\n"
    assert "True" in lab.run(["python3", "-c", ORPHANS]).out.splitlines()[1]
    assert lab.run(["sh", "-c", "exit 7"], init=True).code == 7
    assert lab.run(["sh", "-c", "kill -9 $$"], init=True).code == 137
    name = lab.up(["sh", "-c", "trap 'echo got; exit 3' USR1; while :; do sleep 0.05; done"], init=True)
    wait_for(lambda: "sleep" in lab.exec(name, "sh", "-c", "cat /proc/[0-9]*/comm").out, "the trap")
    lab.engine.kill(name, "USR1")
    assert (lab.engine.wait(name), lab.log(name)) == (3, "got\n")


def test_init_takes_the_stop_signal_for_a_program_that_has_no_handler(lab: Lab) -> None:
    name = lab.up(["sleep", "600"], init=True)
    assert lab.engine.stop(name, 20) == "stopped by SIGTERM"
    assert lab.state(name)["exit_code"] == 143


def test_init_is_no_way_to_our_interpreter_and_nothing_of_it_can_be_changed(lab: Lab) -> None:
    name = lab.up(["sleep", "600"], init=True)
    pid = lab.state(name)["pid"]
    assert "memfd:init" in os.readlink(f"/proc/{pid}/exe")
    assert len(Path(f"/proc/{pid}/maps").read_text().splitlines()) < 10
    ended = lab.exec(name, "sh", "-c", "echo x > /proc/1/exe; ls -l /proc/1/fd")
    assert "denied" in ended.err or "busy" in ended.err or "not permitted" in ended.err
    assert ended.out.count(" -> ") == 3
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        status = file.read()
    assert "NoNewPrivs:\t1" in status and "Seccomp:\t2" in status


def test_init_tells_what_cannot_be_executed(lab: Lab) -> None:
    with pytest.raises(EngineError, match="is not in the image") as raised:
        lab.engine.up(lab.config(["no-such-program"], init=True))
    assert getattr(raised.value, "exit_code", 127) == 127


def test_signals_of_the_terminal_reach_the_program_alone(lab: Lab) -> None:
    name = lab.up(["sleep", "600"], init=True, tty=True)
    pid = lab.state(name)["pid"]
    children = Path(f"/proc/{pid}/task/{pid}/children")
    child = int(wait_for(lambda: children.read_text().split(), "the program")[0])
    assert os.getpgid(child) == child
    foreground = Path(f"/proc/{child}/stat").read_text().split()[7]
    assert foreground not in ("-1", "0")
    os.kill(child, signal.SIGINT)
    assert lab.engine.wait(name) == 130


def test_tmpfs_options(lab: Lab) -> None:
    mount = {"type": "tmpfs", "source": "", "target": "/t", "read_only": False}
    ended = lab.shell(
        "stat -c '%u %g %a' /t; grep ' /t ' /proc/mounts",
        mounts=[{**mount, "uid": 1000, "gid": 50, "mode": 0o750, "size": 1 << 20}],
    )
    assert ended.out.startswith("1000 50 750\n")
    assert "noexec" in ended.out and "nosuid" in ended.out and "size=1024k" in ended.out
    assert "noexec" not in lab.shell("grep ' /t ' /proc/mounts", mounts=[{**mount, "executable": True}]).out


def test_a_size_of_its_root_is_honoured_or_refused(lab: Lab) -> None:
    """Where the file system has no project quotas it says so before anything is made."""
    config = lab.config(["sh", "-c", "head -c 8000000 /dev/zero > /x; echo $?"], storage_opt={"size": 4 << 20})
    try:
        lab.engine.up(config)
    except EngineError as error:
        assert "has no project quotas" in error.message and "prjquota" in error.hint
        assert not lab.engine.containers()
        return
    assert lab.end(config["name"]).out != "0\n"


def test_init_is_for_a_pid_namespace_of_its_own(lab: Lab) -> None:
    assert "PID namespace" in lab.reason(["true"], init=True, pid="host")


# As a JVM does (cgroupSubsystem_linux.cpp): a hierarchy is found by the options of its mount, whose root must be where
# /proc/self/cgroup says that the process is. It goes by the host's figures where one of the four is missing.
OWN_LIMITS = """
import json
own = {}
for line in open("/proc/self/cgroup"):
    _, controllers, path = line.strip().split(":", 2)
    own.update(dict.fromkeys(controllers.split(","), path))
found = {}
for line in open("/proc/self/mountinfo"):
    left, right = (part.split() for part in line.split(" - "))
    for controller in right[2].split(",") if right[0] == "cgroup" else ():
        if own.get(controller) == left[3]:
            found[controller] = left[4]
asked = {"memory": "limit_in_bytes", "cpu": "cfs_quota_us", "cpuset": "cpus", "cpuacct": "usage"}
print(json.dumps([open(f"{found[key]}/{key}.{name}").read().strip() for key, name in asked.items()]))
"""


@pytest.mark.skipif(cgroups.layout().version == 2, reason="version 2 has one hierarchy")
@pytest.mark.parametrize("mode", ["private", "host"])
def test_programs_find_their_own_limits_in_every_hierarchy_of_version_1(lab: Lab, mode: str) -> None:
    name = lab.up(["sleep", "600"], mem_limit=96 << 20, cpus=0.5, cgroup=mode)
    processors = Path(cgroups.layout().mounts["cpuset"], "cpuset.cpus").read_text().strip()
    for more in ({}, {"cpuset": "0"}):
        lab.engine.update(name, more)
        if mode == "host":
            # A group below the root that is shown, which a JVM looks for as well.
            code = OWN_LIMITS.replace("own.get(controller) == left[3]", "left[3] == '/' and controller in own")
            code = code.replace("{found[key]}/{key}", "{found[key]}{own[key]}/{key}")
        else:
            code = OWN_LIMITS
        said = lab.exec(name, "python3", "-c", code)
        memory, quota, cpus, used = json.loads(said.out or said.err)
        assert (memory, quota, cpus, used != "0") == (str(96 << 20), "50000", more.get("cpuset", processors), True)


def test_a_hierarchy_of_several_controllers_is_found_by_the_name_of_each(tmp_path: Path) -> None:
    """As on hosts that systemd has booted, where /sys/fs/cgroup/cpu is a link to `cpu,cpuacct`."""
    code = """
import os, sys
from stackpy_runtime.container.procfs import _mount_cgroups
from stackpy_runtime.linux import mounts, libc
top = mounts.new_mount("tmpfs", {})
mounts.move_mount(top, libc.AT_FDCWD, sys.argv[1])
os.makedirs("/proc/self/fd/%d/fs/cgroup" % top)
source = mounts.new_mount("tmpfs", {})
open("/proc/self/fd/%d/cpu.shares" % source, "w").close()
_mount_cgroups(top, [("cpu,cpuacct", source)], {"cpu,cpuacct": "/somewhere"}, mounts.MOUNT_ATTR_RDONLY)
folder = "/proc/self/fd/%d/fs/cgroup" % top
print(sorted(os.listdir(folder)), os.readlink(folder + "/cpuacct"), os.listdir(folder + "/cpu"))
for path in (folder + "/new", folder + "/cpu/new"):
    try:
        os.mkdir(path)
    except OSError as error:
        print(error.strerror)
"""
    command = ["unshare", "--mount", sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(
        command, env={"PYTHONPATH": f"{REPOSITORY}/runtime"}, capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines() == [
        "['cpu', 'cpu,cpuacct', 'cpuacct'] cpu,cpuacct ['cpu.shares']", *["Read-only file system"] * 2
    ], done.stderr  # fmt: skip


def test_control_groups_of_the_host_are_seen(lab: Lab) -> None:
    assert "/stackpy-" in lab.shell("cat /proc/self/cgroup", cgroup="host").out
    assert "/stackpy-" not in lab.shell("cat /proc/self/cgroup", cgroup="private").out


def test_what_is_set_at_each_start_changes_between_two(lab: Lab) -> None:
    name = lab.up(["sleep", "600"], ulimits={"nofile": {"soft": 90, "hard": 90}})
    with pytest.raises(EngineError, match="it is running"):
        lab.engine.update(name, {"ulimits": {"nofile": {"soft": 50, "hard": 50}}, "init": True})
    assert "init" not in lab.engine.container(name)["config"]
    lab.engine.stop(name, 0)
    lab.engine.update(name, {"ulimits": {"nofile": {"soft": 50, "hard": 50}}, "init": True, "shm_size": 1 << 20})
    lab.engine.start(name)
    assert lab.exec(name, "sh", "-c", "ulimit -n; cat /proc/1/comm").out == "50\ninit\n"
    with pytest.raises(EngineError, match="names CPUs"):
        lab.engine.update(name, {"cpuset": "0-99999"})
