"""How the instructions of a recipe change an image's configuration. Pure.

The same rules serve twice: on what the steps alone set, for the chain of step IDs, where the base's part is in its ID;
and on the base's whole configuration, for the image.
"""

from __future__ import annotations

import posixpath

from stackpy_runtime.errors import InvalidConfig
from stackpy_runtime.labels import RESERVED_PREFIX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stackpy_runtime.model import ImageConfig, Step

# Instructions whose result is files: each is a link of the chain that later ones stand on. The others only write
# configuration, and later layers do not depend on them but through `seen_by_run`.
LAYERS = frozenset({"run", "copy", "add", "file", "workdir"})
METADATA = frozenset(
    "env user expose label entrypoint cmd volume healthcheck stopsignal shell onbuild maintainer".split()
)


def inherited(config: ImageConfig) -> ImageConfig:
    """The part of a base image's configuration that an image built on it takes over: its triggers were run, and go.

    Not taken: the engine's own labels, which would pass for ours (CVE-2026-53488), and entries of Env without `=`,
    which an engine might fill from its own environment (CVE-2026-57231).
    """
    result = config.copy()
    result.pop("OnBuild", None)
    if "Env" in config:
        result["Env"] = [entry for entry in config["Env"] if entry.partition("=")[1] and not entry.startswith("=")]
    if "Labels" in config:
        labels = config["Labels"].items()
        result["Labels"] = {name: value for name, value in labels if not name.startswith(RESERVED_PREFIX)}
    return result


def environment(config: ImageConfig) -> dict[str, str]:
    """An image's Env as a mapping."""
    entries = [entry.partition("=") for entry in config.get("Env", [])]
    return {name: value for name, equals, value in entries if equals and name}


def apply(config: ImageConfig, step: Step, own_cmd: bool) -> ImageConfig:
    """The configuration after a step; `config` stays as it is.

    own_cmd: whether a step before set CMD, which a later ENTRYPOINT then leaves; the base's CMD it resets, since that
        belongs to the base's ENTRYPOINT (Dockerfile reference)
    """
    result = config.copy()
    kind = step["instruction"]
    if kind == "env":
        merged = {**environment(config), **step["values"]}
        result["Env"] = [f"{name}={value}" for name, value in merged.items()]
    elif kind == "label":
        result["Labels"] = {**config.get("Labels", {}), **step["values"]}
    elif kind == "user":
        result["User"] = step["value"]
    elif kind == "workdir":
        result["WorkingDir"] = absolute(config, step["target"])
    elif kind == "expose":
        ports = [port if "/" in port else f"{port}/tcp" for port in step["ports"]]
        result["ExposedPorts"] = {**config.get("ExposedPorts", {}), **{port: {} for port in ports}}
    elif kind == "entrypoint":
        result["Entrypoint"] = list(step["argv"])
        if not own_cmd:
            result.pop("Cmd", None)
    elif kind == "cmd":
        result["Cmd"] = list(step["argv"])
    elif kind == "volume":
        result["Volumes"] = {**config.get("Volumes", {}), **{target: {} for target in step["targets"]}}
    elif kind == "healthcheck":
        result["Healthcheck"] = step["healthcheck"]
    elif kind == "stopsignal":
        result["StopSignal"] = step["value"]
    elif kind == "shell":
        result["Shell"] = list(step["argv"])
    elif kind == "onbuild":
        result["OnBuild"] = [*config.get("OnBuild", []), step["value"]]
    return result


def absolute(config: ImageConfig, target: str) -> str:
    """A target as an absolute path in normal form; a slash at its end, which means a folder to COPY, stays."""
    path = posixpath.join(config.get("WorkingDir") or "/", target)
    clean = posixpath.normpath("/" + path.lstrip("/"))
    folder = target.endswith(("/", "/.")) or target in (".", "")
    return f"{clean}/" if folder and clean != "/" else clean


def check(step: Step) -> str | None:
    """What is wrong with a step, whatever the state of the host; None when nothing is."""
    kind = step["instruction"]
    if kind not in LAYERS and kind not in METADATA:
        return f"unknown instruction `{kind}`"
    if kind == "label":
        for name in step["values"]:
            if name.startswith(RESERVED_PREFIX):
                return f"the label `{name}` is reserved for the engine"
    if kind == "env":
        for name, value in step["values"].items():
            if not name or "=" in name or "\0" in name + value:
                return f"`{name}` is no name of an environment variable"
    if kind in ("run", "entrypoint", "cmd", "shell"):
        if kind in ("run", "shell") and not step["argv"]:
            return "there is nothing to run"
        if any("\0" in part for part in step["argv"]):
            return "an argument holds a NUL byte"
    if kind in ("copy", "add", "file", "workdir"):
        if not step["target"] or "\0" in step["target"]:
            return "the target is empty" if not step["target"] else "the target holds a NUL byte"
        if kind == "file" and step["target"].endswith("/"):
            return f"the target `{step['target']}` names a folder, and a file is to be written"
    for target in step.get("cache", []):
        if not target.startswith("/") or not posixpath.normpath(target).strip("/"):
            return f"the cache `{target}` is no absolute path of a folder"
    if kind in ("copy", "file") and not 0 <= step.get("mode", 0) <= 0o7777:
        return f"the mode {step.get('mode', 0):o} is no mode of a file"
    return None


def refuse(problems: list[tuple[str, str, str]]) -> None:
    """Raises InvalidConfig for all problems (line, message, hint) at once; nothing when there are none."""
    if not problems:
        return
    lines = [f"{line}: {message}" if line else message for line, message, _ in problems]
    raise InvalidConfig("\n".join(lines), hint="; ".join(dict.fromkeys(hint for *_, hint in problems if hint)))
