"""RUN: a command of a shell or a program, with heredocs and mounts."""

from __future__ import annotations

from stackpy_runtime.dockerfile import mounts
from stackpy_runtime.dockerfile.lines import heredoc
from stackpy_runtime.dockerfile.making import inline_file
from stackpy_runtime.dockerfile.words import BadSyntax

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy_runtime.dockerfile.making import Make
    from stackpy_runtime.model import RunMount

_PIPES = "/dev/pipes/"


def run(make: Make) -> dict[str, Any]:
    """The keys of a RUN step; raises BadSyntax."""
    flags, scope = make.instruction.flags, make.scope
    result = _run_command(make)
    shown = [_mount(make, text) for text in flags.lists.get("mount", [])]
    if shown:
        result["mounts"] = shown
        if any(mount["type"] == "bind" and not _has_origin(mount) for mount in shown):
            result |= make.context()
    if arguments := scope.arguments():
        result["args"] = arguments
    if make.build.proxies:
        result["proxies"] = dict(make.build.proxies)
    if flags.texts.get("network", "default") != "default":
        result["network"] = flags.texts["network"]
    if flags.texts.get("security", "sandbox") != "sandbox":
        result["security"] = flags.texts["security"]
    return result


def _has_origin(mount: RunMount) -> bool:
    return bool({"from_stage", "from_image", "from_context"} & mount.keys())


def _run_command(make: Make) -> dict[str, Any]:
    instruction, scope = make.instruction, make.scope
    if instruction.json:
        return {"argv": instruction.args}
    line, heredocs = instruction.args[0], instruction.line.heredocs
    if not heredocs:
        return {"argv": scope.command(line)}
    if heredoc(line) is None:
        # A command with heredocs: the shell reads them itself.
        whole = line + "".join(f"\n{each.content}{each.name}" for each in heredocs)
        return {"argv": scope.command(whole)}
    script = heredocs[0]
    if script.text.startswith("#!"):
        if "/" in script.name or script.name in (".", ".."):
            raise BadSyntax(f"the heredoc `{script.name}` cannot be a file's name", "name it without a slash")
        return {"argv": [_PIPES + script.name], "inline": [inline_file(script.name, script.text)]}
    return {"argv": scope.command(script.text)}


def _mount(make: Make, text: str) -> RunMount:
    found = mounts.parse(text, make.word, make.scope.workdir)
    for name in found.unused:
        make.warn("UnusedMountOption", found.mount["type"], name)
    result: Any = dict(found.mount)
    if found.origin and not (found.mount["type"] == "cache" and found.origin == "scratch"):
        result |= make.origin(found.origin)
    return result  # type: ignore[no-any-return]
