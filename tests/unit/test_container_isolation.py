"""What is decided about a container's isolation: devices, security options, profiles, namespaces."""

from __future__ import annotations

import errno
import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stackpy_runtime.container import (
    confinement,
    device_rules,
    execution,
    seccomp,
    seccomp_profile,
    security,
    security_options,
)
from stackpy_runtime.container.device_rules import Device
from stackpy_runtime.errors import InvalidConfig, Unsupported
from stackpy_runtime.linux import bpf
from stackpy_runtime.linux import seccomp as libseccomp
from stackpy_runtime.linux.bpf import DeviceRule
from stackpy_runtime.linux.seccomp import CMP_EQ, CMP_NE, Comparison, Rule

AMD64 = seccomp_profile.Host("x86_64", (6, 1))
DEFAULT = security.capabilities([], [])


def _config(**fields: Any) -> Any:
    return {"name": "a", "image": "i", **fields}


# --- devices --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/dev/a", Device("/dev/a", "/dev/a", "rwm")),
        ("/dev/a:/dev/b", Device("/dev/a", "/dev/b", "rwm")),
        ("/dev/a:/dev/b:r", Device("/dev/a", "/dev/b", "r")),
        ("/dev/a:rw", Device("/dev/a", "/dev/a", "rw")),
    ],
)
def test_devices(text: str, expected: Device) -> None:
    assert device_rules.parse(text) == expected


@pytest.mark.parametrize(
    "text", ["", "dev/a", "/dev/a:", "/dev/a:x", "/dev/a:/b:", "/dev/a:/b:q", "/a:/b:r:r", "/a:/../b"]
)
def test_wrong_devices(text: str) -> None:
    with pytest.raises(InvalidConfig):
        device_rules.parse(text)


def test_device_rules() -> None:
    assert device_rules.rule("c 189:* rwm") == DeviceRule("c", 189, None, "rwm")
    assert device_rules.on_version_1(DeviceRule("a", 7, None, "r")) == ["b 7:* r", "c 7:* r"]
    assert device_rules.on_version_1(device_rules.EVERYTHING[0]) == ["a"]
    for text in ("", "c 1:3", "d 1:3 r", "c 1 r", "c x:1 r", "c 1:3 q", "c 1:3 rwmr", "c  1:3 r", "c 99999999:1 r"):
        with pytest.raises(InvalidConfig):
            device_rules.rule(text)


def _answer(program: bytes, kind: int, access: int, major: int, minor: int) -> int:
    """What the kernel would answer: an interpreter of the instructions that our programs are made of."""
    context = {0: access << 16 | kind, 4: major, 8: minor}
    registers = [0] * 11
    at = 0
    for _ in range(10_000):
        code, packed, offset, value = struct.unpack_from("=BBhI", program, at * 8)
        target, source = packed & 15, packed >> 4
        at += 1
        match code:
            case 0x61:
                registers[target] = context[offset]
            case 0xBC:
                registers[target] = registers[source]
            case 0xB4:
                registers[target] = value
            case 0x54:
                registers[target] &= value
            case 0x74:
                registers[target] >>= value
            case 0x56:
                at += offset if registers[target] != value else 0
            case 0x95:
                return registers[0]
            case _:
                raise AssertionError(hex(code))
    raise AssertionError("it does not end")


_NUMBERS = st.sampled_from([0, 1, 3, 5, 2**20 - 1])
_RULES = st.builds(
    DeviceRule,
    kind=st.sampled_from("abc"),
    major=st.none() | _NUMBERS,
    minor=st.none() | _NUMBERS,
    access=st.sampled_from(["r", "w", "m", "rw", "rm", "wm", "rwm"]),
    allow=st.booleans(),
)


@given(rules=st.lists(_RULES, max_size=6), kind=st.sampled_from("bc"), access=st.sampled_from(["r", "w", "m", "rw"]),
       major=_NUMBERS, minor=_NUMBERS)  # fmt: skip
def test_the_device_program_says_what_its_rules_say(
    rules: list[DeviceRule], kind: str, access: str, major: int, minor: int
) -> None:
    expected = False
    for rule in rules:
        if (
            rule.kind in ("a", kind)
            and rule.major in (None, major)
            and rule.minor in (None, minor)
            and set(access) <= set(rule.access)
        ):
            expected = rule.allow
    asked = sum(bpf.ACCESSES[letter] for letter in access)
    assert _answer(bpf.device_program(rules), bpf.KINDS[kind], asked, major, minor) == expected


# --- security options and profiles ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], {}),
        (["seccomp=unconfined"], {"seccomp": "unconfined"}),
        (["seccomp:unconfined"], {"seccomp": "unconfined"}),
        (["seccomp=builtin"], {}),
        (['seccomp={"a": "b:c=d"}'], {"seccomp": '{"a": "b:c=d"}'}),
        (["no-new-privileges"], {"new_privileges": False}),
        (["no-new-privileges:false"], {"new_privileges": True}),
        (["systempaths=unconfined"], {"unmasked": True}),
        (["apparmor=own", "label:disable"], {"apparmor": "own", "labels": {"disable": ""}}),
        (["label=type:a", "label=level:s0:c1"], {"labels": {"type": "a", "level": "s0:c1"}}),
    ],
)
def test_security_options(options: list[str], expected: dict[str, Any]) -> None:
    assert security_options.parse(options)._asdict() == {**security_options.SecurityOptions()._asdict(), **expected}


@pytest.mark.parametrize(
    "option",
    [
        "",
        "x",
        "seccomp",
        "seccomp=/profile.json",
        "no-new-privileges=x",
        "systempaths=x",
        "apparmor=",
        "label=x",
        "label=type:",
    ],
)
def test_wrong_security_options(option: str) -> None:
    with pytest.raises(InvalidConfig):
        security_options.parse([option])


def test_modules_that_the_kernel_lacks_are_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(security, "has_apparmor", lambda: False)
    monkeypatch.setattr(security, "has_selinux", lambda: False)
    for options in (["apparmor=own"], ["label=type:own"]):
        with pytest.raises(Unsupported):
            security.check_modules(security_options.parse(options))
    security.check_modules(security_options.parse(["apparmor=unconfined", "label=disable"]))
    assert security.selinux_label({"type": "own", "level": "s0:c1"}) == "system_u:system_r:own:s0:c1"
    assert security.selinux_label({"disable": ""}) == ""


def _read(host: seccomp_profile.Host = AMD64, capabilities: frozenset[str] = DEFAULT, **rule: Any) -> list[Rule]:
    document = {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["a"], "action": "SCMP_ACT_ALLOW", **rule}]}
    return seccomp_profile.read(json.dumps(document), capabilities, host).rules


@pytest.mark.parametrize(
    ("rule", "holds"),
    [
        ({}, True),
        ({"includes": {"caps": ["CAP_SYS_ADMIN"]}}, False),
        ({"includes": {"caps": ["CAP_CHOWN", "CAP_KILL"]}}, True),
        ({"includes": {"caps": ["CAP_CHOWN", "CAP_SYS_ADMIN"]}}, False),
        ({"excludes": {"caps": ["CAP_SYS_ADMIN"]}}, True),
        ({"excludes": {"caps": ["CAP_SYS_ADMIN", "CAP_CHOWN"]}}, False),
        ({"includes": {"arches": ["amd64", "x32"]}}, True),
        ({"includes": {"arches": ["arm64"]}}, False),
        ({"excludes": {"arches": ["amd64"]}}, False),
        ({"includes": {"minKernel": "4.8"}}, True),
        ({"includes": {"minKernel": "6.2"}}, False),
        ({"excludes": {"minKernel": "4.8"}}, False),
        ({"excludes": {"minKernel": "6.2"}}, True),
        ({"includes": {"arches": ["amd64"], "caps": ["CAP_SYS_ADMIN"]}}, False),
        ({"includes": {}, "excludes": None}, True),
    ],
)
def test_a_profiles_rule_holds_where_it_says(rule: dict[str, Any], holds: bool) -> None:
    assert bool(_read(**rule)) is holds


def test_what_a_profile_means() -> None:
    arguments = [{"index": 0, "value": 16, "op": "SCMP_CMP_EQ"}, {"index": 2, "value": 9, "op": "SCMP_CMP_NE"}]
    allow = libseccomp.ACT_ALLOW
    assert _read(args=arguments) == [Rule("a", allow, (Comparison(0, CMP_EQ, 16), Comparison(2, CMP_NE, 9)))]
    same = [{"index": 0, "value": value, "op": "SCMP_CMP_NE"} for value in (1, 2)]
    assert _read(args=same) == [Rule("a", allow, (Comparison(0, CMP_NE, value),)) for value in (1, 2)]
    assert _read(action="SCMP_ACT_ERRNO", errnoRet=38) == [Rule("a", libseccomp.act_errno(38), ())]
    assert _read(action="SCMP_ACT_ERRNO") == [Rule("a", libseccomp.act_errno(1), ())]
    document: dict[str, Any] = {"defaultAction": "SCMP_ACT_KILL_PROCESS"}
    document["archMap"] = [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}]
    profile = seccomp_profile.read(json.dumps(document), DEFAULT, AMD64)
    assert (profile.default, profile.rules, profile.architectures) == (libseccomp.ACT_KILL_PROCESS, [], ["x86"])


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "{}", "{", '{"defaultAction": "ALLOW"}', '{"defaultAction": "SCMP_ACT_NOTIFY"}',
        '{"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/x"}',
        '{"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_LOG"]}',
        '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": {}}',
        '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": []}]}',
        '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["a"]}]}',
        '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": [1], "action": "SCMP_ACT_ALLOW"}]}',
        '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["a"], "action": "SCMP_ACT_ALLOW", "args": [{}]}]}',
        '{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 5000}',
        '{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["amd64"]}',
        "[" * 100_000,
    ],
)  # fmt: skip
def test_what_is_no_profile(text: str) -> None:
    with pytest.raises(InvalidConfig):
        seccomp_profile.read(text, DEFAULT, AMD64)


def test_profiles_compile() -> None:
    document = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 38,
        "syscalls": [{"names": ["read", "no_such_call"], "action": "SCMP_ACT_ALLOW", "args": None, "includes": {}}],
    }
    assert seccomp.program(DEFAULT, json.dumps(document))
    assert seccomp.program(DEFAULT) != seccomp.program(DEFAULT, json.dumps(document))


# --- namespaces and privileges --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "users", "missing"),
    [
        ({}, "own", 0),
        ({"userns": "auto"}, "own", 0),
        ({"userns": "host"}, "host", 0),
        ({"privileged": True}, "host", 0),
        ({"pid": "host"}, "host", 0x20000000),
        ({"ipc": "host"}, "host", 0x8000000),
        ({"uts": "host"}, "own", 0x4000000),
        ({"cgroup": "host"}, "own", 0x2000000),
        ({"network_mode": "host"}, "own", 0x40000000),
        ({"network_mode": "host", "cap_add": ["NET_ADMIN"]}, "host", 0x40000000),
        ({"network_mode": "container:x"}, "joined", 0x40000000),
        ({"network_mode": "container:x", "pid": "container:y"}, "joined", 0x60000000),
        ({"network_mode": "container:x", "privileged": True}, "host", 0x40000000),
        ({"ipc": "shareable"}, "own", 0),
    ],
)
def test_namespaces(fields: dict[str, Any], users: str, missing: int) -> None:
    found = confinement.of(_config(**fields))
    assert (found.users, found.new) == (users, 0x6E020000 & ~missing)


@pytest.mark.parametrize(
    "fields",
    [
        {"userns": "auto", "privileged": True},
        {"userns": "private"},
        {"pid": "private"},
        {"pid": "container:"},
        {"pid": "container:a"},
        {"ipc": "container:../x"},
        {"network_mode": "bridge"},
        {"uts": "container:x"},
        {"uts": "host", "hostname": "x"},
        {"network_mode": "container:x", "hostname": "x"},
        {"devices": ["/dev/no-such-device"]},
        {"devices": ["/etc/passwd"]},
        {"devices": ["/dev/null:/x", "/dev/zero:/x"]},
        {"device_cgroup_rules": ["c"]},
        {"security_opt": ["seccomp={}"]},
    ],
)
def test_what_excludes_each_other(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidConfig):
        confinement.check(_config(**fields))


def test_plain_containers_ask_nothing() -> None:
    for fields in ({}, {"cap_add": ["SYS_ADMIN"]}, {"network_mode": "host"}, {"network_mode": "none"}):
        assert confinement.is_plain(_config(**fields))
    assert not confinement.is_plain(_config(network_mode="container:x"))


def test_capabilities_of_the_privileged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(security, "held", lambda: frozenset({"CHOWN", "SYS_ADMIN", "KILL"}))
    assert confinement.capabilities(_config(privileged=True)) == {"CHOWN", "SYS_ADMIN", "KILL"}
    assert confinement.capabilities(_config(privileged=True, cap_drop=["KILL"])) == {"CHOWN", "SYS_ADMIN"}
    assert confinement.capabilities(_config(privileged=True, cap_drop=["ALL"])) == set()
    assert confinement.capabilities(_config(cap_add=["SYS_TIME"])) == DEFAULT | {"SYS_TIME"}
    with pytest.raises(InvalidConfig, match="does not hold"):
        confinement.check(_config(userns="host", cap_add=["SYS_TIME"]))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, (True, "")),
        ({"privileged": True}, (False, "")),
        ({"security_opt": ["seccomp=unconfined"]}, (False, "")),
        ({"security_opt": ["no-new-privileges"]}, (True, "")),
        ({"security_opt": ["seccomp={}"]}, (True, "{}")),
        ({"privileged": True, "security_opt": ["seccomp={}"]}, (True, "{}")),
        ({"privileged": True, "security_opt": ["label=disable"]}, (False, "")),
    ],
)
def test_which_system_calls_are_filtered(fields: dict[str, Any], expected: tuple[bool, str]) -> None:
    assert confinement.filtered(_config(**fields)) == expected


def test_what_forbids_an_execution() -> None:
    labelled: Any = {"label": "system_u:system_r:own_t:s0"}
    assert execution.what_forbids(errno.EACCES, {}) == ""  # type: ignore[typeddict-item]
    assert "--platform" in execution.what_forbids(errno.ENOEXEC, labelled)
    told = "SELinux: the policy must allow the transition to `system_u:system_r:own_t:s0`"
    assert execution.what_forbids(errno.EPERM, labelled) == (
        f"{told}, and nnp_transition, or give `no-new-privileges:false` too"
    )
    assert execution.what_forbids(errno.EPERM, {**labelled, "new_privileges": True}) == told
