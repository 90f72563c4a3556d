"""The flags of `run` and `create` about privileges, devices and namespaces, as docker's.

The parsers are the stack file's, imported with the first flag that needs one.
"""

from __future__ import annotations

from stackpy.cli.grammar import Option
from stackpy.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

OPTIONS = [
    Option("--cap-add", metavar="CAPABILITY", many=True, help="a capability more (or ALL)"),
    Option("--cap-drop", metavar="CAPABILITY", many=True, help="a capability less (or ALL)"),
    Option("--privileged", help="every right and device of the host; implies --userns host"),
    Option(
        "--security-opt",
        metavar="OPTION",
        many=True,
        help="seccomp=FILE or unconfined, no-new-privileges, apparmor=…, label=…",
    ),
    Option("--device", metavar="HOST[:CONTAINER[:rwm]]", many=True, help="a device of this host", words="file"),
    Option(
        "--device-cgroup-rule",
        metavar="RULE",
        many=True,
        help='devices that it may make and use: "c 189:* rwm"; implies --userns host',
    ),
    Option("--userns", metavar="MODE", choices=("auto", "host"), help="auto (its own, the default) or host"),
    Option("--pid", metavar="MODE", help="host, or container:NAME, whose processes it is among"),
    Option("--ipc", metavar="MODE", help="private (default), shareable, none, host or container:NAME"),
    Option("--learn", help="note what it uses of system calls and capabilities, and print the fields for that"),
    Option("--uts", metavar="MODE", choices=("host",), help="host: the name of this host"),
]
# flag's key → field, name of its parser in isolation_fields
_RARE = {
    "security_opt": ("security_opt", "security_options"),
    "device": ("devices", "devices"),
    "device_cgroup_rule": ("device_cgroup_rules", "device_rules"),
    "pid": ("pid", "pid"),
    "ipc": ("ipc", "ipc"),
}


def add(document: dict[str, Any], arguments: Any) -> None:
    """Adds what the flags say; raises UsageError naming the flag whose value is wrong."""
    for key in ("privileged", "learn"):
        if getattr(arguments, key):
            document[key] = True
    for key in ("userns", "uts"):
        if getattr(arguments, key) is not None:
            document[key] = getattr(arguments, key)
    for key in ("cap_add", "cap_drop"):
        if names := getattr(arguments, key):
            from stackpy.cli.run_config import parsed
            from stackpy.dsl.kernel_names import capabilities

            document[key] = parsed(_flag(key), capabilities, names)
    for key, (field, parser) in _RARE.items():
        if value := getattr(arguments, key):
            from stackpy.cli.run_config import parsed
            from stackpy.dsl import isolation_fields

            document[field] = parsed(_flag(key), getattr(isolation_fields, parser), value)
    for field in ("pid", "ipc"):
        if str(document.get(field, "")).startswith("service:"):
            raise UsageError(f"`--{field} {document[field]}`: services are a stack's", hint="write container:NAME")
    if "security_opt" in document:
        document["security_opt"] = [_with_profile(option) for option in document["security_opt"]]


def _flag(key: str) -> str:
    return f"--{key.replace('_', '-')}"


def _with_profile(option: str) -> str:
    """A security option with the profile of the file that it names."""
    from stackpy.dsl import isolation_fields

    path = isolation_fields.profile_path(option)
    if not path:
        return option
    try:
        with open(path, encoding="utf-8") as file:
            return f"seccomp={isolation_fields.profile(file.read())}"
    except OSError as error:
        raise UsageError(f"`--security-opt {option}`: {(error.strerror or str(error)).lower()}") from error
    except (ValueError, RecursionError) as error:
        text = str(error)[:100].lower()
        raise UsageError(f"`--security-opt {option}`: it is no seccomp profile: {text}") from error
