"""Restarting, stopping, probing, capabilities, names: the pure decisions about containers."""

from __future__ import annotations

import pytest

from stackpy_runtime.container import restart, security
from stackpy_runtime.container.seccomp import rules
from stackpy_runtime.errors import InvalidConfig
from stackpy_runtime.host.names import Names
from stackpy_runtime.host.probes import Progress, Verdict, judge
from stackpy_runtime.linux.seccomp import ACT_ALLOW
from stackpy_runtime.model import Probe

PROBE: Probe = {
    "tcp": 1,
    "interval": 1.0,
    "timeout": 1.0,
    "retries": 3,
    "start_period": 10.0,
    "start_interval": 1.0,
}
GOOD, BAD = Verdict(True, ""), Verdict(False, "no")


@pytest.mark.parametrize(
    ("policy", "code", "restarts", "stopped", "expected"),
    [
        ("no", 1, 0, False, False),
        ("always", 0, 99, False, True),
        ("always", 0, 0, True, False),
        ("unless-stopped", 1, 0, False, True),
        ("unless-stopped", 1, 0, True, False),
        ("on-failure", 0, 0, False, False),
        ("on-failure", 1, 1000, False, True),
        ("on-failure:2", 1, 1, False, True),
        ("on-failure:2", 1, 2, False, False),
    ],
)
def test_restart_wanted(policy: str, code: int, restarts: int, stopped: bool, expected: bool) -> None:
    assert restart.wanted(restart.check(policy), code, restarts, stopped=stopped) is expected


def test_restart_pauses_double_up_to_a_minute_and_begin_anew_after_a_long_run() -> None:
    pauses = [0.0]
    for _ in range(12):
        pauses.append(restart.pause(pauses[-1], 0.1))
    assert pauses[1:5] == [0.1, 0.2, 0.4, 0.8]
    assert pauses[-1] == 60.0
    assert restart.pause(60.0, 11.0) == 0.1


@pytest.mark.parametrize("policy", ["", "sometimes", "always:3", "on-failure:x"])
def test_unknown_policies(policy: str) -> None:
    with pytest.raises(InvalidConfig):
        restart.check(policy)


@pytest.mark.parametrize(
    ("now", "verdict", "age", "counts", "expected"),
    [
        (Progress("starting", 0), GOOD, 0.1, False, Progress("healthy", 0)),
        (Progress("starting", 0), BAD, 0.1, False, Progress("starting", 0)),
        (Progress("starting", 0), BAD, 5.0, True, Progress("starting", 0)),
        (Progress("starting", 0), BAD, 11.0, True, Progress("starting", 1)),
        (Progress("starting", 2), BAD, 13.0, True, Progress("unhealthy", 3)),
        (Progress("healthy", 0), BAD, 2.0, True, Progress("healthy", 1)),
        (Progress("healthy", 2), GOOD, 20.0, True, Progress("healthy", 0)),
        (Progress("unhealthy", 9), GOOD, 20.0, True, Progress("healthy", 0)),
    ],
)
def test_health(now: Progress, verdict: Verdict, age: float, counts: bool, expected: Progress) -> None:
    assert judge(now, verdict, PROBE, age, counts=counts) == expected


def test_capabilities() -> None:
    default = set(security.DEFAULT_CAPABILITIES)
    assert security.capabilities([], []) == default
    assert security.capabilities(["net_admin"], ["CAP_CHOWN"]) == (default - {"CHOWN"}) | {"NET_ADMIN"}
    assert security.capabilities(["CHOWN"], ["ALL"]) == {"CHOWN"}
    assert "SYS_ADMIN" in security.capabilities(["ALL"], [])
    with pytest.raises(InvalidConfig) as caught:
        security.capabilities(["NET_ADMON"], [])
    assert caught.value.hint == "did you mean `NET_ADMIN`?"


def test_the_seccomp_profile_opens_with_capabilities() -> None:
    def allowed(*capabilities: str) -> set[str]:
        return {
            rule.call for rule in rules(frozenset(capabilities)) if rule.action == ACT_ALLOW and not rule.comparisons
        }

    assert not {"mount", "unshare", "bpf", "setns", "keyctl", "io_uring_setup", "reboot", "init_module"} & allowed()
    assert {"mount", "unshare", "bpf", "setns"} <= allowed("SYS_ADMIN")
    assert "keyctl" not in allowed("SYS_ADMIN")
    assert allowed() < allowed("SYS_CHROOT")


def test_names_are_heard_on_shared_networks_only() -> None:
    names = Names()
    names.add("a", "front", "10.0.0.2", ["web", "a"], internal=False)
    names.add("b", "front", "10.0.0.3", ["Web", "b"], internal=False)
    names.add("c", "back", "10.1.0.2", ["db"], internal=True)
    assert names.lookup("a", "WEB.") == ["10.0.0.2", "10.0.0.3"]
    assert names.lookup("a", "db") is None
    assert names.lookup("c", "web") == []
    assert names.reverse("a", "10.0.0.3") in ("web", "b")
    assert names.reverse("c", "10.0.0.3") is None
    names.remove("b")
    assert names.lookup("a", "b") is None
    assert names.lookup("a", "web") == ["10.0.0.2"]
