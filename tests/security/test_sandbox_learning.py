"""`run --learn`: what is printed is enough, and no more than was used; who is learned of cannot make mischief by it."""

from __future__ import annotations

import ast
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.engine_lab import IMAGE, PRELUDE, Lab
from tests.waiting import wait_for

pytestmark = pytest.mark.root

WORK = "id -u; ls / > /dev/null; chown 1000 /etc/hostname; echo done"


def _fields(printed: str) -> dict[str, Any]:
    """The fields as a stack file would take them."""
    return {
        str(word.arg): ast.literal_eval(word.value)
        for word in ast.parse(f"f({printed})", mode="eval").body.keywords  # type: ignore[attr-defined]
    }


def _flags(fields: dict[str, Any]) -> list[str]:
    flags = {"cap_drop": "--cap-drop", "cap_add": "--cap-add", "security_opt": "--security-opt"}
    return [word for key, values in fields.items() for value in values for word in (flags[key], value)]


def _tells_capabilities() -> bool:
    release = tuple(int(part) for part in os.uname().release.split(".")[:2])
    return release >= (6, 14)


def test_what_is_learned_is_enough_and_no_more(lab: Lab) -> None:
    done = lab.cli("run", "--rm", "--network", "none", "--learn", IMAGE, "sh", "-c", WORK)
    assert done.code == 0, done
    assert done.out == "0\ndone\n"
    fields = _fields(done.err)
    if _tells_capabilities():
        assert (fields["cap_drop"], fields["cap_add"]) == (["ALL"], ["CHOWN"])
    assert lab.engine.containers() == []
    flags = ["--rm", "--network", "none", *_flags(fields)]
    again = lab.cli("run", *flags, IMAGE, "sh", "-c", WORK)
    assert (again.code, again.out) == (0, "0\ndone\n"), again
    other = lab.cli("run", *flags, IMAGE, "python3", "-c", PRELUDE + "print(call(272, 0)[1], call(59, b'/x', 0, 0)[1])")
    assert other.code != 0 or other.out.startswith("ENOSYS"), other
    status = lab.cli("run", *flags, IMAGE, "sh", "-c", "while read line; do echo $line; done < /proc/self/status")
    mask = next(line.split()[1] for line in status.out.splitlines() if line.startswith("CapEff:"))
    assert int(mask, 16) == (1 if _tells_capabilities() else 0xA80425FB)


def test_what_is_learned_beneath_init_is_enough_for_both(lab: Lab) -> None:
    """Init is forked apart before the program is executed, and each waits in its first call until somebody notes it."""
    done = lab.cli("run", "--rm", "--init", "--network", "none", "--learn", IMAGE, "sh", "-c", WORK)
    assert (done.code, done.out) == (0, "0\ndone\n"), done
    fields = _fields(done.err)
    if _tells_capabilities():
        assert (fields["cap_drop"], fields["cap_add"]) == (["ALL"], ["CHOWN"])
    assert '"rt_sigtimedwait"' in "".join(fields["security_opt"]), "init's own"
    again = lab.cli("run", "--rm", "--init", "--network", "none", *_flags(fields), IMAGE, "sh", "-c", WORK)
    assert (again.code, again.out) == (0, "0\ndone\n"), again


def test_capabilities_are_told_where_the_host_has_mounted_tracefs(lab: Lab) -> None:
    """As systemd does on most hosts, and whatever has traced."""
    mounted = subprocess.run(["mount", "-t", "tracefs", "none", "/sys/kernel/tracing"], check=False).returncode == 0
    try:
        done = lab.cli("run", "--rm", "--network", "none", "--learn", IMAGE, "sh", "-c", WORK)
        assert done.code == 0, done
        assert _fields(done.err).get("cap_add") == (["CHOWN"] if _tells_capabilities() else None)
    finally:
        if mounted:
            subprocess.run(["umount", "/sys/kernel/tracing"], check=True)


def test_calls_do_not_fail_on_a_busy_host(lab: Lab) -> None:
    """A signal that comes while a call is not yet noted has it fail with EINTR, which nobody expects of fork."""
    pipes = "i=0; while [ $i -lt 12 ]; do i=$((i + 1)); echo $i | cat | cat | grep -c . ; done; echo end"
    busy = [subprocess.Popen(["sh", "-c", "while :; do :; done"]) for _ in range(2 * (os.cpu_count() or 1))]
    try:
        done = lab.cli("run", "--rm", "--network", "none", "--learn", IMAGE, "sh", "-c", pipes)
    finally:
        for each in busy:
            each.kill()
            each.wait()
    assert (done.code, done.out) == (0, "1\n" * 12 + "end\n"), done


def test_what_is_refused_anyway_is_not_learned(lab: Lab) -> None:
    """The default filter holds while learning: a call that it refuses is neither made nor noted."""
    code = "print(call(165, b'none', b'/tmp', b'tmpfs', 0, 0), call(250, 0, -3, 1), os.getppid())"
    done = lab.cli("run", "--rm", "--network", "none", "--learn", IMAGE, "python3", "-c", PRELUDE + code)
    assert done.out == "(-1, 'EPERM') (-1, 'EPERM') 0\n", done
    [option] = _fields(done.err)["security_opt"]
    [rule] = json.loads(option.removeprefix("seccomp="))["syscalls"]
    assert "getppid" in rule["names"]
    assert not {"mount", "keyctl"} & set(rule["names"])


def test_learning_goes_on_without_the_engine(lab: Lab) -> None:
    """Neither the supervisor's nor the keeper's death is seen by the container."""
    script = "echo begun; while ! test -e /go; do sleep 0.05; done; id -u; sleep 300"
    script = script.replace("test -e /go", "cat /go 2>/dev/null")
    lab.engine.up({**lab.config(["sh", "-c", script]), "name": "pupil", "learn": True})
    lab.said("pupil", "begun")
    lab.kill()
    lab.exec("pupil", "touch", "/go")
    wait_for(lambda: "getuid" in " ".join(_learned(lab)["calls"]), "the call to be noted")
    lab.engine.stop("pupil", 0)
    wait_for(lambda: _learned(lab)["ended"], "the end of the notes")
    assert "geteuid" in _learned(lab)["calls"]
    shown = lab.cli("inspect", "--format", "{{.Learned.Fields}}", "pupil")
    assert _fields(shown.out)["security_opt"]
    wait_for(lambda: not _learners("pupil"), "the end of who notes")


def test_a_failing_start_leaves_nobody_waiting(lab: Lab) -> None:
    done = lab.cli("run", "--name", "pupil", "--network", "none", "--learn", IMAGE, "no-such-program")
    assert done.code == 127, done
    wait_for(lambda: not _learners("pupil"), "the end of who notes")


def test_exec_into_what_is_learned_of(lab: Lab) -> None:
    lab.engine.up({**lab.config(["sleep", "300"]), "name": "pupil", "learn": True})
    assert lab.exec("pupil", "id", "-u").out == "0\n"
    assert lab.cli("run", "--rm", "--network", "container:pupil", IMAGE, "true").code == 0


def _learned(lab: Lab) -> dict[str, Any]:
    path = Path(lab.root) / "containers" / lab.engine.container("pupil")["id"] / "learned"
    return dict(json.loads(path.read_text())) if path.exists() else {"calls": [], "ended": False}


def _learners(name: str) -> list[str]:
    found = []
    for entry in os.listdir("/proc"):
        try:
            if entry.isdigit() and f"stackpy learner {name}" in Path(f"/proc/{entry}/cmdline").read_text():
                found.append(entry)
        except (OSError, ValueError):
            continue
    return found
