"""config.json on the real kernel: what a bundle asks for is what its process finds."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.oci_lab import Oci, oci_fixture

__all__ = ["oci_fixture"]
pytestmark = pytest.mark.root

BASE = 1_870_000_000  # host IDs of user namespaces here
Document = dict[str, Any]


def mount(document: Document, target: str, kind: str, source: str, *options: str, **fields: Any) -> None:
    """Adds a mount to a bundle's document."""
    row = {"destination": target, "type": kind, "source": source, "options": list(options), **fields}
    document["mounts"].append(row)


def own_users(document: Document) -> None:
    """Gives the container a user namespace of its own."""
    document["linux"]["namespaces"].append({"type": "user"})
    for key in ("uidMappings", "gidMappings"):
        document["linux"][key] = [{"containerID": 0, "hostID": BASE, "size": 65536}]


def give(path: Path) -> None:
    """Makes a root file system the container's: its owners are those of the user namespace."""
    subprocess.run(["chown", "-hR", f"{BASE}:{BASE}", str(path)], check=True)
    for folder in (path, *path.parents):
        if str(folder) != "/" and folder.stat().st_uid == 0 and folder != Path("/tmp"):
            folder.chmod(folder.stat().st_mode | 0o111)


def in_user_namespace(oci: Oci, script: str, change: Any = None) -> str:
    """What a shell script writes in a container with a user namespace of its own."""

    def both(document: Document) -> None:
        own_users(document)
        if change:
            change(document)

    path = oci.bundle("sh", "-c", script, change=both)
    give(path / "rootfs")
    return oci("run", "-b", str(path), f"users-{oci.count}").stdout


def test_namespaces_users_and_identity(oci: Oci) -> None:
    def change(document: Document) -> None:
        document["hostname"], document["domainname"] = "box", "example.org"
        document["process"]["user"] = {"uid": 1000, "gid": 1001, "additionalGids": [5, 6], "umask": 0o27}
        document["process"]["cwd"] = "/new/folder"
        document["process"]["env"] += ["A=1", "nothing"]

    script = "id -u; id -g; id -G; hostname; pwd; umask; echo $HOME; echo $A; echo $$; readlink /proc/self/ns/net"
    lines = oci.shell(script, change=change).splitlines()
    assert lines[:3] == ["1000", "1001", "1001 5 6"]
    assert lines[3] == "box"
    assert lines[-6:-1] == ["/new/folder", "0027", "/home/user", "1", "1"]
    assert lines[-1] != os.readlink("/proc/self/ns/net")


def test_a_user_namespace(oci: Oci) -> None:
    script = (
        "cat /proc/self/uid_map; id -u; touch /made; ls -n /dev/null | cut -c1-10; echo x > /dev/null && echo wrote;"
        " cat /proc/self/setgroups; mount | grep -c proc; ls /sys/fs/cgroup | head -1"
    )
    lines = in_user_namespace(oci, script.replace("| cut -c1-10", "| head -c 10; echo")).splitlines()
    assert lines[0].split() == ["0", str(BASE), "65536"]
    assert lines[1:4] == ["0", "crw-rw-rw-", "wrote"]
    made = oci.folder / f"bundle-{oci.count}/rootfs/made"
    assert made.stat().st_uid == BASE


def test_namespaces_by_path(oci: Oci) -> None:
    first = oci.create("sleep", "1000")
    pid = oci.state(first)["pid"]

    def change(document: Document) -> None:
        for each in document["linux"]["namespaces"]:
            if each["type"] in ("network", "ipc", "uts", "pid"):
                name = {"network": "net"}.get(each["type"], each["type"])
                each["path"] = f"/proc/{pid}/ns/{name}"
        del document["hostname"]

    script = "for n in net ipc uts pid; do readlink /proc/self/ns/$n; done; ps | grep -c 'sleep 100[0]'"
    *found, count = oci.shell(script, change=change).splitlines()
    assert found == [os.readlink(f"/proc/{pid}/ns/{name}") for name in ("net", "ipc", "uts", "pid")]
    assert count == "1"


def test_the_host_s_namespaces(oci: Oci) -> None:
    def change(document: Document) -> None:
        document["linux"]["namespaces"] = [{"type": "mount"}, {"type": "pid"}]
        del document["hostname"]
        document["mounts"] = [each for each in document["mounts"] if each["type"] not in ("mqueue",)]

    found = oci.shell("for n in net ipc uts cgroup; do readlink /proc/self/ns/$n; done", change=change).splitlines()
    assert found == [os.readlink(f"/proc/self/ns/{name}") for name in ("net", "ipc", "uts", "cgroup")]


def test_a_covered_root_leaves_no_whole_procfs(oci: Oci) -> None:
    # runc's suite: with --no-pivot a user namespace made inside could mount /proc anew, without its masks.
    path = oci.bundle("unshare", "-mrpf", "mount", "-t", "proc", "none", "/proc")
    (path / "rootfs/bin/unshare").symlink_to("busybox")
    for words in (("--no-pivot",), ()):
        result = oci("run", *words, "-b", str(path), f"covered-{len(words)}", code=1)
        assert "ermission denied" in result.stderr


def test_a_time_namespace_of_a_user_namespace(oci: Oci) -> None:
    def change(document: Document) -> None:
        document["linux"]["namespaces"].append({"type": "time"})
        document["linux"]["timeOffsets"] = {"boottime": {"secs": 8_000_000}}

    assert float(in_user_namespace(oci, "cat /proc/uptime", change).split()[0]) > 8_000_000


def test_a_time_namespace(oci: Oci) -> None:
    def change(document: Document) -> None:
        document["linux"]["namespaces"].append({"type": "time"})
        document["linux"]["timeOffsets"] = {
            "boottime": {"secs": 1_000_000_000},
            "monotonic": {"secs": 5, "nanosecs": 7},
        }

    uptime = float(oci.shell("cat /proc/uptime", change=change).split()[0])
    assert uptime > 1_000_000_000


def test_capabilities_and_new_privileges(oci: Oci) -> None:
    def change(document: Document) -> None:
        document["process"]["user"] = {"uid": 1000, "gid": 1000}
        kept = ["CAP_NET_RAW", "CAP_KILL"]
        document["process"]["capabilities"] = {
            "bounding": [*kept, "CAP_CHOWN", "CAP_NOT_KNOWN"], "permitted": kept, "effective": ["CAP_KILL"],
            "inheritable": kept, "ambient": ["CAP_KILL"],
        }  # fmt: skip
        document["process"]["noNewPrivileges"] = False

    result = oci.run("cat", "/proc/self/status", change=change)
    status = dict(line.split(":\t", 1) for line in result.stdout.splitlines() if ":\t" in line)
    kill, raw, chown = 1 << 5, 1 << 13, 1 << 0
    assert int(status["CapBnd"], 16) == kill | raw | chown
    assert int(status["CapInh"], 16) == kill | raw
    # execve by an ordinary user keeps what is ambient.
    assert [int(status[name], 16) for name in ("CapPrm", "CapEff", "CapAmb")] == [kill] * 3
    assert status["NoNewPrivs"] == "0"
    assert "no capability `CAP_NOT_KNOWN`" in result.stderr


def test_limits_priorities_and_scores(oci: Oci) -> None:
    def change(document: Document) -> None:
        process = document["process"]
        process["rlimits"] = [
            {"type": "RLIMIT_NOFILE", "soft": 77, "hard": 88},
            {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
        ]
        process["oomScoreAdj"] = 321
        process["ioPriority"] = {"class": "IOPRIO_CLASS_IDLE", "priority": 0}
        process["scheduler"] = {"policy": "SCHED_BATCH", "nice": 7}
        document["linux"]["personality"] = {"domain": "LINUX32"}

    lines = oci.shell(
        "cat /proc/self/oom_score_adj; ulimit -n; ulimit -Hn; ulimit -c; cat /proc/self/personality;"
        " head -c 2000 /proc/self/sched | grep policy | tr -dc 0-9; echo; cat /proc/self/stat",
        change=change,
    ).splitlines()
    assert lines[:4] == ["321", "77", "88", "0"]
    assert lines[4] == "00000008"
    fields = lines[-1].rpartition(")")[2].split()
    assert fields[16] == "7"  # nice
    assert fields[38] == "3"  # SCHED_BATCH


def test_mounts(oci: Oci, tmp_path: Path) -> None:
    for name in ("plain", "ro", "filled"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    (tmp_path / "single").write_text("alone")

    def change(document: Document) -> None:
        mount(document, "/a/plain", "bind", str(tmp_path / "plain"), "rbind", "nosuid", "noatime")
        mount(document, "/a/ro", "bind", str(tmp_path / "ro"), "bind", "ro", "nodev", "noexec", "nosymfollow")
        mount(document, "/b/single", "none", str(tmp_path / "single"), "bind")
        mount(document, "/t", "tmpfs", "tmpfs", "size=64k", "mode=700", "uid=5")
        mount(document, "relative", "tmpfs", "tmpfs", "ro")
        mount(document, "/etc", "tmpfs", "tmpfs", "tmpcopyup", "size=1m")
        mount(document, "/a/plain", "", "", "remount", "noexec")

    out = oci.shell(
        "cat /a/plain/file /a/ro/file /b/single; echo; echo y > /a/plain/new && echo wrote;"
        " echo y > /a/ro/new || echo refused;"
        " stat -c '%a %u' /t; touch /relative/x || echo refused; cat /etc/passwd | wc -l; touch /etc/more; mount",
        change=change,
    )
    lines = out.splitlines()
    assert lines[:6] == ["plainroalone", "wrote", "refused", "700 5", "refused", "2"]
    assert (tmp_path / "plain/new").exists()
    options = {line.split(" on ")[1].split()[0]: line.rpartition("(")[2] for line in lines if " on " in line}
    for target, wanted in (("/a/plain", "nosuid,noexec,noatime"), ("/a/ro", "ro,nodev,noexec,nosymfollow")):
        assert set(wanted.split(",")) <= set(options[target].rstrip(")").split(",")), target


def test_what_images_have_where_mounts_go(oci: Oci, tmp_path: Path) -> None:
    """Links to nothing, folders of their users and a /dev that is read-only, as of runc's tests."""
    (tmp_path / "file").write_text("bound")

    def change(document: Document) -> None:
        document["process"]["terminal"] = True
        document["linux"]["maskedPaths"] = ["/proc/acpi", "/proc/acpi"]
        mount(document, "/etc/dangling", "bind", str(tmp_path / "file"), "bind")
        mount(document, "/lost/x", "tmpfs", "tmpfs")
        mount(document, "/own", "tmpfs", "tmpfs")
        mount(document, "/new", "tmpfs", "tmpfs")
        for each in document["mounts"]:
            if each["destination"] == "/dev":
                each["options"].append("ro")

    path = oci.bundle(
        "sh", "-c", "cat /run/deep/name; ls /gone; stat -c %a /own /new; touch /dev/x; tty; grep -c acpi /proc/mounts",
        change=change,
    )  # fmt: skip
    for name, target in (("etc/dangling", "../../../run/deep/name"), ("lost", "/gone")):
        (path / "rootfs" / name).symlink_to(target)
    (path / "rootfs/own").mkdir(0o700)
    lines = oci("run", "-b", str(path), "places").stdout.split("\n")
    assert lines[0] == "boundx"
    assert lines[1:3] == ["700", "1777"]
    assert "Read-only" in lines[3]
    assert lines[4:6] == ["/dev/pts/0", "1"]
    assert not Path("/gone").exists()


def test_recursive_attributes_and_propagation(oci: Oci, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "below").mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "below", str(source / "below")], check=True)
    try:

        def change(document: Document) -> None:
            mount(document, "/rro", "bind", str(source), "rbind", "rro")
            mount(document, "/ro", "bind", str(source), "rbind", "ro")
            mount(document, "/alone", "bind", str(source), "bind")
            mount(document, "/shared", "tmpfs", "tmpfs", "rshared")
            document["linux"]["rootfsPropagation"] = "shared"

        out = oci.shell(
            "touch /rro/below/x || echo refused; touch /ro/below/x && echo wrote; touch /ro/y || echo refused;"
            " touch /alone/below/z; cat /proc/self/mountinfo",
            change=change,
        )
        assert out.splitlines()[:3] == ["refused", "wrote", "refused"]
        assert not (source / "below/z").exists()  # what is mounted on it was not to be seen
        rows = {line.split()[4]: line for line in out.splitlines() if " - " in line}
        assert "shared:" in rows["/shared"]
        assert "shared:" in rows["/"]
        assert "shared:" not in rows["/rro"]
    finally:
        subprocess.run(["umount", str(source / "below")], check=True)


def test_an_idmapped_bind(oci: Oci, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/file").write_text("")
    os.chown(tmp_path / "mine/file", 1234, 1234)

    def change(document: Document) -> None:
        mapping = [{"containerID": 1234, "hostID": 4321, "size": 1}, {"containerID": 0, "hostID": 0, "size": 1}]
        mount(document, "/m", "bind", str(tmp_path / "mine"), "bind", "idmap", uidMappings=mapping, gidMappings=mapping)

    assert oci.shell("stat -c '%u %g' /m/file", change=change) == "4321 4321\n"

    def by_namespace(document: Document) -> None:
        mount(document, "/m", "bind", str(tmp_path / "mine"), "rbind", "ridmap")

    assert in_user_namespace(oci, "stat -c %u /m/file; touch /m/new", by_namespace) == "1234\n"
    assert (tmp_path / "mine/new").stat().st_uid == 0


def test_devices_and_their_rules(oci: Oci) -> None:
    def change(document: Document) -> None:
        document["linux"]["devices"] = [
            {"path": "/dev/net/tun", "type": "c", "major": 10, "minor": 200, "fileMode": 0o640, "uid": 3, "gid": 4},
            {"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229},
            {"path": "/dev/pipe", "type": "p"},
        ]
        document["linux"]["resources"]["devices"] = [
            {"allow": False, "access": "rwm"},
            {"allow": True, "type": "c", "major": 10, "minor": 200, "access": "r"},
        ]

    out = oci.shell(
        "stat -c '%t %T %a %u %g' /dev/net/tun; stat -c '%t %T' /dev/fuse; test -p /dev/pipe && echo pipe;"
        " (: < /dev/net/tun) && echo opened; (: <> /dev/net/tun) 2> /dev/null || echo refused;"
        " (: < /dev/fuse) 2> /dev/null || echo refused; head -c 1 /dev/zero | wc -c;"
        " readlink /dev/ptmx; readlink /dev/fd",
        change=change,
    ).splitlines()
    assert out == ["a c8 640 3 4", "a e5", "pipe", "opened", "refused", "refused", "1", "pts/ptmx", "/proc/self/fd"]


def test_masked_locked_sysctl_and_read_only(oci: Oci) -> None:
    def change(document: Document) -> None:
        document["root"]["readonly"] = True
        document["linux"]["maskedPaths"] = ["/proc/version", "/etc", "/nothing/here"]
        document["linux"]["readonlyPaths"] = ["/proc/sys", "/tmp"]
        document["linux"]["sysctl"] = {"net.ipv4.ip_forward": "1", "kernel.msgmax": "4097", "kernel.domainname": "d"}

    out = oci.shell(
        "cat /proc/version | wc -c; ls /etc | wc -l; touch /x || echo refused;"
        " echo 0 > /proc/sys/net/ipv4/ip_forward || echo refused; cd /proc/sys;"
        " cat net/ipv4/ip_forward kernel/msgmax kernel/domainname",
        change=change,
    ).splitlines()
    assert out == ["0", "0", "refused", "refused", "1", "4097", "d"]


def test_control_groups(oci: Oci) -> None:
    def change(document: Document) -> None:
        document["linux"]["cgroupsPath"] = f"/stackpy-oci/test/{oci.count}"
        document["linux"]["resources"] |= {
            "memory": {"limit": 64 << 20, "swap": 64 << 20, "reservation": 32 << 20, "swappiness": 10},
            "cpu": {"shares": 512, "quota": 50000, "period": 100000, "cpus": "0", "mems": "0"},
            "pids": {"limit": 33},
        }

    script = (
        "cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes memory/memory.soft_limit_in_bytes memory/memory.swappiness"
        " cpu/cpu.shares cpu/cpu.cfs_quota_us cpuset/cpuset.cpus pids/pids.max; cat /proc/self/cgroup | grep pids"
    )
    lines = oci.shell(script, change=change).splitlines()
    assert lines[:7] == [str(64 << 20), str(32 << 20), "10", "512", "50000", "0", "33"]
    assert lines[7].endswith(":pids:/")


def test_out_of_memory_ends_it(oci: Oci) -> None:
    def change(document: Document) -> None:
        document["linux"]["resources"]["memory"] = {"limit": 16 << 20, "swap": 16 << 20}
        mount(document, "/t", "tmpfs", "tmpfs", "size=64m")

    oci.run("dd", "if=/dev/zero", "of=/t/x", "bs=1M", "count=60", change=change, code=137)


def test_seccomp(oci: Oci) -> None:
    def change(document: Document) -> None:
        document["linux"]["seccomp"] = {
            "defaultAction": "SCMP_ACT_ALLOW",
            "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
            "flags": ["SECCOMP_FILTER_FLAG_LOG"],
            "syscalls": [
                {"names": ["mkdir", "mkdirat", "not_a_call"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28},
                {"names": ["setuid", "setresuid", "setgroups", "capset", "prctl"], "action": "SCMP_ACT_ERRNO"},
                {"names": ["kill"], "action": "SCMP_ACT_KILL_PROCESS",
                 "args": [{"index": 1, "value": 12, "op": "SCMP_CMP_EQ"}]},
            ],
        }  # fmt: skip

    out = oci.shell("mkdir /tmp/x 2>&1; kill -0 $$ && echo lives; sh -c 'kill -12 1'; echo $?", change=change)
    assert out.splitlines() == ["mkdir: can't create directory '/tmp/x': No space left on device", "lives", "159"]


def test_a_seccomp_agent(oci: Oci, tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"

    def change(document: Document) -> None:
        document["linux"]["seccomp"] = {
            "defaultAction": "SCMP_ACT_ALLOW",
            "listenerPath": str(path),
            "listenerMetadata": "hello",
            "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"}],
        }

    heard: list[Any] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(2)

        def attend() -> None:
            line, _ = listener.accept()
            with line:
                data, descriptors, _, _ = socket.recv_fds(line, 1 << 16, 1)
            heard.append(json.loads(data))
            # Nobody answers: with the listener closed the call fails.
            os.close(descriptors[0])

        thread = threading.Thread(target=attend)
        thread.start()
        out = oci.shell("mkdir /tmp/x 2>&1; echo done", change=change)
        thread.join(60)
    assert out.endswith("done\n")
    assert "Function not implemented" in out
    [document] = heard
    assert document["fds"] == ["seccompFd"]
    assert document["metadata"] == "hello"
    assert document["pid"] == document["state"]["pid"]


HOOK = """#!/bin/sh
where=$(test -e /bin/busybox -a ! -e /usr && echo inside)
{ echo "$0 $1 $STAGE $(readlink /proc/self/ns/mnt) $where"; cat; echo; } >> "$OUT"
exit ${CODE:-0}
"""


def hooked(document: Document, log: Path, hook: Path, **codes: int) -> None:
    """Adds a hook of every kind that notes when it is called."""
    document["hooks"] = {}
    for name in ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"):
        inside = name == "startContainer"
        path, out = ("/hook", "/tmp/log") if inside else (str(hook), str(log))
        environment = ["PATH=/bin:/usr/bin", f"STAGE={name}", f"OUT={out}", f"CODE={codes.get(name, 0)}"]
        document["hooks"][name] = [{"path": path, "args": ["hook", "one"], "env": environment, "timeout": 20}]


def test_a_hook_inside_has_the_programs_environment_and_filter(oci: Oci) -> None:
    def change(document: Document) -> None:
        document["process"]["env"].append("OF_THE=program")
        hook = {"path": "/bin/sh", "args": ["sh", "-c", "echo $OF_THE $HOME > /tmp/said"]}
        document["hooks"] = {"startContainer": [hook]}

    assert oci.shell("cat /tmp/said", change=change) == "program /root\n"

    def refused(document: Document) -> None:
        change(document)
        rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_KILL_PROCESS"}
        document["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}
        document["hooks"]["startContainer"][0]["args"] = ["sh", "-c", "mkdir /tmp/made"]

    # It is a program of the image, and gets no call that the container's own do not.
    assert "hooks.startContainer[0]" in oci.refusal(refused)


def test_hooks(oci: Oci, tmp_path: Path) -> None:
    log, hook = tmp_path / "log", tmp_path / "hook"
    hook.write_text(HOOK)
    hook.chmod(0o755)
    path = oci.bundle("sh", "-c", "echo program >> /tmp/log", change=lambda document: hooked(document, log, hook))
    (path / "rootfs/hook").write_text(HOOK)
    (path / "rootfs/hook").chmod(0o755)
    oci.detached("create", "-b", str(path), "hooks")
    lines = log.read_text().splitlines()
    assert [line.split()[2] for line in lines[::2]] == ["prestart", "createRuntime", "createContainer"]
    states = [json.loads(line) for line in lines[1::2]]
    assert {state["id"] for state in states} == {"hooks"}
    assert all(state["pid"] == oci.state("hooks")["pid"] for state in states)
    assert states[0]["status"] == "creating"
    spaces = [line.split()[3] for line in lines[::2]]
    assert spaces[0] == spaces[1] == os.readlink("/proc/self/ns/mnt") != spaces[2]
    inner = path / "rootfs/tmp/log"
    assert not inner.exists()
    oci("start", "hooks")
    oci("kill", "hooks", "KILL", code=None)
    oci("delete", "--force", "hooks")
    first, state, program = inner.read_text().splitlines()
    assert first.split()[2] == "startContainer"
    assert first.endswith("inside")
    assert json.loads(state)["status"] == "created"
    assert program == "program"
    assert [line.split()[2] for line in log.read_text().splitlines()[6::2]] == ["poststart", "poststop"]


@pytest.mark.parametrize("stage", ["prestart", "createRuntime", "createContainer", "startContainer", "poststart"])
def test_a_hook_that_fails_ends_the_container(oci: Oci, tmp_path: Path, stage: str) -> None:
    log, hook = tmp_path / "log", tmp_path / "hook"
    hook.write_text(HOOK)
    hook.chmod(0o755)
    path = oci.bundle("sleep", "1000", change=lambda document: hooked(document, log, hook, **{stage: 3}))
    (path / "rootfs/hook").write_text(HOOK)
    (path / "rootfs/hook").chmod(0o755)
    assert f"hooks.{stage}[0]" in oci.detached("run", "-d", "-b", str(path), "hooks", code=1)
    assert oci.states() == []
    assert log.read_text().splitlines()[-2].split()[2] == "poststop"
