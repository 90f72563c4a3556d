"""Repositories that ADD takes, by the host's git(1).

The commit that a reference names is asked before anything is built, so that a step's ID says it.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from stackpy_runtime.errors import Conflict, EngineError, InvalidConfig, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stackpy_runtime.model import Step
    from stackpy_runtime.store.root import Root


# Whatever the host's configuration says: nothing of a repository runs, nobody is asked, and what its .gitmodules name
# is fetched as the repository itself may be, never from the host's own folders (CVE-2022-39253).
_SETTINGS = (
    "advice.detachedHead=false",
    "core.fsmonitor=false",
    "core.hooksPath=/dev/null",
    "protocol.allow=never",
    "protocol.file.allow=user",
    "protocol.git.allow=always",
    "protocol.http.allow=always",
    "protocol.https.allow=always",
    "protocol.ssh.allow=always",
)


def identity(address: str, step: Step) -> str:
    """What identifies the files of an address, as `COMMIT:FOLDER`; asks the network unless it names a whole commit.

    Raises EngineError where it cannot be had, NotFound for a reference that is not there, Conflict for one that is not
    the commit of `--checksum`, InvalidConfig for an address that makes no sense.
    """
    remote, ref, folder = _repository(address)
    return f"{_commit(remote, ref, step.get('checksum', ''))}:{folder}"


def _repository(address: str) -> tuple[str, str, str]:
    """Remote, reference and folder of an address; raises InvalidConfig."""
    from stackpy_runtime.dockerfile.names import git
    from stackpy_runtime.dockerfile.words import BadSyntax

    try:
        found = git(address)
    except BadSyntax as error:
        raise InvalidConfig(error.message, hint=error.hint) from None
    remote, _, fragment = found.address.partition("#")
    ref, _, folder = fragment.partition(":")
    return remote, ref or found.checksum, folder


def _is_commit(text: str) -> bool:
    return len(text) in (40, 64) and not set(text) - set("0123456789abcdef")


def _commit(remote: str, ref: str, checksum: str) -> str:
    """The commit that a reference names now."""
    if _is_commit(ref) and (not checksum or ref.startswith(checksum)):
        return ref
    listed = _git(["ls-remote", "--", remote, *([ref, f"{ref}^{{}}"] if ref else ["HEAD"])], remote).split("\n")
    found = {name: commit for commit, _, name in (line.partition("\t") for line in listed) if name}
    names = [ref, f"refs/tags/{ref}^{{}}", f"refs/tags/{ref}", f"refs/heads/{ref}", f"{ref}^{{}}"] if ref else ["HEAD"]
    commit = next((found[name] for name in (f"{ref}^{{}}", *names) if name in found), "")
    if not commit and checksum and _is_commit(checksum):
        commit = checksum
    if not commit:
        raise NotFound(f"there is no `{ref or 'HEAD'}` in `{remote}`", hint="name a branch, a tag or a whole commit")
    if checksum and not commit.startswith(checksum):
        raise Conflict(f"`{ref or 'HEAD'}` of `{remote}` is {commit}, and {checksum} is expected", hint="check both")
    return commit


@contextlib.contextmanager
def checked_out(root: Root, address: str, planned: str, step: Step) -> Iterator[str]:
    """A folder with the commit that the recipe was made of; it goes with the context.

    planned: `COMMIT:FOLDER`
    step: says whether its .git and its submodules come along, and what times its files have
    """
    from stackpy_runtime.store import layers, trees

    remote, ref, _ = _repository(address)
    commit, _, folder = planned.partition(":")
    staged = layers.reserve(root)
    try:
        top = f"{staged}/repository"
        os.mkdir(top, 0o755)
        _git(["init", "--quiet", top], remote)
        _git(["-C", top, "remote", "add", "origin", "--", remote], remote)
        try:
            _git(["-C", top, "fetch", "--quiet", "--depth=1", "--", "origin", commit], remote)
        except EngineError:
            # Not every server gives out a commit by its name alone.
            _git(["-C", top, "fetch", "--quiet", "--tags", "--", "origin", ref or "HEAD"], remote)
        _git(["-C", top, "checkout", "--quiet", "--detach", commit], remote)
        if step.get("submodules", True) and os.path.lexists(f"{top}/.gitmodules"):
            _git(["-C", top, "submodule", "--quiet", "update", "--init", "--recursive", "--depth=1"], remote)
        inside = os.path.realpath(os.path.join(top, folder.lstrip("/")))
        if not os.path.isdir(inside) or not f"{inside}/".startswith(f"{os.path.realpath(top)}/"):
            raise NotFound(f"there is no folder `{folder}` in `{remote}`", hint="check what stands behind the `:`")
        if step.get("commit_times"):
            _stamp(inside, int(_git(["-C", top, "log", "-1", "--format=%ct", commit, "--"], remote)))
        if not step.get("keep_git_dir"):
            trees.remove(f"{top}/.git")
        yield inside
    finally:
        layers.discard(root, staged)


def _stamp(folder: str, seconds: int) -> None:
    """Gives all that is in a folder, and itself, one time. Links are not followed: a repository may hold any."""
    for parent, folders, names, descriptor in os.fwalk(folder, topdown=False, follow_symlinks=False):
        for name in [*folders, *names]:
            os.utime(name, (seconds, seconds), dir_fd=descriptor, follow_symlinks=False)
        if parent == folder:
            os.utime(descriptor, (seconds, seconds))


def _git(arguments: list[str], remote: str) -> str:
    """Runs git(1) without questions to anybody; raises EngineError with what it said last."""
    import subprocess

    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
    # The last two would put aside what the settings say of protocols.
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_ALLOW_PROTOCOL", "GIT_PROTOCOL_FROM_USER"):
        environment.pop(name, None)
    try:
        done = subprocess.run(
            ["git", *(word for setting in _SETTINGS for word in ("-c", setting)), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            env=environment,
            umask=0o022,
        )
    except FileNotFoundError:
        raise EngineError(f"cannot clone `{remote}`: there is no git", hint="install git") from None
    if done.returncode:
        said = (done.stderr.strip().splitlines() or [f"it exited with {done.returncode}"])[-1]
        raise EngineError(f"cannot clone `{remote}`: {said.removeprefix('fatal: ')}", hint="check the address")
    return done.stdout
