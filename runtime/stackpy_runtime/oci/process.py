"""`process` of a bundle, or the document of `exec --process`, as a plan. Pure but for what this host's kernel knows."""

from __future__ import annotations

import os
import resource
from typing import TYPE_CHECKING

from stackpy_runtime.errors import InvalidConfig, Unsupported
from stackpy_runtime.linux.processes import CAPABILITIES

if TYPE_CHECKING:
    from collections.abc import Callable

    from stackpy_runtime.container.plan import CapabilitySets, ProcessPlan
    from stackpy_runtime.oci.fields import Fields
    from stackpy_runtime.oci.plan import Priorities, Program

SETS = ("bounding", "permitted", "effective", "inheritable", "ambient")
LIMITS = {
    name: getattr(resource, name)
    for name in (
        "RLIMIT_AS RLIMIT_CORE RLIMIT_CPU RLIMIT_DATA RLIMIT_FSIZE RLIMIT_MEMLOCK RLIMIT_MSGQUEUE RLIMIT_NICE "
        "RLIMIT_NOFILE RLIMIT_NPROC RLIMIT_RSS RLIMIT_RTPRIO RLIMIT_RTTIME RLIMIT_SIGPENDING RLIMIT_STACK"
    ).split()
    if hasattr(resource, name)
}
LIMITS["RLIMIT_LOCKS"] = 10  # include/uapi/asm-generic/resource.h; nothing has heeded it since Linux 2.4
# include/uapi/linux/sched.h
POLICIES = {
    "SCHED_OTHER": 0,
    "SCHED_FIFO": 1,
    "SCHED_RR": 2,
    "SCHED_BATCH": 3,
    "SCHED_ISO": 4,
    "SCHED_IDLE": 5,
    "SCHED_DEADLINE": 6,
}
POLICY_FLAGS = {
    "SCHED_FLAG_RESET_ON_FORK": 0x01,
    "SCHED_FLAG_RECLAIM": 0x02,
    "SCHED_FLAG_DL_OVERRUN": 0x04,
    "SCHED_FLAG_KEEP_POLICY": 0x08,
    "SCHED_FLAG_KEEP_PARAMS": 0x10,
    "SCHED_FLAG_UTIL_CLAMP_MIN": 0x20,
    "SCHED_FLAG_UTIL_CLAMP_MAX": 0x40,
}
IO_CLASSES = {"IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}
# include/uapi/linux/personality.h
DOMAINS = {"LINUX": 0x0000, "LINUX32": 0x0008}
LARGEST_ID = (1 << 32) - 2  # 2³² - 1 means "leave it" to the kernel


def environment(entries: list[str]) -> dict[str, str]:
    """`NAME=value` entries; one without `=` is nobody's, and the last of a name counts."""
    result: dict[str, str] = {}
    for entry in entries:
        name, equals, value = entry.partition("=")
        if name and equals:
            result[name] = value
    return result


def capability_sets(fields: Fields, available: int, warn: Callable[[str], None]) -> CapabilitySets:
    """The five sets. What nobody here could grant is left out with a warning, as the specification has it.

    available: mask of what this process may hand on
    """
    found: dict[str, list[str]] = {}
    for name in SETS:
        known = []
        for given in fields.texts(name):
            short = given.upper().removeprefix("CAP_")
            if short not in CAPABILITIES:
                warn(f"{fields.where(name)}: this kernel has no capability `{given}`: left out")
            elif not available >> CAPABILITIES.index(short) & 1:
                warn(f"{fields.where(name)}: {given} cannot be granted here: left out")
            elif short not in known:
                known.append(short)
        found[name] = known
    for name, within in (("effective", "permitted"), ("ambient", "permitted"), ("ambient", "inheritable")):
        beyond = sorted(set(found[name]) - set(found[within]))
        if beyond and name == "effective":
            raise InvalidConfig(f"{fields.where(name)}: CAP_{beyond[0]} is not among the {within} ones")
        if beyond:
            warn(f"{fields.where(name)}: CAP_{beyond[0]} is not among the {within} ones: left out")
            found[name] = [each for each in found[name] if each in found[within]]
    return {
        "bounding": found["bounding"],
        "permitted": found["permitted"],
        "effective": found["effective"],
        "inheritable": found["inheritable"],
        "ambient": found["ambient"],
    }


def limits(fields: Fields) -> list[tuple[int, int, int]]:
    """The resource limits; raises InvalidConfig for a soft one above its hard one, or one given twice."""
    result: dict[int, tuple[int, int, int]] = {}
    for each in fields.objects("rlimits"):
        number = each.choice("type", LIMITS)
        if number is None:
            raise InvalidConfig(f"{each.where('type')} is missing")
        if number in result:
            raise InvalidConfig(f"{each.where('type')}: {each.text('type')} is given twice")
        soft, hard = (each.count(key, most=(1 << 64) - 1) for key in ("soft", "hard"))
        if soft > hard:
            raise InvalidConfig(f"{each.path}: the soft limit {soft} is above the hard one, {hard}")
        unlimited = (1 << 63) - 1  # what does not fit Python's view of rlim_t is no limit
        result[number] = (
            number,
            -1 if soft > unlimited else soft,
            -1 if hard > unlimited else hard,
        )
    return list(result.values())


def scheduler(fields: Fields) -> dict[str, int]:
    """The fields of struct sched_attr; {} when nothing is asked for."""
    if not fields.value:
        return {}
    policy = fields.choice("policy", POLICIES)
    if policy is None:
        raise InvalidConfig(f"{fields.where('policy')} is missing")
    flags = 0
    for name in fields.texts("flags"):
        if name not in POLICY_FLAGS:
            raise Unsupported(f"{fields.where('flags')}: `{name}` is not supported")
        flags |= POLICY_FLAGS[name]
    most = (1 << 64) - 1
    result = {
        "policy": policy,
        "flags": flags,
        "nice": fields.number("nice", least=-20, most=19) or 0,
        "priority": fields.number("priority", least=0, most=99) or 0,
        "runtime": fields.count("runtime", 0, most),
        "deadline": fields.count("deadline", 0, most),
        "period": fields.count("period", 0, most),
    }
    if result["priority"] and policy not in (1, 2):
        raise InvalidConfig(f"{fields.where('priority')}: only SCHED_FIFO and SCHED_RR have one")
    if policy != 6 and (result["runtime"] or result["deadline"] or result["period"]):
        raise InvalidConfig(f"{fields.path}: runtime, deadline and period are SCHED_DEADLINE's")
    return result


def io_priority(fields: Fields) -> int | None:
    """The value for ioprio_set(2)."""
    if not fields.value:
        return None
    kind = fields.choice("class", IO_CLASSES)
    if kind is None:
        raise InvalidConfig(f"{fields.where('class')} is missing")
    return kind << 13 | (fields.number("priority", least=0, most=7) or 0)


def personality(fields: Fields) -> int | None:
    """The value for personality(2)."""
    if not fields.value:
        return None
    if fields.texts("flags"):
        raise Unsupported(f"{fields.where('flags')}: no flags are supported, as in other runtimes")
    domain = fields.choice("domain", DOMAINS)
    if domain is None:
        raise InvalidConfig(f"{fields.where('domain')} is missing")
    return domain


def cpu_list(text: str, where: str) -> list[int]:
    """The CPUs of `0-3,7`; [] for "". A list longer than any host's is refused at once (CVE-2018-20699)."""
    found: set[int] = set()
    for part in [part.strip() for part in text.split(",") if part.strip()]:
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()) or len(first) > 5 or len(last) > 5:
            raise InvalidConfig(f"{where}: `{part[:40]}` is not a CPU or a range of them")
        found.update(range(int(first), int(last or first) + 1))
    return sorted(found)


def lsm(fields: Fields) -> tuple[str, str]:
    """The AppArmor profile and the SELinux label; Unsupported where this kernel has not what is asked for."""
    profile, label = fields.text("apparmorProfile"), fields.text("selinuxLabel")
    if profile == "unconfined":
        profile = ""
    if profile and not os.path.exists("/sys/kernel/security/apparmor"):
        raise Unsupported(f"{fields.where('apparmorProfile')}: AppArmor is not enabled on this host")
    if label and not os.path.exists("/sys/fs/selinux/enforce"):
        raise Unsupported(f"{fields.where('selinuxLabel')}: SELinux is not enabled on this host")
    return profile, label


def read(
    fields: Fields, available: int, descriptors: int, warn: Callable[[str], None], *, executing: bool = False
) -> Program:
    """The process that an object describes.

    available: mask of the capabilities that can be handed on; descriptors: so many from 3 on are the program's
    executing: it is one to execute besides, which alone knows execCPUAffinity
    """
    arguments = fields.texts("args")
    if not arguments or not arguments[0]:
        raise InvalidConfig(f"{fields.where('args')} is empty", hint="name the program to execute")
    folder = fields.needed("cwd")
    if not folder.startswith("/"):
        raise InvalidConfig(f"{fields.where('cwd')}: `{folder}` is not absolute")
    fields.refuse("commandLine", "is for Windows; give args")
    user = fields.object("user")
    user.refuse("username", "is for Windows; give uid and gid")
    further = user.counts("additionalGids", LARGEST_ID)
    terminal = fields.flag("terminal")
    variables = environment(fields.texts("env"))
    profile, label = lsm(fields)
    plan: ProcessPlan = {
        "argv": arguments,
        "environment": variables,
        "working_dir": folder,
        "user": "",
        "capabilities": [],
        "tty": terminal,
        "filter": "",
        "sets": capability_sets(fields.object("capabilities"), available, warn),
        "new_privileges": not fields.flag("noNewPrivileges"),
        "callers_limits": True,
        "descriptors": descriptors,
    }
    umask = user.number("umask", least=0, most=0o777)
    if umask is not None:
        plan["umask"] = umask
    priorities: Priorities = {
        "limits": limits(fields),
        "oom_score": fields.number("oomScoreAdj", least=-1000, most=1000),
        "scheduler": scheduler(fields.object("scheduler")),
        "io": io_priority(fields.object("ioPriority")),
    }
    size = fields.object("consoleSize")
    console = (size.count("height", most=65535), size.count("width", most=65535)) if size.value else None
    program: Program = {
        "plan": plan,
        "identity": (
            user.count("uid", 0, LARGEST_ID),
            user.count("gid", 0, LARGEST_ID),
            tuple(further),
            "",
        ),
        "priorities": priorities,
        "personality": None,
        "apparmor": profile,
        "label": label,
        "console_size": console if terminal else None,
    }
    affinity = fields.object("execCPUAffinity")
    if affinity.value and executing:
        program["affinity"] = (
            cpu_list(affinity.text("initial"), affinity.where("initial")),
            cpu_list(affinity.text("final"), affinity.where("final")),
        )
    return program


def available_capabilities(*, own_users: bool) -> int:
    """The mask of what a container can be given: all in a user namespace of its own, else what this process has."""
    if own_users:
        return (1 << len(CAPABILITIES)) - 1
    with open("/proc/self/status", encoding="ascii") as file:
        for line in file:
            if line.startswith("CapBnd:"):
                return int(line.split()[1], 16)
    return 0
