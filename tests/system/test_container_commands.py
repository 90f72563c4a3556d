"""The container commands as they are typed: what they print, their exit codes, and what they change."""

from __future__ import annotations

import json
import os
import subprocess
import time

import pytest

from tests.engine_lab import Lab
from tests.system.test_engine_survival import binding, free_port
from tests.waiting import wait_for

pytestmark = pytest.mark.root


# --- ps -------------------------------------------------------------------------------------------------------------


def test_ps_finds_and_shows_what_was_asked_for(lab: Lab) -> None:
    first = lab.up(["sleep", "600"], labels={"tier": "front"})
    last = lab.up(["sh", "-c", "exit 3"])
    lab.engine.wait(last)
    lab.engine.pause(first)
    assert lab.cli("ps", "--format", "{{.Names}}").out.split() == [last, first]
    assert (
        lab.cli("ps", "--filter", "status=paused", "--format", '{{.Names}} {{.Label "tier"}}').out == f"{first} front\n"
    )
    assert lab.cli("ps", "-q", "--no-trunc", "--filter", "exited=3").out == f"{lab.engine.container(last)['id']}\n"
    assert lab.cli("ps", "-l", "--format", "{{.Names}}").out == f"{last}\n"
    assert lab.cli("ps", "-n", "2", "--format", "{{.Names}}").out.split() == [last, first]
    assert lab.cli("ps", "--running", "--format", "{{.Names}}").out == f"{first}\n"
    (row,) = json.loads(lab.cli("ps", "--format", "json", "--filter", f"name=^/{last}$").out)
    assert (row["state"], row["exit_code"], row["command"]) == ("exited", 3, ["sh", "-c", "exit 3"])
    assert "(Paused)" in lab.cli("ps").out
    for filters in ("status=fine", "colour=red"):
        done = lab.cli("ps", "--filter", filters)
        assert (done.code, done.err.startswith("error: `--filter ")) == (64, True)


def test_ps_measures_what_a_container_has_written(lab: Lab) -> None:
    name = lab.up(["sh", "-c", "dd if=/dev/zero of=/file bs=1000000 count=3 2>/dev/null; echo done; sleep 600"])
    lab.said(name, "done")
    (row,) = json.loads(lab.cli("ps", "-s", "--format", "json").out)
    assert 3_000_000 <= row["size_rw"] < 3_100_000
    assert row["size_root_fs"] > row["size_rw"]
    assert lab.cli("ps", "--format", "{{.Size}}").out.startswith("3.01MB (virtual ")
    assert "SIZE" in lab.cli("ps", "-s").out.splitlines()[0]


# --- port, rename, update -------------------------------------------------------------------------------------------


def test_port(lab: Lab) -> None:
    port = free_port()
    name = lab.up(["sleep", "600"], ports=[binding(port)])
    target = lab.engine.container(name)["config"]["ports"][0]["target"]
    assert lab.cli("port", name).out == f"{target}/tcp -> 127.0.0.1:{port}\n"
    assert lab.cli("port", name, str(target)).out == f"127.0.0.1:{port}\n"
    done = lab.cli("port", name, "81/udp")
    assert (done.code, done.err) == (
        1, f"error: container {name}: it publishes no port 81/udp\nhint: it publishes {target}/tcp\n"
    )  # fmt: skip
    assert lab.cli("port", name, "web").code == 64
    lab.engine.stop(name)
    assert lab.cli("port", name).out == ""


def test_a_renamed_container_is_found_under_its_new_name_alone(lab: Lab) -> None:
    lab.engine.create_network({"name": "names"})
    name = lab.up(["sleep", "600"], networks={"names": {"aliases": ["alias"]}})
    other = lab.up(["sleep", "600"], networks={"names": {"aliases": []}})
    assert lab.cli("rename", name, other).err.startswith(f"error: the container name `{other}` is in use")
    assert lab.cli("rename", name, name).code == 1
    assert lab.cli("rename", name, "not a name").code == 1
    assert lab.cli("rename", name, "lab-other-name").code == 0
    look = "import socket, sys\nfor n in sys.argv[1:]:\n try: socket.gethostbyname(n); print(n)\n except OSError: pass"
    found = lab.exec(other, "python3", "-c", look, name, "lab-other-name", "alias").out.split()
    assert found == ["lab-other-name", "alias"]
    assert lab.engine.container("lab-other-name")["config"]["name"] == "lab-other-name"
    lab.kill()
    assert lab.exec(other, "python3", "-c", look, name, "lab-other-name").out.split() == ["lab-other-name"]


def test_update_changes_what_runs(lab: Lab) -> None:
    name = lab.up(["sleep", "600"], mem_limit=64 << 20)
    done = lab.cli("update", "--memory", "128m", "--cpus", "0.5", "--pids-limit", "50", "--restart", "always", name)
    assert (done.code, done.out) == (0, f"{name}\n")
    host = json.loads(lab.cli("inspect", name).out)[0]["HostConfig"]
    assert (host["Memory"], host["NanoCpus"], host["PidsLimit"]) == (128 << 20, 500_000_000, 50)
    assert host["RestartPolicy"]["Name"] == "always"
    limit = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null"
    assert lab.exec(name, "sh", "-c", limit).out.strip() in (str(128 << 20), "")
    assert lab.cli("update", "--memory", "0", "--restart", "no", name).code == 0
    assert json.loads(lab.cli("inspect", name).out)[0]["HostConfig"]["Memory"] == 0
    assert lab.cli("update", name).code == 64
    assert lab.cli("update", "--memory", "1m", name).code == 1


# --- ends -----------------------------------------------------------------------------------------------------------


def test_wait_for_several_in_the_order_asked_for(lab: Lab) -> None:
    slow, quick = lab.up(["sh", "-c", "sleep 0.5; exit 4"]), lab.up(["sh", "-c", "exit 5"])
    created = lab.config(["true"])
    lab.engine.create(created)
    done = lab.cli("wait", slow, "nobody", quick, created["name"])
    assert (done.code, done.out) == (1, "4\n5\n0\n")
    assert "no container is called `nobody`" in done.err


def test_what_can_be_waited_for(lab: Lab) -> None:
    name = lab.up(["sh", "-c", "exit 6"])
    lab.engine.wait(name)
    assert lab.cli("wait", name).out == "6\n"

    def waiting(condition: str) -> subprocess.Popen[str]:
        command = lab.command("wait", "--condition", condition, name)
        return subprocess.Popen(command, env=lab.environment, stdout=subprocess.PIPE, text=True, cwd="/")

    with waiting("next-exit") as process:
        time.sleep(0.5)
        assert process.poll() is None
        while process.poll() is None:
            lab.engine.start(name)
            lab.engine.wait(name)
            time.sleep(0.1)
        assert process.communicate()[0] == "6\n"
    with waiting("removed") as process:
        time.sleep(0.5)
        assert process.poll() is None
        lab.engine.remove(name)
        assert (process.communicate(timeout=60)[0], process.returncode) in (("6\n", 0), ("", 1))
    assert lab.cli("wait", "--condition", "tea", "x").code == 64


def test_wait_for_one_that_shall_be_healthy(lab: Lab) -> None:
    probe = {"interval": 0.1, "timeout": 5.0, "retries": 1, "start_period": 5.0, "start_interval": 0.1}
    name = lab.up(["sh", "-c", "sleep 0.3; echo > /well; sleep 600"], healthcheck={"test": ["stat", "/well"], **probe})
    done = lab.cli("wait", "--condition", "healthy", name)
    assert (done.code, done.out, lab.state(name)["health"]) == (0, "", "healthy")


def test_stop_with_another_signal_and_without_end(lab: Lab) -> None:
    says = (
        "trap 'echo int; exit 4' INT; trap 'echo term; sleep 0.3; exit 5' TERM; echo up; while :; do sleep 0.05; done"
    )
    name, other = lab.up(["sh", "-c", says]), lab.up(["sh", "-c", says])
    lab.said(name, "up")
    lab.said(other, "up")
    assert lab.cli("stop", "-s", "INT", name).out == f"{name}\n"
    assert (lab.state(name)["exit_code"], lab.log(name)) == (4, "up\nint\n")
    assert lab.cli("stop", "--timeout", "-1", other).code == 0
    assert lab.state(other)["exit_code"] == 5
    assert lab.cli("restart", "-s", "SIGINT", "-t", "5", name).code == 0
    assert lab.state(name)["status"] == "running"
    assert lab.cli("stop", "-s", "NOSUCH", name).code == 64


def test_rm(lab: Lab) -> None:
    volume = lab.image({"Volumes": {"/data": {}}})
    first, second = lab.up(["sleep", "600"], image=volume), lab.up(["true"], image=volume)
    lab.engine.wait(second)
    done = lab.cli("rm", first, second)
    assert (done.code, done.out) == (1, f"{second}\n")
    assert "it is running" in done.err
    assert len(lab.engine.volumes()) == 2
    done = lab.cli("rm", "-fv", first, "nobody")
    assert (done.code, done.out) == (0, f"{first}\n")
    assert "nobody" in done.err
    assert lab.cli("rm", "nobody").code == 1
    assert (lab.engine.containers(), len(lab.engine.volumes())) == ([], 1)


def test_kill(lab: Lab) -> None:
    name = lab.up(["sh", "-c", "trap 'echo hup' HUP; echo up; while :; do sleep 0.05; done"])
    lab.said(name, "up")
    assert lab.cli("kill", "--signal", "SIGHUP", name).out == f"{name}\n"
    lab.said(name, "hup")
    assert lab.cli("kill", "-s", "9", name).code == 0
    assert lab.engine.wait(name) == 137
    done = lab.cli("kill", name)
    assert (done.code, "it is not running" in done.err) == (1, True)


def test_pausing_as_it_is_typed(lab: Lab) -> None:
    name = lab.up(["sleep", "600"])
    assert lab.cli("pause", name).out == f"{name}\n"
    done = lab.cli("pause", name)
    assert (done.code, "it is paused already" in done.err) == (1, True)
    (document,) = json.loads(lab.cli("inspect", name).out)
    assert [document["State"][key] for key in ("Status", "Running", "Paused")] == ["paused", True, True]
    assert lab.cli("unpause", name).out == f"{name}\n"
    wait_for(lambda: lab.state(name)["status"] == "running", "it goes on")


# --- top, stats -----------------------------------------------------------------------------------------------------


def test_top_shows_what_ps_shows(lab: Lab) -> None:
    name = lab.up(["sh", "-c", "sleep 601 & sleep 602 & echo up; wait"])
    lab.said(name, "up")
    lines = lab.cli("top", name).out.splitlines()
    assert lines[0].split() == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    assert sorted(line.split(None, 7)[7] for line in lines[1:])[-2:] == ["sleep 601", "sleep 602"]
    assert len(lines) == 4
    # What runs in it besides is its own too.
    with subprocess.Popen(lab.command("exec", name, "sleep", "603"), env=lab.environment, cwd="/") as process:
        wait_for(lambda: "sleep 603" in lab.cli("top", name, "-eo", "pid,args").out, "the process of exec")
        document = json.loads(lab.cli("--format", "json", "top", name, "-o", "pid,comm").out)
        assert document["Titles"] == ["PID", "COMMAND"]
        assert [row[1] for row in document["Processes"]].count("sleep") == 3
        lab.engine.kill(name)
        process.wait(60)
    for words, message in (
        (["top", name], "it is not running"),
        (["top", lab.up(["sleep", "600"]), "-o", "comm"], "no column PID"),
        (["top", lab.up(["sleep", "600"]), "--nonsense"], "`ps --nonsense`"),
    ):
        done = lab.cli(*words)
        assert (done.code, message in done.err) == (1, True), done


def test_stats_of_what_works_and_what_rests(lab: Lab) -> None:
    busy = lab.up(["sh", "-c", "while :; do :; done"], mem_limit=64 << 20)
    rests = lab.up(["sleep", "600"])
    gone = lab.up(["true"])
    lab.engine.wait(gone)
    found = {row["name"]: row for row in json.loads(lab.cli("stats", "--no-stream", "-a", "--format", "json").out)}
    assert set(found) == {busy, rests, gone}
    # However many share this machine's processors.
    assert 5 < found[busy]["cpu_percent"] < 130
    assert found[rests]["cpu_percent"] < 5
    assert found[gone]["cpu_percent"] is found[gone]["pids"] is None
    assert (found[busy]["memory_limit"], found[busy]["pids"]) == (64 << 20, 1)
    assert 0 < found[busy]["memory"] < 64 << 20
    lines = lab.cli("stats", "--no-stream", rests).out.splitlines()
    assert lines[0].split("  ")[0] == "CONTAINER ID"
    assert lines[1].split()[1] == rests
    assert "nobody" in lab.cli("stats", "--no-stream", "nobody").err
    lab.engine.pause(busy)
    (row,) = json.loads(lab.cli("stats", "--no-stream", "--format", "json", busy).out)
    assert row["cpu_percent"] < 5


def test_stats_counts_what_goes_through_the_network_and_the_disk(lab: Lab) -> None:
    serve = "import socket; s = socket.create_server(('', 80)); print('up', flush=True)\n"
    serve += "while True:\n c, _ = s.accept(); c.sendall(bytes(3000000)); c.close()"
    server = lab.up(["python3", "-c", serve], network_mode="bridge")
    lab.said(server, "up")
    address = lab.engine.container(server)["networks"]["bridge"]["ip_address"]
    ask = f"import socket; s = socket.create_connection(('{address}', 80))\nwhile s.recv(65536): pass"
    assert lab.run(["python3", "-c", ask], network_mode="bridge").code == 0
    disk = lab.up(["sh", "-c", "dd if=/dev/zero of=/file bs=1M count=5 conv=fsync 2>/dev/null; echo done; sleep 600"])
    lab.said(disk, "done")
    done = lab.cli("stats", "--no-stream", "--format", "json", server, disk)
    network, written = json.loads(done.out)
    assert network["network_tx"] > 3_000_000
    assert written["block_write"] >= 5 << 20
    assert (written["network_rx"], written["network_tx"]) == (0, 0)


def test_stats_go_on(lab: Lab) -> None:
    name = lab.up(["sleep", "600"])
    command = lab.command("stats", "--format", "{{.Name}} {{.PIDs}}")
    with subprocess.Popen(command, env=lab.environment, stdout=subprocess.PIPE, text=True, cwd="/") as process:
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(2)] == [f"{name} 1\n"] * 2
        process.kill()


# --- inspect --------------------------------------------------------------------------------------------------------


def test_inspect_says_what_is(lab: Lab) -> None:
    name = lab.up(["sh", "-c", "dd if=/dev/zero of=/file bs=1000000 count=2 2>/dev/null; echo done; sleep 600"],
                  network_mode="bridge")  # fmt: skip
    lab.said(name, "done")
    done = lab.cli("inspect", "-s", name, "nobody")
    (document,) = json.loads(done.out)
    assert (done.code, "nobody" in done.err) == (1, True)
    assert 2_000_000 <= document["SizeRw"] < 2_100_000 < document["SizeRootFs"]
    for path in ("ResolvConfPath", "HostnamePath", "HostsPath", "LogPath"):
        assert os.path.exists(document[path]), path
    data = document["GraphDriver"]["Data"]
    assert os.path.getsize(f"{data['UpperDir']}/file") == os.path.getsize(f"{data['MergedDir']}/file") == 2_000_000
    settings = document["NetworkSettings"]
    assert os.path.exists(settings["SandboxKey"])
    (network,) = json.loads(lab.cli("network", "inspect", "bridge").out)
    assert settings["Networks"]["bridge"]["NetworkID"] == network["Id"]
    assert lab.cli("inspect", "--type", "image", name).code == 1
    assert lab.cli("inspect", "-f", "{{.HostConfig.DeviceRequests}} {{.ExecIDs}}", name).out == "[] []\n"
    assert lab.cli("inspect", "-f", "{{.State.Paused}} {{.SizeRw}}", "-s", name).out.startswith("false 2")
