"""From create to removal: exit codes, restarts, the stop rule, what is left behind."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from stackpy_runtime.container.cgroups import layout, parent_name
from stackpy_runtime.errors import Conflict, EngineError, InvalidConfig, NotFound, ProcessFailed
from tests.engine_lab import PRELUDE, Lab
from tests.waiting import wait_for

pytestmark = pytest.mark.root

# A handler writes by itself: `print` fails where the signal comes in the midst of another one.
WAITS = "import os, signal, time\nsignal.signal(signal.SIGTERM, lambda *_: (os.write(1, b'bye\\n'), exit(7)))\n"
WAITS += "print('up', flush=True)\nwhile True: time.sleep(60)"


# --- exit codes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (["true"], 0, ""),
        (["false"], 1, ""),
        (["sh", "-c", "exit 42"], 42, ""),
        # PID 1 cannot kill itself: a child does.
        (["sh", "-c", "sh -c 'kill -9 $$'; exit $?"], 137, ""),
        (["sh", "-c", "sh -c 'kill -ABRT $$'; exit $?"], 134, ""),
        (["nothing-of-this-name"], 127, "is not in the image"),
        (["/no/such"], 127, "is not in the image"),
        (["/etc/passwd/x"], 127, "not a directory"),
        (["/etc"], 126, "permission denied"),
        (["/etc/passwd"], 126, "permission denied"),
    ],
)
def test_exit_codes_of_run(lab: Lab, argv: list[str], code: int, said: str) -> None:
    done = lab.cli("run", "--rm", "--network", "none", "lab", *argv)
    assert (done.code, done.out) == (code, "")
    assert said in done.err
    assert lab.engine.containers() == []


@pytest.mark.parametrize(("argv", "code"), [(["nothing"], 127), (["/etc"], 126)])
def test_exit_codes_of_a_start_that_fails(lab: Lab, argv: list[str], code: int) -> None:
    config = lab.config(argv)
    with pytest.raises(ProcessFailed) as raised:
        lab.engine.up(config)
    assert raised.value.exit_code == code
    state = lab.state(config["name"])
    assert (state["status"], state["exit_code"], state["pid"]) == ("exited", code, 0)
    assert str(raised.value).endswith(state["error"].partition(": ")[2]) and argv[0] in state["error"]
    with pytest.raises(ProcessFailed):
        lab.engine.await_state(config["name"], "started", 5)
    # It can be looked at, and removed.
    lab.engine.remove(config["name"])


def test_engine_failures_are_125(lab: Lab) -> None:
    for words in (
        ["--pull", "never", "no-such-image", "true"],
        ["--user", "nobody-here", "lab", "true"],
        ["-w", "/proc/self/fd/3", "lab", "true"],
    ):
        done = lab.cli("run", "--rm", "--network", "none", *words)
        assert (done.code, done.out) == (125, ""), words
        assert done.err.startswith("error: ")
    assert lab.engine.containers() == []


def test_a_container_goes_through_its_states(lab: Lab) -> None:
    config = lab.config(["python3", "-c", WAITS])
    identity = lab.engine.create(config)
    name = config["name"]
    state = lab.state(name)
    assert (state["status"], state["pid"], state["exit_code"], state["started_at"]) == ("created", 0, None, "")
    for reference in (name, identity, identity[:12]):
        assert lab.engine.container(reference)["id"] == identity
    lab.engine.start(name)
    lab.said(name, "up")
    state = lab.state(name)
    assert state["status"] == "running" and os.path.exists(f"/proc/{state['pid']}")
    lab.engine.start(name)
    assert lab.state(name)["pid"] == state["pid"]
    assert lab.engine.stop(name) == "stopped by SIGTERM"
    after = lab.state(name)
    assert (after["status"], after["exit_code"], after["pid"], after["oom_killed"]) == ("exited", 7, 0, False)
    assert state["started_at"] < after["finished_at"]
    assert lab.log(name) == "up\nbye\n"
    assert lab.engine.stop(name) == "it was not running"
    lab.engine.restart(name)
    wait_for(lambda: lab.log(name).count("up") == 2, "the second start")
    assert lab.engine.container(name)["id"] == identity
    with pytest.raises(Conflict, match="running"):
        lab.engine.remove(name)
    lab.engine.remove(name, force=True)
    for action in (lab.engine.container, lab.engine.start, lab.engine.stop, lab.engine.remove):
        with pytest.raises(NotFound):
            action(name)


def test_what_it_wrote_stays_until_removal(lab: Lab) -> None:
    name = lab.up(["sh", "-c", "echo x >> /kept; cat /kept"])
    lab.engine.wait(name)
    lab.engine.start(name)
    lab.engine.wait(name)
    assert lab.log(name) == "x\nx\nx\n"


def test_names_in_conflict(lab: Lab) -> None:
    name = lab.up(["sleep", "60"])
    with pytest.raises(Conflict, match=name):
        lab.engine.create({**lab.config(["true"]), "name": name})
    for wrong in ("a b", "-x", "x/y", "ä", "x" * 200, "../x", "."):
        with pytest.raises(InvalidConfig):
            lab.engine.create({**lab.config(["true"]), "name": wrong})

    def one(number: int) -> str:
        try:
            return lab.engine.create({**lab.config(["true"]), "name": "wanted"})
        except Conflict:
            return ""

    with ThreadPoolExecutor(8) as pool:
        assert len([made for made in pool.map(one, range(16)) if made]) == 1
    assert len(os.listdir(f"{lab.root}/containers")) >= 2
    folders = set(os.listdir(f"{lab.root}/containers"))
    assert {container["id"] for container in lab.engine.containers()} <= folders


def test_twenty_at_once(lab: Lab) -> None:
    def one(number: int) -> tuple[str, str]:
        config = {**lab.config(["sh", "-c", f"echo {number}; sleep 60"]), "name": f"many-{number}"}
        return lab.engine.up(config), str(number)

    with ThreadPoolExecutor(20) as pool:
        made = list(pool.map(one, range(20)))
    assert len({identity for identity, _ in made}) == 20
    for identity, number in made:
        lab.said(identity, f"{number}\n")
        assert lab.state(identity)["status"] == "running"
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda pair: lab.engine.remove(pair[0], force=True), made))
    assert lab.engine.containers() == []


def test_what_ends_at_once_has_begun_before(lab: Lab) -> None:
    """It has ended by the time that the supervisor hears of its beginning."""
    for _ in range(5):
        name = lab.up(["true"])
        lab.engine.wait(name)
        state = lab.state(name)
        assert state["started_at"] <= state["finished_at"]
        lab.engine.remove(name)


# --- stop -----------------------------------------------------------------------------------------------------------


def test_a_first_process_without_a_handler_is_not_waited_for(lab: Lab) -> None:
    name = lab.up(["sleep", "600"])
    how = lab.engine.stop(name, 600)
    why = "killed at once: its first process has no handler for SIGTERM"
    assert how == f"{why}; to have it end by itself: init=True (`run --init`)"
    assert lab.state(name)["exit_code"] == 137


def test_one_with_a_handler_gets_its_grace(lab: Lab) -> None:
    code = "import os, signal, time\nsignal.signal(signal.SIGTERM, lambda *_: os.write(1, b'asked\\n'))\n"
    code += "print('up', flush=True)\nwhile True: time.sleep(1)"
    name = lab.up(["python3", "-c", code])
    lab.said(name, "up")
    started = time.monotonic()
    how = lab.engine.stop(name, 1.0)
    assert time.monotonic() - started > 0.9
    assert how == "killed: it did not end within 1 s of SIGTERM"
    assert lab.log(name) == "up\nasked\n"


@pytest.mark.parametrize("way", ["sigtimedwait", "signalfd", "sigwait in a thread"])
def test_a_first_process_that_waits_for_signals_as_inits_do(lab: Lab, way: str) -> None:
    code = {
        # tini: all signals blocked, rt_sigtimedwait
        "sigtimedwait": "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())\nprint('up', flush=True)\n"
        "while True:\n got = signal.sigtimedwait(signal.valid_signals(), 1)\n if got: break\n",
        "signalfd": "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])\nprint('up', flush=True)\n"
        "while not signal.sigpending(): time.sleep(0.05)\n",
        "sigwait in a thread": "import threading\nsignal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])\n"
        "thread = threading.Thread(target=signal.sigwait, args=([signal.SIGTERM],))\nthread.start()\n"
        "print('up', flush=True)\nthread.join()\n",
    }[way]
    name = lab.up(["python3", "-c", f"import os, signal, sys, time\n{code}\nos._exit(5)"])
    lab.said(name, "up")
    assert lab.engine.stop(name, 60) == "stopped by SIGTERM"
    assert lab.state(name)["exit_code"] == 5


@pytest.mark.parametrize("asked", ["USR1", "SIGUSR1", "10", "RTMIN+3"])
def test_the_stop_signal_is_the_containers_or_the_images(lab: Lab, asked: str) -> None:
    # os.write: the signal may come while `print` is still busy, which is not to be entered twice
    code = "import os, signal, time\nfor n in signal.valid_signals() - {9, 19}:\n"
    code += " try: signal.signal(n, lambda n, _: (os.write(1, b'got %d\\n' % n), exit(0)))\n except OSError: pass\n"
    code += "print('up', flush=True)\nwhile True: time.sleep(60)"
    number = {"RTMIN+3": signal.SIGRTMIN + 3}.get(asked, signal.SIGUSR1)
    for fields in ({"stop_signal": asked}, {"image": lab.image({"StopSignal": asked})}):
        name = lab.up(["python3", "-c", code], **fields)
        lab.said(name, "up")
        lab.engine.stop(name)
        assert lab.log(name) == f"up\ngot {int(number)}\n"


def test_down_gives_a_container_its_grace_and_removes_it(lab: Lab, tmp_path: Path) -> None:
    code = WAITS.replace("exit(7)", "open('/out/word', 'w').write('goodbye'), exit(7)")
    bind = {"type": "bind", "source": str(tmp_path), "target": "/out", "read_only": False}
    name = lab.up(["python3", "-c", code], mounts=[bind])
    lab.said(name, "up")
    lab.engine.down(name)
    assert (tmp_path / "word").read_text() == "goodbye"
    assert lab.engine.containers() == []
    ended = lab.up(["true"])
    lab.engine.wait(ended)
    lab.engine.down(ended)
    with pytest.raises(NotFound):
        lab.engine.down(ended)


def test_an_image_with_an_unknown_stop_signal_can_be_stopped(lab: Lab) -> None:
    name = lab.up(["python3", "-c", WAITS], image=lab.image({"StopSignal": "NOPE"}))
    lab.said(name, "up")
    assert lab.engine.stop(name) == "stopped by SIGTERM"


def test_kill_sends_any_signal(lab: Lab) -> None:
    code = "import os, signal, time\nsignal.signal(signal.SIGUSR2, lambda *_: os.write(1, b'two\\n'))\n"
    name = lab.up(["python3", "-c", code + "print('up', flush=True)\nwhile True: time.sleep(60)"])
    lab.said(name, "up")
    lab.engine.kill(name, "USR2")
    lab.said(name, "two")
    with pytest.raises(InvalidConfig):
        lab.engine.kill(name, "NOPE")
    lab.engine.kill(name)
    assert lab.engine.wait(name) == 137
    with pytest.raises(Conflict):
        lab.engine.kill(name)


def test_processes_beside_the_first_end_with_it(lab: Lab) -> None:
    name = lab.up(["sh", "-c", "sleep 600 & sleep 600 & echo up; exec sleep 600"])
    lab.said(name, "up")
    first = lab.state(name)["pid"]
    namespace = os.readlink(f"/proc/{first}/ns/pid")

    def members() -> list[str]:
        found = []
        for entry in os.listdir("/proc"):
            try:
                if entry.isdigit() and os.readlink(f"/proc/{entry}/ns/pid") == namespace:
                    found.append(entry)
            except OSError:
                continue
        return found

    assert len(members()) == 3
    lab.engine.stop(name)
    wait_for(lambda: not members(), "the end of all")


# --- restarts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "code", "starts", "status"),
    [
        ("no", 1, 1, "exited"),
        ("on-failure", 0, 1, "exited"),
        ("on-failure:2", 3, 3, "exited"),
    ],
)
def test_restart_policies_that_come_to_an_end(lab: Lab, policy: str, code: int, starts: int, status: str) -> None:
    name = lab.up(["sh", "-c", f"echo start; exit {code}"], restart=policy)
    wait_for(lambda: lab.state(name)["status"] == status and lab.log(name).count("start") == starts, "its end")
    state = lab.state(name)
    assert (state["exit_code"], state["restart_count"]) == (code, starts - 1)
    assert lab.engine.wait(name) == code


@pytest.mark.parametrize("policy", ["always", "unless-stopped", "on-failure"])
def test_restarts_go_on_ever_later_until_it_is_stopped(lab: Lab, policy: str) -> None:
    name = lab.up(["sh", "-c", "date +%s.%N || echo; exit 1"], restart=policy, image=lab.image())
    wait_for(lambda: lab.state(name)["restart_count"] >= 3, "three restarts")
    times = [line["time"] for line in lab.engine.logs(name)]
    assert len(times) >= 3
    wait_for(lambda: lab.state(name)["status"] == "restarting", "the pause")
    lab.engine.stop(name)
    count = lab.state(name)["restart_count"]
    assert lab.state(name)["status"] == "exited"
    lab.kill("supervisor")
    lab.engine.client.call("ping")
    assert (lab.state(name)["status"], lab.state(name)["restart_count"]) == ("exited", count)
    lab.engine.start(name)
    wait_for(lambda: lab.state(name)["restart_count"] >= 1, "it is restarted again")


def test_a_killed_container_is_restarted_unless_a_user_did_it(lab: Lab) -> None:
    name = lab.up(["sleep", "600"], restart="always")
    pid = lab.state(name)["pid"]
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: lab.state(name)["pid"] not in (0, pid), "the restart")
    lab.engine.kill(name)
    wait_for(lambda: lab.state(name)["status"] == "exited", "its end")
    lab.engine.client.call("ping")
    assert lab.state(name)["status"] == "exited"


def test_the_policy_changes_in_place(lab: Lab) -> None:
    name = lab.up(["sh", "-c", "sleep 0.1; exit 1"], restart="always")
    wait_for(lambda: lab.state(name)["restart_count"] >= 1, "a restart")
    lab.engine.update(name, {"restart": "no"})
    wait_for(lambda: lab.state(name)["status"] == "exited", "its end")
    with pytest.raises(InvalidConfig):
        lab.engine.update(name, {"restart": "sometimes"})


def test_a_wait_covers_restarts_and_ends_with_removal(lab: Lab) -> None:
    name = lab.up(["sleep", "600"])
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(lab.engine.wait, name)
        lab.engine.remove(name, force=True)
        assert waiting.result(60) in (125, 137)


# --- nothing is left ------------------------------------------------------------------------------------------------


def test_everything_is_gone_after_removal(tmp_path: Path) -> None:
    lab = Lab(str(tmp_path / "root"))
    lab.build()
    network = lab.engine.create_network({"name": "back", "internal": True})
    lab.engine.create_volume("data", {})
    lab.engine.put_secret("word", b"x", {})
    names = [
        lab.up(
            ["sh", "-c", "echo x; sleep 600"],
            networks={"back": {"aliases": []}, "bridge": {"aliases": []}},
            ports=[{"host_ip": "127.0.0.1", "published": 0, "target": 80, "protocol": "tcp"}],
            mounts=[{"type": "volume", "source": "data", "target": "/data", "read_only": False}],
            secrets=[{"secret": "word", "target": "word"}],
            mem_limit=64 << 20,
        ),
        lab.up(["sleep", "600"], tty=True, network_mode="host"),
    ]
    found = " ".join(_host(lab.root))
    assert all(part in found for part in (network["bridge"], "table", "/secrets", "cgroup"))
    for name in names:
        lab.exec(name, "true")
    lab.leave()
    wait_for(lambda: not _host(lab.root), lambda: f"nothing: {_host(lab.root)}")
    for folder in ("containers", "volumes", "secrets", "staging", "run/io"):
        assert os.listdir(f"{lab.root}/{folder}") == [], folder
    assert not os.path.exists(f"{lab.root}/run/supervisor.sock")
    # And it comes back.
    assert lab.shell("echo again").out == "again\n"
    lab.leave()


def _host(root: str) -> set[str]:
    """What an engine root has made on the host; other engines may be at work on this machine."""
    digest = parent_name(root).removeprefix("stackpy-")
    mounts = {line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()}
    links = os.listdir("/sys/class/net")
    tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True).stdout.splitlines()
    groups = {f"{mount}/{parent_name(root)}" for mount in layout().mounts.values()}
    return {
        *(mount for mount in mounts if mount.startswith(f"{root}/")),
        *(link for link in links if link.startswith((f"sp-{digest[:5]}", f"sv{digest[:5]}"))),
        *(table for table in tables if digest in table),
        *(group for group in groups if os.path.exists(group)),
    }


def test_our_processes_leave_when_there_is_nothing_to_keep(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    from stackpy_runtime.host.supervisor import IDLE

    name = lab.up(["true"])
    lab.engine.wait(name)
    wait_for(lambda: len(lab.processes()) == 2, "two processes")
    wait_for(lambda: not lab.processes(), "both leave", IDLE + 10)
    assert [container["name"] for container in lab.engine.containers()] == [name]
    assert lab.engine.wait(name) == 0
    lab.engine.remove(name)


def test_a_reboot_is_seen(lab: Lab) -> None:
    """A row that says `running` from another boot is of a container that is no more."""
    from stackpy_runtime.store.store import Store

    name = lab.up(["sleep", "600"], restart="always")
    again = lab.up(["sleep", "600"])
    pids = [lab.state(one)["pid"] for one in (name, again)]
    lab.kill()
    store = Store(lab.root)
    for one, pid in ((name, pids[0]), (again, pids[1])):
        container = store.container(one)
        store.update_container(container["id"], state={**container["state"], "boot": "another"})
        os.kill(pid, signal.SIGKILL)
    store.close()
    wait_for(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids), "the containers' end")
    assert {lab.state(one)["status"] for one in (name, again)} == {"exited"}
    # The next that uses the engine brings back what has a policy.
    lab.engine.client.call("ping")
    wait_for(lambda: lab.state(name)["status"] == "running", "the restart")
    assert lab.state(again)["status"] == "exited"


def test_what_it_cannot_do_is_said_before_anything_is_made(lab: Lab) -> None:
    before = os.listdir(f"{lab.root}/containers")
    cases: list[dict[str, Any]] = [
        {"image": "no-such-image"},
        {"networks": {"no-such": {"aliases": []}}},
        {"secrets": [{"secret": "no-such", "target": "x"}]},
        {"mounts": [{"type": "bind", "source": "/no/such", "target": "/x", "read_only": False}]},
        {"cap_add": ["NO_SUCH"]},
        {"restart": "sometimes"},
        {"network_mode": "none", "networks": {"bridge": {"aliases": []}}},
        {"unknown_field": 1},
        {"command": "a string"},
        {"healthcheck": {"interval": 1}},
    ]
    for fields in cases:
        with pytest.raises(EngineError) as raised:
            lab.engine.create({**lab.config(["true"]), **fields})
        assert not re.search(r"[A-Z]\w*Error", str(raised.value)), raised.value
    assert os.listdir(f"{lab.root}/containers") == before
    assert lab.engine.containers() == []


def test_descriptors_of_the_caller_do_not_reach_a_container(lab: Lab, tmp_path: Path) -> None:
    """Neither what the first command had open, from which the engine's processes stem, nor what a later one has."""
    with open(tmp_path / "open", "w") as file:
        os.set_inheritable(file.fileno(), True)
        done = subprocess.run(
            lab.command(
                "run",
                "--rm",
                "--network",
                "none",
                "lab",
                "python3",
                "-c",
                f"{PRELUDE}print(os.listdir('/proc/self/fd'))",
            ),
            env=lab.environment,
            capture_output=True,
            close_fds=False,
        )
    assert sorted(eval(done.stdout)) == ["0", "1", "2", "3"]
    for pid in lab.processes():
        for entry in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(FileNotFoundError):  # closed since
                assert os.readlink(f"/proc/{pid}/fd/{entry}") != str(tmp_path / "open")
