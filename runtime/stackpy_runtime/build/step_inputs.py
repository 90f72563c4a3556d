"""What a step's ID is made of, by name: the texts in which a changed step differs, for people too.

Nothing here knows of chains; recipe.py hashes these texts, and explanations name them.
"""

from __future__ import annotations

import posixpath

from stackpy_runtime import json_text
from stackpy_runtime.build import settings
from stackpy_runtime.build.digests import sha256_hex

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from stackpy_runtime.build.context import Context, Walks
    from stackpy_runtime.model import ImageConfig, RunMount, Step

    Problems = list[tuple[str, str, str]]
    Origin = Callable[[Mapping[str, Any]], str]

# Inputs of a COPY that are no files; a file of such a name is listed as `./NAME`.
_OPTIONS = frozenset(
    "target sources from --chown --chmod --link --parents --exclude --unpack --keep-git-dir --checksum "
    "--submodules --commit-times".split()
)
# What stands before the name of an input that is neither: a heredoc, an address.
_OTHERS = ("<<", "url ", "git ")


class Asking:
    """What the inputs of steps are found with.

    root: the engine root's path
    contexts: folders that are open; the caller closes them
    problems: takes (line, message, hint) of what is wrong with a step
    origin: what identifies the files of a stage or an image that `from_stage` or `from_image` names
    walks: takes what steps copy from contexts
    fetched: what identifies what an address gives: (kind "url" or "git", address, step)
    """

    def __init__(
        self,
        root: str,
        origin: Origin,
        fetched: Callable[[str, str, Step], str],
        problems: Problems,
        walks: Walks | None = None,
    ) -> None:
        self.root, self.origin, self.fetched, self.problems, self.walks = root, origin, fetched, problems, walks
        self.contexts: dict[str, Context] = {}

    def close(self) -> None:
        """Lets go of the contexts."""
        for context in self.contexts.values():
            context.close()


def inputs(step: Step, config: ImageConfig, asking: Asking) -> dict[str, str]:
    """What a step's ID is made of.

    config: what the steps before it have set
    """
    kind = step["instruction"]
    if kind == "run":
        return _run(step, config, asking)
    if kind in ("copy", "add"):
        return _copy(step, config, asking)
    if kind == "file":
        result = {"content": sha256_hex(decoded(step["content"])), "target": _target(config, step["target"])}
        return {**result, "mode": f"{step.get('mode', 0o644):o}", **_owner(step)}
    if kind == "workdir":
        user = config.get("User")
        return {"target": _target(config, step["target"]), **({"user": user} if user else {})}
    if kind in ("env", "label"):
        return dict(step["values"])
    if kind == "user":
        return {"user": step["value"]}
    if kind == "expose":
        return {"ports": " ".join(sorted(port if "/" in port else f"{port}/tcp" for port in set(step["ports"])))}
    if kind == "volume":
        return {"targets": json_text.dumps(step["targets"])}
    if kind == "healthcheck":
        return {"healthcheck": json_text.dumps(step["healthcheck"], sort_keys=True)}
    if kind in ("stopsignal", "onbuild", "maintainer"):
        return {kind: step["value"]}
    return {"argv": json_text.dumps(step["argv"])}


def _target(config: ImageConfig, target: str) -> str:
    joined = posixpath.join(config.get("WorkingDir", ""), target)
    return posixpath.normpath(joined) + ("/" if target.endswith(("/", "/.")) or target == "." else "")


def _owner(step: Step) -> dict[str, str]:
    return {"--chown": step["chown"]} if step.get("chown") else {}


def decoded(content: str) -> bytes:
    """The bytes of a FILE step's content; binascii, as base64's module costs an import for the same call."""
    import binascii

    return binascii.a2b_base64(content)


# --- RUN ------------------------------------------------------------------------------------------------------------


def _run(step: Step, config: ImageConfig, asking: Asking) -> dict[str, str]:
    result = {"argv": json_text.dumps(step["argv"])}
    if step.get("cache"):
        result["cache"] = " ".join(sorted(set(step["cache"])))
    for key, default in (("network", "default"), ("security", "sandbox")):
        if step.get(key, default) != default:
            result[key] = str(step.get(key))
    if "extra_hosts" in step:
        # As for BuildKit: that a name is known counts, and not where it leads today.
        result["--add-host"] = " ".join(sorted(step["extra_hosts"]))
    if "shm_size" in step:
        result["--shm-size"] = str(step["shm_size"])
    if "ulimits" in step:
        result["--ulimit"] = json_text.dumps(step["ulimits"], sort_keys=True)
    for file in step.get("inline", []):
        result[f"<<{file['name']}"] = sha256_hex(decoded(file["content"]))
    for mount in step.get("mounts", []):
        _mount(step, mount, asking, result)
    if config.get("User"):
        result["user"] = config["User"]
    result |= {f"build argument {name}": value for name, value in sorted(step.get("args", {}).items())}
    # WORKDIR is a link of the chain already.
    return {**result, **{f"env {name}": value for name, value in sorted(settings.environment(config).items())}}


def _mount(step: Step, mount: RunMount, asking: Asking, result: dict[str, str]) -> None:
    """A mount is an input with all that is said of it, and a bind with what it shows."""
    said: dict[str, Any] = {key: value for key, value in mount.items() if key != "from_context"}
    if "from_stage" in mount or "from_image" in mount:
        said.pop("from_stage", "")  # its name means nothing, what is in it does
        said["from"] = asking.origin(mount)
    name = mount_name(mount)
    result[name] = json_text.dumps(said, sort_keys=True)
    shown = mount.get("from_context", "" if "from" in said else step.get("context", ""))
    if mount["type"] == "bind" and shown:
        whole: Any = {**step, "sources": [mount.get("source", ".")], "from_context": shown}
        files = _context_files(whole, asking)
        result |= {f"{name}: {key}": value for key, value in (files or {}).items()}


def mount_name(mount: RunMount) -> str:
    """What a mount is called among the inputs of its step."""
    return f"--mount {mount['type']} {mount.get('target') or mount.get('id', '')}".rstrip()


# --- COPY and ADD ---------------------------------------------------------------------------------------------------


def _copy(step: Step, config: ImageConfig, asking: Asking) -> dict[str, str]:
    target = _target(config, step["target"])
    result: dict[str, str] = {}
    if "from_stage" in step or "from_image" in step:
        result["from"] = asking.origin(step)
        result["sources"] = json_text.dumps(step.get("sources", []))
        if step.get("exclude") or step.get("exclude_paths"):
            result["--exclude"] = json_text.dumps([step.get("exclude", []), step.get("exclude_paths", [])])
    elif step.get("sources"):
        found = _context_files(step, asking, result)
        result = {**renamed(found or {}), **result}
    for file in step.get("inline", []):
        result[f"<<{file['name']}"] = sha256_hex(decoded(file["content"]))
    for kind, addresses in (("url", step.get("urls", [])), ("git", step.get("git", []))):
        for address in addresses:
            result[f"{kind} {address}"] = asking.fetched(kind, address, step)
    result["target"] = target
    if "mode" in step or "chmod" in step:
        result["--chmod"] = step.get("chmod") or f"{step['mode']:o}"
    for key in ("link", "parents", "unpack", "keep_git_dir", "submodules", "commit_times"):
        if key in step:
            result[f"--{key.replace('_', '-')}"] = json_text.dumps(step.get(key))
    return {**result, **_owner(step)}


def _context_files(step: Step, asking: Asking, result: dict[str, str] | None = None) -> dict[str, str] | None:
    """What is taken from a folder of the host, by name; where it lands is put into `result`."""
    from stackpy_runtime.build.context import inputs as item_inputs
    from stackpy_runtime.build.context import of_step

    try:
        context = of_step(step, asking.contexts, asking.root)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        folder = step.get("from_context") or step["context"]
        asking.problems.append((step["line"], f"the context `{folder}` cannot be opened: {reason}", ""))
        return None
    sources, wrong = context.sources(step)
    asking.problems += wrong
    if asking.walks is not None and not wrong:
        asking.walks.keep(step, sources)
    if result is not None:
        many = len(sources) > 1 and not step.get("parents")
        if many and not step["target"].endswith(("/", "/.")) and step["target"] not in (".", ".."):
            text = f"several sources are copied to `{step['target']}`, which must end with `/`"
            asking.problems.append((step["line"], text, f"write `{step['target']}/`"))
        # Folders give their contents and files themselves, so the same files may land differently.
        result["sources"] = json_text.dumps([source.name for source in sources])
    return item_inputs(sources, ignores_modes(step))


def ignores_modes(step: Step) -> bool:
    """Whether --chmod makes the modes that the files have nobody's business."""
    return "mode" in step or step.get("chmod", "+").isdigit()


def renamed(files: dict[str, str]) -> dict[str, str]:
    """What the files of a COPY are called among its inputs, where some names are taken."""
    return {f"./{name}" if _taken(name) else name: value for name, value in files.items()}


def files_of(named: Mapping[str, str]) -> dict[str, str]:
    """The files among the inputs of a COPY."""
    return {name: value for name, value in named.items() if not _taken(name)}


def _taken(name: str) -> bool:
    return name in _OPTIONS or name.startswith(_OTHERS)
