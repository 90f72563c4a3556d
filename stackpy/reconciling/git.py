"""The repository on disk: a bare mirror of one ref, and a folder for each revision that was checked out.

Everything is made aside and renamed, so that a killed fetch or checkout is simply made again. Hooks, interactive
questions, transport helpers and file:// submodules are off whatever the host's configuration says; a checkout has no
.git in it, since COPY . would carry it into an image.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from contextlib import contextmanager

from stackpy.errors import StackpyError
from stackpy.reconciling.source import without_credentials

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from stackpy.reconciling.source import Source

TIMEOUT = 600  # seconds for one git command: a first fetch over a slow line
KEPT = 5  # checkouts: containers that an unfinished apply left may still have binds of earlier ones
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_WANTED = "refs/stackpy/wanted"
_ASIDE = ".new-"

_SETTINGS = {
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "protocol.allow": "never",
    "protocol.https.allow": "always",
    "protocol.http.allow": "always",
    "protocol.ssh.allow": "always",
    "protocol.git.allow": "always",
    # what people name themselves may be a folder; what a repository's .gitmodules names may not
    "protocol.file.allow": "user",
    "gc.auto": "0",
    "advice.detachedHead": "false",
    "maintenance.auto": "false",
}


class Repository:
    """One source's mirror and checkouts.

    cache: folder under which all repositories lie
    """

    def __init__(self, cache: str, source: Source) -> None:
        self.source = source
        key = hashlib.sha256(f"{source.url}\0{source.ref}".encode()).hexdigest()[:16]
        self.folder = os.path.join(os.path.abspath(cache), key)
        self.mirror = os.path.join(self.folder, "mirror.git")

    def fetch(self) -> str:
        """Brings the mirror up to date; returns the commit ID of the ref. Raises StackpyError with git's own words."""
        self._ensure_mirror()
        ref = self.source.ref
        if _COMMIT.fullmatch(ref) and self._has(ref):
            return ref  # a commit never changes
        self._git("fetch", "--quiet", "--force", "--no-tags", "--", self.source.url, f"+{ref}:{_WANTED}")
        return self.revision()

    def revision(self) -> str:
        """The commit ID that was fetched last; raises StackpyError before the first fetch."""
        if _COMMIT.fullmatch(self.source.ref) and self._has(self.source.ref):
            return self.source.ref
        return self._git("rev-parse", "--verify", "--quiet", f"{_WANTED}^{{commit}}").strip()

    def checkout(self, commit: str) -> str:
        """The folder with that commit's files; raises StackpyError.

        It is named by the files' tree: commits of the same files are the same folder, and a container that binds a part
        of it is replaced when the files are others.
        """
        tree = self._git("rev-parse", "--verify", f"{commit}^{{tree}}").strip()
        place = os.path.join(self.folder, tree[:16])
        if not os.path.isdir(place):
            self._clean()
            aside = tempfile.mkdtemp(prefix=_ASIDE, dir=self.folder)
            try:
                self._write(commit, aside)
                os.chmod(aside, 0o755)  # noqa: S103 - what is bound into containers must be readable there
                os.rename(aside, place)
            except BaseException:
                shutil.rmtree(aside, ignore_errors=True)
                raise
        os.utime(place)
        self._prune(place)
        return place

    def _write(self, commit: str, folder: str) -> None:
        self._git("clone", "--quiet", "--shared", "--no-checkout", "--no-tags", "--", self.mirror, folder)
        inside = ["-C", folder]
        # relative URLs of submodules are relative to where the repository came from
        self._git(*inside, "remote", "set-url", "--", "origin", self.source.url)
        self._git(*inside, "checkout", "--quiet", "--force", "--detach", commit)
        if os.path.isfile(os.path.join(folder, ".gitmodules")):
            self._git(*inside, "submodule", "--quiet", "update", "--init", "--recursive", user=False)
        for path, folders, files in os.walk(folder):
            if ".git" in folders:
                folders.remove(".git")
                shutil.rmtree(os.path.join(path, ".git"))
            if ".git" in files:
                os.unlink(os.path.join(path, ".git"))

    def _ensure_mirror(self) -> None:
        if os.path.isdir(self.mirror):
            return
        os.makedirs(self.folder, mode=0o755, exist_ok=True)
        self._clean()
        aside = tempfile.mkdtemp(prefix=_ASIDE, dir=self.folder)
        try:
            self._git("init", "--quiet", "--bare", "--template=", "--", aside, mirror=False)
            os.rename(aside, self.mirror)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise

    def _has(self, commit: str) -> bool:
        try:
            self._git("cat-file", "-e", f"{commit}^{{commit}}")
        except StackpyError:
            return False
        return True

    def _clean(self) -> None:
        """Removes what a killed predecessor left; the caller holds the repository."""
        for name in os.listdir(self.folder):
            if name.startswith(_ASIDE):
                shutil.rmtree(os.path.join(self.folder, name), ignore_errors=True)

    def _prune(self, current: str) -> None:
        places = [entry for entry in os.scandir(self.folder) if entry.is_dir() and entry.name != "mirror.git"]
        places.sort(key=lambda entry: entry.stat().st_mtime, reverse=True)
        for entry in places[KEPT:]:
            if entry.path != current:
                shutil.rmtree(entry.path, ignore_errors=True)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keeps another reconcile of the same source out; raises StackpyError at once when there is one."""
        import fcntl

        os.makedirs(self.folder, mode=0o755, exist_ok=True)
        with open(os.path.join(self.folder, "lock"), "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StackpyError(
                    f"another reconcile of {self.source.shown} runs", hint="one process for each repository and ref"
                ) from None
            yield

    def _git(self, *arguments: str, mirror: bool = True, user: bool = True) -> str:
        """Runs git; returns what it printed.

        mirror: on the mirror, unless another folder is named; user: whether a folder may be fetched from
        """
        settings = [part for key, value in _SETTINGS.items() for part in ("-c", f"{key}={value}")]
        where = [f"--git-dir={self.mirror}"] if mirror and arguments[0] not in ("-C", "clone") else []
        environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_") or key in _PASSED}
        environment |= {
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": environment.get("GIT_ASKPASS", "true"),
            "GIT_SSH_COMMAND": environment.get("GIT_SSH_COMMAND", "ssh -oBatchMode=yes"),
            "GIT_PROTOCOL_FROM_USER": "1" if user else "0",
            "LC_ALL": "C",
        }
        command = ["git", *settings, *where, *arguments]
        try:
            # a session of its own: Ctrl-C is for us, and reaches git by our ending it
            done = subprocess.run(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=TIMEOUT,
                start_new_session=True,
                check=False,
            )
        except FileNotFoundError:
            raise StackpyError("git is not installed", hint="sudo apt-get install git") from None
        except subprocess.TimeoutExpired:
            raise StackpyError(f"git took longer than {TIMEOUT} seconds for {self.source.shown}") from None
        if done.returncode:
            raise StackpyError(self._explain(arguments, done.stderr))
        return done.stdout

    def _explain(self, arguments: tuple[str, ...], output: str) -> str:
        verb = next((word for word in arguments if word in _VERBS), arguments[0])
        lines = [line.strip() for line in without_credentials(output).splitlines() if line.strip()]
        told = [line for line in lines if line.startswith(("fatal:", "error:"))] or lines[-1:]
        reason = "; ".join(dict.fromkeys(line.partition(": ")[2] or line for line in told)) or "git says nothing"
        what = {"fetch": f"fetching `{self.source.ref}` from {self.source.shown}", "submodule": "fetching submodules"}
        return f"{what.get(verb, f'git {verb}')} failed: {reason}"


_VERBS = ("fetch", "rev-parse", "clone", "checkout", "submodule", "init", "cat-file", "remote")
# how people reach their own servers; everything else of git's environment would redirect what is done here
_PASSED = frozenset(
    {"GIT_SSH_COMMAND", "GIT_SSH", "GIT_ASKPASS", "GIT_SSL_CAINFO", "GIT_SSL_NO_VERIFY", "GIT_CONFIG_GLOBAL",
     "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM", "GIT_HTTP_USER_AGENT", "GIT_PROXY_COMMAND"}
)  # fmt: skip
