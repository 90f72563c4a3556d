"""COPY and ADD: sources of every kind, and how they are copied."""

from __future__ import annotations

import posixpath

from stackpy_runtime.dockerfile import names
from stackpy_runtime.dockerfile.instructions import inline
from stackpy_runtime.dockerfile.making import inline_file
from stackpy_runtime.dockerfile.words import BadSyntax
from stackpy_runtime.patterns import pattern

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy_runtime.dockerfile.making import Make

_OCTAL = pattern(r"[0-7]{1,4}")
# The grammar of chmod(1)'s symbolic modes.
_CLAUSE = r"[ugoa]*(?:[-+=](?:[rwxXst]*|[ugo]))+"
_SYMBOLIC = pattern(rf"{_CLAUSE}(?:,{_CLAUSE})*")


def copy(make: Make) -> dict[str, Any]:
    """The keys of a COPY or ADD step; raises BadSyntax."""
    instruction, build = make.instruction, make.build
    flags = instruction.flags
    *written, target = instruction.args
    inlined, paths = [], []
    for word in written:
        document = None if instruction.json else inline(word, instruction.line.heredocs)
        if document is None:
            paths.append(make.word(word))
            continue
        content = make.scope.content(document.text, instruction) if document.expand else document.text
        inlined.append(inline_file(document.name, content))
    target = make.word(target)
    result: dict[str, Any] = {"target": target or "."}
    local = _remote(make, paths, result) if instruction.kind == "add" else paths
    where = flags.texts.get("from", "")
    if where:
        result |= make.origin(where)
    elif local:
        result |= make.context()
        name = "COPY" if instruction.kind == "copy" else "ADD"
        for path in local:
            if build.ignored(_clean(path)):
                make.warn("CopyIgnoredFile", name, path)
    for path in local:
        if where == "" and instruction.kind == "copy" and (names.is_url(path) or names.is_git(path)):
            raise BadSyntax(f"COPY takes no address: `{path}`", "ADD downloads, and clones repositories")
    result["sources"] = [_inside(path) for path in local]
    if inlined:
        result["inline"] = inlined
    return {**result, **_copy_flags(make)}


def _clean(path: str) -> str:
    return posixpath.normpath(f"/{path}").lstrip("/") or "."


def _inside(path: str) -> str:
    """A source that would lead out of what it is copied from, held in, as BuildKit does."""
    if ".." not in path.split("/"):
        return path
    return _clean(path) + ("/" if path.endswith("/") else "")


def _remote(make: Make, paths: list[str], result: dict[str, Any]) -> list[str]:
    """Notes the addresses among the sources of ADD; returns the others."""
    flags = make.instruction.flags
    keep, checksum = flags.switches.get("keep-git-dir"), make.word(flags.texts.get("checksum", ""))
    local = []
    for path in paths:
        if names.is_git(path):
            found = names.git(path)
            result.setdefault("git", []).append(found.address)
            if None not in (keep, found.keep_git_dir) and keep != found.keep_git_dir:
                raise BadSyntax(f"`--keep-git-dir` contradicts the address `{path}`", "say it once")
            keep = found.keep_git_dir if found.keep_git_dir is not None else keep
            if checksum and found.checksum and checksum != found.checksum:
                raise BadSyntax(f"`--checksum` contradicts the address `{path}`", "say it once")
            checksum = found.checksum or checksum
            if not found.submodules:
                result["submodules"] = False
            if found.commit_times:
                result["commit_times"] = True
        elif names.is_url(path):
            result.setdefault("urls", []).append(path)
        else:
            local.append(path)
    if checksum:
        if len(make.instruction.args) != 2 or local:
            raise BadSyntax("`--checksum` needs one address as the only source", "use one ADD for each source")
        names.checksum(checksum, of_git="git" in result)
        result["checksum"] = checksum
    if keep is not None and "git" in result:
        result["keep_git_dir"] = keep
    return local


def _copy_flags(make: Make) -> dict[str, Any]:
    flags = make.instruction.flags
    result: dict[str, Any] = {}
    if owner := make.word(flags.texts.get("chown", "")):
        result["chown"] = owner
    if mode := make.word(flags.texts.get("chmod", "")):
        if not (_OCTAL.fullmatch(mode) or _SYMBOLIC.fullmatch(mode)):
            raise BadSyntax(f"`--chmod` cannot be `{mode}`", "expected octal digits or a mode such as `u=rwX,go=rX`")
        result["chmod"] = mode
    for name in ("link", "parents", "unpack"):
        if name in flags.switches and (flags.switches[name] or name == "unpack"):
            result[name] = flags.switches[name]
    if flags.lists.get("exclude"):
        result["exclude_paths"] = flags.lists["exclude"]
    return result
