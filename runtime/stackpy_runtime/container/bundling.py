"""The engine's sandbox as a bundle of the OCI runtime specification, for an external runtime. Pure."""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING, Any

from stackpy_runtime.container import ulimits
from stackpy_runtime.container.devices import SHM_SIZE
from stackpy_runtime.linux import seccomp

if TYPE_CHECKING:
    from stackpy_runtime.container.plan import ProcessPlan, SandboxPlan
    from stackpy_runtime.container.users import Identity
    from stackpy_runtime.linux.seccomp import Rule

VERSION = "1.0.2"
USUAL_DESCRIPTORS = 1024
_GUARD = ["nosuid", "noexec", "nodev"]
# What a container's /dev is made of, as runc's `spec` has it.
DEV_MOUNTS: list[dict[str, Any]] = [
    {
        "destination": "/dev",
        "type": "tmpfs",
        "source": "tmpfs",
        "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
    },
    {
        "destination": "/dev/pts",
        "type": "devpts",
        "source": "devpts",
        "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
    },
]
_ACTIONS = {
    seccomp.ACT_KILL_THREAD: "SCMP_ACT_KILL",
    seccomp.ACT_KILL_PROCESS: "SCMP_ACT_KILL_PROCESS",
    seccomp.ACT_TRAP: "SCMP_ACT_TRAP",
    seccomp.ACT_ALLOW: "SCMP_ACT_ALLOW",
    seccomp.ACT_LOG: "SCMP_ACT_LOG",
}
_OPERATORS = {number: name for name, number in seccomp.OPERATORS.items()}
_ERRNO_MASK = 0xFFFF


def _action(number: int, errno_key: str) -> dict[str, Any]:
    if number in _ACTIONS:
        return {"action": _ACTIONS[number]}
    name = "SCMP_ACT_TRACE" if number & ~_ERRNO_MASK == seccomp.ACT_TRACE else "SCMP_ACT_ERRNO"
    return {"action": name, errno_key: number & _ERRNO_MASK}


def filter_document(default: int, rules: list[Rule], architectures: list[str] | None) -> dict[str, Any]:
    """`linux.seccomp` for rules as libseccomp is given them; architectures: None for the usual ones."""
    found = _action(default, "defaultErrnoRet")
    names = ["x86", "x32"] if architectures is None else architectures
    rows: dict[tuple[Any, ...], list[str]] = {}
    for rule in rules:
        rows.setdefault((rule.action, rule.comparisons), []).append(rule.call)
    return {
        "defaultAction": found.pop("action"),
        **found,
        "architectures": [f"SCMP_ARCH_{name.upper()}" for name in ["x86_64", *names]],
        "syscalls": [
            {
                "names": calls,
                **_action(action, "errnoRet"),
                "args": [
                    {"index": one.argument, "value": one.value, "valueTwo": one.other, "op": _OPERATORS[one.operator]}
                    for one in comparisons
                ],
            }
            for (action, comparisons), calls in rows.items()
        ],
    }


def process_document(process: ProcessPlan, identity: Identity) -> dict[str, Any]:
    """`process`, for the first one or one of exec."""
    names = [f"CAP_{name}" for name in process["capabilities"]]
    held = names if identity.user == 0 else []
    environment = {"HOME": identity.home, **process["environment"]}
    limits = dict(process.get("ulimits", {}))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    limits.setdefault("nofile", {"soft": min(USUAL_DESCRIPTORS, hard), "hard": hard})
    document: dict[str, Any] = {
        "terminal": process["tty"],
        "user": {
            "uid": identity.user,
            "gid": identity.group,
            "additionalGids": list(identity.groups),
            "umask": process.get("umask", 0o022),
        },
        "args": process["argv"],
        "env": [f"{name}={value}" for name, value in environment.items()],
        "cwd": process["working_dir"],
        "capabilities": {"bounding": names, "effective": held, "permitted": held},
        "noNewPrivileges": not process.get("new_privileges", False),
        "rlimits": [
            {"type": f"RLIMIT_{name.upper()}", "soft": _limit(limit["soft"]), "hard": _limit(limit["hard"])}
            for name, limit in limits.items()
            if name in ulimits.NUMBERS
        ],
    }
    if "score" in process:
        document["oomScoreAdj"] = process["score"]
    return document


def _limit(number: int) -> int:
    return (1 << 64) - 1 if number < 0 else number


def document(
    plan: SandboxPlan, identity: Identity, first_id: int, group: str, binds: list[tuple[str, str, bool]]
) -> dict[str, Any]:
    """config.json.

    first_id: of the container's host IDs; group: its control group, from the top of each hierarchy
    binds: what stands ready on the host: source, target, whether it is read-only
    """
    own = plan["network"] == "own"
    kinds = ["pid", "ipc", "uts", "mount", "user", "cgroup", *(["network"] if own else [])]
    mapping = [{"containerID": 0, "hostID": first_id, "size": 65536}]
    system = {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": [*_GUARD, "ro"]}
    if not own:
        # The kernel makes sysfs for the owner of a network namespace alone.
        system = {"destination": "/sys", "type": "none", "source": "/sys", "options": ["rbind", "ro", *_GUARD]}
    shared = ["mode=1777", f"size={plan.get('shm_size', SHM_SIZE)}", *_GUARD]
    mounts: list[dict[str, Any]] = [
        {"destination": "/proc", "type": "proc", "source": "proc", "options": _GUARD},
        system,
        {
            "destination": "/sys/fs/cgroup",
            "type": "cgroup",
            "source": "cgroup",
            "options": [*_GUARD, "relatime", "ro"],
        },
        *DEV_MOUNTS,
        {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": _GUARD},
        {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": shared},  # noqa: S108 - inside
    ]
    for mount in plan["mounts"]:
        if mount["kind"] == "tmpfs":
            options = [f"{name}={value}" if value else name for name, value in mount["options"].items()]
            options += ["nosuid", "nodev", *(["ro"] if mount["read_only"] else [])]
            mounts.append({"destination": mount["target"], "type": "tmpfs", "source": "tmpfs", "options": options})
    for source, target, read_only in binds:
        options = ["rbind", "rprivate", *(["ro"] if read_only else [])]
        mounts.append({"destination": target, "type": "bind", "source": source, "options": options})
    # The outer before the inner, whatever their kinds.
    mounts.sort(key=lambda mount: (mount["destination"].split("/")[1] not in ("proc", "sys", "dev"),
                                   mount["destination"].count("/")))  # fmt: skip
    linux: dict[str, Any] = {
        "namespaces": [{"type": kind} for kind in kinds],
        "uidMappings": mapping,
        "gidMappings": mapping,
        "cgroupsPath": group,
        "resources": {"devices": [{"allow": False, "access": "rwm"}]},
        "maskedPaths": plan["masked"],
        "readonlyPaths": plan["locked"],
        "rootfsPropagation": "private",
    }
    if seccomp_ := plan["handed_to"].get("seccomp"):
        linux["seccomp"] = seccomp_
    result = {
        "ociVersion": VERSION,
        "process": process_document(plan["process"], identity),
        "root": {"path": "rootfs", "readonly": plan["read_only"]},
        "hostname": plan["hostname"],
        "mounts": mounts,
        "linux": linux,
    }
    if domain := plan.get("domainname"):
        result["domainname"] = domain
    return result
